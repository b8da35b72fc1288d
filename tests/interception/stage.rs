//! Where a workload runs: bare, or with both of its ends as nodes of a system.

use crate::system::{InterceptedSystem, NEVER, named};
use intercept::stats::Counter;
use kit::programs::{Running, find, printed, run};
use kit::wait_for;
use kit::workloads::{Stage, Workload, as_user};
use network::{Impairment, Namespace, Pair};
use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// One run of a workload.
struct SystemStage<'a> {
    /// Where the server listens.
    host: IpAddr,
    /// And at which port.
    port: u16,
    pair: Option<&'a Pair>,
    bare: bool,
    // Ends before its folder does.
    system: OnceCell<InterceptedSystem<'a>>,
    folder: tempfile::TempDir,
}

/// What is between the two ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Surroundings {
    Quiet,
    /// The servers' kernel gives cookies, with which labels go out.
    Cookies,
    Impaired,
}

impl<'a> SystemStage<'a> {
    fn new(pair: Option<&'a Pair>, host: IpAddr, bare: bool) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        // Software that runs as another user must reach its files.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
            .expect("permissions");
        Self {
            host,
            port: free_port(),
            folder,
            pair,
            bare,
            system: OnceCell::new(),
        }
    }

    fn command(&self, program: &str, namespace: Option<&Namespace>) -> Command {
        let program = find("matrix", program).unwrap_or_else(|| program.into());
        match namespace {
            Some(namespace) if self.bare => namespace.command(program),
            _ => Command::new(program),
        }
    }

    fn system(&self) -> &InterceptedSystem<'a> {
        self.system.get().expect("a server was started")
    }

    /// Labels really went out and were consumed, and nothing else happened to these connections.
    fn judge(&self, connections: u64, surroundings: Surroundings) {
        let [server, caller] = self.system().counters();
        let said = format!("callers:{}; server:{}", named(&caller), named(&server));
        let slow = caller.get(Counter::ConnectSlowPath);
        let sent = caller.get(Counter::ConnectLabelled) + slow;
        // On an impaired network labels come late too, and such connections come back from the agent.
        let received = server.get(Counter::AcceptLabelled) + server.get(Counter::AcceptTaken);
        assert!(sent >= connections && received >= connections, "{said}");
        let never = NEVER.into_iter().filter(|counter| {
            surroundings == Surroundings::Quiet || *counter != Counter::ConnectSlowPath
        });
        if surroundings == Surroundings::Cookies {
            // Nothing but asking for a cookie is slow, and most labels go out with one.
            let [asked, with_cookie] = [Counter::ConnectCookieAsked, Counter::ConnectCookie]
                .map(|counter| caller.get(counter));
            assert!(asked >= 1 && slow <= asked, "{said}");
            assert!(2 * with_cookie > sent, "{said}");
        }
        for never in never {
            assert_eq!(
                server.get(never) + caller.get(never),
                0,
                "{}: {said}",
                never.name()
            );
        }
        println!("{said}");
    }
}

impl Stage for SystemStage<'_> {
    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    fn server(&self, program: &str) -> Command {
        self.command(program, self.pair.map(|pair| &pair.servers))
    }

    fn caller(&self, program: &str) -> Command {
        self.command(program, self.pair.map(|pair| &pair.callers))
    }

    fn serve_as(&self, user: Option<&str>, command: &Command) -> Option<Running> {
        let at = self.address();
        if self.bare {
            let running = Running::start(&mut as_user(command, user));
            let connects = || TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_ok();
            wait_for("the server", || match self.pair {
                Some(pair) => pair.servers.within(connects).expect("entered"),
                None => connects(),
            });
            return Some(running);
        }
        let system = InterceptedSystem::start(
            self.folder.path(),
            self.pair,
            at,
            free_port(),
            (command, user),
        );
        assert!(self.system.set(system).is_ok(), "one server each");
        None
    }

    fn call(&self, command: &mut Command) -> String {
        if self.bare {
            return printed(command);
        }
        let (good, text) = self.system().run(command);
        assert!(good, "{command:?}\n{text}");
        text
    }

    fn succeeds(&self, command: &mut Command) -> bool {
        if self.bare {
            run(command).status.success()
        } else {
            self.system().run(command).0
        }
    }
}

/// A port of this program's own range.
fn free_port() -> u16 {
    kit::free_port(27_500..30_000)
}

/// Runs a workload bare and as a system at this host: the same results, and at least so many labelled connections.
fn same_at(
    pair: Option<&Pair>,
    host: IpAddr,
    workload: Workload,
    connections: u64,
    surroundings: Surroundings,
) {
    let bare = workload(&SystemStage::new(pair, host, true));
    let stage = SystemStage::new(pair, host, false);
    assert_eq!(bare, workload(&stage), "at {host}");
    stage.judge(connections, surroundings);
}

/// On loopback.
pub(crate) fn same(test: &str, programs: &[&str], workload: Workload, connections: u64) {
    if programs.iter().all(|program| find(test, program).is_some()) {
        let host = Ipv4Addr::LOCALHOST.into();
        same_at(None, host, workload, connections, Surroundings::Quiet);
    }
}

/// Between two network namespaces with their own addresses: by IPv4 with the kernel's default settings, by IPv6 with Fast Open at
/// listeners too.
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
    let [v4, v6] = pair.servers_at;
    let quiet = Surroundings::Quiet;
    same_at(Some(&pair), v4, workload, connections, quiet);
    for side in [&pair.callers, &pair.servers] {
        side.set("net/ipv4/tcp_fastopen", "3").expect("a setting");
    }
    let cookies = Surroundings::Cookies;
    same_at(Some(&pair), v6, workload, connections, cookies);
}

/// While a system runs between two hosts, these are set to take labels with the first packet: its agents follow.
pub(crate) fn follows_the_kernels_setting(test: &str) {
    if !["python3", "curl"]
        .iter()
        .all(|program| find(test, program).is_some())
    {
        return;
    }
    let Some(pair) = Pair::make(test) else { return };
    let stage = SystemStage::new(Some(&pair), pair.servers_at[0], false);
    let [host, port] = stage.at();
    let mut server = stage.server("python3");
    stage.serve(server.args(["-m", "http.server", &port, "--bind", &host]));
    let url = format!("http://{}/", stage.authority());
    let with_cookie = || {
        stage.call(stage.caller("curl").args(["-sS", "-o", "/dev/null", &url]));
        let [_, caller] = stage.system().counters();
        caller.get(Counter::ConnectCookie)
    };
    assert_eq!([with_cookie(), with_cookie()], [0, 0]);
    for side in [&pair.callers, &pair.servers] {
        side.set("net/ipv4/tcp_fastopen", "3").expect("a setting");
    }
    wait_for("a label with a cookie", || with_cookie() > 0);
}

/// One packet of a hundred is lost each way; a round trip takes 2 to 6 ms.
const IMPAIRMENT: Impairment = Impairment {
    lost_permille: 10,
    delay: Duration::from_millis(1),
    jitter: Duration::from_millis(2),
    no_data_in_syn_to: Vec::new(),
};

/// Between two hosts on an impaired network, where packets that open a connection must not carry data; by one family, since it takes its time.
pub(crate) fn same_when_impaired(
    test: &str,
    programs: &[&str],
    workload: Workload,
    connections: u64,
) {
    if !programs.iter().all(|program| find(test, program).is_some()) {
        return;
    }
    let Some(pair) = Pair::impaired(test, IMPAIRMENT) else {
        return;
    };
    let [host, _] = pair.servers_at;
    same_at(
        Some(&pair),
        host,
        workload,
        connections,
        Surroundings::Impaired,
    );
}
