//! The product's commands as every whole system gives them: what starts a server and an agent, publishes, asks and stops. The program
//! comes as a command, so that whoever gives it chooses the host on which it runs and its environment.

use super::node_options::NodeOptions;
use identity::{Authority, PinnedToken};
use model::api::{ChildState, NodeStatus, Phase, SystemView};
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the commands of one system are told.
#[derive(Clone, Debug)]
pub struct Commands {
    /// Where its servers are, separated by commas.
    pub server: String,
    /// The file with the token that lets them in, where that is asked for.
    pub token_file: Option<PathBuf>,
    /// The folder of its publisher's keys.
    pub keys: PathBuf,
}

impl Commands {
    /// Runs its server, at this address and over this data.
    pub fn serve(&self, upstart: Command, listen: &str, data: &Path) -> Command {
        self.let_in(serve(upstart, listen, data))
    }

    /// Runs a node's agent over this data.
    pub fn agent(&self, mut upstart: Command, options: &NodeOptions, data: &Path) -> Command {
        let other = options.server.as_ref();
        let server = other.map_or(&self.server, |(server, _)| server);
        upstart.args(["agent", "--server", server, "--data"]);
        upstart.arg(data);
        upstart.args(["--name", &options.name, "--class", &options.class]);
        upstart.args(["--poll-ms", &options.poll_ms.to_string()]);
        for address in &options.addresses {
            upstart.args(["--address", address]);
        }
        for (flag, pairs) in [
            ("--var", &options.variables),
            ("--attribute", &options.attributes),
        ] {
            for (key, value) in pairs {
                upstart.args([flag, &format!("{key}={value}")]);
            }
        }
        for network in &options.networks {
            upstart.args(["--network", network]);
        }
        if let Some(port) = options.artifact_port {
            upstart.args(["--artifact-port", &port.to_string()]);
        }
        if let Some(port) = options.metrics_port {
            upstart.args(["--metrics-listen", &port.to_string()]);
        }
        options.clock.applied(&mut upstart);
        let passed = options.clock.passed().iter().copied();
        if let Some(root) = &options.root {
            upstart.arg("--root").arg(root);
        }
        for name in passed.chain(options.passed.iter().map(String::as_str)) {
            upstart.args(["--pass-environment", name]);
        }
        let environment = options.environment.iter();
        upstart.envs(environment.map(|(name, value)| (name, value)));
        if let Some(place) = &options.kill_at {
            upstart.env("UPSTART_KILL_AT", place);
        }
        match other {
            Some((_, token_file)) => {
                upstart.arg("--token-file").arg(token_file);
                upstart
            }
            None => self.let_in(upstart),
        }
    }

    /// Publishes the bundle in a folder, or revises what it was published as.
    pub fn publish(&self, mut upstart: Command, bundle: &Path, is_revision: bool) -> Command {
        upstart.args(["publish", "--server", &self.server, "--keys"]);
        upstart.arg(&self.keys).arg(bundle);
        upstart.args(is_revision.then_some("--revise"));
        self.let_in(upstart)
    }

    /// Asks its server.
    pub fn ask(&self, mut upstart: Command, question: &[&str]) -> Command {
        upstart.args(question).args(["--server", &self.server]);
        self.let_in(upstart)
    }

    /// The system as its server sees it.
    ///
    /// # Errors
    /// What the command said, where it failed or said something else.
    pub fn view(&self, upstart: Command) -> Result<SystemView, String> {
        let output = done(&mut self.ask(upstart, &["status", "--json"]))?;
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("`upstart status --json` says something else: {error}"))
    }

    fn let_in(&self, mut upstart: Command) -> Command {
        if let Some(file) = &self.token_file {
            upstart.arg("--token-file").arg(file);
        }
        upstart
    }
}

/// Writes a token for the server with this data, to be given it and those that call it, from wherever they do.
///
/// # Errors
/// The files cannot be written.
pub fn write_token(server_data: &Path, file: &Path) -> io::Result<String> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(server_data)?;
    let authority = Authority::open(&server_data.join("authority.pem"));
    let authority = authority.map_err(io::Error::other)?;
    let token = PinnedToken {
        secret: format!("token-of-this-test-{}", std::process::id()),
        pin: Some(authority.pin()),
    };
    let token = token.to_string();
    std::fs::write(file, &token)?;
    std::fs::set_permissions(file, Permissions::from_mode(0o600))?;
    Ok(token)
}

/// Runs a server that lets everybody in who may connect.
pub(crate) fn serve(mut upstart: Command, listen: &str, data: &Path) -> Command {
    upstart
        .args(["server", "--listen", listen, "--data"])
        .arg(data);
    upstart
}

/// Stops the software and the holder of the node with this data, whose agent has ended.
pub fn stop(mut upstart: Command, data: &Path) -> Command {
    upstart.args(["stop", "--data"]).arg(data);
    upstart
}

/// Runs a command to its good end.
///
/// # Errors
/// It cannot be run, or what it said when it failed.
pub fn done(command: &mut Command) -> Result<Output, String> {
    let output = command
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        return Err(format!("{command:?}: {}", said.trim()));
    }
    Ok(output)
}

/// Whether a node has nothing left to do, and its software runs.
pub fn is_settled(status: &NodeStatus) -> bool {
    status.phase == Phase::Settled && status.child == ChildState::Running
}
