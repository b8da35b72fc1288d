//! What the kernel shows of processes (proc(5)).

use std::fs;
use std::io;
use std::path::PathBuf;

/// The place of `startstack` in `/proc/<pid>/stat`, counted from the state on.
const STACK_FIELD: usize = 25;

/// The place of `starttime` there, counted from what follows the parent on.
const BEGAN_FIELD: usize = 17;

/// Whether a process is below another; `None` when it is gone already.
pub(crate) fn descends(pid: i32, root: i32) -> Option<bool> {
    let mut ancestor = pid;
    loop {
        match process(ancestor)?.parent {
            parent if parent == root => return Some(true),
            parent if parent <= 1 => return Some(false),
            parent => ancestor = parent,
        }
    }
}

/// The user whose rights a process has now.
pub(crate) fn user(pid: i32) -> Option<u32> {
    Some(users(pid)?[1])
}

/// The users that a process is: really, by its rights, by those it has saved, and for files (proc(5)).
pub(crate) fn users(pid: i32) -> Option<[u32; 4]> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let users = users.split_ascii_whitespace().map(|user| user.parse().ok());
    users.collect::<Option<Vec<u32>>>()?.try_into().ok()
}

/// The parent of a process.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    Some(process(pid)?.parent)
}

/// What a process executes: another one after `execve`, the same after `fork`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    program: Option<PathBuf>,
    /// Where its stack began, which is random (proc(5)).
    stack: Option<String>,
}

/// What a process executes, as far as that can be seen.
pub(crate) fn image(pid: i32) -> Image {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let stack = stat.as_deref().and_then(|stat| {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        Some(fields.nth(STACK_FIELD)?.to_owned())
    });
    Image {
        program: fs::read_link(format!("/proc/{pid}/exe")).ok(),
        stack,
    }
}

/// The name of a process's program.
pub(crate) fn program(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// What the kernel shows of a process.
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// A zombie does not.
    pub(crate) lives: bool,
    /// When it began, in ticks since the boot.
    pub(crate) began: u64,
}

/// What can be seen of a process.
pub(crate) fn process(pid: i32) -> Option<Process> {
    read_process(pid).ok().flatten()
}

/// One line of `/proc/<pid>/stat`: the name in it may contain anything, so what follows its last parenthesis counts. `None` where the
/// process has ended, or may not be looked at.
pub(crate) fn read_process(pid: i32) -> io::Result<Option<Process>> {
    let text = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(error) if super::is_out_of_sight(&error) => return Ok(None),
        text => text?,
    };
    Ok(parse_process(pid, &text))
}

fn parse_process(pid: i32, text: &str) -> Option<Process> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    Some(Process {
        pid,
        parent: fields.next()?.parse().ok()?,
        began: fields.nth(BEGAN_FIELD)?.parse().ok()?,
        lives: !matches!(state, "Z" | "X" | "x"),
    })
}

/// The live processes below this one.
///
/// # Errors
/// They cannot be read.
pub(crate) fn below(root: i32) -> io::Result<Vec<i32>> {
    let mut all = Vec::new();
    for pid in super::processes()? {
        all.extend(read_process(pid)?);
    }
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for child in all.iter().filter(|process| process.parent == parent) {
            parents.push(child.pid);
            if child.lives {
                found.push(child.pid);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::user;

    #[test]
    fn the_user_of_a_process_is_the_one_whose_rights_it_has() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        let effective = rustix::process::geteuid().as_raw();
        assert_eq!(user(own), Some(effective));
        assert_eq!(user(-1), None);
    }
}
