//! What the program says of itself on stderr. A line that cannot be written is lost and counted, and costs nobody anything: neither
//! a full disk under the log nor a reader that stands still may end or hold up what says something.

use crate::output;
use clap::ValueEnum;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// The environment variable with a filter such as `agent=debug,info`; it wins over `-v`.
const FILTER_VARIABLE: &str = "UPSTART_LOG";

/// How long a line waits for a reader of a pipe or terminal; the lines after one that waited in vain do not wait at all.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a pipe takes without waiting when it takes anything (PIPE_BUF).
const PART_BYTES_MAX: usize = 4096;

/// Whose lines go to stderr one after the other.
static LOG: Mutex<Log> = Mutex::new(Log::new());

/// The form of a log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// An object on each line.
    Json,
}

/// Starts logging to stderr: `level` is what is said without `-v`.
pub(crate) fn start(level: &str, verbose: u8, format: LogFormat) {
    let fallback = match verbose {
        0 => level,
        1 => "debug",
        _ => "trace",
    };
    let filter = std::env::var(FILTER_VARIABLE)
        .ok()
        // Set to nothing it is no filter: one that takes no line at all says `off`.
        .filter(|text| !text.trim().is_empty())
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(fallback));
    let said = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || LogLine(format))
        .log_internal_errors(false);
    match format {
        LogFormat::Text => said.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => said.json().flatten_event(true).with_span_list(false).init(),
    }
}

/// Takes one line of the log; it never fails.
struct LogLine(LogFormat);

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut log = LOG.lock();
        let patience = if log.lost == 0 {
            PATIENCE
        } else {
            Duration::ZERO
        };
        log.format = self.0;
        match self.0 {
            // What is written at once is one event, whatever the fields of it hold.
            LogFormat::Text => {
                let one = output::one_line(&String::from_utf8_lossy(line));
                log.say(one.as_bytes(), |part| to_stderr(part, patience));
            }
            // JSON escapes what would end a line.
            LogFormat::Json => log.say(line, |part| to_stderr(part, patience)),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what can be written without waiting for longer than that.
fn to_stderr(part: &[u8], patience: Duration) -> io::Result<usize> {
    let stderr = io::stderr();
    let mut watched = [PollFd::new(&stderr, PollFlags::OUT)];
    let patience = Timespec::try_from(patience).unwrap_or_default();
    match poll(&mut watched, Some(&patience)) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::WouldBlock, "nobody reads it")),
        // A failure shows again when it is written to.
        _ => (&stderr).write(&part[..part.len().min(PART_BYTES_MAX)]),
    }
}

/// What has become of the lines so far.
#[derive(Debug)]
struct Log {
    format: LogFormat,
    /// How many were lost since the last one that was not.
    lost: u64,
    /// A part of a line was written, and the rest not.
    torn: bool,
    /// Why the last one was lost.
    why: Option<io::Error>,
}

impl Log {
    const fn new() -> Self {
        Self {
            format: LogFormat::Text,
            lost: 0,
            torn: false,
            why: None,
        }
    }

    /// That lines are missing, as a line.
    fn notice(&self, why: &io::Error) -> String {
        let lost = self.lost;
        let notice = match self.format {
            LogFormat::Text => {
                format!("(lines of this log that could not be written: {lost}; {why})")
            }
            LogFormat::Json => serde_json::json!({
                "level": "WARN",
                "message": "lines of this log could not be written",
                "lost": lost,
                "why": why.to_string(),
            })
            .to_string(),
        };
        notice + "\n"
    }

    /// Says a line, and before it how many are missing there.
    fn say(&mut self, line: &[u8], mut write: impl FnMut(&[u8]) -> io::Result<usize>) {
        let mut text = Vec::with_capacity(line.len());
        if self.torn {
            text.push(b'\n');
        }
        if let (1.., Some(why)) = (self.lost, &self.why) {
            text.extend_from_slice(self.notice(why).as_bytes());
        }
        text.extend_from_slice(line);
        let mut rest = text.as_slice();
        let why = loop {
            if rest.is_empty() {
                (self.lost, self.torn, self.why) = (0, false, None);
                return;
            }
            match write(rest) {
                Ok(0) => break io::ErrorKind::WriteZero.into(),
                Ok(length) => rest = &rest[length.min(rest.len())..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        self.lost = self.lost.saturating_add(1);
        self.torn |= rest.len() < text.len();
        self.why = Some(why);
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, LogFormat};
    use std::io;

    #[test]
    fn what_is_lost_is_told_in_the_form_of_the_log() {
        let mut log = Log::new();
        log.format = LogFormat::Json;
        log.say(b"{}\n", |_| Err(io::ErrorKind::StorageFull.into()));
        let mut told = Vec::new();
        log.say(b"{\"message\":\"next\"}\n", |part| {
            told.extend_from_slice(part);
            Ok(part.len())
        });
        let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&told)
            .lines()
            .map(|line| serde_json::from_str(line).expect("an object"))
            .collect();
        assert_eq!(lines[0]["lost"], 1, "{lines:?}");
        assert_eq!(lines[1]["message"], "next", "{lines:?}");
    }

    #[test]
    fn lines_that_find_no_room_are_lost_and_told_when_there_is_some() {
        let mut log = Log::new();
        let (mut disk, mut room) = (Vec::new(), 8);
        let mut say = |line: &str, more: usize| {
            room += more;
            log.say(line.as_bytes(), |part| {
                let length = part.len().min(room);
                room -= length;
                disk.extend_from_slice(&part[..length]);
                match length {
                    0 => Err(io::ErrorKind::StorageFull.into()),
                    length => Ok(length),
                }
            });
            String::from_utf8_lossy(&disk).into_owned()
        };
        assert_eq!(say("first\n", 0), "first\n");
        assert_eq!(say("second\n", 0), "first\nse");
        assert_eq!(say("third\n", 0), "first\nse");
        let told = "first\nse\n(lines of this log that could not be written: 2; no storage space)\nfourth\n";
        assert_eq!(say("fourth\n", 1_000), told);
        assert_eq!(say("fifth\n", 0), format!("{told}fifth\n"));
    }
}
