//! `upstart keys rotate` and `upstart keys renew`: the next root, and more time.

use super::super::operate::done;
use super::{OpenedRepository, RepositoryArgs, SignerArgs, of_role, open, role, unsigned};
use crate::connection::{explain, wait_for};
use crate::failure::{CommandFailure, CommandOutcome, failure, refusal, sentence};
use crate::globals::Globals;
use clap::Args;
use client::check_keys;
use repository::{
    PublicKey, RepositoryWriter, RoleType, RootChange, Signer, make_key, read_public_key,
};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// Arguments of `upstart keys rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    signers: SignerArgs,
    /// A key that may sign for a role from now on (repeatable): a file with a public or a private key; where there is
    /// no such file, a new private key is made in it; `server` is the key that the upgrade server has now
    #[arg(long, value_name = "ROLE:FILE", value_parser = added)]
    add: Vec<(RoleType, PathBuf)>,
    /// A key that may not sign any more, by the beginning of its number (repeatable)
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// How many keys of a role must sign (repeatable)
    #[arg(long, value_name = "ROLE:NUMBER", value_parser = threshold)]
    threshold: Vec<(RoleType, u64)>,
}

/// Arguments of `upstart keys renew`.
#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// Whose metadata: root, targets, and in a folder snapshot and timestamp too, which a server renews by itself; all of them otherwise
    #[arg(value_name = "ROLE", value_parser = role)]
    roles: Vec<RoleType>,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    signers: SignerArgs,
    /// For how many days from now; 365 for root and targets, 30 for snapshot and timestamp otherwise
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=i64::from(repository::DAYS_MAX)))]
    days: Option<u32>,
}

/// What stands for the server's own key in the place of a file.
const SERVER: &str = "server";

fn added(text: &str) -> Result<(RoleType, PathBuf), String> {
    let (role, file) = of_role(text)?;
    Ok((role, PathBuf::from(file)))
}

fn threshold(text: &str) -> Result<(RoleType, u64), String> {
    let (role, number) = of_role(text)?;
    let number = number.parse();
    Ok((role, number.map_err(|error| format!("`{text}`: {error}"))?))
}

/// `upstart keys rotate`.
pub(super) fn rotate(globals: &Globals, arguments: &RotateArgs) -> CommandOutcome {
    let mut opened = wait_for(open(globals, &arguments.repository))?;
    let mut made = Vec::new();
    let rotated = rotate_opened(arguments, &mut opened, &mut made);
    let Some(version) = rotated.map_err(|error| with_made(error, &made))? else {
        let version = opened.writer.trust().root_version();
        let answer = serde_json::json!({ "root": version, "changed": false });
        let sentence = format!("Nothing has changed: this is root {version}.");
        return done(globals, &answer, &sentence);
    };
    let answer = serde_json::json!({ "root": version, "changed": true });
    let where_to = match &opened.served {
        Some(_) => "nodes do when they ask the server next".to_owned(),
        None => {
            let path = opened.writer.path().display();
            format!("bring all of {path} to where it is served")
        }
    };
    let written = format!(
        "Root {version} is written, signed by the old keys and by the new ones. Whoever trusts an older root follows; {where_to}."
    );
    let told = (arguments.add.iter())
        .filter(|(_, file)| !made.contains(file) && is_private(file))
        .fold(written, |told, (_, file)| {
            let file = file.display();
            format!("{told}\nThe private key in {file} was there already, and is the one that was added.")
        });
    if opened.served.is_some() {
        // What the server has sealed is noted beside the keys.
        wait_for(open(globals, &arguments.repository)).map_err(|error| after(error, version))?;
    }
    done(globals, &answer, &told)
}

/// The new root's number; none where nothing is to be changed. Says which private keys it has made.
fn rotate_opened(
    arguments: &RotateArgs,
    opened: &mut OpenedRepository,
    made: &mut Vec<PathBuf>,
) -> anyhow::Result<Option<NonZeroU64>> {
    let change = wait_for(change(arguments, opened, made))?;
    if !changes(&opened.writer, &change) {
        return Ok(None);
    }
    let version = opened.writer.trust().root_version().saturating_add(1);
    let signers = opened.signers(&arguments.signers)?;
    wait_for(rotated(opened, &change, &signers))?;
    Ok(Some(version))
}

/// A failure of a rotation whose new keys are made: they stay, since whether somebody trusts them already is not known.
fn with_made(error: anyhow::Error, made: &[PathBuf]) -> anyhow::Error {
    if made.is_empty() {
        return error;
    }
    let files: Vec<_> = made.iter().map(|file| file.display().to_string()).collect();
    let stays = format!(
        "the new private key in {} stays: the same command again goes on with it",
        files.join(" and in ")
    );
    match error.downcast::<CommandFailure>() {
        Ok(failure) => CommandFailure {
            next: format!("{}; {stays}", failure.next),
            ..failure
        }
        .into(),
        Err(error) => failure(sentence(&error), stays),
    }
}

/// A failure after the server has taken the new root.
fn after(error: anyhow::Error, version: NonZeroU64) -> anyhow::Error {
    let begin = format!("root {version} is written, and the server has it; but ");
    match error.downcast::<CommandFailure>() {
        Ok(failure) => CommandFailure {
            what: format!("{begin}{}", failure.what),
            ..failure
        }
        .into(),
        Err(error) => error.context(begin),
    }
}

/// Whether a file has a private key: one that an earlier try has made.
fn is_private(file: &Path) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text.contains("PRIVATE KEY"))
}

async fn rotated(
    opened: &mut OpenedRepository,
    change: &RootChange,
    signers: &[Signer],
) -> anyhow::Result<()> {
    let now = jiff::Timestamp::now();
    let Some(served) = &opened.served else {
        let rotated = opened.writer.rotate(change, signers, now).await;
        return rotated.map_err(unsigned);
    };
    let signed = opened.writer.sign_rotation(change, signers, now).await;
    let signed = signed.map_err(unsigned)?;
    let taken = served.client.sign(&signed).await;
    taken.map(drop).map_err(explain)
}

/// What is asked for. A key that an earlier rotation has removed needs no other one.
async fn change(
    arguments: &RotateArgs,
    opened: &OpenedRepository,
    made: &mut Vec<PathBuf>,
) -> anyhow::Result<RootChange> {
    if arguments.add.is_empty() && arguments.remove.is_empty() && arguments.threshold.is_empty() {
        return Err(refusal(
            "nothing is to be changed",
            "say what: `--add ROLE:FILE`, `--remove KEY`, `--threshold ROLE:NUMBER`; for more time, `upstart keys renew`",
        ));
    }
    let mut change = RootChange {
        thresholds: arguments.threshold.clone(),
        ..RootChange::default()
    };
    for (role, file) in &arguments.add {
        let key = match &opened.served {
            Some(served) if file.as_os_str() == SERVER => {
                let view = served.client.repository().await.map_err(explain)?;
                PublicKey::parse(&view.server_key)
            }
            _ if file.exists() => check_keys(file).and_then(|()| read_public_key(file)),
            _ => {
                let key = check_keys(folder_of(file)).and_then(|()| make_key(file));
                made.extend(key.is_ok().then(|| file.clone()));
                key
            }
        };
        change.add.push((*role, key.map_err(unsigned)?));
    }
    for key in &arguments.remove {
        if !opened.writer.had_key(key).await.map_err(unsigned)? {
            change.remove.push(key.clone());
        }
    }
    Ok(change)
}

/// The folder of a file that is not there yet.
fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// Whether the root is not already what is asked for.
fn changes(writer: &RepositoryWriter, change: &RootChange) -> bool {
    let standing = writer.standing();
    let of = |role: RoleType| standing.iter().find(|it| it.role == role);
    let is_new = |(role, key): &(RoleType, _)| of(*role).is_none_or(|it| !it.keys.contains(key));
    let is_other =
        |(role, number): &(RoleType, u64)| of(*role).is_none_or(|it| it.threshold != *number);
    !change.remove.is_empty()
        || change.add.iter().any(is_new)
        || change.thresholds.iter().any(is_other)
}

/// `upstart keys renew`.
pub(super) fn renew(globals: &Globals, arguments: &RenewArgs) -> CommandOutcome {
    let mut opened = wait_for(open(globals, &arguments.repository))?;
    let signers = opened.signers(&arguments.signers)?;
    wait_for(renewed(&mut opened, arguments, &signers))?;
    let writer = match opened.served {
        Some(_) => wait_for(open(globals, &arguments.repository))?.writer,
        None => opened.writer,
    };
    let expires: Vec<_> = (writer.standing().into_iter())
        .map(|it| (it.role.to_string(), it.expires))
        .collect();
    let ends: Vec<String> = (expires.iter())
        .map(|(role, end)| format!("{role} until {end}"))
        .collect();
    let answer: serde_json::Map<_, _> = (expires.into_iter())
        .map(|(role, end)| (role, end.to_string().into()))
        .collect();
    let sentence = format!("Renewed. Good are now: {}.", ends.join(", "));
    done(globals, &answer, &sentence)
}

async fn renewed(
    opened: &mut OpenedRepository,
    arguments: &RenewArgs,
    signers: &[Signer],
) -> anyhow::Result<()> {
    let now = jiff::Timestamp::now();
    let (roles, days) = (arguments.roles.as_slice(), arguments.days);
    let Some(served) = &opened.served else {
        let roles = if roles.is_empty() {
            &repository::ROLES[..]
        } else {
            roles
        };
        let renewed = opened.writer.renew(roles, days, signers, now).await;
        return renewed.map_err(unsigned);
    };
    let by_people = [RoleType::Root, RoleType::Targets];
    if let Some(role) = roles.iter().find(|role| !by_people.contains(role)) {
        return Err(refusal(
            format!("the server signs the {role} itself, and renews it every day"),
            "renew root and targets: `upstart keys renew`",
        ));
    }
    let roles = if roles.is_empty() {
        &by_people[..]
    } else {
        roles
    };
    let signed = opened.writer.sign_renewal(roles, days, signers, now).await;
    let signed = signed.map_err(unsigned)?;
    let taken = served.client.sign(&signed).await;
    taken.map(drop).map_err(explain)
}
