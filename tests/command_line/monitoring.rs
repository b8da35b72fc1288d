//! The alert rules and the dashboard that are shipped: Prometheus takes them, they ask for metrics that there are, and every alert has a
//! test and says what to do. That they fire is for the tests of whole systems.

use kit::programs::find;
use metrics::MetricKind;
use metrics::catalogue::{AGENT_METRICS, PROCESS_METRICS, SERVER_METRICS};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(place(name)).expect(name)
}

/// What stands behind a key in a line of its own.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text.lines().map(str::trim_start);
    lines.filter_map(|line| line.strip_prefix(key)).collect()
}

fn promtool(program: &Path, arguments: &[&str], file: &Path) {
    let output = Command::new(program).args(arguments).arg(file).output();
    let output = output.expect("promtool runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Every name that a query may use, with its labels.
fn told() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut told = BTreeMap::new();
    for metric in [SERVER_METRICS, AGENT_METRICS, PROCESS_METRICS]
        .into_iter()
        .flatten()
    {
        let labels: BTreeSet<&str> = metric.labels.iter().copied().collect();
        if metric.kind == MetricKind::Histogram {
            for part in ["_bucket", "_count", "_sum"] {
                told.insert(format!("{}{part}", metric.name), labels.clone());
            }
        } else {
            told.insert(metric.name.to_owned(), labels);
        }
    }
    told
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter == '_'
}

/// The metrics of ours in a query, each with the labels by which it is chosen.
fn asked(query: &str) -> Vec<(&str, Vec<&str>)> {
    let mut asked = Vec::new();
    let mut rest = query;
    while let Some(at) = ["upstart_", "process_"]
        .iter()
        .filter_map(|it| rest.find(it))
        .min()
    {
        let is_part = rest[..at].ends_with(is_name);
        let length = rest[at..].find(|letter| !is_name(letter));
        let (name, behind) = rest[at..].split_at(length.unwrap_or(rest.len() - at));
        let chosen = behind
            .strip_prefix('{')
            .and_then(|behind| behind.split_once('}'));
        let labels = chosen.map_or(Vec::new(), |(labels, _)| {
            let parts = labels.split("\",").filter(|part| !part.is_empty());
            parts
                .filter_map(|part| Some(part[..part.find(['=', '!'])?].trim()))
                .collect()
        });
        if !is_part {
            asked.push((name, labels));
        }
        rest = behind;
    }
    asked
}

/// Checks that queries ask for nothing that nobody tells; gives what they ask for.
fn check<'a>(queries: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let told = told();
    let mut names = BTreeSet::new();
    for query in queries {
        for (name, labels) in asked(query) {
            let known = told.get(name);
            let known = known.unwrap_or_else(|| panic!("`{name}` is in no catalogue: {query}"));
            for label in labels {
                let is_known = known.contains(label) || ["instance", "job"].contains(&label);
                assert!(is_known, "`{name}` has no label `{label}`: {query}");
            }
            names.insert(name);
        }
    }
    names
}

/// The queries of the dashboard, as Grafana would send them.
fn dashboard_queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("monitoring/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let queries = targets.map(|target| target["expr"].as_str().expect("a query"));
    queries
        .map(|query| {
            query
                .replace("$__rate_interval", "5m")
                .replace("$server", ".*")
        })
        .collect()
}

#[test]
fn queries_ask_for_metrics_that_there_are() {
    let rules = text("monitoring/alerts.yml");
    let of_alerts = check(
        rules
            .lines()
            .filter(|line| !line.trim_start().starts_with('#')),
    );
    assert!(of_alerts.len() > 15, "{of_alerts:?}");
    let queries = dashboard_queries();
    assert!(
        queries.iter().all(|query| !query.contains('$')),
        "{queries:?}"
    );
    let of_dashboard = check(queries.iter().map(String::as_str));
    assert!(of_dashboard.len() > 30, "{of_dashboard:?}");
    let unseen: Vec<&&str> = of_alerts.difference(&of_dashboard).collect();
    assert_eq!(
        unseen,
        [&"upstart_agent_info", &"upstart_agent_server_reachable"],
        "what alerts look at is on the dashboard"
    );
}

#[test]
fn a_query_with_a_name_or_a_label_that_is_none_is_found() {
    for query in ["sum(upstart_nods)", "upstart_nodes{phases=\"blocked\"}"] {
        assert!(std::panic::catch_unwind(|| check([query].into_iter())).is_err());
    }
    let query = "upstart_nodes{class=\"a,b\", phase!=\"x\"} / upstart_paused";
    assert_eq!(
        asked(query),
        [
            ("upstart_nodes", vec!["class", "phase"]),
            ("upstart_paused", vec![])
        ]
    );
}

#[test]
fn every_alert_says_what_to_do_and_has_a_test() {
    let (rules, page) = (text("monitoring/alerts.yml"), text("docs/guides/alerts.md"));
    let names = values(&rules, "- alert: ");
    let headings = values(&page, "### ");
    assert_eq!(
        names, headings,
        "the alerts, and the headings of docs/guides/alerts.md"
    );
    let runbooks: Vec<String> = names
        .iter()
        .map(|name| format!("docs/guides/alerts.md#{}", name.to_lowercase()))
        .collect();
    assert_eq!(values(&rules, "runbook: "), runbooks);
    for (key, what) in [
        ("severity: ", "a severity"),
        ("summary: ", "a summary"),
        ("for: ", "a time"),
    ] {
        assert_eq!(
            values(&rules, key).len(),
            names.len(),
            "each alert has {what}"
        );
    }
    let severities: BTreeSet<&str> = values(&rules, "severity: ").into_iter().collect();
    assert_eq!(severities, BTreeSet::from(["critical", "info", "warning"]));
    let tests = text("monitoring/alerts_test.yml");
    for name in names {
        assert!(tests.contains(&format!("\"{name}\"")), "{name} has no test");
    }
}

#[test]
fn prometheus_takes_the_rules_and_they_fire_when_they_should() {
    let test = "monitoring::prometheus_takes_the_rules_and_they_fire_when_they_should";
    let Some(program) = find(test, "promtool") else {
        return;
    };
    promtool(
        &program,
        &["check", "rules"],
        &place("monitoring/alerts.yml"),
    );
    promtool(
        &program,
        &["test", "rules"],
        &place("monitoring/alerts_test.yml"),
    );
    // The dashboard's queries as rules, so that it is seen whether they can be read.
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, query) in dashboard_queries().iter().enumerate() {
        let quoted = Value::from(query.as_str());
        rules.push_str(&format!(
            "      - record: query:{number}\n        expr: {quoted}\n"
        ));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dashboard.yml");
    std::fs::write(&file, rules).expect("written");
    promtool(&program, &["check", "rules"], &file);
}
