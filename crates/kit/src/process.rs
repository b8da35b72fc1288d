//! Processes by their ids.

use std::path::Path;

/// Sends a signal to one process.
#[expect(unsafe_code, reason = "no dependency of this package wraps kill(2)")]
pub fn signal(pid: i32, signal: libc::c_int) {
    assert!(pid > 1, "{pid} is no process of a test");
    // SAFETY: kill() takes two integers and touches no memory of this process.
    unsafe { libc::kill(pid, signal) };
}

/// Whether a process has a handler of its own for a signal, or has ended.
pub fn catches(pid: i32, signal: libc::c_int) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return true;
    };
    let mut lines = status.lines();
    let caught = lines.find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // One that has ended and is not reaped yet catches nothing.
    caught.is_some_and(|mask| mask >> (signal - 1) & 1 == 1) || !alive(pid)
}

/// Kills one process.
pub fn kill(pid: i32) {
    signal(pid, libc::SIGKILL);
}

/// Whether a process runs (one that has ended and was not reaped does not).
pub fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()))
        .is_some_and(|rest| !rest.starts_with(['Z', 'X']))
}

/// The processes whose command line names a path, but this one.
pub fn pids_naming(path: &Path) -> Vec<i32> {
    let mark = path.as_os_str().as_encoded_bytes();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| u32::try_from(*pid).is_ok_and(|pid| pid != std::process::id()))
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.windows(mark.len()).any(|window| window == mark))
        })
        .collect()
}
