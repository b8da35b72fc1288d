//! Nodes that need each other and upgrade at the same moment.

use crate::harness::{Boxes, Caller, NodeOptions, System, is_crash, until};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What one call may take: a few times the hold bound that the upgrade files say, never for ever.
const CALL_LIMIT: Duration = Duration::from_secs(12);

#[test]
fn nodes_that_call_each_other_within_every_request_upgrade_at_the_same_moment() {
    let peer = ["--peer", "${string(vars.peer)}"];
    let first = Boxes::version(1).arguments(&peer).setting("hold_ms = 5000");
    let system = System::with(&first.bundle());
    let ports = [system.port(1), system.port(2)];
    let nodes: Vec<_> = [("a", 0, 1), ("b", 1, 0)]
        .into_iter()
        .map(|(name, own, other): (_, usize, usize)| {
            system.node(NodeOptions::new(name, ports[own]).variable("peer", ports[other]))
        })
        .collect();
    for node in &nodes {
        system.until_settled(node, 1);
    }
    let second = Boxes::version(2)
        .arguments(&peer)
        .transform_argument("sleep_ms=1000")
        .setting("hold_ms = 5000\ndrain_ms = 1000");
    let id = system.view().system_id;
    let over = AtomicBool::new(false);
    let answered: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for (index, answered) in answered.iter().enumerate() {
            let (port, version) = (
                ports[index % 2],
                1 + u32::try_from(index / 2).expect("small"),
            );
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let call = Caller::labelled(port, id, version)
                        .and_then(|mut caller| caller.put("apples", 1));
                    let took = begun.elapsed();
                    assert!(took < CALL_LIMIT, "a call took {took:?}");
                    match call {
                        Ok(()) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => assert!(is_crash(&error), "{error}"),
                    }
                }
            });
        }
        let ends = Ends(&over);
        let goes_on = |callers: &[AtomicUsize]| {
            let before: Vec<usize> = callers.iter().map(|n| n.load(Ordering::Relaxed)).collect();
            until("every caller to be answered", || {
                let here = callers.iter().zip(&before);
                here.map(|(now, then)| now.load(Ordering::Relaxed) - then)
                    .all(|more| more >= 5)
                    .then_some(())
            });
        };
        goes_on(&answered[..2]);
        let begun = Instant::now();
        system.publish(&second.bundle());
        for node in &nodes {
            system.until_settled(node, 2);
        }
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{:?}",
            begun.elapsed()
        );
        goes_on(&answered);
        drop(ends);
    });
    // They did so at the same moment, and each answered the other across the versions.
    let stopped: Vec<_> = nodes
        .iter()
        .map(|node| system.events_of(node, "node.stopping")[0].at_ms)
        .collect();
    let settled: Vec<_> = nodes
        .iter()
        .map(|node| system.events_of(node, "node.settled")[1].at_ms)
        .collect();
    assert!(
        stopped.iter().max() < settled.iter().min(),
        "one after the other: {stopped:?} {settled:?}"
    );
    let mut caller = system.member(ports[0], 2).expect("connected");
    caller.put("pears", 3).expect("answered");
    assert_eq!(caller.last.expect("an answer").headers["x-peer"], "410");
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
