//! Runs the binary, and a server of it.

use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

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
        let data = tempfile::tempdir().expect("a directory");
        let token = data.path().join("token");
        std::fs::write(&token, TOKEN).expect("the token is written");
        std::fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("a mode");
        Self::start_in(data, Some(&token))
    }

    /// Starts one that makes its token, and waits until it listens.
    pub(crate) fn start_with_its_own_token() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        Self::start_in(data, None)
    }

    fn start_in(data: tempfile::TempDir, token: Option<&Path>) -> Self {
        let port = free_port();
        let mut command = upstart();
        command.args(["server", "--listen", &format!("127.0.0.1:{port}"), "--data"]);
        command.arg(data.path().join("data"));
        if let Some(token) = token {
            command.arg("--token-file").arg(token);
        }
        let child = command
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let token = token.map_or_else(|| data.path().join("data/token"), Path::to_owned);
        let mut server = Self {
            child,
            token,
            url: format!("http://127.0.0.1:{port}"),
            data,
        };
        server.wait_until_it_answers();
        server
    }

    fn wait_until_it_answers(&mut self) {
        let end = Instant::now() + START_LIMIT;
        while run(self.upstart().args(["status", "--json"])).code() != Some(0) {
            assert!(Instant::now() < end, "the server does not answer");
            assert!(
                self.child.try_wait().expect("waits").is_none(),
                "the server ended"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
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

/// A port at which nothing listens now, of this program's own range: below the ephemeral one, and beside the harness's.
pub(crate) fn free_port() -> u16 {
    static STEP: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = STEP.fetch_add(1, Ordering::Relaxed);
        let port = 30_000 + ((std::process::id().wrapping_mul(29) + step) % 2_500) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
