//! A process that is stopped without being ended.

/// A process that stands still.
#[derive(Debug)]
pub struct Frozen(i32);

impl Frozen {
    /// Stops this process.
    pub fn new(pid: i32) -> Self {
        kit::signal(pid, libc::SIGSTOP);
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        kit::signal(self.0, libc::SIGCONT);
    }
}
