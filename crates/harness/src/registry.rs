//! An OCI registry of a test's own (Debian's docker-registry), at a free port, ended with the test. What it keeps lies in a folder and
//! outlives its process.

use super::frozen::Frozen;
use super::objects::{ArtifactsPlace, ask};
use kit::until_ok;
use model::manifest::Digest;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The program.
const PROGRAM: &str = "docker-registry";

/// The name in the registry under which a test's artifacts lie.
pub const REGISTRY_NAME: &str = "shop/artifacts";

/// A login `me` with the password `secret`, as `htpasswd -B` writes it.
const LOGIN: &str = "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// The same, as `docker login` writes it.
const LOGIN_BASE64: &str = "bWU6c2VjcmV0";

/// Whom a registry lets in, and how it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    Nothing,
    Login,
    LoginAndTls,
}

/// A registry with nothing in it.
#[derive(Debug)]
pub struct OciRegistry {
    port: u16,
    guard: Guard,
    folder: TempDir,
    child: Option<Child>,
}

impl OciRegistry {
    /// Starts one that lets everybody in. `None`, and a note, where docker-registry is not installed.
    pub fn start(test: &str) -> Option<Self> {
        Self::start_behind(Guard::Nothing, test)
    }

    /// Starts one that wants the login of [`Self::login_file`].
    pub fn start_with_login(test: &str) -> Option<Self> {
        Self::start_behind(Guard::Login, test)
    }

    /// Starts one that wants the login and is called by TLS.
    pub fn start_with_tls(test: &str) -> Option<Self> {
        Self::start_behind(Guard::LoginAndTls, test)
    }

    fn start_behind(guard: Guard, test: &str) -> Option<Self> {
        if !has_registry() {
            println!(
                "SKIPPED: {test}: docker-registry is not installed (`cargo xtask test --install-only`)"
            );
            return None;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let mut registry = Self {
            port,
            guard,
            folder: tempfile::tempdir().expect("a folder"),
            child: None,
        };
        registry.configure();
        registry.resume();
        Some(registry)
    }

    /// Writes what it is told at its start, and what its callers need.
    fn configure(&self) {
        let folder = self.folder.path();
        let shown = folder.display();
        let mut text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {shown}/kept}}\n  cache: {{blobdescriptor: inmemory}}\nhttp:\n  addr: 127.0.0.1:{}\n",
            self.port
        );
        if self.guard == Guard::LoginAndTls {
            make_certificate(folder);
            text += &format!("  tls: {{certificate: {shown}/tls.pem, key: {shown}/tls.key}}\n");
        }
        if self.guard != Guard::Nothing {
            std::fs::write(folder.join("users"), LOGIN).expect("written");
            text += &format!("auth:\n  htpasswd: {{realm: shop, path: {shown}/users}}\n");
            let login = format!(
                r#"{{"auths": {{"127.0.0.1:{}": {{"auth": "{LOGIN_BASE64}"}}}}}}"#,
                self.port
            );
            let mut file = std::fs::OpenOptions::new();
            let file = file.write(true).create(true).mode(0o600);
            let mut file = file.open(self.login_file()).expect("made");
            file.write_all(login.as_bytes()).expect("written");
        }
        std::fs::write(self.configuration(), text).expect("written");
    }

    /// The file with the login that it wants.
    pub fn login_file(&self) -> PathBuf {
        self.folder.path().join("auth.json")
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("registry.yml")
    }

    /// Starts it again over what it keeps.
    pub fn resume(&mut self) {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", PROGRAM, "serve"])
            .arg(self.configuration())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().expect("it starts"));
        until_ok("the registry to listen", || {
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map(drop)
        });
    }

    /// Ends it; what it keeps stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            kit::kill(i32::try_from(child.id()).expect("a process id"));
            child.wait().expect("it is reaped");
        }
    }

    /// Answers nothing until the guard is dropped.
    pub fn freeze(&self) -> Frozen {
        let child = self.child.as_ref().expect("it runs");
        Frozen::new(i32::try_from(child.id()).expect("a process id"))
    }

    /// Starts it again with nothing in it.
    pub fn lose_everything(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.folder.path().join("kept")).expect("removed");
        self.resume();
    }

    /// Removes every blob that no manifest names, and every manifest without a tag, as its keepers do now and then; it is stopped
    /// meanwhile.
    pub fn collect_garbage(&mut self) {
        self.kill();
        let collected = Command::new(PROGRAM)
            .args(["garbage-collect", "--delete-untagged"])
            .arg(self.configuration())
            .output()
            .expect("it starts");
        assert!(collected.status.success(), "{collected:?}");
        self.resume();
    }

    /// Where a server finds it.
    pub fn place(&self) -> ArtifactsPlace {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let all = [
            ("REGISTRY_AUTH_FILE", file("auth.json")),
            ("SSL_CERT_FILE", file("tls.pem")),
        ];
        let wanted = match self.guard {
            Guard::Nothing => 0,
            Guard::Login => 1,
            Guard::LoginAndTls => 2,
        };
        let environment = all.into_iter().take(wanted);
        ArtifactsPlace {
            address: self.address(),
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }
    }

    /// The address of what is kept under the test's name.
    pub fn address(&self) -> String {
        let scheme = match self.guard {
            Guard::LoginAndTls => "oci+https",
            Guard::Nothing | Guard::Login => "oci",
        };
        format!("{scheme}://127.0.0.1:{}/{REGISTRY_NAME}", self.port)
    }

    /// The file in which it keeps a blob.
    pub fn blob(&self, digest: Digest) -> PathBuf {
        let digest = digest.to_string();
        let blobs = "kept/docker/registry/v2/blobs/sha256";
        let folder = self.folder.path().join(blobs).join(&digest[..2]);
        folder.join(digest).join("data")
    }

    /// How many blobs it keeps, manifests among them.
    pub fn blobs(&self) -> usize {
        let folder = self
            .folder
            .path()
            .join("kept/docker/registry/v2/blobs/sha256");
        let inner = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
        let kept = inner(folder).flat_map(|beginning| inner(beginning.path()));
        kept.filter(|blob| blob.path().join("data").is_file())
            .count()
    }

    /// The tags under the test's name, of one that lets everybody in.
    pub fn tags(&self) -> Vec<String> {
        let answer = ask(self.port, "GET", &format!("/v2/{REGISTRY_NAME}/tags/list"));
        let answer = answer.expect("answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let list: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let tags = list["tags"].as_array().into_iter().flatten();
        tags.map(|tag| tag.as_str().expect("text").to_owned())
            .collect()
    }
}

impl Drop for OciRegistry {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Makes a key, and a certificate that is its own root.
fn make_certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args([
            "-subj",
            "/CN=registry",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.join("tls.key"))
        .arg("-out")
        .arg(folder.join("tls.pem"))
        .output()
        .expect("openssl starts");
    assert!(made.status.success(), "{made:?}");
}

fn has_registry() -> bool {
    let mut asked = Command::new(PROGRAM);
    let asked = asked.arg("--version").stdout(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}
