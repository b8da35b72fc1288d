//! What a node's agent is told.

use super::clock::Clock;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What a node is told.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Its variables.
    pub variables: Vec<(String, String)>,
    /// Its attributes.
    pub attributes: Vec<(String, String)>,
    /// Its addresses; the default when there are none.
    pub addresses: Vec<String>,
    /// How often it asks the server.
    pub poll_ms: u64,
    /// Where it kills itself: `UPSTART_KILL_AT`.
    pub kill_at: Option<String>,
    /// Networks whose labels it honours.
    pub networks: Vec<String>,
    /// What its host's clock shows.
    pub clock: Clock,
    /// How many files its agent may have open at most; what it has from this test otherwise.
    pub open_files: Option<u64>,
    /// Its agent has CAP_SYS_ADMIN, where this test has it.
    pub privileged: bool,
    /// Variables of the agent's environment.
    pub environment: Vec<(String, OsString)>,
    /// Which of them it passes on.
    pub passed: Vec<String>,
    /// The first root of the signed repository, where it is given one.
    pub root: Option<PathBuf>,
    /// The program of its agent; the one under test otherwise.
    pub program: Option<PathBuf>,
    /// Where it finds the server, and the file with the token for it, where that is not what all nodes are told.
    pub server: Option<(String, PathBuf)>,
    /// The port at which it serves artifacts to other nodes.
    pub artifact_port: Option<u16>,
    /// The port at which it tells its metrics.
    pub metrics_port: Option<u16>,
    /// Its data directory, where that is not called as it is.
    pub data: Option<PathBuf>,
}

impl NodeOptions {
    /// A box on this port.
    pub fn new(name: &str, port: u16) -> Self {
        Self::of(name, "box").variable("port", port)
    }

    /// A node of a class, without variables.
    pub fn of(name: &str, class: &str) -> Self {
        Self {
            name: name.to_owned(),
            class: class.to_owned(),
            variables: Vec::new(),
            attributes: Vec::new(),
            addresses: Vec::new(),
            poll_ms: 200,
            kill_at: None,
            networks: Vec::new(),
            clock: Clock::RIGHT,
            open_files: None,
            privileged: true,
            environment: Vec::new(),
            passed: Vec::new(),
            root: None,
            program: None,
            server: None,
            artifact_port: None,
            metrics_port: None,
            data: None,
        }
    }

    /// Finds the server at this address, with the token in this file.
    pub fn server(mut self, url: &str, token_file: &Path) -> Self {
        self.server = Some((url.to_owned(), token_file.to_owned()));
        self
    }

    /// Of another class.
    pub fn class(mut self, class: &str) -> Self {
        class.clone_into(&mut self.class);
        self
    }

    /// With a variable more.
    pub fn variable(mut self, key: &str, value: impl ToString) -> Self {
        self.variables.push((key.to_owned(), value.to_string()));
        self
    }

    /// With an attribute more.
    pub fn attribute(mut self, key: &str, value: &str) -> Self {
        self.attributes.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Its agent has this variable in its environment.
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Its agent passes this variable on.
    pub fn passed(mut self, name: &str) -> Self {
        self.passed.push(name.to_owned());
        self
    }

    /// Asks the server so often.
    pub fn poll_ms(mut self, poll_ms: u64) -> Self {
        self.poll_ms = poll_ms;
        self
    }

    /// Serves artifacts to other nodes at this port.
    pub fn artifact_port(mut self, port: u16) -> Self {
        self.artifact_port = Some(port);
        self
    }

    /// Tells its metrics at this port.
    pub fn metrics_port(mut self, port: u16) -> Self {
        self.metrics_port = Some(port);
        self
    }

    /// Honours labels from this network.
    pub fn network(mut self, network: &str) -> Self {
        self.networks.push(network.to_owned());
        self
    }

    /// Its agent may have so many files open, and no more.
    pub fn open_files(mut self, limit: u64) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// On a host whose clock shows this.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Its agent is this program.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Its agent has no CAP_SYS_ADMIN, and neither has what it starts.
    pub fn unprivileged(mut self) -> Self {
        self.privileged = false;
        self
    }

    /// Its agent kills itself there.
    pub fn kill_at(mut self, place: &str) -> Self {
        self.kill_at = Some(place.to_owned());
        self
    }
}
