//! Scripts that the software of a node runs, one at a time: so tests call as members do, with whatever program they like.

use std::io;
use std::path::{Path, PathBuf};

/// What such a node's software is, for `sh -c` in its state: it runs what lies there as `job`.
pub const ERRAND_RUNNER: &str = "while :; do if [ -f job ]; then sh job > out 2> err; echo $? > code.new; rm job; \
                                 mv code.new code; fi; sleep 0.02; done";

/// A script that such a node runs.
#[derive(Debug)]
pub struct Errand {
    state: PathBuf,
}

/// How a script ended.
#[derive(Debug)]
pub struct ErrandEnd {
    /// With the code 0.
    pub is_good: bool,
    /// What it printed.
    pub output: String,
    /// What it printed as errors.
    pub errors: String,
}

impl Errand {
    /// Hands it in to the node with this state; the one before must have ended.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn begin(state: &Path, script: &str) -> io::Result<Self> {
        let errand = Self {
            state: state.to_owned(),
        };
        let _ = std::fs::remove_file(errand.file("code"));
        std::fs::write(errand.file("job.new"), script)?;
        std::fs::rename(errand.file("job.new"), errand.file("job"))?;
        Ok(errand)
    }

    /// Its end, once it is there.
    pub fn end(&self) -> Option<ErrandEnd> {
        let read = |name: &str| {
            let bytes = std::fs::read(self.file(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        self.file("code").exists().then(|| ErrandEnd {
            is_good: read("code").trim() == "0",
            output: read("out"),
            errors: read("err"),
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }
}
