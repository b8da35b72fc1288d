//! Software cannot tell that it runs under the library: the same calls bare and preloaded, the same transcript.

use crate::harness::namespace::{set, within};
use crate::harness::{Node, free_port, kernel_count, table};
use intercept::stats::Counter;
use intercept::table::Table;
use kit::programs::{compile, find, printed};
use network::{Namespace, unavailable};
use std::path::Path;
use std::process::Command;

/// Where a scenario runs.
enum Host {
    /// Here, with the kernel's settings as they are.
    This,
    /// In a namespace whose listeners take data with the first packet.
    TakingData(Namespace),
}

impl Host {
    fn taking_data(test: &str) -> Option<Self> {
        if let Some(why) = unavailable() {
            println!("SKIPPED: {test} where listeners take data: {why}");
            return None;
        }
        let namespace = Namespace::new().expect("a namespace");
        set(&namespace, "net/ipv4/tcp_fastopen", "3");
        Some(Self::TakingData(namespace))
    }

    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match self {
            Self::This => work(),
            Self::TakingData(namespace) => within(namespace, work),
        }
    }
}

/// Runs a scenario of `probe.c` both ways. `labels` connections carry labels, all of which are consumed at the service.
fn same(host: Option<Host>, scenario: &str, labels: u64) {
    same_with(host, scenario, labels, |consumed, sent| consumed == sent);
}

fn same_with(
    host: Option<Host>,
    scenario: &str,
    labels: u64,
    accepted: impl Fn(u64, u64) -> bool + Send,
) {
    let Some(host) = host else { return };
    if find(scenario, "gcc").is_some() {
        host.within(|| {
            let cookies = matches!(host, Host::TakingData(_));
            same_within(scenario, labels, accepted, cookies);
        });
    }
}

fn same_within(scenario: &str, labels: u64, accepted: impl Fn(u64, u64) -> bool, cookies: bool) {
    let (port, closed) = (free_port(), free_port());
    let node = Node::new(&Table {
        cookies,
        ..table(&[port, closed])
    });
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/library/syscalls/probe.c");
    let probe = compile(&source, node.folder.path());
    let command = || {
        let mut command = Command::new(&probe);
        command.args([scenario, &port.to_string(), &closed.to_string()]);
        command
    };
    let bare = printed(&mut command());
    assert_eq!(node.count(Counter::Loaded), 0, "the bare run was not bare");
    let preloaded = printed(node.preload(&mut command()));
    assert_eq!(bare, preloaded, "{}", node.counters());
    let stats = node.stats();
    let (sent, consumed) = (
        stats.get(Counter::ConnectLabelled),
        stats.get(Counter::AcceptLabelled),
    );
    assert!(
        sent >= labels && accepted(consumed, sent),
        "{}",
        node.counters()
    );
    // Not in every scenario: a listener for all addresses wants cookies, which nobody has on loopback, and a full one takes none.
    if cookies && matches!(scenario, "blocking" | "nonblocking" | "threads") {
        assert!(kernel_count("TCPFastOpenPassive") > 0, "nothing was taken");
    }
    assert_eq!(node.holder.handed_over(), 0, "{}", node.counters());
    let outsiders = if scenario == "reset_by_outsider" {
        2
    } else {
        0
    };
    assert_eq!(
        stats.get(Counter::AcceptUnlabelled) + stats.get(Counter::ConnectSlowPath),
        outsiders,
        "{}",
        node.counters()
    );
}

macro_rules! scenarios {
    ($($name:ident: $labels:literal,)*) => {
        $(#[test] fn $name() { same(Some(Host::This), stringify!($name), $labels); })*
        mod taking_data {
            use super::{Host, same};
            $(#[test] fn $name() { same(Host::taking_data(stringify!($name)), stringify!($name), $labels); })*
        }
    };
}

scenarios! {
    blocking: 1,
    nonblocking: 1,
    select_loop: 1,
    server_first: 1,
    accept_forms: 5,
    families_v4: 2,
    families_dual: 4,
    mixed_mptcp: 1,
    families_mptcp: 4,
    mptcp_nonblocking: 1,
    processes: 3,
    threads: 400,
    reuse_port: 40,
    fast_open_nonblocking: 1,
}

macro_rules! scenarios_with_unanswered {
    ($($name:ident: $labels:literal, $accepted:literal;)*) => {
        $(#[test] fn $name() {
            same_with(Some(Host::This), stringify!($name), $labels, |consumed, _| consumed == $accepted);
        })*
        mod unanswered_taking_data {
            use super::{Host, same_with};
            $(#[test] fn $name() {
                let host = Host::taking_data(stringify!($name));
                same_with(host, stringify!($name), $labels, |consumed, _| consumed == $accepted);
            })*
        }
    };
}

// Labels that were sent with a SYN that nobody answers, or in connections that nobody accepts, are not consumed.
scenarios_with_unanswered! {
    refused: 3, 1;
    refused_nonblocking: 2, 0;
    epoll_edges: 2, 1;
    odd_calls: 3, 2;
    signals_restart: 2, 2;
    signals_interrupt: 2, 2;
    accept_interrupted: 0, 0;
    time_outs: 4, 0;
    cancelled: 2, 0;
    half_close: 3, 3;
    reset_by_outsider: 0, 0;
    fast_open: 5, 4;
}
