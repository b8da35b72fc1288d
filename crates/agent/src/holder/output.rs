//! The file that the child's output is appended to.
//!
//! The child writes into the file itself, so that its output depends on no other process; therefore the file cannot be
//! changed by renaming it under the child. Beyond the limit its text is copied to `<name>.1` and the file is cut to
//! nothing: a line that is written between the two, some microseconds, is lost.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How long the file may grow before it is rotated: some hours of a talkative program, copied in milliseconds.
pub(super) const OUTPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// An output file.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    file: File,
}

impl Output {
    /// Opens it to append, and makes it where it is missing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .mode(0o640)
            .open(path)?;
        let output = Self {
            path: path.to_owned(),
            file,
        };
        output.rotate(OUTPUT_BYTES_MAX)?;
        Ok(output)
    }

    /// Another handle of it, for the child.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Moves the text away when there is more of it than `bytes_max`.
    pub(super) fn rotate(&self, bytes_max: u64) -> io::Result<()> {
        if self.file.metadata()?.len() <= bytes_max {
            return Ok(());
        }
        let mut name = OsString::from(&self.path);
        name.push(".1");
        fs::copy(&self.path, PathBuf::from(name))?;
        self.file.set_len(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Output;
    use std::io::Write;

    #[test]
    fn text_beyond_the_limit_moves_and_the_writer_goes_on_at_the_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("output.log");
        let output = Output::open(&path).expect("opened");
        let mut child = output.handle().expect("a handle");
        child.write_all(b"first").expect("written");
        output.rotate(5).expect("not yet");
        child.write_all(b" second").expect("written");
        output.rotate(5).expect("rotated");
        child.write_all(b"third").expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"third");
        let old = directory.path().join("output.log.1");
        assert_eq!(std::fs::read(old).expect("read"), b"first second");
    }
}
