//! The programs: each is run unmodified, and returns what must be the same bare and under the library.

use crate::programs::{Running, find, printed, run};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a workload runs: where its server listens, and how programs are started at either side.
pub trait Stage {
    /// A folder of this run.
    fn folder(&self) -> &Path;

    /// Where the server listens.
    fn address(&self) -> SocketAddr;

    /// A program at the server's side.
    fn server(&self, program: &str) -> Command;

    /// A program at the callers' side.
    fn caller(&self, program: &str) -> Command;

    /// Starts a server as another user, and waits until it listens; returned where it ends with this value.
    fn serve_as(&self, user: Option<&str>, command: &Command) -> Option<Running>;

    /// The same as the user of the test.
    fn serve(&self, command: &mut Command) -> Option<Running> {
        self.serve_as(None, command)
    }

    /// Runs a caller to its good end and returns what it printed.
    fn call(&self, command: &mut Command) -> String;

    /// Whether a caller ends well.
    fn succeeds(&self, command: &mut Command) -> bool;

    /// Host and port as arguments.
    fn at(&self) -> [String; 2] {
        [
            self.address().ip().to_string(),
            self.address().port().to_string(),
        ]
    }

    /// Host and port as in a URL.
    fn authority(&self) -> String {
        self.address().to_string()
    }
}

/// A program in its place: what it printed that must not differ.
pub type Workload = fn(&dyn Stage) -> String;

/// A script of the workloads.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("workloads")
        .join(name)
}

/// redis-server, redis-benchmark and redis-cli.
pub fn redis(stage: &dyn Stage) -> String {
    let [host, port] = stage.at();
    let mut server = stage.server("redis-server");
    server.args([
        "--save",
        "",
        "--protected-mode",
        "yes",
        "--bind",
        &host,
        "--port",
        &port,
    ]);
    // Protected mode lets nobody in from elsewhere without a password: it must see true addresses.
    let _server = stage.serve(
        server
            .args(["--requirepass", "secret", "--dir"])
            .arg(stage.folder()),
    );
    for pipeline in ["1", "16"] {
        let mut benchmark = stage.caller("redis-benchmark");
        benchmark.args([
            "-h", &host, "-p", &port, "-a", "secret", "-n", "5000", "-c", "20", "-P", pipeline,
        ]);
        stage.call(benchmark.args(["-t", "set,get", "-q"]));
    }
    let mut ask = stage.caller("redis-cli");
    ask.args([
        "-h",
        &host,
        "-p",
        &port,
        "-a",
        "secret",
        "--no-auth-warning",
        "info",
        "commandstats",
    ]);
    let stats = stage.call(&mut ask);
    let counted = stats
        .lines()
        .filter(|line| line.starts_with("cmdstat_set:") || line.starts_with("cmdstat_get:"));
    let mut calls: Vec<_> = counted.filter_map(|line| line.split(',').next()).collect();
    assert_eq!(calls.len(), 2, "{stats}");
    calls.sort_unstable();
    calls.join("\n")
}

/// nginx (also as its own upstream), wrk and curl.
pub fn nginx(stage: &dyn Stage) -> String {
    let (folder, at) = (stage.folder().display().to_string(), stage.authority());
    std::fs::create_dir_all(stage.folder().join("www")).expect("a folder");
    std::fs::write(stage.folder().join("www/file"), "x".repeat(3000)).expect("a file");
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let configuration = format!(
        "daemon off; {user} worker_processes 2; pid {folder}/pid; error_log stderr crit; events {{ }} http {{ \
         access_log off; keepalive_requests 1000000; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; \
         fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5; server {{ \
         listen {at} reuseport; root {folder}/www; location /proxy/ {{ proxy_pass http://{at}/; }} }} }}"
    );
    let file = stage.folder().join("nginx.conf");
    std::fs::write(&file, configuration).expect("a configuration");
    let _server = stage.serve(
        stage
            .server("nginx")
            .args(["-p", &folder, "-e", "stderr", "-c"])
            .arg(file),
    );
    for (path, header) in [
        ("/file", "X-Kept: yes"),
        ("/file", "Connection: close"),
        ("/proxy/file", "X-Kept: yes"),
    ] {
        let mut wrk = stage.caller("wrk");
        wrk.args(["-t1", "-c8", "-d1s", "-H", header])
            .arg(format!("http://{at}{path}"));
        let report = stage.call(&mut wrk);
        assert!(
            report.contains("requests in") && !report.contains("Non-2xx"),
            "{report}"
        );
        assert!(!report.contains("Socket errors"), "{report}");
    }
    let mut curl = stage.caller("curl");
    curl.args(["-sS", "-w", "%{http_code} %{size_download} %{remote_ip}\n"]);
    for path in ["/file", "/proxy/file", "/missing"] {
        curl.args(["-o", "/dev/null"])
            .arg(format!("http://{at}{path}"));
    }
    stage.call(&mut curl)
}

/// PostgreSQL, pgbench and psql.
pub fn postgres(stage: &dyn Stage) -> String {
    let [host, port] = stage.at();
    let data = stage.folder().join("data").display().to_string();
    std::fs::create_dir_all(&data).expect("a folder");
    let user = rustix::process::geteuid().is_root().then_some("postgres");
    if let Some(user) = user {
        printed(Command::new("chown").args([user, &data]));
    }
    let mut initdb = Command::new(find("postgres", "initdb").expect("found before"));
    initdb.args(["-A", "trust", "-N", "-U", "postgres", "-D", &data]);
    printed(&mut as_user(&initdb, user));
    let rules = "host all all 127.0.0.1/32 trust\nhost all all 10.99.0.1/32 trust\nhost all all fd99::1/128 trust\n";
    std::fs::write(format!("{data}/pg_hba.conf"), rules).expect("rules");
    let mut server = stage.server("postgres");
    server.args([
        "-D",
        &data,
        "-h",
        &host,
        "-p",
        &port,
        "-k",
        "",
        "-c",
        "fsync=off",
        "-c",
        "log_min_messages=fatal",
    ]);
    let _server = stage.serve_as(user, &server);
    let client = |program: &str| {
        let mut client = stage.caller(program);
        client.args(["-h", &host, "-p", &port, "-U", "postgres"]);
        client
    };
    crate::wait_for("the database", || {
        stage.succeeds(client("psql").args(["-c", "select 1", "postgres"]))
    });
    stage.call(client("pgbench").args(["-i", "-q", "postgres"]));
    let mut said = String::new();
    for options in [["-c8", "-t50", "-n"], ["-c4", "-t25", "-nCS"]] {
        let report = stage.call(client("pgbench").args(options).arg("postgres"));
        let counts = report
            .lines()
            .filter(|line| line.starts_with("number of") && line.contains("transactions"));
        said.extend(counts.map(|line| format!("{line}\n")));
    }
    let question = "select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts), inet_client_addr() \
                    from pgbench_history";
    said + &stage.call(client("psql").args(["-tA", "-c", question, "postgres"]))
}

/// The same command as another user: PostgreSQL refuses to run as root.
pub fn as_user(command: &Command, user: Option<&str>) -> Command {
    // `nsenter --net=PATH --` needs root: the user changes behind it.
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .collect();
    let (wrapper, program) = words.split_at(if words[0] == "nsenter" { 3 } else { 0 });
    let change = user.map(|user| {
        [
            "setpriv",
            "--reuid",
            user,
            "--regid",
            user,
            "--clear-groups",
        ]
    });
    let change = change.iter().flatten().map(AsRef::as_ref);
    let mut all = wrapper
        .iter()
        .copied()
        .chain(change)
        .chain(program.iter().copied());
    let mut other = Command::new(all.next().unwrap_or_default());
    other.args(all).envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    other
}

/// python's http.server, urllib and http.client, and curl.
pub fn http_server(stage: &dyn Stage) -> String {
    let [host, port] = stage.at();
    std::fs::create_dir_all(stage.folder().join("www")).expect("a folder");
    std::fs::write(stage.folder().join("www/file"), "y".repeat(5000)).expect("a file");
    let mut server = stage.server("python3");
    server
        .args(["-m", "http.server", &port, "--bind", &host, "--directory"])
        .arg(stage.folder().join("www"));
    let _server = stage.serve(&mut server);
    let fetched = stage.call(
        stage
            .caller("python3")
            .arg(file("http_client.py"))
            .args(stage.at()),
    );
    let url = format!("http://{}/file", stage.authority());
    fetched
        + &stage.call(stage.caller("curl").args([
            "-sS",
            "-w",
            "%{http_code} %{size_download}",
            "-o",
            "/dev/null",
            &url,
        ]))
}

/// An asyncio server and its clients.
pub fn asyncio(stage: &dyn Stage) -> String {
    script(stage, "python3", "echo_asyncio.py")
}

/// node's http server and client.
pub fn node(stage: &dyn Stage) -> String {
    script(stage, "node", "http_node.js")
}

/// A gRPC server and client (PyPI's grpcio).
pub fn grpc(stage: &dyn Stage) -> String {
    script(stage, &grpc_python(), "grpc_echo.py")
}

/// The interpreter whose environment has grpcio.
fn grpc_python() -> String {
    std::env::var("UPSTART_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Whether grpcio is there, or a line that says why the test is skipped.
pub fn has_grpc(test: &str) -> bool {
    let found = run(Command::new(grpc_python()).args(["-c", "import grpc"]))
        .status
        .success();
    if !found {
        println!("SKIPPED: {test}: grpcio is not installed");
    }
    found
}

/// memcached and a client by socket.
pub fn memcached(stage: &dyn Stage) -> String {
    let [host, port] = stage.at();
    let mut server = stage.server("memcached");
    let _server =
        stage.serve(server.args(["-U", "0", "-u", "root", "-t", "4", "-l", &host, "-p", &port]));
    stage.call(
        stage
            .caller("python3")
            .arg(file("memcached_client.py"))
            .args(stage.at()),
    )
}

fn script(stage: &dyn Stage, interpreter: &str, name: &str) -> String {
    let run = |mut command: Command, role: &str| {
        command.arg(file(name)).arg(role).args(stage.at());
        command
    };
    let _server = stage.serve(&mut run(stage.server(interpreter), "serve"));
    stage.call(&mut run(stage.caller(interpreter), "call"))
}
