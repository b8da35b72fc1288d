//! The clients' history files as data: what was called, when, and how it ended.
//!
//! The files' format is described at the head of `examples/1-store/v1/software/load.py`.

use serde::Deserialize;
use serde_json::Value;

/// One line of a history file. Times are nanoseconds of the machine's monotonic clock.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// A write begins.
    Begin {
        /// Unique in its file.
        id: u64,
        /// The key that is written; only this client writes it.
        key: String,
        /// When.
        from: u64,
        /// The caller's version.
        version: u32,
        /// The body as it was sent.
        sent: Value,
    },
    /// A write has been answered.
    Write {
        /// The number of its beginning.
        id: u64,
        /// When.
        to: u64,
        /// The HTTP status; 0 when no answer came in time.
        status: u16,
        /// The answer's body.
        got: Value,
    },
    /// A read.
    Read {
        /// The key that is read.
        key: String,
        /// When it began.
        from: u64,
        /// When it was answered.
        to: u64,
        /// The caller's version.
        version: u32,
        /// The HTTP status; 0 when no answer came in time.
        status: u16,
        /// The answer's body.
        got: Value,
    },
    /// A connection broke during a call, which is then made again.
    Reset(Fault),
    /// A connection was refused; the call is made again.
    Refused(Fault),
    /// A client has reached all its gateways and begins with its work.
    Ready {
        /// When, in milliseconds since the Unix epoch.
        wall_ms: u64,
        /// The client's version.
        version: u32,
    },
}

/// What a connection met.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Fault {
    /// When, in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// The gateway that was called, as `host:port`.
    pub gateway: String,
    /// The error in the client's words.
    pub fault: String,
}

/// The lines of a file; the last is ignored when it was cut off by a kill. An error names the line.
pub fn parse(text: &str) -> Result<Vec<Line>, String> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", number + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_off_by_a_kill_is_ignored_and_a_strange_one_is_not() {
        let refused = r#"{"kind":"refused","wall_ms":5,"gateway":"127.0.0.1:1","fault":"x"}"#;
        let lines = parse(&format!("{refused}\n{}", &refused[..20])).expect("lines");
        assert_eq!(lines.len(), 1);
        assert!(matches!(&lines[0], Line::Refused(fault) if fault.wall_ms == 5));
        assert!(parse("{}\n").expect_err("no kind").starts_with("line 1:"));
    }
}
