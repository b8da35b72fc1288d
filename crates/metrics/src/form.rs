//! The text in which metrics are told: that of OpenMetrics to whoever asks for it, else Prometheus' older one.

use crate::instruments::Instruments;
use crate::readings::Readings;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

/// What OpenMetrics calls its text.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// The form of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrapeForm {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Prometheus,
}

impl ScrapeForm {
    /// What the value of a header `Accept` asks for.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        if accept.is_some_and(|accept| accept.contains(OPEN_METRICS)) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }

    /// What is read and what was counted, as text.
    #[must_use]
    pub fn text(self, readings: Readings, counted: Option<&Instruments>) -> String {
        let mut read = Registry::default();
        read.register_collector(Box::new(readings));
        let registries = std::iter::once(&read).chain(counted.map(|counted| &counted.registry));
        let mut told = String::new();
        for registry in registries {
            // Nothing that is written to a text fails.
            let _ = match self {
                Self::OpenMetrics => text::encode_registry(&mut told, registry),
                Self::Prometheus => prometheus_text::encode(&mut told, registry),
            };
        }
        if self == Self::OpenMetrics {
            let _ = text::encode_eof(&mut told);
        }
        told
    }
}
