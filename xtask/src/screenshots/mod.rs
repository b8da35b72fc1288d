//! `cargo xtask screenshots`: pictures of the web page during a small upgrade, on a desk and on a phone, light and dark, for people who look.

mod system;
mod window;

use crate::install;
use crate::workspace::{Profile, Workspace};
use anyhow::{Context, bail};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use system::PicturedSystem;
use window::Window;

/// The browser, as Debian names it.
const BROWSER: [&str; 1] = ["chromium"];

/// Where pictures go.
#[derive(Debug, Args)]
pub struct Options {
    /// The folder for the pictures [default: target/screenshots]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Take Upstart as it is built already
    #[arg(long)]
    built: bool,
}

/// How wide and high a picture is.
const SIZES: [(&str, u32, u32); 2] = [("desk", 1_280, 1_600), ("phone", 360, 2_600)];

/// The pages, each with the name of its pictures.
const PAGES: [(&str, &str); 7] = [
    ("fleet", "/"),
    ("nodes", "/nodes"),
    ("node", "/nodes/storage-1"),
    ("blocked", "/nodes/gateway-1"),
    ("upgrade", "/upgrades/2"),
    ("history", "/history"),
    ("pause", "/act/pause"),
];

/// Builds Upstart, upgrades a small system, and takes the pictures.
///
/// # Errors
/// When there is no browser, the system does not come about, or a picture cannot be taken.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    if !install::lacking(&BROWSER).is_empty() {
        bail!("the browser is missing: apt-get install --no-install-recommends chromium");
    }
    let program = if options.built {
        workspace.target("debug/upstart")
    } else {
        workspace.build(Profile::Dev)?
    };
    let folder = options.to.clone();
    let folder = folder.unwrap_or_else(|| workspace.target("screenshots"));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let mut system = PicturedSystem::start(&program)?;
    let window = Window::open(&system)?;
    let mut taken = 0;
    let stages: [(&str, Stage); 3] = [
        ("1-waits", PicturedSystem::wait_for_approval),
        ("2-goes", PicturedSystem::approve),
        ("3-ends", PicturedSystem::wait_for_the_end),
    ];
    for (stage, reach) in stages {
        reach(&mut system)?;
        for (name, path) in PAGES {
            taken += window.take(&folder, &format!("{stage}-{name}"), path, &SIZES)?;
        }
    }
    taken += window.take(&folder, "0-login", "/login", &SIZES)?;
    println!("{taken} pictures are in {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

/// What is waited for before pictures are taken.
type Stage = fn(&mut PicturedSystem) -> anyhow::Result<()>;
