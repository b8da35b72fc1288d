//! The file that the child's output is appended to, and the holder's own log.
//!
//! The child writes into the file itself, so that its output depends on no other process; therefore the file cannot be
//! changed by renaming it under the child. Beyond the limit its text is copied to `<name>.1` and the file is cut to
//! nothing: a line that is written between the two, some microseconds, is lost. The copy is written over the one before,
//! so that it needs no more room than that has, and gives none away meanwhile. Where there is no room for it, the file is cut
//! all the same, but for its end: output that grows without a limit would take whatever room somebody makes.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How long the file may grow before it is rotated: some hours of a talkative program, copied in milliseconds.
pub(super) const OUTPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How much of the end is kept where there is no room for a copy: enough to say what happened last.
const END_BYTES_KEPT: u64 = 1024 * 1024;

/// An output file.
#[derive(Debug)]
pub(super) struct OutputFile {
    path: PathBuf,
    file: File,
}

impl OutputFile {
    /// Opens it to append, and makes it where it is missing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .mode(0o640)
            .open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Another handle of it, for the child.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The same, where nobody can do anything about a failure but read of it.
    pub(super) fn look_after(&self, bytes_max: u64) {
        if let Err(error) = self.rotate(bytes_max) {
            tracing::warn!(path = %self.path.display(), %error, "output is lost: no copy of it can be made");
        }
    }

    /// Moves the text away when there is more of it than `bytes_max`.
    ///
    /// # Errors
    /// The text could not be moved, or the file not be cut; it has been cut down to its end if that was possible.
    fn rotate(&self, bytes_max: u64) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length <= bytes_max {
            return Ok(());
        }
        match self.copy() {
            Ok(()) => self.file.set_len(0),
            Err(error) => {
                self.keep_end(length, END_BYTES_KEPT.min(bytes_max / 2))?;
                Err(error)
            }
        }
    }

    /// Copies the text over the former copy.
    fn copy(&self) -> io::Result<()> {
        let mut name = OsString::from(&self.path);
        name.push(".1");
        let mut copy = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o640)
            .open(PathBuf::from(name))?;
        let copied = io::copy(&mut File::open(&self.path)?, &mut copy);
        // A copy that broke off holds two texts, of which neither is whole.
        copy.set_len(copied.as_ref().map_or(0, |length| *length))?;
        copied.map(|_| ())
    }

    /// Cuts the file down to its last bytes, after a line that says so.
    fn keep_end(&self, length: u64, kept: u64) -> io::Result<()> {
        let from = length.saturating_sub(kept);
        let mut end = vec![0; usize::try_from(length - from).unwrap_or(0)];
        self.file.read_exact_at(&mut end, from)?;
        self.file.set_len(0)?;
        let notice =
            format!("\n(upstart: no room for a copy of {from} bytes of output, which are lost)\n");
        // What finds no room now is lost too; the child's next line comes all the same.
        (&self.file).write_all(&[notice.as_bytes(), &end].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::OutputFile;
    use std::io::Write;

    #[test]
    fn text_beyond_the_limit_moves_and_the_writer_goes_on_at_the_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("output.log");
        let output = OutputFile::open(&path).expect("opened");
        let mut child = output.handle().expect("a handle");
        child.write_all(b"first").expect("written");
        output.rotate(5).expect("not yet");
        child.write_all(b" second").expect("written");
        output.rotate(5).expect("rotated");
        child.write_all(b"third").expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"third");
        let old = directory.path().join("output.log.1");
        assert_eq!(std::fs::read(&old).expect("read"), b"first second");
        child.write_all(b"!").expect("written");
        output.rotate(5).expect("rotated");
        assert_eq!(std::fs::read(&old).expect("read"), b"third!");
    }

    #[test]
    fn where_no_copy_can_be_made_the_end_stays_and_the_file_is_cut_all_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("output.log");
        let output = OutputFile::open(&path).expect("opened");
        let mut child = output.handle().expect("a handle");
        // Nothing can be written there.
        std::os::unix::fs::symlink("/dev/full", directory.path().join("output.log.1"))
            .expect("a link");
        child
            .write_all(&b"long ago ".repeat(1_000))
            .expect("written");
        child.write_all(b"the end").expect("written");
        output.rotate(100).expect_err("no room");
        child.write_all(b", and more").expect("written");
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(
            text.starts_with("\n(upstart: no room for a copy of 8957 bytes"),
            "{text}"
        );
        assert!(text.ends_with("long ago the end, and more"), "{text}");
        assert!(text.len() < 200, "{text}");
    }
}
