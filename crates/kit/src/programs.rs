//! Programs that tests run: found, started, watched and ended.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A program that ends with the test.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts it; nobody looks at its output.
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().display().to_string();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { child, name }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// It runs still.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// Waits for its end, which must be good.
    pub fn finish(mut self) {
        crate::wait_for(&format!("the end of {}", self.name), || !self.runs());
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{} ended with {status}", self.name);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.runs() {
            let pid = rustix::process::Pid::from_child(&self.child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
            while self.runs() && std::time::Instant::now() < until {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Where a program is, or a line that says why the test is skipped.
pub fn find(test: &str, program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let more = [
        "/usr/sbin",
        "/sbin",
        "/usr/lib/postgresql/15/bin",
        "/usr/local/bin",
    ]
    .map(PathBuf::from);
    let found = std::env::split_paths(&folders)
        .chain(more)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        println!("SKIPPED: {test}: {program} is not installed");
    }
    found
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Output {
    let name = command.get_program().display().to_string();
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a program that must end well and returns what it printed.
pub fn printed(command: &mut Command) -> String {
    let output = run(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{:?}: {}\n{text}\n{}",
        command.get_program(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Compiles a C program of the tests into this folder.
pub fn compile(source: &Path, folder: &Path) -> PathBuf {
    let program = folder.join(source.file_stem().expect("a name"));
    printed(
        Command::new("gcc")
            .args(["-O1", "-Wall", "-Wno-unused-result", "-pthread", "-o"])
            .arg(&program)
            .arg(source),
    );
    program
}
