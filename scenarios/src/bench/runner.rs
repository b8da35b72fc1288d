//! The program that starts load programs: bare for direct connections and sidecars, under an agent for Upstart.

use anyhow::{Context, bail};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Its source.
pub(super) const SOURCE: &str = include_str!("runner.py");

/// Its file's name.
pub(super) const FILE: &str = "runner.py";

/// How long one load program may take.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// How long it may take to listen.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A runner, by its socket.
#[derive(Clone, Debug)]
pub(super) struct Runner {
    pub(super) socket: PathBuf,
}

#[derive(Deserialize)]
struct Reply {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Runner {
    /// Has a load program run and gives what it printed.
    pub(super) fn run(&self, command: &[String]) -> anyhow::Result<String> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(RUN_LIMIT))?;
        writeln!(stream, "{}", serde_json::to_string(command)?)?;
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .context("the load program does not end")?;
        let reply: Reply = serde_json::from_str(&line).context("the runner ended")?;
        if reply.code != 0 {
            bail!(
                "{command:?} ended with {}: {}{}",
                reply.code,
                reply.stdout,
                reply.stderr
            );
        }
        Ok(reply.stdout)
    }

    fn connect(&self) -> anyhow::Result<UnixStream> {
        let end = Instant::now() + START_LIMIT;
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() >= end => {
                    return Err(error).context(format!("no runner at {}", self.socket.display()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}
