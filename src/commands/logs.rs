//! `upstart logs`: what a node's software printed, read from its output file on this machine.

use crate::connection::{connect, explain, host, wait_for};
use crate::failure::{CommandEnd, CommandOutcome, advice_on, failure};
use crate::globals::Globals;
use crate::output;
use agent::layout::Layout;
use clap::Args;
use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a followed file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How much of the file is read at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// Arguments of `upstart logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The node; the server knows where its data lies
    #[arg(required_unless_present = "data", conflicts_with = "data")]
    pub(crate) node: Option<String>,
    /// The node's data directory, to read it without asking the server
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Go on printing what is added
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many of the last lines
    #[arg(short = 'n', long, default_value_t = 100)]
    pub(crate) lines: usize,
}

/// `upstart logs`.
pub(crate) fn run(globals: &Globals, arguments: &LogsArgs) -> CommandOutcome {
    let path = Layout::new(data(globals, arguments)?).output();
    let mut file = File::open(&path).map_err(|error| {
        let next =
            "check that the node's agent runs on this machine and has started its software once";
        let next = advice_on(&error, path.parent().unwrap_or(&path), next);
        failure(format!("cannot read {}: {error}", path.display()), next)
    })?;
    let start = start_of_last_lines(&mut file, arguments.lines)?;
    file.seek(SeekFrom::Start(start))?;
    let mut printer = Printer {
        manner: match std::io::stdout().is_terminal() {
            _ if globals.json => PrintManner::Json,
            true => PrintManner::Visible,
            false => PrintManner::Raw,
        },
        unfinished: Vec::new(),
    };
    printer.print_rest(&mut file)?;
    if !arguments.follow {
        printer.finish()?;
        return Ok(CommandEnd::Yes);
    }
    while !output::reader_has_gone() {
        std::thread::sleep(LOOK_EVERY);
        file = reopened(file, &path)?;
        printer.print_rest(&mut file)?;
    }
    Ok(CommandEnd::Yes)
}

/// The node's data directory: as given, or as the server knows it, if it is on this machine.
fn data(globals: &Globals, arguments: &LogsArgs) -> anyhow::Result<PathBuf> {
    if let Some(data) = &arguments.data {
        return Ok(data.clone());
    }
    let name = arguments.node.as_deref().unwrap_or_default();
    let client = connect(globals)?;
    let node = wait_for(async { client.node(name).await.map_err(explain) })?;
    if node.host == host() {
        Ok(PathBuf::from(node.data_directory))
    } else {
        Err(failure(
            format!("node {name} runs on {}, this is {}", node.host, host()),
            format!("run `upstart logs --data {}` there", node.data_directory),
        ))
    }
}

/// Where the last `lines` lines begin, found from the end backwards.
fn start_of_last_lines(file: &mut File, lines: usize) -> anyhow::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let mut is_last_byte = true;
    let mut found = 0;
    let mut piece = vec![0; PIECE_BYTES];
    while end > 0 {
        let length = usize::try_from(end).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let start = end - length as u64;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut piece[..length])?;
        for index in (0..length).rev() {
            // The newline that ends the last line begins none.
            if piece[index] == b'\n' && !std::mem::replace(&mut is_last_byte, false) {
                found += 1;
                if found == lines {
                    return Ok(start + index as u64 + 1);
                }
            }
            is_last_byte = false;
        }
        end = start;
    }
    Ok(if lines == 0 {
        file.seek(SeekFrom::End(0))?
    } else {
        0
    })
}

/// The same file, or from its start when it was cut or replaced.
fn reopened(mut file: File, path: &Path) -> anyhow::Result<File> {
    use std::os::unix::fs::MetadataExt;
    let (held, named) = (file.metadata()?, std::fs::metadata(path));
    let Ok(named) = named else { return Ok(file) };
    if (held.dev(), held.ino()) != (named.dev(), named.ino()) {
        return Ok(File::open(path)?);
    }
    if held.len() < file.stream_position()? {
        file.rewind()?;
    }
    Ok(file)
}

/// How what the software has printed is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PrintManner {
    /// Byte by byte, for programs and files.
    Raw,
    /// Each line with nothing in it that a terminal takes as an order.
    Visible,
    /// Each line as JSON.
    Json,
}

/// Prints bytes as they are, or line by line.
struct Printer {
    manner: PrintManner,
    /// The beginning of a line whose end has not been written yet.
    unfinished: Vec<u8>,
}

impl Printer {
    fn print_rest(&mut self, file: &mut File) -> anyhow::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = file.read(&mut piece)?;
            if length == 0 || output::reader_has_gone() {
                return Ok(());
            }
            self.print(&piece[..length])?;
        }
    }

    fn print(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        if self.manner == PrintManner::Raw {
            return output::bytes(bytes);
        }
        self.unfinished.extend_from_slice(bytes);
        while let Some(end) = self.unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unfinished.drain(..=end).collect();
            self.print_line(&line[..end])?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        if self.unfinished.is_empty() {
            Ok(())
        } else {
            self.print_line(&self.unfinished)
        }
    }

    fn print_line(&self, line: &[u8]) -> anyhow::Result<()> {
        let text = String::from_utf8_lossy(line);
        match self.manner {
            PrintManner::Json => output::json(&serde_json::json!({ "line": text })),
            _ => output::line(text.strip_suffix('\r').unwrap_or(&text)),
        }
    }
}
