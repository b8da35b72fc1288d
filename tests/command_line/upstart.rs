//! Runs the binary, and a server of it.

use harness::Commands;
use kit::wait_for;
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// The token that test servers ask for.
pub(crate) const TOKEN: &str = "a-token-for-tests";

/// The binary, without what the surroundings say about servers and tokens.
pub(crate) fn upstart() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upstart"));
    for variable in [
        "UPSTART_SERVER",
        "UPSTART_TOKEN",
        "UPSTART_TOKEN_FILE",
        "UPSTART_KEYS",
        "UPSTART_IDENTITY",
        "UPSTART_LOG",
    ] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Answer {
    let output = command.output().expect("the binary runs");
    Answer { output }
}

/// How a command ended.
pub(crate) struct Answer {
    output: Output,
}

impl Answer {
    /// The exit code.
    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// What it printed.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it said on stderr.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// The same, and it must have ended with this code.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code(),
            Some(code),
            "stdout: {}\nstderr: {}",
            self.stdout(),
            self.stderr()
        );
        self
    }

    /// Its stdout as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout())
            .unwrap_or_else(|error| panic!("{error} in {}", self.stdout()))
    }

    /// Its stdout as one JSON value a line.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let lines = self.stdout();
        let values = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON lines"));
        values.collect()
    }

    /// An error as it must read: what, and what to do next; never a stack trace.
    pub(crate) fn expect_advice(self, code: i32) -> Self {
        let answer = self.expect(code);
        let stderr = answer.stderr();
        // Where the error names a command, that is what to do.
        let is_advised = stderr.contains("next: ") || stderr.contains("`upstart ");
        assert!(is_advised, "no advice in: {stderr}");
        assert!(
            !stderr.contains("panicked") && !stderr.contains("backtrace"),
            "{stderr}"
        );
        answer
    }
}

/// A server of the binary on a free port, ended with its test.
pub(crate) struct Server {
    child: Child,
    token: PathBuf,
    url: String,
    data: tempfile::TempDir,
}

impl Server {
    /// Starts one with a token that it is given, and waits until it listens.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with these options, too.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let token = data.path().join("token");
        std::fs::write(&token, TOKEN).expect("the token is written");
        std::fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("a mode");
        Self::start_in(data, Some(&token), options)
    }

    /// Starts one that makes its token, and waits until it listens.
    pub(crate) fn start_with_its_own_token() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        Self::start_in(data, None, &[])
    }

    fn start_in(data: tempfile::TempDir, token: Option<&Path>, options: &[&str]) -> Self {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let commands = Commands {
            server: format!("https://{listen}"),
            token_file: token.map(Path::to_owned),
            keys: data.path().join("keys"),
        };
        let child = commands
            .serve(upstart(), &listen, &data.path().join("data"))
            .args(options)
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let token = token.map_or_else(|| data.path().join("data/token"), Path::to_owned);
        let mut server = Self {
            child,
            token,
            url: commands.server,
            data,
        };
        server.wait_until_it_answers();
        server
    }

    fn wait_until_it_answers(&mut self) {
        wait_for("the server to answer", || {
            let ended = self.child.try_wait().expect("waits");
            assert!(ended.is_none(), "the server ended");
            run(self.upstart().args(["status", "--json"])).code() == Some(0)
        });
    }

    /// The binary, told where this server is.
    pub(crate) fn upstart(&self) -> Command {
        let mut command = upstart();
        command
            .env("UPSTART_SERVER", &self.url)
            .env("UPSTART_TOKEN_FILE", &self.token)
            .env("UPSTART_KEYS", self.data.path().join("keys"));
        command
    }

    /// Has its process end.
    pub(crate) fn signalled(&mut self, end: impl FnOnce(&mut Child) -> ExitStatus) -> ExitStatus {
        end(&mut self.child)
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A place for a test's files.
    pub(crate) fn folder(&self) -> &Path {
        self.data.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of this program's own range.
pub(crate) fn free_port() -> u16 {
    kit::free_port(30_000..32_500)
}
