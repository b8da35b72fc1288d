//! `cargo xtask tutorial`: follows docs/start/first-upgrade.md literally, as somebody who has just cloned the repository, in a clean root.
//!
//! The clean root is a bubblewrap sandbox: an ordinary user with an empty home, an empty `/tmp`, no environment, own process numbers. Below it
//! lies a fresh Debian with nothing but what the page asks for; the page's build is run. With `--quick` this machine's own
//! system directories lie below it, read-only and without a network, and what is built already takes the build's place.

mod root;

use crate::docs::{Page, Script, Surroundings};
use crate::workspace::{Profile, Workspace, run as run_command};
use anyhow::{Context, bail};
use clap::Args;
use root::{Root, System};
use std::path::Path;
use std::process::ExitCode;

/// The page that is followed.
const PAGE: &str = "docs/start/first-upgrade.md";

/// What takes the place of the page's build with `--quick`.
const BUILT: &str = r#"
git clone --quiet "$REPOSITORY" upstart
cd upstart
mkdir -p target/debug
cp /built/upstart /built/libupstart_preload.so target/debug
"#;

/// Arguments of `cargo xtask tutorial`.
#[derive(Debug, Args)]
pub struct Options {
    /// On this machine's system and with what is built already, instead of on a fresh Debian and from scratch
    #[arg(long)]
    quick: bool,
}

/// Follows the last commit's page.
///
/// # Errors
/// When no clean root can be made here.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    let system = if options.quick {
        System::Here
    } else {
        System::fresh(&workspace)?
    };
    let findings = follow(&workspace, system)?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("{} findings", findings.len());
    Ok(ExitCode::from(u8::from(!findings.is_empty())))
}

/// What went otherwise than the page says, as `file:line: what`.
pub(crate) fn follow(workspace: &Workspace, system: System) -> anyhow::Result<Vec<String>> {
    let folder = tempfile::Builder::new()
        .prefix("tutorial-")
        .tempdir()
        .context("no temporary directory")?;
    let repository = folder.path().join("upstart.git");
    clone(workspace, &repository)?;
    let page = committed(workspace)?;
    let is_quick = matches!(system, System::Here);
    let inside = Surroundings {
        place: "/tmp".into(),
        outputs: "/outputs".into(),
        builds: !is_quick,
    };
    let script = Script::of(&page, &inside);
    let root = Root {
        system,
        repository,
        outputs: folder.path().join("outputs"),
        built: is_quick
            .then(|| workspace.build(Profile::Dev))
            .transpose()?,
    };
    std::fs::create_dir(&root.outputs)?;
    let text = format!("{}{}", if is_quick { BUILT } else { "" }, script.text);
    let status = root.command(workspace, &text)?.status();
    let status = status.context("cannot run bwrap")?;
    if !status.success() {
        bail!("{PAGE} in the clean root ended with {status}");
    }
    Ok(Script::differences(&page, &root.outputs))
}

/// What somebody who clones the repository gets: its commits, nothing that lies around.
fn clone(workspace: &Workspace, to: &Path) -> anyhow::Result<()> {
    let mut command = workspace.command("git");
    command.args(["clone", "--quiet", "--bare", "."]).arg(to);
    run_command(&mut command)
}

fn committed(workspace: &Workspace) -> anyhow::Result<Page> {
    let mut command = workspace.command("git");
    let output = command.args(["show", &format!("HEAD:{PAGE}")]).output()?;
    let text = String::from_utf8(output.stdout).context("the page is no text")?;
    Page::parse(PAGE, &text).map_err(|findings| anyhow::anyhow!("{}", findings.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavy_the_first_upgrade_works_in_a_clean_root() {
        let test = "heavy_the_first_upgrade_works_in_a_clean_root";
        if let Some(why) = root::missing() {
            println!("SKIPPED: {test}: {why}");
            return;
        }
        let workspace = Workspace::find().expect("the workspace");
        let findings = follow(&workspace, System::Here).expect("the page can be followed");
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }
}
