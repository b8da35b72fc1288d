//! From a component to machine code: in a process of its own, bounded in time and memory, and kept by digest.
//!
//! The compiler reads what somebody sent over the network. Whatever that makes it do ends with its process.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Resource, Rlimit, setrlimit};
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::{ComponentError, ComponentLimits, Program, engine};

/// The hidden command of `upstart` that compiles.
pub const COMPILE_COMMAND: &str = "compile-adapter";

/// How long compiling may take: large components (a Python interpreter) take some ten seconds on a small machine.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(180);
/// How much processor time, in seconds, over all threads.
const COMPILE_CPU_S_MAX: u64 = 600;
/// How much address space: those large components take some 500 MB.
const COMPILE_MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Largest component.
const COMPONENT_BYTES_MAX: u64 = 256 << 20;
/// What was compiled and not used for so long is deleted: components of versions that are gone, and results of older engines.
const UNUSED_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often it is looked whether the process has ended.
const LOOK: Duration = Duration::from_millis(10);
/// How much of what the process says is told.
const WORDS_BYTES_MAX: u64 = 4096;

/// Starts the processes that compile.
#[derive(Clone, Debug)]
pub struct CompileHelper {
    /// The `upstart` program.
    pub upstart_binary: PathBuf,
}

/// Compiles components and keeps the results below a folder that is this user's alone.
#[derive(Clone, Debug)]
pub struct Compiler {
    helper: CompileHelper,
    kept: PathBuf,
}

impl Compiler {
    /// A compiler whose results are kept in this folder; it is made when it is needed.
    pub fn new(helper: CompileHelper, kept: impl Into<PathBuf>) -> Self {
        Self {
            helper,
            kept: kept.into(),
        }
    }

    /// A component's program, compiled where it was not yet. Blocks.
    ///
    /// # Errors
    /// When the component cannot be read or compiled, or is not fit to be an adapter.
    pub fn program(
        &self,
        name: &str,
        component: &Path,
        limits: ComponentLimits,
    ) -> Result<Arc<Program>, ComponentError> {
        let engine = &engine::running()?.engine;
        let mut version = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut version);
        let digest = digest(component)?;
        let compiled = self
            .kept
            .join(format!("{digest}-{:016x}.cwasm", version.finish()));
        if let Some(found) = load(engine, &compiled) {
            note_use(&compiled);
            return Program::of(name, &found, limits);
        }
        self.forget_unused();
        self.compile(name, component, &compiled)?;
        match load(engine, &compiled) {
            Some(made) => Program::of(name, &made, limits),
            None => Err(ComponentError::Compile {
                component: name.to_owned(),
                why: "made nothing that this engine can run".to_owned(),
            }),
        }
    }

    /// Deletes what was not used for long; what cannot be looked at or deleted stays.
    fn forget_unused(&self) {
        let Ok(entries) = std::fs::read_dir(&self.kept) else {
            return;
        };
        for entry in entries.flatten() {
            let used = entry.metadata().and_then(|metadata| metadata.modified());
            let unused = used.ok().and_then(|used| used.elapsed().ok());
            if unused.is_some_and(|unused| unused > UNUSED_MAX) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn compile(&self, name: &str, component: &Path, to: &Path) -> Result<(), ComponentError> {
        let fresh = to.with_extension(format!("{}.incoming", std::process::id()));
        let mut folder = std::fs::DirBuilder::new();
        let made = folder.recursive(true).mode(0o700).create(&self.kept);
        made.map_err(|error| file("make", &self.kept, error))?;
        let compiled = self.helper.compile(name, component, &fresh);
        let kept = compiled.and_then(|()| {
            std::fs::rename(&fresh, to).map_err(|error| file("put in place", to, error))
        });
        if kept.is_err() {
            // There may be nothing.
            let _ = std::fs::remove_file(&fresh);
        }
        kept
    }
}

/// When a file was changed last is when it was used last. One that cannot be marked may be compiled once more, that is all.
fn note_use(compiled: &Path) {
    let file = File::open(compiled);
    let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
}

/// Loads what was compiled before, if it is there and of this engine.
fn load(engine: &wasmtime::Engine, compiled: &Path) -> Option<Component> {
    if !compiled.exists() {
        return None;
    }
    // SAFETY: the folder is this user's alone, and nothing but `Compiler::compile` puts files there, complete and by a rename:
    // the file is what the engine itself has serialized, and nobody changes it while it is mapped.
    #[expect(unsafe_code, reason = "machine code that was compiled here before")]
    let loaded = unsafe { Component::deserialize_file(engine, compiled) };
    loaded
        .inspect_err(|error| tracing::debug!(%error, "a component is compiled anew"))
        .ok()
}

fn digest(component: &Path) -> Result<String, ComponentError> {
    let read = || -> io::Result<String> {
        let mut hash = Sha256::new();
        let mut from = File::open(component)?.take(COMPONENT_BYTES_MAX + 1);
        let mut buffer = vec![0; 1 << 16];
        let mut length = 0;
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(hex::encode(hash.finalize()));
            }
            length += read as u64;
            if length > COMPONENT_BYTES_MAX {
                let why = format!("longer than {COMPONENT_BYTES_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
            }
            hash.update(&buffer[..read]);
        }
    };
    read().map_err(|error| file("read", component, error))
}

impl CompileHelper {
    fn compile(&self, name: &str, component: &Path, to: &Path) -> Result<(), ComponentError> {
        let failed = |why: String| ComponentError::Compile {
            component: name.to_owned(),
            why,
        };
        let mut process = Command::new(&self.upstart_binary)
            .arg(COMPILE_COMMAND)
            .args([component, to])
            // It compiles what strangers wrote, and needs nothing that whoever starts it knows.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("could not be started: {error}")))?;
        let words = process.stderr.take().map(|from| {
            std::thread::spawn(move || {
                let mut words = String::new();
                let mut from = from;
                let _ = (&mut from).take(WORDS_BYTES_MAX).read_to_string(&mut words);
                // Whatever else it says is not kept, and does not stop it.
                let _ = io::copy(&mut from, &mut io::sink());
                words
            })
        });
        let ended = wait(&mut process);
        let words = words
            .and_then(|words| words.join().ok())
            .unwrap_or_default();
        match ended {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) if status.code() == Some(UNFIT) => Err(ComponentError::Unfit {
                component: name.to_owned(),
                why: words.trim().to_owned(),
                hint: "it must be a WebAssembly component, not a core module: `wasm-tools component new` makes one of it"
                    .to_owned(),
            }),
            Ok(Some(status)) => Err(failed(format!("failed ({status}): {}", words.trim()))),
            Ok(None) => {
                let limit = COMPILE_TIME_MAX.as_secs();
                Err(failed(format!("took more than {limit} s")))
            }
            Err(error) => Err(failed(format!("could not be followed: {error}"))),
        }
    }
}

/// Waits for the process, and kills it when its time is over.
fn wait(process: &mut Child) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > COMPILE_TIME_MAX {
            process.kill()?;
            process.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// The exit code that says that the component is not fit.
const UNFIT: i32 = 3;

/// What the process does: compiles one component to a file, within limits that it sets itself. Says on stderr what is wrong,
/// and gives the exit code.
pub fn compile_here(component: &Path, to: &Path) -> i32 {
    let limits = [
        (Resource::As, COMPILE_MEMORY_BYTES_MAX),
        (Resource::Cpu, COMPILE_CPU_S_MAX),
    ];
    for (resource, limit) in limits {
        let limit = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        if let Err(error) = setrlimit(resource, limit) {
            return say_why(2, &format!("it cannot be limited: {error}"));
        }
    }
    let compiled = (engine::compiling().map_err(|error| (2, error.to_string())))
        .and_then(|engine| {
            let bytes = std::fs::read(component).map_err(|error| (2, error.to_string()))?;
            (engine.precompile_component(&bytes)).map_err(|error| (UNFIT, format!("{error:#}")))
        })
        .and_then(|code| write(to, &code).map_err(|error| (2, error.to_string())));
    match compiled {
        Ok(()) => 0,
        Err((code, why)) => say_why(code, &why),
    }
}

/// Says why there is nothing, and gives the code that says so too.
fn say_why(code: i32, why: &str) -> i32 {
    // An agent that has gone needs no reason.
    let _ = writeln!(io::stderr(), "{why}");
    code
}

fn write(to: &Path, code: &[u8]) -> io::Result<()> {
    std::fs::write(to, code)?;
    File::open(to)?.sync_all()
}

fn file(what: &'static str, file: &Path, source: io::Error) -> ComponentError {
    ComponentError::File {
        what,
        file: file.display().to_string(),
        source,
    }
}
