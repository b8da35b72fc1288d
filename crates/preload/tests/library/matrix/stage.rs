//! Where a workload runs: on this host's loopback or between two hosts, bare or under the library.

use crate::harness::namespace::{Pair, command, within};
use crate::harness::programs::{Running, find, printed, run};
use crate::harness::{Node, free_port, table, wait_for};
use intercept::stats::Counter;
use intercept::table::Table;
use network::Namespace;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One run of a workload.
pub(crate) struct Stage<'a> {
    /// Where the server listens.
    pub(crate) host: IpAddr,
    /// And at which port.
    pub(crate) port: u16,
    pair: Option<&'a Pair>,
    server: Node,
    caller: Option<Node>,
    preloaded: bool,
}

/// A program in its place: what it printed that must not differ.
pub(crate) type Workload = fn(&Stage<'_>) -> String;

impl<'a> Stage<'a> {
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

    /// A folder of this run.
    pub(crate) fn folder(&self) -> &Path {
        self.server.folder.path()
    }

    /// A file of the tests.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/library/matrix")
            .join(name)
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

    /// A program at the server's side.
    pub(crate) fn server(&self, program: &str) -> Command {
        self.command(program, |pair| &pair.servers, &self.server)
    }

    /// A program at the callers' side.
    pub(crate) fn caller(&self, program: &str) -> Command {
        self.command(
            program,
            |pair| &pair.callers,
            self.caller.as_ref().unwrap_or(&self.server),
        )
    }

    /// Host and port as arguments.
    pub(crate) fn at(&self) -> [String; 2] {
        [self.host.to_string(), self.port.to_string()]
    }

    /// Host and port as in a URL.
    pub(crate) fn authority(&self) -> String {
        SocketAddr::new(self.host, self.port).to_string()
    }

    /// Starts a server and waits until it listens.
    pub(crate) fn serve(&self, command: &mut Command) -> Running {
        let mut running = Running::start(command);
        let listens = || {
            assert!(running.runs(), "the server has ended");
            if self.preloaded {
                self.server.holder.has_listening(self.port)
            } else {
                self.answers()
            }
        };
        wait_for("the server", listens);
        running
    }

    /// The same as another user.
    pub(crate) fn serve_as(&self, user: Option<&str>, command: &Command) -> Running {
        self.serve(&mut super::workloads::as_user(command, user))
    }

    fn answers(&self) -> bool {
        let connects = || {
            TcpStream::connect_timeout(
                &SocketAddr::new(self.host, self.port),
                Duration::from_secs(1),
            )
            .is_ok()
        };
        match self.pair {
            Some(pair) => within(&pair.servers, connects),
            None => connects(),
        }
    }

    /// Runs a caller to its good end and returns what it printed.
    pub(crate) fn call(&self, command: &mut Command) -> String {
        printed(command)
    }

    /// Whether a caller ends well.
    pub(crate) fn succeeds(&self, command: &mut Command) -> bool {
        run(command).status.success()
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

/// Runs a workload bare and under the library at this host: the same results, and at least so many labelled connections.
fn same_at(pair: Option<&Pair>, host: IpAddr, workload: Workload, connections: u64) {
    let bare = workload(&Stage::new(pair, host, false));
    let stage = Stage::new(pair, host, true);
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
