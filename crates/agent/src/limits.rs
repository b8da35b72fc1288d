//! The limit of open files: each connection that waits or is carried over is one, and the usual soft limit of 1,024 is soon reached.
//! And the umask: whatever somebody starts an agent with, nobody else writes to what it makes.
//! Upstart's own processes take what they may have; what they start gets the limit and the umask that were there before.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

/// What the limit was before it was raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// What the umask was before.
static UMASK_BEFORE: OnceLock<Mode> = OnceLock::new();

/// What Upstart's own processes make, others may not write to; what they must not read is made with modes of its own.
const UMASK: Mode = Mode::WGRP.union(Mode::WOTH);

/// Sees to it that nobody else may write to what this process makes.
pub fn tighten_umask() {
    UMASK_BEFORE.get_or_init(|| umask(UMASK));
}

/// Raises the limit of open files of this process as far as it is allowed; says what it is now, `None` without a limit.
pub fn raise_open_files() -> Option<u64> {
    let before = BEFORE.get_or_init(|| getrlimit(Resource::Nofile));
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => before.maximum,
        // It goes on with fewer: what does not fit is refused one by one, and told.
        Err(_) => before.current,
    }
}

/// How many files this process may have open.
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Gives what is started the limit and the umask that this process was given.
pub fn restored(command: &mut Command) -> &mut Command {
    restored_before_exec(command);
    command
}

/// Gives this process the limit and the umask that it was given, for a program that takes its place.
pub fn restore_own() {
    if let Some(before) = UMASK_BEFORE.get() {
        umask(*before);
    }
    if let Some(before) = BEFORE.get() {
        // Lowering a soft limit is always allowed.
        let _ = setrlimit(Resource::Nofile, *before);
    }
}

#[expect(
    unsafe_code,
    reason = "the standard library sets no limits for what it starts"
)]
fn restored_before_exec(command: &mut Command) {
    let (files, mask) = (BEFORE.get().copied(), UMASK_BEFORE.get().copied());
    let restore = move || {
        mask.map(umask);
        files.map_or(Ok(()), |files| setrlimit(Resource::Nofile, files))
    };
    if files.is_none() && mask.is_none() {
        return;
    }
    // SAFETY: between fork and exec two system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || restore().map_err(io::Error::from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_here_and_what_is_started_gets_the_former_one() {
        // Of this process alone: each test has one of its own.
        let hard = getrlimit(Resource::Nofile).maximum;
        let soft = Rlimit {
            current: Some(128),
            maximum: hard,
        };
        setrlimit(Resource::Nofile, soft).expect("lowered");
        assert_eq!(raise_open_files(), hard);
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
        let mut shell = Command::new("sh");
        let output = restored(shell.args(["-c", "ulimit -n"]))
            .output()
            .expect("runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "128\n");
        restore_own();
        assert_eq!(getrlimit(Resource::Nofile).current, Some(128));
    }

    #[test]
    fn others_may_not_write_to_what_is_made_here_and_what_is_started_gets_the_former_umask() {
        umask(Mode::empty());
        tighten_umask();
        tighten_umask();
        let mut shell = Command::new("sh");
        let output = restored(shell.args(["-c", "umask"]))
            .output()
            .expect("runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0000");
        assert_eq!(umask(UMASK), UMASK);
        restore_own();
        assert_eq!(umask(UMASK), Mode::empty());
    }
}
