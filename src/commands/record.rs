//! `upstart record`: writes conversations of a node's live traffic, on the node's machine, for `upstart lens test`.

use crate::connection::{asked_to_end, wait_for};
use crate::failure::{Advise, CommandEnd, CommandOutcome, failure, refusal};
use crate::globals::Globals;
use crate::output;
use agent::control::{
    self, ControlAnswer, ControlError, RECORDED_MAX, RECORDED_SECONDS_MAX, RecordRequest,
    Recordings,
};
use clap::Args;
use conversation::{Conversation, SECRET_HEADERS};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The longest part of a file's name that comes from the call, in characters.
const SLUG_CHARACTERS_MAX: usize = 40;

/// What `upstart help record` says below the options.
const AFTER_HELP: &str = "\
While it records, new connections of the service pass through the agent; those that are open already are not seen.
The recording ends with this command, however it ends; what it has recorded stays. A connection that began meanwhile
stays with the agent until it ends.
Values of the headers Authorization, Cookie, Proxy-Authorization, Set-Cookie and X-Api-Key are replaced by (redacted). Paths, queries and bodies are
written as they are: look at the files before you pass them on.";

/// Arguments of `upstart record`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RecordArgs {
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The service, as its class calls it
    #[arg(long, value_name = "NAME")]
    pub(crate) service: String,
    /// Where to write; a folder for each lens, and one for direct calls
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// End after so many conversations
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=RECORDED_MAX))]
    pub(crate) count: u64,
    /// End after so many seconds
    #[arg(long, value_name = "N", default_value_t = 600)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=RECORDED_SECONDS_MAX))]
    pub(crate) seconds: u64,
    /// A further header whose values are secrets (repeatable)
    #[arg(long, value_name = "HEADER")]
    pub(crate) redact: Vec<String>,
    /// Write the values of all headers
    #[arg(long, conflicts_with = "redact")]
    pub(crate) with_secrets: bool,
}

/// `upstart record`.
pub(crate) fn run(globals: &Globals, arguments: &RecordArgs) -> CommandOutcome {
    std::fs::create_dir_all(&arguments.output).advise(
        format!("cannot write into {}", arguments.output.display()),
        "give --output a directory that can be written",
    )?;
    wait_for(async {
        let asked = asked_to_end()?;
        let recordings = control::record(&arguments.data, request(arguments)).await;
        let mut recordings = recordings.map_err(explain)?;
        let mut files = Files::new(globals, &arguments.output);
        let ended = tokio::select! {
            ended = follow(&mut recordings, &mut files) => ended?,
            () = asked => None,
        };
        drop(recordings);
        files.report(ended)
    })
}

fn request(arguments: &RecordArgs) -> RecordRequest {
    let own = SECRET_HEADERS.iter().map(|name| (*name).to_owned());
    let further = arguments
        .redact
        .iter()
        .map(|name| name.to_ascii_lowercase());
    RecordRequest {
        service: arguments.service.clone(),
        count: arguments.count,
        seconds: arguments.seconds,
        secrets: if arguments.with_secrets {
            Vec::new()
        } else {
            own.chain(further).collect()
        },
    }
}

fn explain(error: ControlError) -> anyhow::Error {
    match &error {
        ControlError::Unreachable { source, .. } => failure(
            format!("{error}: {source}"),
            "give --data the data directory of a running agent, as its user or as root",
        ),
        ControlError::Io(source) => failure(
            format!("{error}: {source}"),
            "see whether the agent still runs",
        ),
        ControlError::Garbled(_) => failure(
            error.to_string(),
            "the agent is another version of Upstart: use the command that belongs to it",
        ),
    }
}

/// How a recording ended, as the agent says it.
struct RecordingEnd {
    why: String,
    incomplete: u64,
    dropped: u64,
}

async fn follow(
    recordings: &mut Recordings,
    files: &mut Files<'_>,
) -> anyhow::Result<Option<RecordingEnd>> {
    while let Some(answer) = recordings.next().await.map_err(explain)? {
        match answer {
            ControlAnswer::Refused { reason, next } => return Err(refusal(reason, next)),
            ControlAnswer::Recording { service, version } => files.begin(&service, version)?,
            ControlAnswer::Conversation { toml } => files.write(&toml)?,
            ControlAnswer::Ended {
                why,
                incomplete,
                dropped,
            } => {
                return Ok(Some(RecordingEnd {
                    why,
                    incomplete,
                    dropped,
                }));
            }
        }
    }
    Ok(Some(RecordingEnd {
        why: "the agent has ended".to_owned(),
        incomplete: 0,
        dropped: 0,
    }))
}

/// The files that are written.
struct Files<'a> {
    globals: &'a Globals,
    folder: &'a Path,
    written: u64,
}

impl<'a> Files<'a> {
    fn new(globals: &'a Globals, folder: &'a Path) -> Self {
        Self {
            globals,
            folder,
            written: 0,
        }
    }

    fn begin(&self, service: &str, version: u32) -> anyhow::Result<()> {
        if self.globals.json {
            output::json(&json!({ "recording": service, "version": version }))
        } else {
            output::line(format!(
                "recording new connections of {service}, at version {version}; Ctrl-C ends it"
            ))
        }
    }

    fn write(&mut self, toml: &str) -> anyhow::Result<()> {
        let conversation = Conversation::parse("the agent", toml).advise(
            "the agent's conversation cannot be read",
            "use the command that belongs to it",
        )?;
        let folder = self.folder.join(folder_name(&conversation));
        let advice = "make room, or give --output another directory";
        let what = || format!("cannot write into {}", folder.display());
        std::fs::create_dir_all(&folder).advise(what(), advice)?;
        let slug = slug(&conversation.title());
        // Earlier recordings are kept: the number goes on behind theirs.
        let mut number = self.written + 1;
        let path = loop {
            let path = folder.join(format!("{number:04}-{slug}.toml"));
            match std::fs::File::create_new(&path) {
                Ok(mut file) => {
                    file.write_all(toml.as_bytes()).advise(what(), advice)?;
                    break path;
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).advise(what(), advice),
            }
        };
        self.written += 1;
        if self.globals.json {
            output::json(&json!({ "file": path }))
        } else {
            output::line(format!("{}: {}", path.display(), conversation.title()))
        }
    }

    fn report(&self, ended: Option<RecordingEnd>) -> CommandOutcome {
        let ended = ended.unwrap_or(RecordingEnd {
            why: "it was asked to end".to_owned(),
            incomplete: 0,
            dropped: 0,
        });
        let RecordingEnd {
            why,
            incomplete,
            dropped,
        } = ended;
        if self.globals.json {
            output::json(&json!({
                "written": self.written, "why": why, "incomplete": incomplete, "dropped": dropped,
            }))?;
        } else {
            output::line(format!("{} conversations written: {why}", self.written))?;
            if incomplete + dropped > 0 {
                output::line(format!(
                    "not written: {incomplete} calls that were too long, not ended or not understood; {dropped} that came too fast"
                ))?;
            }
        }
        Ok(if self.written > 0 {
            CommandEnd::Yes
        } else {
            CommandEnd::No
        })
    }
}

/// One folder for each lens, so that it can stand beside it; one for direct calls of each version.
fn folder_name(conversation: &Conversation) -> String {
    let origin = conversation.recorded.clone().unwrap_or_default();
    let service = origin.service.replace('/', ".");
    match conversation.direction {
        Some(_) => format!("{service}.v{}.conversations", origin.version),
        None => format!("{service}.direct-v{}", origin.version),
    }
}

/// A call as a part of a file's name.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for letter in title.chars().take(SLUG_CHARACTERS_MAX) {
        match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' => slug.push(letter.to_ascii_lowercase()),
            _ if slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    slug.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn names_of_files_tell_the_call() {
        assert_eq!(slug("POST /hello"), "post-hello");
        assert_eq!(
            slug("GET /items?name=k+1&x=%2F../.."),
            "get-items-name-k-1-x-2f"
        );
        assert_eq!(slug("GET /"), "get");
    }
}
