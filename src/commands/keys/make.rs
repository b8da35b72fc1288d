//! `upstart keys make`: the keys of a new system and a repository that trusts them, with what to keep where.

use super::super::publish::{keys_folder, unpublished};
use super::{RepositoryArgs, open, open_folder, unsigned};
use crate::connection::{connect, explain, wait_for};
use crate::failure::{Advise, CommandEnd, CommandOutcome, refusal};
use crate::globals::Globals;
use crate::output;
use clap::Args;
use client::{PublisherKeys, check_keys};
use repository::{
    PublicKey, RepositoryWriter, RoleRule, RoleType, Signer, SystemIdentity, make_key, new_system,
    read_public_key, short,
};
use serde::Serialize;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Arguments of `upstart keys make`.
#[derive(Debug, Args)]
pub(crate) struct MakeKeysArgs {
    /// The system's name, as upgrade files say it
    #[arg(long, value_name = "NAME")]
    system: String,
    /// The folder for the private keys [default: ~/.config/upstart/keys/SYSTEM]
    #[arg(long, value_name = "DIR", env = "UPSTART_KEYS")]
    keys: Option<PathBuf>,
    /// A folder for the repository, which gets a key of its own instead of a server's; without it, the upgrade server's repository
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// How many root keys; they say who may sign, and are needed once a year or when a key is lost
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(KEYS_MAX)))]
    root_keys: u8,
    /// How many root keys must sign a new root
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    root_threshold: u8,
    /// How many publishers, each with a key
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(KEYS_MAX)))]
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
    /// Its folder; none where it is the server's.
    repository: Option<PathBuf>,
    root: PathBuf,
    made: bool,
    keys: Vec<MadeKey>,
}

/// The most keys of a role that are made at once.
const KEYS_MAX: u8 = 32;

/// What to keep where.
const ROOT_KEEP: &str = "offline, each in another place";
const PUBLISHER_KEEP: &str = "with the publisher, or in a hardware token";
const SERVER_KEEP: &str = "on the server that serves the repository";

/// `upstart keys make`.
pub(super) fn run(globals: &Globals, arguments: &MakeKeysArgs) -> CommandOutcome {
    let folder = keys_folder(arguments.keys.as_deref(), &arguments.system)?;
    let Some(path) = &arguments.repository else {
        return at_server(globals, arguments, folder);
    };
    let there = if RepositoryWriter::exists(path) {
        Some(wait_for(open_folder(path))?)
    } else {
        None
    };
    let is_there = there.is_some();
    match &there {
        Some(writer) => as_many_as_asked(arguments, writer)?,
        None => no_more_than_asked(arguments, &folder)?,
    }
    let mut keys = made_keys(arguments, &folder, is_there)?;
    let server = [RoleType::Snapshot, RoleType::Timestamp];
    keys.push(made_key(&folder, "server", &server, SERVER_KEEP, is_there)?);
    let writer = match there {
        Some(writer) => writer,
        None => wait_for(create(arguments, path, &keys))?,
    };
    of_this(arguments, &writer, &keys)?;
    let made = Made {
        system: writer.trust().system(),
        repository: Some(path.clone()),
        root: path.join("metadata/1.root.json"),
        made: !is_there,
        keys,
    };
    say(globals, &made)
}

/// Begins the repository of a server.
fn at_server(globals: &Globals, arguments: &MakeKeysArgs, folder: PathBuf) -> CommandOutcome {
    let client = connect(globals)?;
    let begun = wait_for(async { client.repository().await.map_err(explain) })?.system;
    let keys = PublisherKeys {
        folder: folder.clone(),
        commands: Vec::new(),
        root: None,
    };
    let is_there = begun.is_some();
    if let Some(other) = begun.filter(|begun| begun.name != arguments.system) {
        return Err(refusal(
            format!("this server is of system {}", other.name),
            "name another server, or that system",
        ));
    }
    let repository = RepositoryArgs {
        repository: None,
        keys: Some(folder.clone()),
        root: None,
    };
    let (opened, made) = if is_there {
        let opened = wait_for(open(globals, &repository))?;
        as_many_as_asked(arguments, &opened.writer)?;
        (opened, made_keys(arguments, &folder, is_there)?)
    } else {
        no_more_than_asked(arguments, &folder)?;
        let made = made_keys(arguments, &folder, is_there)?;
        let rules = rules(arguments, &made);
        let begin = client.begin_signed(&keys, &arguments.system, &rules[..2]);
        wait_for(async { begin.await.map_err(unpublished) })?;
        (wait_for(open(globals, &repository))?, made)
    };
    of_this(arguments, &opened.writer, &made)?;
    let made = Made {
        system: opened.writer.trust().system(),
        repository: None,
        root: folder.join("1.root.json"),
        made: !is_there,
        keys: made,
    };
    say(globals, &made)
}

/// Whether a repository that is there already has the numbers that are asked for.
fn as_many_as_asked(arguments: &MakeKeysArgs, writer: &RepositoryWriter) -> anyhow::Result<()> {
    let standing = writer.standing();
    let differs = standing.iter().any(|there| {
        let asked = match there.role {
            RoleType::Root => (arguments.root_keys, arguments.root_threshold),
            RoleType::Targets => (arguments.publishers, arguments.publisher_threshold),
            _ => return false,
        };
        let (keys, threshold) = (usize::from(asked.0), u64::from(asked.1));
        (there.keys.len(), there.threshold) != (keys, threshold)
    });
    if !differs || writer.trust().system().name != arguments.system {
        return Ok(());
    }
    let of = |role: RoleType| {
        let mut roles = standing.iter();
        let found = roles.find(|there| there.role == role);
        found.map_or((0, 0), |there| (there.keys.len(), there.threshold))
    };
    let (roots, publishers) = (of(RoleType::Root), of(RoleType::Targets));
    Err(refusal(
        format!(
            "the keys of system {} are made already, with other numbers: of {} root keys {} must sign, of {} publishers {}",
            arguments.system, roots.0, roots.1, publishers.0, publishers.1
        ),
        format!(
            "nothing was changed; change who may sign with `upstart keys rotate` (`--add`, `--remove`, `--threshold`), or ask for what is there: `--root-keys {} --root-threshold {} --publishers {} --publisher-threshold {}`",
            roots.0, roots.1, publishers.0, publishers.1
        ),
    ))
}

/// Whether a folder, from which a repository is to begin, has keys that would be none of it; those of an earlier try are gone on with.
fn no_more_than_asked(arguments: &MakeKeysArgs, folder: &Path) -> anyhow::Result<()> {
    let asked = [
        ("root", arguments.root_keys),
        ("publisher", arguments.publishers),
    ];
    for (kind, number) in asked {
        let has = |number: u8| folder.join(format!("{kind}-{number}.pem")).exists();
        let Some(there) = (number.saturating_add(1)..=KEYS_MAX)
            .rev()
            .find(|it| has(*it))
        else {
            continue;
        };
        return Err(refusal(
            format!(
                "{} has the keys {kind}-1.pem to {kind}-{there}.pem already, and {number} are asked for",
                folder.display()
            ),
            format!(
                "nothing was changed; ask for {there} (`{}`), name another folder with `--keys DIR`, or remove the keys if nobody trusts them",
                if kind == "root" {
                    format!("--root-keys {there}")
                } else {
                    format!("--publishers {there}")
                }
            ),
        ));
    }
    Ok(())
}

/// The keys of people: made, or as they are where a repository is there already.
fn made_keys(
    arguments: &MakeKeysArgs,
    folder: &Path,
    is_there: bool,
) -> anyhow::Result<Vec<MadeKey>> {
    if !is_there {
        let mut make = std::fs::DirBuilder::new();
        make.recursive(true).mode(0o700).create(folder).advise(
            format!("cannot make {}", folder.display()),
            "name another folder with `--keys DIR`",
        )?;
    }
    check_keys(folder).map_err(unsigned)?;
    let mut keys = Vec::new();
    for number in 1..=arguments.root_keys {
        let (name, roles) = (format!("root-{number}"), [RoleType::Root]);
        keys.push(made_key(folder, &name, &roles, ROOT_KEEP, is_there)?);
    }
    for number in 1..=arguments.publishers {
        let (name, roles) = (format!("publisher-{number}"), [RoleType::Targets]);
        keys.push(made_key(folder, &name, &roles, PUBLISHER_KEEP, is_there)?);
    }
    Ok(keys)
}

fn made_key(
    folder: &Path,
    name: &str,
    roles: &[RoleType],
    keep: &'static str,
    is_there: bool,
) -> anyhow::Result<MadeKey> {
    let file = folder.join(format!("{name}.pem"));
    let key = if is_there {
        read_public_key(&file)
    } else {
        make_key(&file)
    };
    let key = key.map_err(unsigned)?;
    Ok(MadeKey {
        file,
        id: key.id.clone(),
        roles: roles.iter().map(ToString::to_string).collect(),
        keep,
        key,
    })
}

/// Who may sign what, in the order of the roles: root, targets, and where there is such a key snapshot and timestamp.
fn rules(arguments: &MakeKeysArgs, keys: &[MadeKey]) -> [RoleRule; 4] {
    let rule = |role: RoleType, threshold: u8| RoleRule {
        role,
        keys: (keys.iter())
            .filter(|key| key.roles.contains(&role.to_string()))
            .map(|key| key.key.clone())
            .collect(),
        threshold: threshold.into(),
    };
    [
        rule(RoleType::Root, arguments.root_threshold),
        rule(RoleType::Targets, arguments.publisher_threshold),
        rule(RoleType::Snapshot, 1),
        rule(RoleType::Timestamp, 1),
    ]
}

async fn create(
    arguments: &MakeKeysArgs,
    path: &Path,
    keys: &[MadeKey],
) -> anyhow::Result<RepositoryWriter> {
    let rules = rules(arguments, keys);
    let system = new_system(&arguments.system).map_err(unsigned)?;
    let mut signers = Vec::new();
    for key in keys {
        signers.extend(Signer::read(&key.file).map_err(unsigned)?);
    }
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
    let root = made.root.display();
    let repository = match &made.repository {
        Some(path) => format!("repository {} of system {}", path.display(), made.system),
        None => format!("server's repository of system {}", made.system),
    };
    output::line(if made.made {
        format!(
            "The {repository} trusts these keys. Agents are to pin {root} (`--root`).\n\
             Move the keys to where they are to be kept, then try what is lost with one: `upstart keys drill`."
        )
    } else {
        format!("Nothing has changed: the {repository} trusts these keys.")
    })?;
    Ok(CommandEnd::Yes)
}
