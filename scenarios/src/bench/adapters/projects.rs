//! Components to measure: the projects that `upstart adapter new` makes, built as their own scripts build them. Each is also built
//! the other way round, for the versions whose form is that of one before.

use crate::bench::cross_version::upgrades::{Adapters, Component};
use crate::bench::stage::Stage;
use anyhow::{Context, bail};
use std::fs;
use std::path::Path;
use std::process::Command;
use xtask::install;

/// A language, as it is measured: how the report calls it, how `upstart adapter new` does, and which of a project's files says
/// the directions, in these words.
pub(super) struct Language {
    pub(super) name: &'static str,
    option: &'static str,
    file: &'static str,
    directions: [&'static str; 2],
}

/// All of them.
pub(super) const LANGUAGES: [Language; 4] = [
    Language {
        name: "rust",
        option: "rust",
        file: "src/component.rs",
        directions: ["Direction::Past", "Direction::Future"],
    },
    Language {
        name: "c",
        option: "c",
        file: "adapter.c",
        directions: ["ONE : TWO", "TWO : ONE"],
    },
    Language {
        name: "quickjs",
        option: "javascript",
        file: "adapter.js",
        directions: ["past:", "future:"],
    },
    Language {
        name: "python",
        option: "python",
        file: "adapter.py",
        directions: ["Direction.PAST", "Direction.FUTURE"],
    },
];

/// Slow languages and many connections: what is measured is not when a call is given up.
const LIMITS: &str = "\n[limits]\ntime_ms = 30000\n";

impl Language {
    /// Makes and builds both components of the language.
    pub(super) fn build(&self, stage: &Stage<'_>, upstart: &Path) -> anyhow::Result<Adapters> {
        let there = self.project(stage, upstart, "there", false)?;
        let back = self.project(stage, upstart, "back", true)?;
        Ok(Adapters::Components([there, back]))
    }

    fn project(
        &self,
        stage: &Stage<'_>,
        upstart: &Path,
        way: &str,
        is_turned: bool,
    ) -> anyhow::Result<Component> {
        let name = format!("{}-{way}", self.option);
        eprintln!("building {name}");
        let projects = stage.place.folder("projects")?;
        let folder = projects.join(&name);
        let mut new = Command::new(upstart);
        new.args(["adapter", "new", "--language", self.option]);
        succeed(new.arg(&folder))?;
        if is_turned {
            self.turn(&folder)?;
        }
        let mut build = Command::new("sh");
        build
            .arg("build.sh")
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", stage.workspace.target("guests/target"));
        install::with_guest_tools(stage.workspace, &mut build);
        succeed(&mut build)?;
        let declaration = folder.join(format!("{name}.adapter.toml"));
        let declaration = fs::read_to_string(&declaration)
            .with_context(|| format!("cannot read {}", declaration.display()))?;
        // A table of the file's root goes before its list of operations.
        let at = declaration.find("[[operation]]").unwrap_or(0);
        let (root, operations) = declaration.split_at(at);
        Ok(Component {
            declaration: format!("{root}{LIMITS}\n{operations}"),
            file: folder.join(format!("{name}.wasm")),
        })
    }

    /// Lets past and future change their places.
    fn turn(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(self.file);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let [past, future] = self.directions;
        for word in self.directions {
            if !text.contains(word) {
                bail!(
                    "`{word}` is not in {}: the template has changed",
                    path.display()
                );
            }
        }
        let turned = text
            .replace(past, "\0")
            .replace(future, past)
            .replace('\0', future);
        fs::write(&path, turned).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
