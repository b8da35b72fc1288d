//! The page on metrics says what the code says, and the code keeps Prometheus' conventions.

use metrics::catalogue::{AGENT_METRICS, PROCESS_METRICS, SERVER_METRICS};
use metrics::{MetricDefinition, MetricKind};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

fn table(metrics: &[&MetricDefinition]) -> String {
    let mut table = "| metric | kind | labels | says |\n|---|---|---|---|\n".to_owned();
    for metric in metrics {
        let labels: Vec<String> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
        let (name, kind, help) = (metric.name, metric.kind.name(), metric.help);
        let _ = writeln!(
            table,
            "| `{name}` | {kind} | {} | {help} |",
            labels.join(", ")
        );
    }
    table
}

fn all() -> impl Iterator<Item = &'static MetricDefinition> {
    let all = [SERVER_METRICS, AGENT_METRICS, PROCESS_METRICS];
    all.into_iter().flatten().copied()
}

#[test]
fn the_reference_lists_every_metric() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let page = std::fs::read_to_string(page).expect("the page");
    for metrics in [SERVER_METRICS, AGENT_METRICS, PROCESS_METRICS] {
        let table = table(metrics);
        assert!(
            page.contains(&table),
            "docs/reference/metrics.md must have:\n{table}"
        );
    }
}

#[test]
fn names_keep_the_conventions() {
    let mut names = BTreeSet::new();
    for metric in all() {
        let name = metric.name;
        assert!(names.insert(name), "{name} is there twice");
        let is_ours = name.starts_with("upstart_") || name.starts_with("process_");
        assert!(is_ours, "{name}");
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(name.bytes().all(is_plain), "{name}");
        let is_counter = metric.kind == MetricKind::Counter;
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        if metric.kind == MetricKind::Histogram {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        let units = ["milliseconds", "_ms", "kilobytes", "_days", "percent"];
        assert!(!units.iter().any(|unit| name.contains(unit)), "{name}");
        assert!(
            metric
                .labels
                .iter()
                .all(|label| label.bytes().all(is_plain))
        );
        assert!(!metric.help.ends_with('.'), "{name}");
        assert!(!metric.help.contains('|'), "{name}");
    }
}

#[test]
fn no_series_of_a_server_is_a_nodes() {
    for metric in SERVER_METRICS {
        let mut labels = metric.labels.iter();
        assert!(
            !labels.any(|label| ["node", "name", "host", "instance", "address"].contains(label)),
            "{}",
            metric.name
        );
    }
}
