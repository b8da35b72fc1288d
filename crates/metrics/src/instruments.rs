//! What is counted as it happens.

use crate::definition::{MetricDefinition, MetricKind};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Labels whose values the program has from its beginning: their number has a limit.
pub type StaticLabels<const N: usize> = [(&'static str, &'static str); N];

/// Counters of one metric, by its labels' values.
#[derive(Clone, Debug)]
pub struct CounterFamily<const N: usize> {
    definition: &'static MetricDefinition,
    family: Family<StaticLabels<N>, Counter>,
}

/// Histograms of one metric, by its labels' values.
#[derive(Clone, Debug)]
pub struct HistogramFamily<const N: usize> {
    definition: &'static MetricDefinition,
    family: Family<StaticLabels<N>, Histogram, Buckets>,
}

/// The upper ends of a histogram's buckets.
#[derive(Clone, Copy, Debug)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// Everything that a process counts.
#[derive(Debug, Default)]
pub struct Instruments {
    pub(crate) registry: Registry,
}

impl Instruments {
    /// Counters of a metric.
    pub fn counters<const N: usize>(
        &mut self,
        definition: &'static MetricDefinition,
    ) -> CounterFamily<N> {
        debug_assert_eq!(definition.kind, MetricKind::Counter, "{}", definition.name);
        let family = Family::default();
        self.registry
            .register(definition.stem(), definition.help, family.clone());
        CounterFamily { definition, family }
    }

    /// The counter of a metric without labels.
    pub fn counter(&mut self, definition: &'static MetricDefinition) -> Counter {
        self.counters::<0>(definition).of([])
    }

    /// Histograms of a metric, with the upper ends of their buckets.
    pub fn histograms<const N: usize>(
        &mut self,
        definition: &'static MetricDefinition,
        buckets: &'static [f64],
    ) -> HistogramFamily<N> {
        debug_assert_eq!(
            definition.kind,
            MetricKind::Histogram,
            "{}",
            definition.name
        );
        let family = Family::new_with_constructor(Buckets(buckets));
        self.registry
            .register(definition.stem(), definition.help, family.clone());
        HistogramFamily { definition, family }
    }

    /// The histogram of a metric without labels.
    pub fn histogram(
        &mut self,
        definition: &'static MetricDefinition,
        buckets: &'static [f64],
    ) -> Histogram {
        self.histograms::<0>(definition, buckets).of([])
    }
}

fn labelled<const N: usize>(
    definition: &'static MetricDefinition,
    values: [&'static str; N],
) -> StaticLabels<N> {
    debug_assert_eq!(definition.labels.len(), N, "{}", definition.name);
    let mut names = definition.labels.iter();
    values.map(|value| (names.next().copied().unwrap_or_default(), value))
}

impl<const N: usize> CounterFamily<N> {
    /// The counter with these values of its labels; it is told from now on.
    #[must_use]
    pub fn of(&self, values: [&'static str; N]) -> Counter {
        let labels = labelled(self.definition, values);
        self.family.get_or_create_owned(&labels)
    }
}

impl<const N: usize> HistogramFamily<N> {
    /// The histogram with these values of its labels; it is told from now on.
    #[must_use]
    pub fn of(&self, values: [&'static str; N]) -> Histogram {
        let labels = labelled(self.definition, values);
        self.family.get_or_create_owned(&labels)
    }
}
