//! `upstart keys make`: the keys of a new system and a repository that trusts them, with what to keep where.

use super::{RepositoryArgs, open, unsigned};
use crate::connection::wait_for;
use crate::failure::{Advise, CommandEnd, CommandOutcome, refusal};
use crate::globals::Globals;
use crate::output;
use clap::Args;
use repository::{
    PublicKey, RepositoryWriter, RoleRule, RoleType, Signer, SystemIdentity, make_key, new_system,
    read_public_key, short,
};
use serde::Serialize;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Arguments of `upstart keys make`.
#[derive(Debug, Args)]
pub(crate) struct MakeKeysArgs {
    /// The system's name, as upgrade files say it
    #[arg(long, value_name = "NAME")]
    system: String,
    /// The folder for the private keys
    #[arg(long, value_name = "DIR", default_value = "keys")]
    keys: PathBuf,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// How many root keys; they say who may sign, and are needed once a year or when a key is lost
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    root_keys: u8,
    /// How many root keys must sign a new root
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    root_threshold: u8,
    /// How many publishers, each with a key
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    publishers: u8,
    /// How many publishers must sign an upgrade
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    publisher_threshold: u8,
}

/// One key that was made.
#[derive(Serialize)]
struct MadeKey {
    file: PathBuf,
    id: String,
    roles: Vec<String>,
    keep: &'static str,
    #[serde(skip)]
    key: PublicKey,
}

/// What was made.
#[derive(Serialize)]
struct Made<'a> {
    system: &'a SystemIdentity,
    repository: PathBuf,
    root: PathBuf,
    made: bool,
    keys: Vec<MadeKey>,
}

/// What to keep where.
const ROOT_KEEP: &str = "offline, each in another place";
const PUBLISHER_KEEP: &str = "with the publisher, or in a hardware token";
const SERVER_KEEP: &str = "on the server that serves the repository";

/// `upstart keys make`.
pub(super) fn run(globals: &Globals, arguments: &MakeKeysArgs) -> CommandOutcome {
    let folder = &arguments.keys;
    let is_there = RepositoryWriter::exists(&arguments.repository.repository);
    if !is_there {
        let mut make = std::fs::DirBuilder::new();
        make.recursive(true).mode(0o700).create(folder).advise(
            format!("cannot make {}", folder.display()),
            "name another folder with `--keys DIR`",
        )?;
    }
    let make = |name: String, roles: &[RoleType], keep| {
        let file = folder.join(format!("{name}.pem"));
        let key = if is_there {
            read_public_key(&file)
        } else {
            make_key(&file)
        };
        key.map(|key| MadeKey {
            file,
            id: key.id.clone(),
            roles: roles.iter().map(ToString::to_string).collect(),
            keep,
            key,
        })
        .map_err(unsigned)
    };
    let mut keys = Vec::new();
    for number in 1..=arguments.root_keys {
        keys.push(make(
            format!("root-{number}"),
            &[RoleType::Root],
            ROOT_KEEP,
        )?);
    }
    for number in 1..=arguments.publishers {
        let name = format!("publisher-{number}");
        keys.push(make(name, &[RoleType::Targets], PUBLISHER_KEEP)?);
    }
    let server = [RoleType::Snapshot, RoleType::Timestamp];
    keys.push(make("server".to_owned(), &server, SERVER_KEEP)?);
    let writer = if is_there {
        wait_for(open(&arguments.repository.repository))?
    } else {
        wait_for(create(arguments, &keys))?
    };
    of_this(arguments, &writer, &keys)?;
    let made = Made {
        system: writer.trust().system(),
        repository: writer.path().to_owned(),
        root: writer.path().join("metadata/1.root.json"),
        made: !is_there,
        keys,
    };
    say(globals, &made)
}

async fn create(arguments: &MakeKeysArgs, keys: &[MadeKey]) -> anyhow::Result<RepositoryWriter> {
    let rule = |role: RoleType, threshold: u8| RoleRule {
        role,
        keys: (keys.iter())
            .filter(|key| key.roles.contains(&role.to_string()))
            .map(|key| key.key.clone())
            .collect(),
        threshold: threshold.into(),
    };
    let rules = [
        rule(RoleType::Root, arguments.root_threshold),
        rule(RoleType::Targets, arguments.publisher_threshold),
        rule(RoleType::Snapshot, 1),
        rule(RoleType::Timestamp, 1),
    ];
    let system = new_system(&arguments.system).map_err(unsigned)?;
    let mut signers = Vec::new();
    for key in keys {
        signers.extend(Signer::read(&key.file).map_err(unsigned)?);
    }
    let path = &arguments.repository.repository;
    let now = jiff::Timestamp::now();
    RepositoryWriter::create(path, &system, &rules, &signers, now)
        .await
        .map_err(unsigned)
}

/// Whether a repository that is there already is what was asked for.
fn of_this(
    arguments: &MakeKeysArgs,
    writer: &RepositoryWriter,
    keys: &[MadeKey],
) -> anyhow::Result<()> {
    let system = writer.trust().system();
    let path = writer.path().display();
    if system.name != arguments.system {
        return Err(refusal(
            format!("{path} is the repository of system {}", system.name),
            "give another folder as `--repository DIR`",
        ));
    }
    let standing = writer.standing();
    let mut unknown = keys.iter().filter(|key| {
        let mut known = standing.iter().flat_map(|role| &role.keys);
        !known.any(|known| known.id == key.id)
    });
    match unknown.next() {
        None => Ok(()),
        Some(key) => Err(refusal(
            format!("{path} does not trust the key {}", key.file.display()),
            "give other folders as `--keys DIR` and `--repository DIR`, or let the root trust it: `upstart keys rotate`",
        )),
    }
}

fn say(globals: &Globals, made: &Made<'_>) -> CommandOutcome {
    if globals.json {
        output::json(made)?;
        return Ok(CommandEnd::Yes);
    }
    let mut table = output::table(["KEY", "FILE", "SIGNS AS", "KEEP IT"]);
    for key in &made.keys {
        table.add_row([
            short(&key.id).to_owned(),
            key.file.display().to_string(),
            key.roles.join(", "),
            key.keep.to_owned(),
        ]);
    }
    output::print_table(&table)?;
    let (root, repository) = (made.root.display(), made.repository.display());
    let system = made.system;
    output::line(if made.made {
        format!(
            "The repository {repository} of system {system} trusts these keys. Agents are to pin {root}.\n\
             Move the keys to where they are to be kept, then try what is lost with one: `upstart keys drill`."
        )
    } else {
        format!(
            "Nothing has changed: the repository {repository} of system {system} trusts these keys."
        )
    })?;
    Ok(CommandEnd::Yes)
}
