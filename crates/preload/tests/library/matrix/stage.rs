//! Where a workload runs: on this host's loopback or between two hosts, bare or under the library.

use crate::harness::namespace::{command, within};
use crate::harness::{Node, free_port, table};
use intercept::stats::Counter;
use intercept::table::Table;
use kit::programs::{Running, find, printed, run};
use kit::wait_for;
use kit::workloads::{Stage, Workload, as_user};
use network::Namespace;
use network::Pair;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// One run of a workload.
struct LibraryStage<'a> {
    /// Where the server listens.
    host: IpAddr,
    /// And at which port.
    port: u16,
    pair: Option<&'a Pair>,
    server: Node,
    caller: Option<Node>,
    preloaded: bool,
}

impl<'a> LibraryStage<'a> {
    fn new(pair: Option<&'a Pair>, host: IpAddr, preloaded: bool) -> Self {
        let port = free_port();
        let Some(pair) = pair else {
            return Self {
                host,
                port,
                pair,
                server: Node::new(&table(&[port])),
                caller: None,
                preloaded,
            };
        };
        let source = if host.is_ipv4() {
            "10.99.0.1"
        } else {
            "fd99::1"
        };
        let both = Table {
            endpoints: vec![SocketAddr::new(host, port)],
            sources: vec![source.parse().expect("an address"), host],
            ..table(&[port])
        };
        let caller = within(&pair.callers, || {
            Node::new(&Table {
                services: vec![],
                ..both.clone()
            })
        });
        let server = within(&pair.servers, || Node::new(&both));
        Self {
            host,
            port,
            pair: Some(pair),
            server,
            caller: Some(caller),
            preloaded,
        }
    }

    fn command(&self, program: &str, side: fn(&Pair) -> &Namespace, node: &Node) -> Command {
        let program = find("matrix", program).unwrap_or_else(|| program.into());
        let mut command = match self.pair {
            Some(pair) => command(side(pair), program),
            None => Command::new(program),
        };
        if self.preloaded {
            node.preload(&mut command);
        }
        command
    }

    fn answers(&self) -> bool {
        let connects =
            || TcpStream::connect_timeout(&self.address(), Duration::from_secs(1)).is_ok();
        match self.pair {
            Some(pair) => within(&pair.servers, connects),
            None => connects(),
        }
    }

    /// Labels really went out and were consumed, and nothing else happened to these connections.
    fn judge(&self, connections: u64) {
        let caller = self.caller.as_ref().unwrap_or(&self.server);
        let (sent, received) = (caller.stats(), self.server.stats());
        let consumed = received.get(Counter::AcceptLabelled);
        let said = format!(
            "callers: {}; server: {}",
            caller.counters(),
            self.server.counters()
        );
        assert!(
            sent.get(Counter::ConnectLabelled) >= connections && consumed >= connections,
            "{said}"
        );
        for never in [
            Counter::AcceptUnlabelled,
            Counter::ConnectSlowPath,
            Counter::HandOverFailed,
            Counter::HandOverForeign,
            Counter::HandOverUndecided,
            Counter::HandOverPublic,
            Counter::LoadedWithoutTable,
        ] {
            assert_eq!(
                received.get(never)
                    + if self.caller.is_some() {
                        sent.get(never)
                    } else {
                        0
                    },
                0,
                "{said}"
            );
        }
        println!("{said}");
    }
}

impl Stage for LibraryStage<'_> {
    fn folder(&self) -> &Path {
        self.server.folder.path()
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    fn server(&self, program: &str) -> Command {
        self.command(program, |pair| &pair.servers, &self.server)
    }

    fn caller(&self, program: &str) -> Command {
        self.command(
            program,
            |pair| &pair.callers,
            self.caller.as_ref().unwrap_or(&self.server),
        )
    }

    fn serve_as(&self, user: Option<&str>, command: &Command) -> Option<Running> {
        let mut running = Running::start(&mut as_user(command, user));
        let listens = || {
            assert!(running.runs(), "the server has ended");
            if self.preloaded {
                self.server.holder.has_listening(self.port)
            } else {
                self.answers()
            }
        };
        wait_for("the server", listens);
        Some(running)
    }

    fn call(&self, command: &mut Command) -> String {
        printed(command)
    }

    fn succeeds(&self, command: &mut Command) -> bool {
        run(command).status.success()
    }
}

/// Runs a workload bare and under the library at this host: the same results, and at least so many labelled connections.
fn same_at(pair: Option<&Pair>, host: IpAddr, workload: Workload, connections: u64) {
    let bare = workload(&LibraryStage::new(pair, host, false));
    let stage = LibraryStage::new(pair, host, true);
    let preloaded = workload(&stage);
    assert_eq!(bare, preloaded, "at {host}");
    stage.judge(connections);
}

/// On loopback.
pub(crate) fn same(test: &str, programs: &[&str], workload: Workload, connections: u64) {
    if programs.iter().all(|program| find(test, program).is_some()) {
        same_at(None, Ipv4Addr::LOCALHOST.into(), workload, connections);
    }
}

/// Between two network namespaces with their own addresses, by IPv4 and IPv6.
pub(crate) fn same_between_hosts(
    test: &str,
    programs: &[&str],
    workload: Workload,
    connections: u64,
) {
    if !programs.iter().all(|program| find(test, program).is_some()) {
        return;
    }
    let Some(pair) = Pair::make(test) else { return };
    for host in pair.servers_at {
        same_at(Some(&pair), host, workload, connections);
    }
}
