//! Declared networks: where load balancers and address translation hide members' addresses.

use crate::harness::{Boxes, Caller, NodeOptions, System, until};
use std::net::Ipv4Addr;

/// An address of each kind; all are this host's.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const CONFIGURED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 17);
const DECLARED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 33);

#[test]
fn labels_from_declared_networks_are_honoured_and_others_are_not() {
    let declare = |boxes: Boxes| {
        let port = "connections = \"stateless\"\n";
        let networks = format!("{port}networks = [\"${{vars.balancer}}/28\"]\n");
        boxes.bundle().replaced(port, &networks)
    };
    let system = System::with(&declare(Boxes::version(1)));
    let options = NodeOptions::new("a", system.port(1))
        .variable("balancer", "127.0.0.32")
        .network("127.0.0.16/28");
    let node = system.node(options);
    system.until_settled(&node, 1);
    system.publish(&declare(Boxes::version(2).schedule("approval = true")));
    system.until_staged(&node, 2);
    let (port, id) = (system.port(1), system.view().system_id);
    let mut number = 0;
    // Version 1 is the software's own, version 2 an adapter's: the hook decides on the one, the agent on the other.
    for version in [1, 2] {
        for source in [CONFIGURED, DECLARED] {
            number += 1;
            let mut caller = Caller::labelled_from(source, port, id, version).expect("connected");
            caller.put("apples", number).unwrap_or_else(|error| {
                let fact = system.fact("a");
                panic!(
                    "version {version} from {source}: {error}; {:?}",
                    fact.report.counters
                )
            });
            assert_eq!(caller.get("apples").expect("honoured"), Some(number));
        }
        let stranger = Caller::labelled_from(STRANGER, port, id, version)
            .and_then(|mut caller| caller.call("GET", "/", None));
        assert!(stranger.is_err() || stranger.is_ok_and(|answer| answer.status == 400));
    }
    // After the upgrade the same holds the other way round.
    system.approve(2, None);
    system.until_settled(&node, 2);
    for version in [1, 2] {
        let mut caller = Caller::labelled_from(CONFIGURED, port, id, version).expect("connected");
        assert_eq!(caller.get("apples").expect("honoured"), Some(number));
    }
    until("the calls to be counted", || {
        (system.counter("a", "calls.past.1") > 0 && system.counter("a", "calls.future.1") > 0)
            .then_some(())
    });
}
