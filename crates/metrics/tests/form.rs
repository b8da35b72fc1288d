//! The text of metrics is what Prometheus reads, whatever names have in them.

use metrics::catalogue::{EVENTS, HTTP_DURATION, NODES, PAUSED, PROCESS_CPU_SECONDS};
use metrics::{Instruments, Readings, ScrapeForm, read_process};

fn text(form: ScrapeForm) -> String {
    let mut readings = Readings::default();
    readings.put(&PAUSED, true);
    readings.put_of(&NODES, ["a\"b\\c\nd", "2", "settled"], 3_usize);
    readings.put_of(&NODES, ["e", "2", "settled"], 4_usize);
    readings.put(&PROCESS_CPU_SECONDS, 1.5);
    let mut counted = Instruments::default();
    counted
        .counters(&EVENTS)
        .of(["node.settled", "info"])
        .inc_by(7);
    let taken = counted.histograms(&HTTP_DURATION, &[0.1, 1.0]);
    taken.of(["/v1/system", "GET"]).observe(0.5);
    form.text(readings, Some(&counted))
}

#[test]
fn open_metrics_names_families_and_ends() {
    let text = text(ScrapeForm::OpenMetrics);
    for line in [
        "# TYPE upstart_paused gauge",
        "upstart_paused 1.0",
        "upstart_nodes{class=\"a\\\"b\\\\c\\nd\",version=\"2\",phase=\"settled\"} 3.0",
        "upstart_nodes{class=\"e\",version=\"2\",phase=\"settled\"} 4.0",
        "# TYPE process_cpu_seconds counter",
        "process_cpu_seconds_total 1.5",
        "# TYPE upstart_events counter",
        "upstart_events_total{kind=\"node.settled\",severity=\"info\"} 7",
        "upstart_http_request_duration_seconds_bucket{le=\"1.0\",route=\"/v1/system\",method=\"GET\"} 1",
        "upstart_http_request_duration_seconds_count{route=\"/v1/system\",method=\"GET\"} 1",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
    assert_eq!(text.matches("# TYPE upstart_nodes ").count(), 1, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn the_older_form_has_the_same_values() {
    let text = text(ScrapeForm::accepted(Some("text/plain")));
    for line in [
        "# TYPE upstart_events_total counter",
        "upstart_events_total{kind=\"node.settled\",severity=\"info\"} 7",
        "# TYPE process_cpu_seconds_total counter",
        "process_cpu_seconds_total 1.5",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
    assert!(!text.contains("# EOF"), "{text}");
}

#[test]
fn a_process_tells_what_it_is() {
    let mut readings = Readings::default();
    read_process(&mut readings, "0.1.0");
    let text = ScrapeForm::OpenMetrics.text(readings, None);
    assert!(text.contains("upstart_build_info{version=\"0.1.0\"} 1.0\n"));
    let value = |name: &str| -> f64 {
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.expect(name).parse().expect("a number")
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let started = now.expect("after 1970").as_secs_f64() - value("process_start_time_seconds");
    assert!((-1.0..600.0).contains(&started), "{started}");
    assert!(value("process_resident_memory_bytes") > 100_000.0);
    assert!(value("process_open_fds") >= 3.0);
    assert!(value("process_max_fds") >= value("process_open_fds"));
    assert!(value("process_cpu_seconds_total") >= 0.0);
}
