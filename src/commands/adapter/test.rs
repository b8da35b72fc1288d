//! `upstart adapter test`, and for lenses `upstart lens test`: plays recorded conversations through an adapter, as a node would, and tells
//! what differs.

use super::place::{self, AdapterFile, AdaptersFound, FileAdapter};
use crate::connection::wait_for;
use crate::failure::{Advise, CommandEnd, CommandOutcome, failure};
use crate::globals::Globals;
use crate::output;
use call::{Calls, Sessions};
use clap::Args;
use component::Stores;
use component::{ChainPlace, ComponentStep, SessionStep};
use conversation::{Conversation, Difference, Part, Script};
use declaration::DeclarationError;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of `upstart adapter test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// An adapter's file (a lens, or what declares a component), or the folder of a bundle or of a project, for all its adapters
    #[arg(value_name = "ADAPTER|FOLDER", default_value = ".")]
    pub(crate) path: PathBuf,
    /// Where the conversations are; `data.toml` has `data.conversations` beside it unless told otherwise
    #[arg(long, value_name = "DIR")]
    pub(crate) conversations: Option<PathBuf>,
    /// Change the conversations that differ, so that they expect what the adapter does now
    #[arg(long)]
    pub(crate) update: bool,
}

/// Said of a file that an adapter of another kind could take part in.
const UNFIT_FOR_LENS: &str = "a lens understands calls of HTTP only";
const UNFIT_FOR_CALLS: &str =
    "it is a session, and the adapter answers calls; docs/guides/testing-lenses.md has the formats";
const UNFIT_FOR_SESSIONS: &str =
    "it is a call, and the adapter serves sessions; docs/guides/testing-lenses.md has the formats";

/// How one conversation file went.
struct Tested {
    file: PathBuf,
    ending: TestEnding,
}

enum TestEnding {
    /// As the file says; what was said.
    Same(String),
    /// No adapter takes part in it.
    Direct,
    /// Otherwise.
    Differs(Box<TestRun>),
    /// Otherwise, and the file says so now.
    Updated,
    /// The file cannot be read.
    Broken(Box<DeclarationError>),
    /// It is something else than what the adapter takes part in, as this says.
    Unfit(&'static str),
}

/// What came of a file.
struct TestRun {
    title: String,
    differences: Vec<Difference>,
    failure: Option<String>,
    /// What the file would have to say; none where that is not known.
    update: Option<String>,
}

/// `upstart adapter test`.
pub(crate) fn run(globals: &Globals, arguments: &TestArgs) -> CommandOutcome {
    let adapters = match place::adapters(globals, &arguments.path)? {
        AdaptersFound::Found(adapters) => adapters,
        AdaptersFound::Unsound(end) => return Ok(end),
    };
    if arguments.conversations.is_some() && adapters.len() > 1 {
        let names: Vec<String> = adapters
            .iter()
            .map(|found| found.path.display().to_string())
            .collect();
        return Err(failure(
            format!(
                "the bundle has {} adapters, and --conversations belongs to one",
                names.len()
            ),
            format!("give one of them: {}", names.join(", ")),
        ));
    }
    let mut all = Vec::new();
    for found in &adapters {
        let folder = arguments.conversations.clone();
        let folder = folder.unwrap_or_else(|| place::conversations_of(&found.path));
        let mut tested = Vec::new();
        for file in place::files_in(&folder)? {
            tested.push(one(found, &file, arguments.update)?);
        }
        all.push((found, folder, tested));
    }
    if globals.json {
        return report_json(&all);
    }
    report(&all)
}

fn one(found: &AdapterFile, file: &Path, update: bool) -> anyhow::Result<Tested> {
    let tested = |ending| {
        Ok(Tested {
            file: file.to_owned(),
            ending,
        })
    };
    let shown = file.display().to_string();
    let text = crate::files::read_text(file).advise(
        format!("cannot read {shown}"),
        "make it a readable UTF-8 file",
    )?;
    let run = match play(found, &shown, &text)? {
        Ok(run) => run,
        Err(ending) => return tested(ending),
    };
    if run.differences.is_empty() && run.failure.is_none() {
        return tested(TestEnding::Same(run.title));
    }
    if let (true, None, Some(new)) = (update, &run.failure, &run.update) {
        std::fs::write(file, new).advise(format!("cannot write {shown}"), "make it writable")?;
        return tested(TestEnding::Updated);
    }
    tested(TestEnding::Differs(Box::new(run)))
}

/// Plays one file; the inner error is how it ends without being played. A component begins each without anything remembered.
fn play(
    found: &AdapterFile,
    shown: &str,
    text: &str,
) -> anyhow::Result<Result<TestRun, TestEnding>> {
    let scratch = tempfile::tempdir()?;
    if Script::is_one(text) {
        play_session(found, shown, text, scratch.path())
    } else {
        play_calls(found, shown, text, scratch.path())
    }
}

/// Plays a session; what components remember of it is in the folder.
fn play_session(
    found: &AdapterFile,
    shown: &str,
    text: &str,
    folder: &Path,
) -> anyhow::Result<Result<TestRun, TestEnding>> {
    let script = match Script::parse(shown, text) {
        Ok(script) => script,
        Err(error) => return Ok(Err(TestEnding::Broken(Box::new(error)))),
    };
    let FileAdapter::Sessions(declaration, program) = &found.adapter else {
        return Ok(Err(TestEnding::Unfit(UNFIT_FOR_CALLS)));
    };
    let played = wait_for(async {
        let adapter = |part: Part| -> Arc<dyn Sessions> {
            Arc::new(SessionStep::new(
                declaration.clone(),
                program.clone(),
                Arc::new(Stores::new(folder)),
                chain_place(part),
            ))
        };
        Ok(script.play(adapter).await)
    })?;
    Ok(Ok(TestRun {
        title: script.title(),
        update: Some(played.found.to_toml()),
        differences: played.differences,
        failure: played.failure,
    }))
}

/// Plays calls; what components remember of them is in the folder.
fn play_calls(
    found: &AdapterFile,
    shown: &str,
    text: &str,
    folder: &Path,
) -> anyhow::Result<Result<TestRun, TestEnding>> {
    let conversation = match Conversation::parse(shown, text) {
        Ok(conversation) => conversation,
        Err(error) => return Ok(Err(TestEnding::Broken(Box::new(error)))),
    };
    if conversation.direction.is_none() {
        return Ok(Err(TestEnding::Direct));
    }
    let played = match &found.adapter {
        FileAdapter::Sessions(..) => return Ok(Err(TestEnding::Unfit(UNFIT_FOR_SESSIONS))),
        FileAdapter::Lens(_) if !conversation.is_http() => {
            return Ok(Err(TestEnding::Unfit(UNFIT_FOR_LENS)));
        }
        FileAdapter::Lens(lens) => {
            let adapter = |part: Part| lens.clone().adapter(part.direction);
            wait_for(async { Ok(conversation.play(adapter).await) })
        }
        FileAdapter::Component(declaration, program) => wait_for(async {
            let adapter = |part: Part| -> Arc<dyn Calls> {
                Arc::new(ComponentStep::new(
                    declaration.clone(),
                    program.clone(),
                    Arc::new(Stores::new(folder)),
                    chain_place(part),
                ))
            };
            Ok(conversation.play(adapter).await)
        }),
    }?;
    // What the next in the chain would answer is not known where the adapter asks it something else.
    let is_known = played.found.exchanges.len() <= conversation.exchanges.len();
    Ok(Ok(TestRun {
        title: conversation.title(),
        update: is_known.then(|| played.found.to_toml()),
        differences: played.differences,
        failure: played.failure,
    }))
}

/// The place in a chain of an adapter that plays a part.
fn chain_place(part: Part) -> ChainPlace {
    ChainPlace::between(part.direction, part.caller_version, part.next_version)
}

type Report<'l> = [(&'l AdapterFile, PathBuf, Vec<Tested>)];

/// Whether all is well: something was tested, and nothing differs.
fn is_good(all: &Report<'_>) -> bool {
    let mut tested = all.iter().flat_map(|(_, _, tested)| tested).peekable();
    tested.peek().is_some()
        && tested.all(|one| {
            matches!(
                one.ending,
                TestEnding::Same(_) | TestEnding::Direct | TestEnding::Updated
            )
        })
}

fn end(all: &Report<'_>) -> CommandEnd {
    if is_good(all) {
        CommandEnd::Yes
    } else {
        CommandEnd::No
    }
}

fn report(all: &Report<'_>) -> CommandOutcome {
    let (mut same, mut failed, mut direct, mut updated) = (0, 0, 0, 0);
    for (found, folder, tested) in all {
        if tested.is_empty() {
            output::line(format!(
                "none    {}: no conversations in {}",
                found.path.display(),
                folder.display()
            ))?;
        }
        for one in tested {
            let file = one.file.display();
            match &one.ending {
                TestEnding::Same(title) => {
                    same += 1;
                    output::line(format!("ok      {file}: {title}"))?;
                }
                TestEnding::Direct => {
                    direct += 1;
                    output::line(format!("direct  {file}: no adapter takes part in it"))?;
                }
                TestEnding::Updated => {
                    updated += 1;
                    output::line(format!("updated {file}"))?;
                }
                TestEnding::Differs(run) => {
                    failed += 1;
                    output::line(format!("FAILED  {file}: {}", run.title))?;
                    if let Some(failure) = &run.failure {
                        output::line(format!("        {failure}"))?;
                    }
                    print_differences(&run.differences)?;
                }
                TestEnding::Broken(error) => {
                    failed += 1;
                    output::line(format!("FAILED  {error}"))?;
                }
                TestEnding::Unfit(why) => {
                    failed += 1;
                    output::line(format!("FAILED  {file}: {why}"))?;
                }
            }
        }
    }
    let mut sentence = format!("{same} conversations as they should be, {failed} not");
    for (number, what) in [(direct, "direct"), (updated, "updated")] {
        if number > 0 {
            sentence.push_str(&format!(", {number} {what}"));
        }
    }
    output::line(sentence)?;
    if all.iter().all(|(_, _, tested)| tested.is_empty()) {
        output::line(
            "nothing was tested: write a conversation (docs/guides/testing-lenses.md), or record some with `upstart record`",
        )?;
    }
    Ok(end(all))
}

/// Message by message; what was expected and what was found below each other.
fn print_differences(differences: &[Difference]) -> anyhow::Result<()> {
    let mut message = "";
    for difference in differences {
        if difference.message != message {
            message = &difference.message;
            output::line(format!("        [{message}] {}", in_words(message)))?;
        }
        output::line(format!("          {}", difference.place))?;
        let shown = |value: &Option<String>| {
            let value = value.as_deref().unwrap_or("(nothing)");
            value.replace('\n', "\n              ")
        };
        output::line(format!("            - {}", shown(&difference.expected)))?;
        output::line(format!("            + {}", shown(&difference.found)))?;
    }
    output::line("        (- as the conversation says, + as the adapter does)")
}

fn in_words(message: &str) -> &'static str {
    match message {
        "caller.gets" => "what the caller gets",
        event if event.starts_with("event") => "what follows from it",
        _ => "what the next in the chain gets",
    }
}

fn report_json(all: &Report<'_>) -> CommandOutcome {
    let adapters: Vec<Value> = all
        .iter()
        .map(|(found, folder, tested)| {
            json!({
                "adapter": found.path, "folder": folder,
                "conversations": tested.iter().map(ending_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    output::json(&json!({ "ok": is_good(all), "adapters": adapters }))?;
    Ok(end(all))
}

fn ending_json(tested: &Tested) -> Value {
    let (result, differences, error) = match &tested.ending {
        TestEnding::Same(_) => ("ok", Vec::new(), None),
        TestEnding::Direct => ("direct", Vec::new(), None),
        TestEnding::Updated => ("updated", Vec::new(), None),
        TestEnding::Differs(run) => ("differs", run.differences.clone(), run.failure.clone()),
        TestEnding::Broken(error) => ("broken", Vec::new(), Some(error.to_string())),
        TestEnding::Unfit(why) => ("broken", Vec::new(), Some((*why).to_owned())),
    };
    json!({ "file": tested.file, "result": result, "differences": differences, "error": error })
}
