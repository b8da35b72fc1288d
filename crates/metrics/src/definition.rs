//! What a metric is: its name, its kind, its labels and what it says.

/// How a metric changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises, and begins at zero again with the process.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How many values were how large.
    Histogram,
}

impl MetricKind {
    /// As Prometheus calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric of the catalogue.
#[derive(Debug, PartialEq, Eq)]
pub struct MetricDefinition {
    /// Its name, as it is asked for; a counter's ends with `_total`.
    pub name: &'static str,
    /// How it changes.
    pub kind: MetricKind,
    /// The names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence without an end.
    pub help: &'static str,
}

impl MetricDefinition {
    /// Its name without what says that it is a counter: the text's form adds that.
    pub(crate) fn stem(&self) -> &'static str {
        match self.kind {
            MetricKind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            _ => self.name,
        }
    }
}
