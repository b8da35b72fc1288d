//! A project of an adapter, and the programs that build it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the programs are: those that `cargo xtask test --install-only` has put into the target directory before the machine's.
pub(crate) struct Tools {
    target: PathBuf,
    path: OsString,
}

impl Tools {
    /// Those of this checkout.
    pub(crate) fn find() -> Self {
        let binary = Path::new(env!("CARGO_BIN_EXE_upstart"));
        // target/PROFILE/upstart
        let target = binary.ancestors().nth(2).expect("cargo put it there");
        let mut folders = vec![
            target.join("tools/bin"),
            target.join("tools/python/bin"),
            binary.parent().expect("it has a folder").to_owned(),
        ];
        folders.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        Self {
            target: target.to_owned(),
            path: std::env::join_paths(folders).expect("folders of a path"),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("env");
        command
            .args(words)
            .env("PATH", &self.path)
            .env("CARGO_TARGET_DIR", self.target.join("guests/target"))
            .stdin(Stdio::null());
        command
    }

    /// Whether a command works here.
    pub(crate) fn succeeds(&self, words: &[&str]) -> bool {
        let output = self.command(words).output();
        output.is_ok_and(|output| output.status.success())
    }
}

/// A project.
pub(crate) struct Project<'t> {
    tools: &'t Tools,
    name: String,
    folder: PathBuf,
}

impl<'t> Project<'t> {
    /// A new one in this language.
    pub(crate) fn make(tools: &'t Tools, language: &str) -> Self {
        let name = format!("tint-{language}");
        let folder = tools.target.join("guests").join(&name);
        // One of an earlier run.
        let _ = std::fs::remove_dir_all(&folder);
        let project = Project {
            tools,
            name,
            folder,
        };
        let folder = project.folder.display().to_string();
        let words = ["upstart", "adapter", "new", "--language", language, &folder];
        ended_well(&mut tools.command(&words));
        project
    }

    /// The component's file.
    pub(crate) fn component(&self) -> String {
        format!("{}.wasm", self.name)
    }

    /// Runs a command in it, which must succeed; what it printed.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        ended_well(self.tools.command(words).current_dir(&self.folder))
    }
}

fn ended_well(command: &mut Command) -> String {
    let output = command.output().expect("env runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out
}
