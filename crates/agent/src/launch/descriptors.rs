//! Leaving behind descriptors that somebody above us forgot to close on exec.

use std::fs;
use std::io;

/// Closes everything but standard input, output and error. Only for the first lines of a process, when nothing of ours is open.
pub(crate) fn close_inherited() -> io::Result<()> {
    let numbers: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // The directory that was read is among them, and closed by now.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}
