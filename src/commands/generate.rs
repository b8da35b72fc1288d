//! `upstart completions`, `upstart man` and `upstart schema`: files for packagers and editors. The first two are generated
//! from the arguments themselves; that the schemas know what the parsers know is tested (crates/model/tests/schema.rs, crates/component/tests/schema.rs).

use super::reference;
use crate::failure::{Advise, CommandEnd, CommandOutcome};
use crate::output;
use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;
use std::path::{Path, PathBuf};

/// Arguments of `upstart completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// Arguments of `upstart man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for every command into this directory instead of printing the first
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Print every command as one page of Markdown instead
    #[arg(long, conflicts_with = "output")]
    pub(crate) markdown: bool,
}

/// Arguments of `upstart schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Of which files
    #[arg(value_enum)]
    pub(crate) of: SchemaOf,
}

/// The files that have a schema.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SchemaOf {
    /// `upgrade.toml`
    Upgrade,
    /// Lens files
    Lens,
    /// Files that declare a component as an adapter
    Adapter,
    /// Conversation files, for `upstart adapter test`
    Conversation,
}

/// `upstart schema`.
pub(crate) fn schema(arguments: &SchemaArgs) -> CommandOutcome {
    let text = match arguments.of {
        SchemaOf::Upgrade => include_str!("../../schemas/upgrade.json"),
        SchemaOf::Lens => include_str!("../../schemas/lens.json"),
        SchemaOf::Adapter => include_str!("../../schemas/adapter.json"),
        SchemaOf::Conversation => include_str!("../../schemas/conversation.json"),
    };
    output::bytes(text.as_bytes())?;
    Ok(CommandEnd::Yes)
}

/// `upstart completions`, of this command line.
pub(crate) fn completions(arguments: &CompletionsArgs, mut root: Command) -> CommandOutcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut root, "upstart", &mut script);
    output::bytes(&script)?;
    Ok(CommandEnd::Yes)
}

/// `upstart man`, of this command line.
pub(crate) fn man(arguments: &ManArgs, root: Command) -> CommandOutcome {
    match &arguments.output {
        _ if arguments.markdown => {
            let page = reference::page(root);
            output::bytes(page.as_bytes())?;
        }
        Some(directory) => pages(directory, root)?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(root).render(&mut page)?;
            output::bytes(&page)?;
        }
    }
    Ok(CommandEnd::Yes)
}

fn pages(directory: &Path, root: Command) -> anyhow::Result<()> {
    let advice = "give a directory that can be written";
    let what = format!("cannot write manual pages into {}", directory.display());
    std::fs::create_dir_all(directory).advise(&what, advice)?;
    clap_mangen::generate_to(root, directory).advise(&what, advice)
}
