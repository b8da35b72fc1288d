//! Where the workspace and its build products lie, and how commands are run in it.

use anyhow::{Context, bail};
use serde::Deserialize;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `cargo metadata` says, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// The packages of the workspace.
    pub packages: Vec<Package>,
    /// Where build products go.
    pub target_directory: PathBuf,
    /// The workspace's root.
    pub workspace_root: PathBuf,
}

/// One package of the workspace.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Where its manifest lies.
    pub manifest_path: PathBuf,
    /// What it depends on, of all kinds.
    pub dependencies: Vec<Dependency>,
}

/// One dependency of a package.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// `None` for a normal one, else `dev` or `build`.
    pub kind: Option<String>,
    /// Set for packages of this workspace.
    pub path: Option<PathBuf>,
}

/// The workspace that this program was built in.
#[derive(Debug)]
pub struct Workspace {
    /// What cargo knows of it.
    pub metadata: Metadata,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// Outside the workspace, or without cargo.
    pub fn find() -> anyhow::Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let output = Command::new(cargo())
            .args([
                "metadata",
                "--format-version=1",
                "--no-deps",
                "--manifest-path",
            ])
            .arg(manifest.join("Cargo.toml"))
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata ended with {}", output.status);
        }
        let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata changed")?;
        Ok(Self { metadata })
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.metadata.workspace_root
    }

    /// A place below the target directory.
    pub fn target(&self, path: impl AsRef<Path>) -> PathBuf {
        self.metadata.target_directory.join(path)
    }

    /// A program of the machine, to be run in the root.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.root());
        command
    }

    /// Cargo, to be run in the root; what this program's own cargo has set does not leak into it.
    pub fn cargo<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(cargo());
        command.args(arguments);
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Builds the binary and the preloaded library and says where they are.
    ///
    /// # Errors
    /// When they do not build.
    pub fn build(&self, profile: Profile) -> anyhow::Result<PathBuf> {
        Ok(self
            .build_packages(&["upstart", "preload"], profile)?
            .join("upstart"))
    }

    /// Builds these packages, and says in which folder their programs are.
    ///
    /// Without optimization everything is built but this program, which runs: alone, packages get other features of what they share, so
    /// that cargo would build all of that anew beside what the tests have built.
    ///
    /// # Errors
    /// When they do not build.
    pub fn build_packages(&self, names: &[&str], profile: Profile) -> anyhow::Result<PathBuf> {
        let mut command = self.cargo(["build"]);
        let folder = match profile {
            Profile::Release => {
                command.arg("--release");
                command.args(names.iter().map(|name| format!("--package={name}")));
                "release"
            }
            Profile::Dev => {
                command.args(["--workspace", "--exclude", "xtask"]);
                "debug"
            }
        };
        run(&mut command)?;
        Ok(self.target(folder))
    }
}

/// How things are built: demo, tests and CI share one profile, only the benchmark builds for speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For demo and tests.
    Dev,
    /// For benchmarks.
    Release,
}

/// Runs a command and wants it to succeed.
///
/// # Errors
/// When it cannot be run or ends with another code than 0.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("{shown} ended with {status}");
    }
    Ok(())
}

/// Whether a command can be run and succeeds; its output is not shown.
pub fn succeeds(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
