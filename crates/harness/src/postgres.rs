//! A PostgreSQL of a test's own: a fresh cluster in a temporary folder, at a Unix socket in it, run by a user without rights and
//! ended with the test; standbys of it; a PgBouncer before it.

use kit::until_ok;
use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where Debian puts the programs.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// Where Debian puts PgBouncer.
const PGBOUNCER: &str = "/usr/sbin/pgbouncer";

/// The user whom Debian makes for PostgreSQL; as him everything runs where a test is root's.
const USER: &str = "postgres";

/// The name for which a cluster with TLS is certified.
pub const DATABASE_NAME: &str = "database.example";

/// A user whom a cluster with TLS knows by a certificate.
pub const GUEST: &str = "guest";

/// The password that it asks for.
const PASSWORD: &str = "open-sesame";

/// A database cluster.
#[derive(Debug)]
pub struct Postgres {
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Postgres {
    /// Starts one. `None`, and a note, where PostgreSQL 15 is not installed.
    pub fn start(test: &str) -> Option<Self> {
        Self::start_with(test, |_| String::new())
    }

    /// Starts one that listens for the net as well, at an address of its own: by TLS alone, for those who know the password.
    pub fn start_with_tls(test: &str) -> Option<Self> {
        let cluster = Self::start_with(test, Self::tls_settings)?;
        cluster.sql(&format!("ALTER ROLE {USER} PASSWORD '{PASSWORD}'"));
        cluster.sql(&format!("CREATE ROLE {GUEST} LOGIN SUPERUSER"));
        Some(cluster)
    }

    fn start_with(test: &str, more: impl FnOnce(&Self) -> String) -> Option<Self> {
        if !is_there(test, Path::new(PROGRAMS)) {
            return None;
        }
        let mut cluster = Self::empty();
        let mut initdb = cluster.program("initdb");
        initdb
            .args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"])
            .args(["--username", USER, "--pgdata"])
            .arg(cluster.data());
        succeeds(&mut initdb);
        // What the test needs beside; fsync is for disks that outlive it.
        let settings =
            "fsync = off\nlisten_addresses = ''\nmax_connections = 60\nwal_level = replica\n";
        cluster.configure(settings);
        let more = more(&cluster);
        cluster.configure(&more);
        cluster.resume();
        cluster.sql("CREATE DATABASE upstart");
        Some(cluster)
    }

    fn empty() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("pg")
            .tempdir()
            .expect("a folder");
        give(folder.path());
        Self {
            folder,
            child: None,
        }
    }

    /// Another cluster that follows this one; with `is_awaited` no commit here is answered before it is there.
    pub fn standby(&self, is_awaited: bool) -> Self {
        let mut standby = Self::empty();
        let mut copy = standby.program("pg_basebackup");
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .args(["--username", USER, "--host"])
            .arg(self.folder.path())
            .arg("--pgdata")
            .arg(standby.data());
        succeeds(&mut copy);
        standby.resume();
        if is_awaited {
            self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
            self.sql("SELECT pg_reload_conf()");
            until_ok("the standby to be awaited", || {
                match self.sql("SELECT sync_state FROM pg_stat_replication") {
                    state if state == "sync" => Ok(()),
                    state => Err(state),
                }
            });
        }
        standby
    }

    /// Makes a standby the one that writes.
    pub fn promote(&self) {
        self.sql("SELECT pg_promote()");
    }

    /// The URL of its database `upstart`.
    pub fn url(&self) -> String {
        url(&[self.folder.path()], "")
    }

    /// The URL of a database that is here, or at another cluster once that is promoted.
    pub fn url_with(&self, other: &Self) -> String {
        url(&[self.folder.path(), other.folder.path()], "")
    }

    /// What a statement prints, in the database `upstart` if it is there.
    pub fn sql(&self, statement: &str) -> String {
        self.try_sql(statement).expect("PostgreSQL agrees")
    }

    /// The same, where a refusal is an answer.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub fn try_sql(&self, statement: &str) -> Result<String, String> {
        let database = if statement.starts_with("CREATE DATABASE") {
            USER
        } else {
            "upstart"
        };
        let output = self
            .program("psql")
            .args(["-X", "-A", "-t", "-q", "-U", USER, "-d", database, "-c"])
            .arg(statement)
            .arg("-h")
            .arg(self.folder.path())
            .output()
            .expect("psql runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Kills it, as a power cut does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = i32::try_from(child.id()).expect("a process id");
            // At once and without tidying up; its own processes end with it.
            kit::signal(pid, libc::SIGQUIT);
            child.wait().expect("it is reaped");
        }
    }

    /// Starts it again over the same data.
    pub fn resume(&mut self) {
        let mut command = self.program("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path());
        self.child = Some(logged(command, &self.folder.path().join("log")));
        until_ok("PostgreSQL to answer", || {
            let mut ready = self.program("pg_isready");
            let ready = ready.arg("-q").arg("-h").arg(self.folder.path()).status();
            match ready {
                Ok(status) if status.success() => Ok(()),
                status => Err(format!("{status:?}; {}", self.log())),
            }
        });
    }

    /// Its process, whose children serve the callers.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("PostgreSQL runs").id()
    }

    /// Where one that was started with TLS listens.
    pub fn net_address(&self) -> Ipv4Addr {
        // Every test is a process: so none has another's.
        let [_, second, third, fourth] = std::process::id().to_be_bytes();
        Ipv4Addr::new(127, 64 | second, third, fourth)
    }

    /// The password that it asks for there.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The certificate of the authority that has certified it for [`DATABASE_NAME`].
    pub fn root_certificate(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// The certificate of an authority that has certified nothing.
    pub fn other_root_certificate(&self) -> PathBuf {
        self.folder.path().join("other.pem")
    }

    /// The certificate and the key by which it knows the user [`GUEST`], and by nothing else.
    pub fn guest(&self) -> [PathBuf; 2] {
        ["pem", "key"].map(|ending| self.folder.path().join(format!("{GUEST}.{ending}")))
    }

    /// A certificate for [`DATABASE_NAME`] that is its own root.
    pub fn own_root_certificate(&self) -> PathBuf {
        self.folder.path().join("own.pem")
    }

    /// Has it show [`Self::own_root_certificate`] from now on.
    pub fn show_own_root(&self) {
        for (setting, file) in [("ssl_cert_file", "own.pem"), ("ssl_key_file", "own.key")] {
            let file = self.folder.path().join(file);
            self.sql(&format!(
                "ALTER SYSTEM SET {setting} = '{}'",
                file.display()
            ));
        }
        self.reload("ssl_cert_file", "own.pem");
    }

    /// Speaks TLS with nobody from now on.
    pub fn end_tls(&self) {
        self.sql("ALTER SYSTEM SET ssl = off");
        self.reload("ssl", "off");
    }

    /// Has the settings read anew. They are when the signal is, so it waits until one of them ends so.
    fn reload(&self, setting: &str, ending: &str) {
        self.sql("SELECT pg_reload_conf()");
        until_ok("the settings to be read anew", || {
            let found = self.sql(&format!("SHOW {setting}"));
            if found.trim().ends_with(ending) {
                Ok(())
            } else {
                Err(found)
            }
        });
    }

    /// Makes the certificates, lets nobody in from the net without TLS and the password, and says what else is set.
    fn tls_settings(&self) -> String {
        let folder = self.folder.path();
        make_certificate(folder, "root", &[]);
        make_certificate(folder, "other", &[]);
        let name = format!("subjectAltName=DNS:{DATABASE_NAME}");
        make_certificate(folder, "own", &["-addext", &name]);
        let of_no_authority = "basicConstraints=critical,CA:FALSE";
        let signed = [
            "-addext",
            &name,
            "-addext",
            of_no_authority,
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
        ];
        make_certificate(folder, "shown", &signed);
        make_certificate(folder, GUEST, &signed[2..]);
        let rules = format!(
            "local all all trust\nhostssl all {GUEST} 127.0.0.0/8 cert\nhostssl all all 127.0.0.0/8 scram-sha-256\n"
        );
        std::fs::write(self.data().join("pg_hba.conf"), rules).expect("written");
        let (at, folder) = (self.net_address(), folder.display());
        format!(
            "listen_addresses = '{at}'\nssl = on\nssl_ca_file = '{folder}/root.pem'\nssl_cert_file = '{folder}/shown.pem'\nssl_key_file = '{folder}/shown.key'\n"
        )
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn configure(&self, settings: &str) {
        use std::io::Write;
        let file = OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"));
        let mut file = file.expect("it is configured");
        file.write_all(settings.as_bytes()).expect("written");
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = unprivileged(&Path::new(PROGRAMS).join(name));
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A PgBouncer that gives a connection for one transaction at a time.
#[derive(Debug)]
pub struct PgBouncer {
    folder: tempfile::TempDir,
    child: Child,
}

impl PgBouncer {
    /// Starts one before a cluster. `None`, and a note, where it is not installed.
    pub fn start(test: &str, cluster: &Postgres) -> Option<Self> {
        if !is_there(test, Path::new(PGBOUNCER)) {
            return None;
        }
        let folder = tempfile::Builder::new()
            .prefix("pgb")
            .tempdir()
            .expect("a folder");
        let place = folder.path().display();
        let settings = format!(
            "[databases]\nupstart = host={} user={USER}\n[pgbouncer]\nlisten_addr =\nlisten_port = 5432\n\
             unix_socket_dir = {place}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 4\n",
            cluster.folder.path().display()
        );
        let file = folder.path().join("settings.ini");
        std::fs::write(&file, settings).expect("written");
        give(folder.path());
        give(&file);
        let mut command = unprivileged(Path::new(PGBOUNCER));
        command.arg(&file);
        let child = logged(command, &folder.path().join("log"));
        let bouncer = Self { folder, child };
        until_ok("PgBouncer to listen", || {
            std::os::unix::net::UnixStream::connect(bouncer.folder.path().join(".s.PGSQL.5432"))
                .map(drop)
        });
        Some(bouncer)
    }

    /// The URL of the database behind it.
    pub fn url(&self) -> String {
        url(&[self.folder.path()], "")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        kit::kill(i32::try_from(self.child.id()).expect("a process id"));
        // Ended by the signal above.
        let _ = self.child.wait();
    }
}

fn url(folders: &[&Path], options: &str) -> String {
    let hosts: Vec<String> = folders
        .iter()
        .map(|folder| folder.display().to_string().replace('/', "%2F"))
        .collect();
    format!("postgres://{USER}@{}/upstart{options}", hosts.join(","))
}

fn is_there(test: &str, program: &Path) -> bool {
    let is_there = program.exists();
    if !is_there {
        println!("SKIPPED: {test}: {} is not installed", program.display());
    }
    is_there
}

/// A program as the user without rights, which ends with this one's thread however that ends.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    }
    command.arg(program).stdin(Stdio::null()).env_clear();
    command.env("PATH", "/usr/bin:/bin").env("HOME", "/");
    command
}

/// Makes a key and a certificate for it with this name, which is its own root unless another one is named.
fn make_certificate(folder: &Path, name: &str, more: &[&str]) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    let mut command = Command::new("openssl");
    command
        .current_dir(folder)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}")])
        .args(["-keyout", &key, "-out", &certificate])
        .args(more);
    succeeds(&mut command);
    for file in [key, certificate] {
        give(&folder.join(file));
    }
}

/// Gives a folder to the user without rights.
fn give(place: &Path) {
    if is_root() {
        let ids = std::fs::read_to_string("/etc/passwd").expect("users");
        let line = ids
            .lines()
            .find(|line| line.starts_with(&format!("{USER}:")));
        let mut fields = line.expect("Debian makes the user").split(':').skip(2);
        let mut number = || fields.next().and_then(|field| field.parse::<u32>().ok());
        chown(place, number(), number()).expect("given away");
    }
    let mode = if place.is_dir() { 0o700 } else { 0o600 };
    std::fs::set_permissions(place, PermissionsExt::from_mode(mode)).expect("closed");
}

#[expect(unsafe_code, reason = "no dependency of this package wraps geteuid(2)")]
fn is_root() -> bool {
    // SAFETY: geteuid() takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn logged(mut command: Command, log: &Path) -> Child {
    let file: File = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log file");
    command.stdout(file.try_clone().expect("a second handle"));
    command.stderr(file);
    command.spawn().expect("it starts")
}

fn succeeds(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
