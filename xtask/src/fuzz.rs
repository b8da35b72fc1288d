//! Fuzzing on stable Rust: builds the targets of `fuzz/` with the compiler's own coverage, and runs them on the corpus that is kept.

use crate::workspace::Workspace;
use anyhow::{Context, bail};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Counters at every edge and what is compared, as libFuzzer wants them (LLVM, "SanitizerCoverage").
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions=yes -Coverflow-checks=yes -Ccodegen-units=1";

/// How long one input may take, in seconds.
const INPUT_SECONDS_MAX: u32 = 20;

/// Arguments of `cargo xtask fuzz`.
#[derive(Args, Debug)]
pub struct Options {
    /// Which targets (default: all of `fuzz/Cargo.toml`, one after the other)
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each runs, in seconds
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Pack what covers something new into `fuzz/corpus`, to be committed
    #[arg(long)]
    keep: bool,
}

/// Builds and runs the targets; the first that finds something ends it.
///
/// # Errors
/// A target is unknown, or cannot be built or run.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let fuzz = Fuzz::new(&Workspace::find()?)?;
    let targets = if options.targets.is_empty() {
        fuzz.targets.clone()
    } else {
        options.targets.clone()
    };
    if let Some(unknown) = targets.iter().find(|target| !fuzz.targets.contains(target)) {
        let known = fuzz.targets.join(", ");
        bail!("there is no target `{unknown}`; there are {known}");
    }
    fuzz.build()?;
    for target in &targets {
        if !fuzz.run(target, options.seconds)? {
            eprintln!(
                "`{target}` found something: mend it, and put the input into fuzz/seeds/{target}, from where tests replay it"
            );
            return Ok(ExitCode::FAILURE);
        }
        if options.keep {
            fuzz.keep(target)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The fuzz targets and where all of theirs is.
struct Fuzz {
    folder: PathBuf,
    /// What is built, found and gathered.
    work: PathBuf,
    targets: Vec<String>,
    host: String,
}

impl Fuzz {
    fn new(workspace: &Workspace) -> anyhow::Result<Self> {
        let folder = workspace.root().join("fuzz");
        let manifest = folder.join("Cargo.toml");
        let text = fs::read_to_string(&manifest)
            .with_context(|| format!("cannot read {}", manifest.display()))?;
        let manifest: toml::Table = text.parse()?;
        let bins = manifest.get("bin").and_then(toml::Value::as_array);
        let name = |bin: &toml::Value| Some(bin.get("name")?.as_str()?.to_owned());
        let version = Command::new("rustc").arg("-vV").output()?;
        let version = String::from_utf8(version.stdout)?;
        let mut lines = version.lines();
        let host = lines.find_map(|line| line.strip_prefix("host: "));
        Ok(Self {
            targets: bins.into_iter().flatten().filter_map(name).collect(),
            work: workspace.target("fuzz"),
            host: host.context("rustc does not say its host")?.to_owned(),
            folder,
        })
    }

    fn build(&self) -> anyhow::Result<()> {
        eprintln!("builds the fuzz targets (from cold some minutes)");
        let status = Command::new("cargo")
            .args(["build", "--quiet", "--release", "--bins"])
            // With a target of its own, so that build scripts are not counted.
            .args(["--target", &self.host])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.work)
            .env("CARGO_INCREMENTAL", "0")
            .env("RUSTFLAGS", COVERAGE)
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            bail!("the fuzz targets cannot be built");
        }
        Ok(())
    }

    fn program(&self, target: &str) -> Command {
        let folder = self.work.join(&self.host).join("release");
        Command::new(folder.join(target))
    }

    fn kept(&self, target: &str) -> PathBuf {
        self.folder.join("corpus").join(format!("{target}.tar.gz"))
    }

    /// Where a target's inputs are gathered, with all that is kept in it.
    fn corpus(&self, target: &str) -> anyhow::Result<PathBuf> {
        let corpus = self.work.join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        let kept = self.kept(target);
        if kept.exists() {
            tar(&["-xzf"], &kept, &corpus)?;
        }
        let seeds = self.folder.join("seeds").join(target);
        if seeds.is_dir() {
            for seed in fs::read_dir(seeds)? {
                let seed = seed?;
                fs::copy(seed.path(), corpus.join(seed.file_name()))?;
            }
        }
        Ok(corpus)
    }

    /// Runs a target; says whether it found nothing.
    fn run(&self, target: &str, seconds: u64) -> anyhow::Result<bool> {
        let corpus = self.corpus(target)?;
        let found = self.work.join("found");
        fs::create_dir_all(&found)?;
        eprintln!("{target}: {seconds} seconds");
        let status = self
            .program(target)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-artifact_prefix={}/{target}-", found.display()))
            .arg("-print_final_stats=1")
            .arg(corpus)
            .status()
            .with_context(|| format!("cannot run {target}"))?;
        Ok(status.success())
    }

    /// Packs as few inputs as cover the same.
    fn keep(&self, target: &str) -> anyhow::Result<()> {
        let corpus = self.corpus(target)?;
        let fewer = tempfile::tempdir_in(&self.work)?;
        let status = self
            .program(target)
            .args(["-merge=1", "-verbosity=0"])
            .args([fewer.path(), &corpus])
            .status()?;
        if !status.success() {
            bail!("the inputs of {target} cannot be merged");
        }
        let kept = self.kept(target);
        fs::create_dir_all(self.folder.join("corpus"))?;
        // The same inputs make the same file.
        let plain = [
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "-czf",
        ];
        tar(&plain, &kept, fewer.path())?;
        let count = fs::read_dir(fewer.path())?.count();
        eprintln!("{target}: {count} inputs are in {}", kept.display());
        Ok(())
    }
}

/// Runs tar on an archive and a folder; what is packed is all of the folder.
fn tar(arguments: &[&str], archive: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("tar");
    command.args(arguments).arg(archive).arg("-C").arg(folder);
    if arguments.contains(&"-czf") {
        command.arg(".");
    }
    let status = command.status().context("cannot run tar")?;
    if !status.success() {
        bail!("tar cannot read or write {}", archive.display());
    }
    Ok(())
}
