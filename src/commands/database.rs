//! `upstart database`: copies of a server's SQLite database, and its way to PostgreSQL.

use super::operate::done;
use super::server::explain_postgres;
use crate::failure::{CommandOutcome, failure, sentence};
use crate::globals::Globals;
use clap::{Args, Subcommand};
use server::ServerError;
use server::backup;
use server::udb::UdbError;
use std::path::PathBuf;

/// What `upstart help database` says below the options.
const AFTER_HELP: &str = "\
Copy the repository (DATA/repository) after the database: every artifact is there before the database names it. A database in PostgreSQL is
saved with pg_dump.";

/// Arguments of `upstart database`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DatabaseArgs {
    #[command(subcommand)]
    action: DatabaseAction,
}

/// What is done.
#[derive(Debug, Subcommand)]
enum DatabaseAction {
    /// Copy the database into a new file; the server may run meanwhile
    Backup(CopyArgs),
    /// Replace the database by a copy, while no server runs; the old one is kept beside it
    Restore(CopyArgs),
    /// Move the database into an empty one of PostgreSQL, while no server runs; the old one is kept beside it
    Move(MoveArgs),
}

/// What is copied.
#[derive(Debug, Args)]
struct CopyArgs {
    /// The copy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The server's data directory
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// What is moved.
#[derive(Debug, Args)]
struct MoveArgs {
    /// The server's data directory
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The database in PostgreSQL, as `upstart server --database` takes it
    #[arg(long, value_name = "URL")]
    to: String,
}

/// `upstart database`.
pub(crate) fn run(globals: &Globals, arguments: &DatabaseArgs) -> CommandOutcome {
    match &arguments.action {
        DatabaseAction::Backup(copy) => save(globals, copy),
        DatabaseAction::Restore(copy) => restore(globals, copy),
        DatabaseAction::Move(to) => move_it(globals, to),
    }
}

fn save(globals: &Globals, copy: &CopyArgs) -> CommandOutcome {
    backup::save(&copy.data, &copy.file).map_err(explain)?;
    let answer = serde_json::json!({ "file": copy.file });
    let said = format!(
        "{} is a copy of the database; copy the repository now.",
        copy.file.display()
    );
    done(globals, &answer, &said)
}

fn restore(globals: &Globals, copy: &CopyArgs) -> CommandOutcome {
    let kept = backup::restore(&copy.data, &copy.file).map_err(explain)?;
    let answer = serde_json::json!({ "file": copy.file, "kept": kept });
    let kept = kept.map_or_else(String::new, |kept| {
        format!(" The one before is kept as {}.", kept.display())
    });
    let said = format!("The database is that of {}.{kept}", copy.file.display());
    done(globals, &answer, &said)
}

fn move_it(globals: &Globals, arguments: &MoveArgs) -> CommandOutcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let moving = backup::move_to_postgres(&arguments.data, &arguments.to);
    let moved = runtime.block_on(moving).map_err(|error| match error {
        ServerError::Udb(UdbError::Taken { .. }) => {
            let next =
                "give --to a database in which no server has begun a system; nothing is changed";
            failure(sentence(&error.into()), next)
        }
        ServerError::Udb(error @ (UdbError::Address(_) | UdbError::Failed(_))) => {
            explain_postgres(error, &arguments.to)
        }
        error => explain(error),
    })?;
    let what = moved.taken_over;
    let answer = serde_json::json!({ "moved": what, "kept": moved.kept });
    let said = format!(
        "PostgreSQL has it all: {} revisions, {} nodes, {} identities, {} entries of the history. The one before is kept as {}. Start the server with --database now.",
        what.revisions,
        what.nodes,
        what.identities,
        what.entries,
        moved.kept.display()
    );
    done(globals, &answer, &said)
}

fn explain(error: ServerError) -> anyhow::Error {
    let next = match &error {
        ServerError::InUse(_) => "end that server first; nodes go on meanwhile",
        ServerError::Udb(UdbError::Newer { .. }) => {
            "use the Upstart that made the copy, or a newer one"
        }
        ServerError::Udb(UdbError::Full) => "free some space and run the command again",
        ServerError::Data { .. } => "give --data the server's data directory",
        _ => {
            "give --data the server's data directory, and FILE a copy, or for a backup a name that is not there yet"
        }
    };
    failure(sentence(&error.into()), next)
}
