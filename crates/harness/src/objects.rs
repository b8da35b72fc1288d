//! An object store of a test's own that speaks S3 (moto), at a free port, ended with the test. It keeps everything in memory, so
//! that one which is ended has lost it.

use super::frozen::Frozen;
use kit::until_ok;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The bucket that is there from the start.
pub const BUCKET: &str = "shop";

/// How long it may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Where servers have their artifacts.
#[derive(Clone, Debug)]
pub struct ArtifactsPlace {
    /// What `--artifacts` says.
    pub address: String,
    /// What a server's environment says besides.
    pub environment: Vec<(String, String)>,
}

/// Asks somebody at this port, who says everything at once.
pub(crate) fn ask(port: u16, method: &str, path: &str) -> io::Result<String> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// An object store with an empty bucket.
#[derive(Debug)]
pub struct ObjectStore {
    port: u16,
    child: Option<Child>,
}

impl ObjectStore {
    /// Starts one. `None`, and a note, where moto is not installed.
    pub fn start(test: &str) -> Option<Self> {
        if !has_moto() {
            println!("SKIPPED: {test}: moto is not installed (`cargo xtask test --install-only`)");
            return None;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let mut store = Self { port, child: None };
        store.resume();
        Some(store)
    }

    /// Starts it again, with nothing in it.
    pub fn resume(&mut self) {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(python())
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p"])
            .arg(self.port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().expect("it starts"));
        until_ok("the bucket to be made", || {
            let answer = self.ask("PUT", &format!("/{BUCKET}"))?;
            let is_made = answer.contains(" 200 ");
            is_made.then_some(()).ok_or(io::Error::other(answer))
        });
    }

    /// Ends it, and what it held.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            kit::kill(i32::try_from(child.id()).expect("a process id"));
            child.wait().expect("it is reaped");
        }
    }

    /// Where it is called.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a server's environment says of it; the keys are as good as any.
    pub fn environment(&self) -> [(String, String); 4] {
        [
            ("AWS_ENDPOINT_URL", self.url().as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    }

    /// Where a server finds its artifacts.
    pub fn place(&self) -> ArtifactsPlace {
        ArtifactsPlace {
            address: format!("s3://{BUCKET}/artifacts"),
            environment: self.environment().into(),
        }
    }

    /// Asks for something without keys, and says the whole answer.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn ask(&self, method: &str, path: &str) -> io::Result<String> {
        ask(self.port, method, path)
    }

    /// How many objects there are; at most a thousand are counted.
    pub fn count(&self) -> usize {
        let answer = self.ask("GET", &format!("/{BUCKET}?list-type=2"));
        answer.expect("answers").matches("<Key>").count()
    }

    /// How many uploads in parts are under way.
    pub fn uploads(&self) -> usize {
        let answer = self.ask("GET", &format!("/{BUCKET}?uploads"));
        answer.expect("answers").matches("<UploadId>").count()
    }

    /// Answers nothing until the guard is dropped.
    pub fn freeze(&self) -> Frozen {
        let child = self.child.as_ref().expect("it runs");
        Frozen::new(i32::try_from(child.id()).expect("a process id"))
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The interpreter of the environment into which the tests' Python packages are installed.
fn python() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.join("../../target/tools/python/bin/python")
}

fn has_moto() -> bool {
    let mut asked = Command::new(python());
    asked.args(["-c", "import moto.server"]);
    let asked = asked.stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}
