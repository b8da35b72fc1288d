//! What is read at a scrape: values that somebody keeps anyway.

use crate::definition::{MetricDefinition, MetricKind};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt;

/// Values of one moment, each with its definition.
#[derive(Clone, Debug, Default)]
pub struct Readings(Vec<MetricReading>);

#[derive(Clone, Debug)]
struct MetricReading {
    definition: &'static MetricDefinition,
    /// Values of labels, with the value.
    samples: Vec<(Vec<String>, f64)>,
}

impl Readings {
    /// Adds a value of a metric that has no labels.
    pub fn put(&mut self, definition: &'static MetricDefinition, value: impl Into<ReadValue>) {
        self.put_of(definition, [], value);
    }

    /// Adds a value of a metric with these values of its labels. Values of one metric come one after the other.
    pub fn put_of<const N: usize>(
        &mut self,
        definition: &'static MetricDefinition,
        labels: [&str; N],
        value: impl Into<ReadValue>,
    ) {
        debug_assert_eq!(definition.labels.len(), N, "{}", definition.name);
        let sample = (labels.map(str::to_owned).to_vec(), value.into().0);
        let known = self.0.iter_mut().rev();
        let mut known = known.filter(|metric| std::ptr::eq(metric.definition, definition));
        match known.next() {
            Some(metric) => metric.samples.push(sample),
            None => self.0.push(MetricReading {
                definition,
                samples: vec![sample],
            }),
        }
    }
}

/// A value: numbers beyond 2^53 are rounded, as Prometheus does.
#[derive(Clone, Copy, Debug)]
pub struct ReadValue(f64);

impl From<f64> for ReadValue {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl From<bool> for ReadValue {
    fn from(value: bool) -> Self {
        Self(f64::from(u8::from(value)))
    }
}

impl From<u64> for ReadValue {
    fn from(value: u64) -> Self {
        Self(value as f64)
    }
}

impl From<usize> for ReadValue {
    fn from(value: usize) -> Self {
        Self(value as f64)
    }
}

impl From<u32> for ReadValue {
    fn from(value: u32) -> Self {
        Self(f64::from(value))
    }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in &self.0 {
            let MetricReading {
                definition,
                samples,
            } = metric;
            let kind = match definition.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge | MetricKind::Histogram => MetricType::Gauge,
            };
            let help = definition.help;
            let mut described = encoder.encode_descriptor(definition.stem(), help, None, kind)?;
            for (values, value) in samples {
                let labels: Vec<(&str, &str)> = definition
                    .labels
                    .iter()
                    .copied()
                    .zip(values.iter().map(String::as_str))
                    .collect();
                if labels.is_empty() {
                    told(&mut described, definition.kind, *value)?;
                } else {
                    told(
                        &mut described.encode_family(&labels)?,
                        definition.kind,
                        *value,
                    )?;
                }
            }
        }
        Ok(())
    }
}

fn told(encoder: &mut MetricEncoder<'_>, kind: MetricKind, value: f64) -> fmt::Result {
    match kind {
        MetricKind::Counter => encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        MetricKind::Gauge | MetricKind::Histogram => encoder.encode_gauge(&value),
    }
}
