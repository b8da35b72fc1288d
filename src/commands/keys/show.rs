//! `upstart keys list` and `upstart keys drill`: what keys there are, and what if one is lost.

use super::{RepositoryArgs, ServedRepository, SignerArgs, open, unsigned};
use crate::connection::{explain, wait_for};
use crate::failure::{CommandEnd, CommandOutcome, sentence};
use crate::globals::Globals;
use crate::output;
use clap::Args;
use repository::{
    PublicKey, RepositoryWriter, RoleStanding, RoleType, Signer, SystemIdentity, read_public_key,
    short,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Arguments of `upstart keys list`.
#[derive(Debug, Args)]
pub(crate) struct ListKeysArgs {
    #[command(flatten)]
    repository: RepositoryArgs,
}

/// Arguments of `upstart keys drill`.
#[derive(Debug, Args)]
pub(crate) struct DrillArgs {
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    signers: SignerArgs,
    /// The key that counts as lost, by the beginning of its number; every root key otherwise, one after the other
    #[arg(long, value_name = "KEY")]
    lost: Option<String>,
}

/// The seconds of a day.
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The roles of a repository, for programs.
#[derive(Serialize)]
struct RoleList<'a> {
    system: &'a SystemIdentity,
    roles: Vec<ListedRole>,
    /// Whose keys these are, by number, as far as that is known here.
    whose: BTreeMap<String, String>,
}

/// One role, for programs.
#[derive(Serialize)]
struct ListedRole {
    role: RoleType,
    threshold: u64,
    keys: Vec<String>,
    version: u64,
    expires: jiff::Timestamp,
    days_left: i64,
}

impl ListedRole {
    fn of(standing: &RoleStanding, now: jiff::Timestamp) -> Self {
        let seconds = standing.expires.as_second() - now.as_second();
        Self {
            role: standing.role,
            threshold: standing.threshold,
            keys: standing.keys.iter().map(|key| key.id.clone()).collect(),
            version: standing.version,
            expires: standing.expires,
            days_left: seconds.div_euclid(DAY_SECONDS),
        }
    }

    fn time_left(&self) -> String {
        match self.days_left {
            left if left < 0 => "expired".to_owned(),
            0 => "less than a day".to_owned(),
            1 => "1 day".to_owned(),
            left => format!("{left} days"),
        }
    }
}

/// `upstart keys list`.
pub(super) fn list(globals: &Globals, arguments: &ListKeysArgs) -> CommandOutcome {
    let opened = wait_for(open(globals, &arguments.repository))?;
    let whose = match &opened.served {
        Some(served) => wait_for(whose(served))?,
        None => BTreeMap::new(),
    };
    let writer = opened.writer;
    let now = jiff::Timestamp::now();
    let standing = writer.standing();
    let roles = standing.iter().map(|role| ListedRole::of(role, now));
    let list = RoleList {
        system: writer.trust().system(),
        roles: roles.collect(),
        whose,
    };
    if globals.json {
        output::json(&list)?;
        return Ok(CommandEnd::Yes);
    }
    output::line(format!("System {}", list.system))?;
    let mut table = output::table(["ROLE", "VERSION", "MUST SIGN", "KEYS", "LEFT"]);
    for role in &list.roles {
        let ids: Vec<&str> = role.keys.iter().map(|id| short(id)).collect();
        table.add_row([
            role.role.to_string(),
            role.version.to_string(),
            format!("{} of {}", role.threshold, role.keys.len()),
            ids.join(" "),
            role.time_left(),
        ]);
    }
    output::print_table(&table)?;
    let mut owners = output::table(["KEY", "WHOSE"]);
    let ids: BTreeSet<&String> = list.roles.iter().flat_map(|role| &role.keys).collect();
    for id in ids {
        let owner = list.whose.get(id).map_or("somebody else's", String::as_str);
        owners.add_row([short(id), owner]);
    }
    if !list.whose.is_empty() {
        output::print_table(&owners)?;
    }
    output::line(
        "These keys sign upgrades; `upstart identities` lists those of nodes and people.",
    )?;
    Ok(CommandEnd::Yes)
}

/// Whose keys are the server's, and which lie here.
async fn whose(served: &ServedRepository) -> anyhow::Result<BTreeMap<String, String>> {
    let mut whose = BTreeMap::new();
    let folder = &served.keys.folder;
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for file in files.map(|file| file.path()) {
        let is_pem = file.extension().is_some_and(|ending| ending == "pem");
        if let Some(key) = is_pem.then(|| read_public_key(&file).ok()).flatten() {
            whose.insert(key.id, format!("in {}", file.display()));
        }
    }
    let view = served.client.repository().await.map_err(explain)?;
    let own = PublicKey::parse(&view.server_key).map_err(unsigned)?;
    whose.insert(own.id, "the server's".to_owned());
    Ok(whose)
}

/// How the drill of one key ended.
#[derive(Serialize)]
struct DrilledKey {
    key: String,
    can_be_lost: bool,
    problem: Option<String>,
}

/// `upstart keys drill`.
pub(super) fn drill(globals: &Globals, arguments: &DrillArgs) -> CommandOutcome {
    let opened = wait_for(open(globals, &arguments.repository))?;
    let writer = &opened.writer;
    let standing = writer.standing();
    let root_keys = standing.first().map(|role| role.keys.clone());
    let lost: Vec<String> = match &arguments.lost {
        Some(key) => vec![key.clone()],
        None => root_keys.into_iter().flatten().map(|key| key.id).collect(),
    };
    let mut drilled = Vec::new();
    for key in lost {
        let signers = opened.signers(&arguments.signers)?;
        drilled.push(wait_for(drill_one(writer, signers, key))?);
    }
    let all = drilled.iter().all(|key| key.can_be_lost);
    let end = if all { CommandEnd::Yes } else { CommandEnd::No };
    if globals.json {
        output::json(&drilled)?;
        return Ok(end);
    }
    for key in &drilled {
        let name = short(&key.key);
        output::line(match &key.problem {
            None => format!(
                "{name} can be lost: without it a new root was signed, and a client that trusts today's root followed."
            ),
            Some(problem) => format!("{name} must not be lost: {}", output::within(problem)),
        })?;
    }
    if !all {
        output::line(
            "next: bring the other keys too (`--key`, `--sign-with`); if there are no more, add keys while you have these: `upstart keys rotate --add root:FILE`",
        )?;
    }
    Ok(end)
}

async fn drill_one(
    writer: &RepositoryWriter,
    signers: Vec<Signer>,
    key: String,
) -> anyhow::Result<DrilledKey> {
    let now = jiff::Timestamp::now();
    match repository::drill(writer, &key, signers, now).await {
        Ok((outcome, _)) => Ok(DrilledKey {
            key: outcome.key,
            can_be_lost: true,
            problem: None,
        }),
        Err(error @ repository::SignError::KeysMissing { .. }) => Ok(DrilledKey {
            key,
            can_be_lost: false,
            problem: Some(sentence(&unsigned(error))),
        }),
        Err(error) => Err(unsigned(error)),
    }
}
