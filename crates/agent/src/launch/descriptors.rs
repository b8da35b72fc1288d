//! The descriptors that a process of ours begins with: its orders on stdin, and none that somebody above forgot to close on exec.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;

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

/// Moves the socket of whoever started us away from stdin, which becomes the null device. Closed by exec.
pub(crate) fn take_socket() -> io::Result<UnixStream> {
    close_inherited()?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
    Ok(UnixStream::from(socket))
}
