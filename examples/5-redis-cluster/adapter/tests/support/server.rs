//! Redis servers, and what is asked of them.

use network::Namespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where clients reach every server; the bus is 10,000 above.
pub(crate) const PORT: u16 = 7000;
/// After so long without an answer a node counts as failed, in milliseconds.
const NODE_TIMEOUT_MS: &str = "4000";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Redis 3.2.6, if it was built: `setup.py` puts it into the target directory.
pub(crate) fn old_program() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    // target/PROFILE/deps/TEST
    let program = test
        .ancestors()
        .nth(3)?
        .join("examples/redis-cluster/redis-server-3.2.6");
    program.exists().then_some(program)
}

/// Redis 7.0, if the machine has it.
pub(crate) fn new_program() -> Option<PathBuf> {
    let said = Command::new("redis-server")
        .arg("--version")
        .output()
        .ok()?;
    String::from_utf8_lossy(&said.stdout)
        .contains("v=7.0.")
        .then(|| "redis-server".into())
}

/// A running server; it ends with this value.
pub(crate) struct Server {
    child: Child,
    namespace: Namespace,
    /// Its address.
    pub(crate) address: Ipv4Addr,
}

impl Server {
    /// Starts a server with this address, its data in a folder.
    pub(crate) fn start(
        namespace: &Namespace,
        program: &Path,
        address: Ipv4Addr,
        folder: &Path,
        more: &[&str],
    ) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let child = namespace
            .command(program)
            .args(["--bind", &address.to_string(), "--port", &PORT.to_string()])
            .args([
                "--cluster-enabled",
                "yes",
                "--appendonly",
                "no",
                "--save",
                "",
            ])
            .args([
                "--cluster-node-timeout",
                NODE_TIMEOUT_MS,
                "--protected-mode",
                "no",
            ])
            .arg("--dir")
            .arg(folder)
            .args(more)
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .expect("nsenter runs");
        let server = Self {
            child,
            namespace: namespace.clone(),
            address,
        };
        super::wait("the server answers", || server.try_ask("PING").is_ok());
        server
    }

    /// Asks in one line; whatever comes back, as text.
    pub(crate) fn ask(&self, line: &str) -> String {
        self.try_ask(line)
            .unwrap_or_else(|error| panic!("{} does not answer `{line}`: {error}", self.address))
    }

    /// Asks in one line; what comes back, or why nothing did.
    pub(crate) fn ask_or_error(&self, line: &str) -> String {
        self.try_ask(line).unwrap_or_else(|error| error.to_string())
    }

    fn try_ask(&self, line: &str) -> std::io::Result<String> {
        let at = SocketAddr::from((self.address, PORT));
        self.namespace
            .within(|| {
                let mut stream = TcpStream::connect_timeout(&at, ANSWER_TIMEOUT)?;
                stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                write!(stream, "{line}\r\n")?;
                answer(&mut BufReader::new(stream))
            })
            .map_err(std::io::Error::other)?
    }

    /// Its id in the cluster.
    pub(crate) fn id(&self) -> String {
        let nodes = self.ask("CLUSTER NODES");
        let own = nodes.lines().find(|line| line.contains("myself"));
        own.and_then(|line| line.split(' ').next())
            .expect("every node knows itself")
            .to_owned()
    }

    /// A line such as `cluster_state:ok` of `CLUSTER INFO` or `INFO`.
    pub(crate) fn says(&self, question: &str, line: &str) -> bool {
        self.ask(question).lines().any(|said| said.trim() == line)
    }

    /// A number of `CLUSTER INFO`.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let info = self.ask("CLUSTER INFO");
        let mut lines = info.lines();
        lines
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {info}"))
    }

    /// How the cluster's list, as this node sees it, describes a node: its flags and the state of the link.
    pub(crate) fn sees(&self, id: &str) -> Option<(String, bool)> {
        let nodes = self.ask("CLUSTER NODES");
        let line = nodes.lines().find(|line| line.starts_with(id))?;
        let words: Vec<&str> = line.split(' ').collect();
        Some((words[2].to_owned(), words[7] == "connected"))
    }

    /// Stops it, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it is our child");
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One answer of RESP; arrays are not asked for.
fn answer(stream: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    match line.split_at_checked(1) {
        Some(("$", length)) if length != "-1" => {
            let length = length.parse().map_err(std::io::Error::other)?;
            let mut text = vec![0; length];
            stream.read_exact(&mut text)?;
            String::from_utf8(text).map_err(std::io::Error::other)
        }
        Some(("+" | ":", text)) => Ok(text.to_owned()),
        _ => Err(std::io::Error::other(format!("it answered `{line}`"))),
    }
}
