//! What servers and agents tell those who watch them, where something is in the way.

use crate::harness::{Boxes, NodeOptions, System, until_ok};
use crate::prometheus::get;
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};

#[test]
fn an_agent_whose_address_for_metrics_is_taken_serves_and_tells_them_when_it_is_free() {
    let system = System::with(&Boxes::version(1).bundle());
    let port = system.port(2);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
    let node = system.node(NodeOptions::new("a", system.port(1)).metrics_port(port));
    system.until_settled(&node, 1);
    node.until_said("no metrics are told yet");
    drop(taken);
    let text = until_ok("the agent to tell its metrics", || get(port, "/metrics"));
    for line in [
        "upstart_agent_info{node=\"a\",class=\"box\",system=\"boxes\"} 1",
        "upstart_agent_version 1",
        "upstart_agent_software_state{state=\"running\"} 1",
        "upstart_agent_software_starts_total 1",
        "upstart_agent_server_reachable 1",
        "upstart_agent_events_total{kind=\"node.settled\",severity=\"info\"} 1",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn a_log_for_collectors_has_an_object_on_each_line() {
    let system = System::start_with_options(&["--log-format", "json"]);
    system.publish(&Boxes::version(1).bundle());
    let log = std::fs::read_to_string(system.folder().join("server.log")).expect("a log");
    let objects: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let listens = objects
        .iter()
        .find(|object| object["message"] == "the upgrade server listens");
    let listens = listens.expect("it says where it listens");
    assert_eq!(listens["level"], "INFO");
    assert!(
        listens["address"].is_string() && listens["timestamp"].is_string(),
        "{listens}"
    );
}
