//! `upstart audit`: the whole history in a form that is kept elsewhere, in which a hole or a change shows.
//!
//! Each record has a digest of itself and of the digest before it. So whoever knows the last digest knows every record before it.

use super::events::clock;
use crate::connection::{connect, explain, wait_for};
use crate::failure::{Advise, CommandEnd, CommandOutcome, failure, refusal};
use crate::globals::Globals;
use crate::output;
use clap::Args;
use client::Client;
use model::api::Event;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How many events are asked for at once.
const AT_ONCE: u32 = 1_000;

/// What stands before a record's digest.
const DIGEST: &str = ",\"digest\":\"";

/// The longest record, in bytes: a message and all names in it are far shorter.
const RECORD_BYTES_MAX: u64 = 4 << 20;

/// The columns of CSV.
const COLUMNS: &str = "record,sequence,time,author,proven,node,kind,version,message,epoch,digest";

/// What `upstart help audit` says below the options.
const AFTER_HELP: &str = "\
Each record has the digest of itself and of the one before: SHA-256 over the digest of the record before (nothing for the first) and the line up
to `,\"digest\"`. Where the history has no entries any more, a record says which are missing.";

/// Arguments of `upstart audit`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct AuditArgs {
    /// Append to this file, after its last record, instead of printing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["after", "csv"])]
    pub(crate) to: Option<PathBuf>,
    /// Begin after this event
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    pub(crate) after: u64,
    /// Print CSV instead of JSON lines
    #[arg(long)]
    pub(crate) csv: bool,
    /// Look whether this file is whole, without a server: no record changed, left out or added
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "after", "csv"])]
    pub(crate) check: Option<PathBuf>,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecordKind {
    /// An entry of the history.
    Event,
    /// Entries that the history has no more.
    Missing,
    /// The history was set back, or another one goes on in its place.
    SetBack,
}

/// A record, without its digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct AuditRecord {
    record: RecordKind,
    /// Which history it is of.
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Event>,
    /// The first and the last number that are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missing: Option<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Where records go.
enum RecordSink {
    Lines,
    Table,
    Appended(File),
}

/// An export under way.
struct AuditExport {
    epoch: u64,
    /// The number of the last event.
    after: u64,
    digest: String,
    sink: RecordSink,
    count: u64,
}

/// `upstart audit`.
pub(crate) fn run(globals: &Globals, arguments: &AuditArgs) -> CommandOutcome {
    if let Some(file) = &arguments.check {
        return check(globals, file);
    }
    let client = connect(globals)?;
    let (last, sink) = match &arguments.to {
        None if arguments.csv => (Last::default(), RecordSink::Table),
        None => (Last::default(), RecordSink::Lines),
        Some(file) => {
            let (last, opened) = opened(file)?;
            (last, RecordSink::Appended(opened))
        }
    };
    let written = wait_for(export(&client, arguments.after, last, sink))?;
    if let Some(file) = &arguments.to {
        let count = output::counted(written as usize, "record", "records");
        output::line(format!("{count} appended to {}.", file.display()))?;
    }
    Ok(CommandEnd::Yes)
}

async fn export(client: &Client, after: u64, last: Last, sink: RecordSink) -> anyhow::Result<u64> {
    let epoch = client.fleet().await.map_err(explain)?.system.epoch;
    let mut export = AuditExport {
        epoch,
        after: last.event.as_ref().map_or(after, |event| event.sequence),
        digest: last.digest,
        sink,
        count: 0,
    };
    if let RecordSink::Table = export.sink {
        output::line(COLUMNS)?;
    }
    if let Some(event) = &last.event
        && is_another(client, event).await?
    {
        let message = format!(
            "the history has no event {} any more as it is written here: it was set back; what it has is written anew",
            event.sequence
        );
        export.after = 0;
        export.put(RecordKind::SetBack, None, None, Some(message))?;
    }
    while !output::reader_has_gone() {
        let page = client
            .events(Some(&export.after.to_string()), Some(AT_ONCE), None)
            .await;
        let page = page.map_err(explain)?;
        if page.items.is_empty() {
            break;
        }
        for event in page.items {
            export.take(event)?;
        }
    }
    if let RecordSink::Appended(file) = &export.sink {
        file.sync_all()?;
    }
    Ok(export.count)
}

/// Whether the history has another event in the place of one, or ends before it. One that is kept no longer is no other.
async fn is_another(client: &Client, event: &Event) -> anyhow::Result<bool> {
    let before = event.sequence.saturating_sub(1).to_string();
    match client.events(Some(&before), Some(1), None).await {
        Ok(page) => Ok(match page.items.first() {
            Some(there) if there.sequence == event.sequence => there != event,
            Some(_) => false,
            None => true,
        }),
        Err(error) if error.status() == Some(410) => Ok(true),
        Err(error) => Err(explain(error)),
    }
}

impl AuditExport {
    fn take(&mut self, event: Event) -> anyhow::Result<()> {
        let (first, last) = (self.after + 1, event.sequence.saturating_sub(1));
        self.after = event.sequence;
        if first <= last {
            let message = format!(
                "the history has no events {first} to {last}: they were older than is kept, or were lost when the database was set back"
            );
            self.put(
                RecordKind::Missing,
                None,
                Some((first, last)),
                Some(message),
            )?;
        }
        self.put(RecordKind::Event, Some(event), None, None)
    }

    fn put(
        &mut self,
        record: RecordKind,
        event: Option<Event>,
        missing: Option<(u64, u64)>,
        message: Option<String>,
    ) -> anyhow::Result<()> {
        let record = AuditRecord {
            record,
            epoch: self.epoch,
            event,
            missing,
            message,
        };
        let text = serde_json::to_string(&record)?;
        // The last brace is the record's own.
        let begin = text.len() - 1;
        self.digest = digest(&self.digest, &text[..begin]);
        self.count += 1;
        let line = format!("{}{DIGEST}{}\"}}\n", &text[..begin], self.digest);
        match &mut self.sink {
            RecordSink::Lines => output::bytes(line.as_bytes()),
            RecordSink::Table => output::bytes(row(&record, &self.digest).as_bytes()),
            RecordSink::Appended(file) => file.write_all(line.as_bytes()).advise(
                "the file cannot be written",
                "see that its disk has room; what is whole in it stays",
            ),
        }
    }
}

/// The digest of a record after the one before it.
fn digest(before: &str, record: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(before.as_bytes());
    digest.update(record.as_bytes());
    hex::encode(digest.finalize())
}

/// A record as a row of CSV.
fn row(record: &AuditRecord, digest: &str) -> String {
    let kind = serde_json::to_value(record.record).unwrap_or_default();
    let event = record.event.as_ref();
    let text = |of: fn(&Event) -> &str| event.map_or("", of).to_owned();
    let message = record
        .message
        .clone()
        .unwrap_or_else(|| text(|event| &event.message));
    let fields = [
        kind.as_str().unwrap_or_default().to_owned(),
        event.map_or_else(String::new, |event| event.sequence.to_string()),
        event.map_or_else(String::new, |event| clock(event.at_ms)),
        text(|event| &event.author),
        text(|event| event.proven.as_deref().unwrap_or_default()),
        text(|event| event.node.as_deref().unwrap_or_default()),
        text(|event| &event.kind),
        event
            .and_then(|event| event.version)
            .map_or_else(String::new, |version| version.to_string()),
        message,
        record.epoch.to_string(),
        digest.to_owned(),
    ];
    fields.map(|field| quoted(&field)).join(",") + "\r\n"
}

/// A field of CSV (RFC 4180). What a spreadsheet would take for a formula begins with a quote.
fn quoted(field: &str) -> String {
    let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let field = if is_formula {
        format!("'{field}")
    } else {
        field.to_owned()
    };
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}

/// What a file ends with.
#[derive(Debug, Default)]
struct Last {
    digest: String,
    event: Option<Event>,
    records: u64,
}

/// Opens a file to append to, whose records are whole; what a crash has left of one at its end is cut off.
fn opened(file: &Path) -> anyhow::Result<(Last, File)> {
    let shown = file.display();
    let mut options = OpenOptions::new();
    let opened = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file);
    let mut opened = opened.advise(
        format!("{shown} cannot be written"),
        "give --to another place",
    )?;
    let (last, end) = read(&opened).map_err(|problem| {
        failure(
            format!("{shown}, {problem}"),
            "give --to another file: nothing is appended to one that was changed",
        )
    })?;
    opened.set_len(end)?;
    opened.seek(SeekFrom::End(0))?;
    Ok((last, opened))
}

/// Reads records, and sees that each follows on the one before; says what the last is, and where it ends.
fn read(file: &File) -> Result<(Last, u64), String> {
    let mut reader = BufReader::new(file);
    let (mut last, mut end) = (Last::default(), 0);
    loop {
        let mut line = String::new();
        let read = std::io::Read::take(&mut reader, RECORD_BYTES_MAX).read_line(&mut line);
        let at = last.records + 1;
        let read = read.map_err(|error| format!("line {at}: {error}"))?;
        if read == 0 || !line.ends_with('\n') {
            return Ok((last, end));
        }
        let (record, digest) =
            parsed(line.trim_end(), &last.digest).map_err(|why| format!("line {at}: {why}"))?;
        last.digest = digest;
        if record.record == RecordKind::SetBack {
            last.event = None;
        }
        last.event = record.event.or(last.event);
        last.records = at;
        end += read as u64;
    }
}

fn parsed(line: &str, before: &str) -> Result<(AuditRecord, String), String> {
    let none = || "it is no record of `upstart audit`".to_owned();
    let (text, rest) = line.rsplit_once(DIGEST).ok_or_else(none)?;
    let found = rest.strip_suffix("\"}").ok_or_else(none)?;
    let record: AuditRecord = serde_json::from_str(&format!("{text}}}")).map_err(|_| none())?;
    let wanted = digest(before, text);
    if wanted != found {
        return Err("its digest does not follow on the record before: one of them was changed, or something between them is missing".to_owned());
    }
    Ok((record, wanted))
}

/// Looks whether a file is whole.
fn check(globals: &Globals, file: &Path) -> CommandOutcome {
    let shown = file.display();
    let opened = File::open(file).advise(
        format!("{shown} cannot be read"),
        "give a file that `upstart audit --to` has written",
    )?;
    let size = opened.metadata()?.len();
    let (last, end) = read(&opened).map_err(|problem| {
        refusal(
            format!("{shown}, {problem}"),
            "compare it with another copy, by the digests of both",
        )
    })?;
    if end != size {
        let what = format!(
            "{shown}, line {}: the last record is cut off",
            last.records + 1
        );
        return Err(refusal(
            what,
            "`upstart audit --to` goes on from the record before",
        ));
    }
    if globals.json {
        output::json(&serde_json::json!({ "records": last.records, "digest": last.digest }))?;
    } else {
        let count = output::counted(last.records as usize, "record", "records");
        output::line(format!(
            "{count}, each after the one before. The last digest is {}.",
            last.digest
        ))?;
    }
    Ok(CommandEnd::Yes)
}

#[cfg(test)]
mod tests;
