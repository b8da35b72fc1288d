//! The clean root: a sandbox of bubblewrap over a fresh Debian, or over this machine's own system directories.

use crate::install;
use crate::workspace::{Workspace, run};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the page asks its reader for, as Debian names it, but Rust.
const PACKAGES: &str = "ca-certificates,curl,gcc,git,libc6-dev,python3";

/// The Debian of the clean root.
const SUITE: &str = "bookworm";

/// The directories of a system that a sandbox needs, where they are.
const DIRECTORIES: [&str; 7] = ["/usr", "/etc", "/bin", "/lib", "/lib32", "/lib64", "/sbin"];

/// The reader's home, which begins empty.
const HOME: &str = "/home/reader";

/// What lies below the sandbox.
#[derive(Debug)]
pub(crate) enum System {
    /// This machine's own.
    Here,
    /// A fresh Debian in this folder.
    Fresh {
        /// Its root.
        folder: PathBuf,
        /// The Rust that the reader has installed: this machine's.
        rust: PathBuf,
    },
}

impl System {
    /// Makes a fresh Debian below the target directory, once; needs root and Debian's archive.
    ///
    /// # Errors
    /// When debootstrap is missing or fails.
    pub(crate) fn fresh(workspace: &Workspace) -> anyhow::Result<Self> {
        let folder = workspace.target("tutorial").join(SUITE);
        let stamp = workspace.target("tutorial").join("packages");
        if !std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == PACKAGES) {
            eprintln!("making a clean Debian (once, some minutes)");
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder)?;
            let mut command = install::as_root(workspace, &["debootstrap", "--variant=minbase"]);
            command.arg(format!("--include={PACKAGES}"));
            run(command.arg(SUITE).arg(&folder).stdout(Stdio::null()))
                .context("install debootstrap, or use --quick")?;
            std::fs::write(&stamp, PACKAGES)?;
        }
        let output = workspace
            .command("rustc")
            .args(["--print", "sysroot"])
            .output()
            .context("cannot run rustc")?;
        let rust = String::from_utf8(output.stdout)?.trim().into();
        Ok(Self::Fresh { folder, rust })
    }
}

/// One sandbox.
#[derive(Debug)]
pub(crate) struct Root {
    /// What lies below it.
    pub(crate) system: System,
    /// The repository to clone.
    pub(crate) repository: PathBuf,
    /// Where the script leaves what was printed.
    pub(crate) outputs: PathBuf,
    /// The binary that takes the build's place; the library lies beside it.
    pub(crate) built: Option<PathBuf>,
}

impl Root {
    /// Bash with a script in the sandbox.
    pub(crate) fn command(&self, workspace: &Workspace, script: &str) -> anyhow::Result<Command> {
        let mut command = workspace.command("bwrap");
        command.args([
            "--unshare-all",
            "--die-with-parent",
            "--new-session",
            "--clearenv",
        ]);
        command.args(["--uid", "1000", "--gid", "1000"]);
        self.system(&mut command, workspace)?;
        command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
        bind(&mut command, "--ro-bind", &self.repository, "/repository");
        bind(&mut command, "--bind", &self.outputs, "/outputs");
        if let Some(folder) = self.built.as_deref().and_then(Path::parent) {
            bind(&mut command, "--ro-bind", folder, "/built");
        }
        command.args(["--setenv", "HOME", HOME, "--chdir", HOME]);
        command.args(["--setenv", "REPOSITORY", "/repository"]);
        command.args(["bash", "-c", script]).stdin(Stdio::null());
        Ok(command)
    }

    fn system(&self, command: &mut Command, workspace: &Workspace) -> anyhow::Result<()> {
        let mut path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned();
        let below = match &self.system {
            System::Here => {
                command.args(["--tmpfs", HOME]);
                Path::new("/")
            }
            System::Fresh { folder, rust } => {
                // Crates are downloaded, as at the reader's. What is built is too much for memory.
                command.arg("--share-net");
                let home = workspace.target("tutorial/home");
                let _ = std::fs::remove_dir_all(&home);
                std::fs::create_dir_all(&home)?;
                bind(command, "--bind", &home, HOME);
                bind(command, "--ro-bind", rust, "/opt/rust");
                path.insert_str(0, "/opt/rust/bin:");
                folder
            }
        };
        for directory in DIRECTORIES {
            let source = below.join(directory.trim_start_matches('/'));
            match std::fs::read_link(&source) {
                Ok(target) => bind(command, "--symlink", &target, directory),
                Err(_) if source.exists() => bind(command, "--ro-bind", &source, directory),
                Err(_) => {}
            }
        }
        if matches!(self.system, System::Fresh { .. }) {
            // How this machine reaches the crates: its resolver, and whom it trusts.
            for path in ["/etc/resolv.conf", "/etc/ssl/certs"] {
                bind(command, "--ro-bind", Path::new(path), path);
            }
        }
        command.args(["--setenv", "PATH", &path]);
        Ok(())
    }
}

fn bind(command: &mut Command, option: &str, source: &Path, target: &str) {
    command.arg(option).arg(source).arg(target);
}

/// Why there can be no clean root on this machine.
#[cfg(test)]
pub(super) fn missing() -> Option<String> {
    let mut probe = Command::new("bwrap");
    probe.args(["--unshare-all", "--ro-bind", "/", "/", "true"]);
    let works = crate::workspace::succeeds(&mut probe);
    (!works).then(|| "bubblewrap is missing or not allowed here".to_owned())
}
