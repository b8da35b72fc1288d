//! `upstart lens test`: plays recorded conversations through a lens, as a node would, and tells what differs.

use super::place::{self, Found, Lenses};
use crate::arguments::Globals;
use crate::connection::wait_for;
use crate::failure::{Advise, End, Outcome, failure};
use crate::output;
use adapter::LensError;
use adapter::conversation::{self, Conversation, Difference, Played};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Arguments of `upstart lens test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// A lens file, or the folder of a bundle: then all its lenses
    #[arg(value_name = "LENS|BUNDLE")]
    pub(crate) path: PathBuf,
    /// Where the conversations are; `lens.toml` has `lens.conversations` beside it unless told otherwise
    #[arg(long, value_name = "DIR")]
    pub(crate) conversations: Option<PathBuf>,
    /// Write what the lens does into the conversations that differ, as what it shall do from now on
    #[arg(long)]
    pub(crate) update: bool,
}

/// How one conversation file went.
struct Tested {
    file: PathBuf,
    ending: Ending,
}

enum Ending {
    /// As the file says; what was said.
    Same(String),
    /// No adapter takes part in it.
    Direct,
    /// Otherwise.
    Differs(Box<Played>),
    /// Otherwise, and the file says so now.
    Updated,
    /// The file cannot be read.
    Broken(Box<LensError>),
}

/// `upstart lens test`.
pub(crate) fn run(globals: &Globals, arguments: &TestArgs) -> Outcome {
    let lenses = match place::lenses(globals, &arguments.path)? {
        Lenses::Found(lenses) => lenses,
        Lenses::Unsound(end) => return Ok(end),
    };
    if arguments.conversations.is_some() && lenses.len() > 1 {
        let names: Vec<String> = lenses
            .iter()
            .map(|lens| lens.path.display().to_string())
            .collect();
        return Err(failure(
            format!(
                "the bundle has {} lenses, and --conversations belongs to one",
                names.len()
            ),
            format!("give one of them: {}", names.join(", ")),
        ));
    }
    let mut all = Vec::new();
    for lens in &lenses {
        let folder = arguments.conversations.clone();
        let folder = folder.unwrap_or_else(|| place::conversations_of(&lens.path));
        let mut tested = Vec::new();
        for file in place::files_in(&folder)? {
            tested.push(one(lens, &file, arguments.update)?);
        }
        all.push((lens, folder, tested));
    }
    if globals.json {
        return report_json(&all);
    }
    report(&all)
}

fn one(lens: &Found, file: &Path, update: bool) -> anyhow::Result<Tested> {
    let tested = |ending| {
        Ok(Tested {
            file: file.to_owned(),
            ending,
        })
    };
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).advise(
        format!("cannot read {shown}"),
        "make it a readable UTF-8 file",
    )?;
    let conversation = match Conversation::parse(&shown, &text) {
        Ok(conversation) => conversation,
        Err(error) => return tested(Ending::Broken(Box::new(error))),
    };
    if conversation.direction.is_none() {
        return tested(Ending::Direct);
    }
    let played = wait_for(async { Ok(conversation::play(&lens.lens, &conversation).await) })?;
    if played.differences.is_empty() {
        return tested(Ending::Same(conversation.title()));
    }
    // What the next in the chain would answer is not known where the lens asks it something else.
    if update && played.found.exchanges.len() <= conversation.exchanges.len() {
        std::fs::write(file, played.found.to_toml())
            .advise(format!("cannot write {shown}"), "make it writable")?;
        return tested(Ending::Updated);
    }
    tested(Ending::Differs(Box::new(played)))
}

type Report<'l> = [(&'l Found, PathBuf, Vec<Tested>)];

/// Whether all is well: something was tested, and nothing differs.
fn is_good(all: &Report<'_>) -> bool {
    let mut tested = all.iter().flat_map(|(_, _, tested)| tested).peekable();
    tested.peek().is_some()
        && tested.all(|one| {
            matches!(
                one.ending,
                Ending::Same(_) | Ending::Direct | Ending::Updated
            )
        })
}

fn end(all: &Report<'_>) -> End {
    if is_good(all) { End::Yes } else { End::No }
}

fn report(all: &Report<'_>) -> Outcome {
    let (mut same, mut failed, mut direct, mut updated) = (0, 0, 0, 0);
    for (lens, folder, tested) in all {
        if tested.is_empty() {
            output::line(format!(
                "none    {}: no conversations in {}",
                lens.path.display(),
                folder.display()
            ))?;
        }
        for one in tested {
            let file = one.file.display();
            match &one.ending {
                Ending::Same(title) => {
                    same += 1;
                    output::line(format!("ok      {file}: {title}"))?;
                }
                Ending::Direct => {
                    direct += 1;
                    output::line(format!("direct  {file}: no adapter takes part in it"))?;
                }
                Ending::Updated => {
                    updated += 1;
                    output::line(format!("updated {file}"))?;
                }
                Ending::Differs(played) => {
                    failed += 1;
                    output::line(format!("FAILED  {file}: {}", played.found.title()))?;
                    print_differences(&played.differences)?;
                }
                Ending::Broken(error) => {
                    failed += 1;
                    output::line(format!("FAILED  {error}"))?;
                }
            }
        }
    }
    let mut sentence = format!("{} conversations as they should be, {failed} not", same);
    for (number, what) in [(direct, "direct"), (updated, "updated")] {
        if number > 0 {
            sentence.push_str(&format!(", {number} {what}"));
        }
    }
    output::line(sentence)?;
    if all.iter().all(|(_, _, tested)| tested.is_empty()) {
        output::line(
            "nothing was tested: write a conversation (docs/lenses.md), or record some with `upstart record`",
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
    output::line("        (- as the conversation says, + as the lens does)")
}

fn in_words(message: &str) -> &'static str {
    match message {
        "caller.gets" => "what the caller gets",
        _ => "what the next in the chain gets",
    }
}

fn report_json(all: &Report<'_>) -> Outcome {
    let lenses: Vec<Value> = all
        .iter()
        .map(|(lens, folder, tested)| {
            json!({
                "lens": lens.path, "folder": folder,
                "conversations": tested.iter().map(ending_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    output::json(&json!({ "ok": is_good(all), "lenses": lenses }))?;
    Ok(end(all))
}

fn ending_json(tested: &Tested) -> Value {
    let (result, differences, error) = match &tested.ending {
        Ending::Same(_) => ("ok", Vec::new(), None),
        Ending::Direct => ("direct", Vec::new(), None),
        Ending::Updated => ("updated", Vec::new(), None),
        Ending::Differs(played) => ("differs", played.differences.clone(), None),
        Ending::Broken(error) => ("broken", Vec::new(), Some(error.to_string())),
    };
    json!({ "file": tested.file, "result": result, "differences": differences, "error": error })
}
