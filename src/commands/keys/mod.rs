//! `upstart keys`: the keys that sign a system's upgrades, and the root that says which keys these are. Nothing here needs a server.

mod change;
mod make;
mod show;

use crate::failure::{CommandFailure, CommandOutcome};
use crate::globals::Globals;
use clap::{Args, Subcommand};
use repository::{RepositoryWriter, RoleType, SignError, Signer, TrustError};
use std::path::{Path, PathBuf};

/// What `upstart keys --help` says below the options.
const AFTER_HELP: &str = "\
Examples:
  upstart keys make --system shop                                  new keys and a repository that trusts them
  upstart keys list                                                who may sign what, and for how many days it is good
  upstart keys renew timestamp snapshot --key keys/server.pem      another 30 days
  upstart keys rotate --remove 3f2a --add root:keys/root-4.pem --key keys/
                                                                   a new key in the place of one that is lost
  upstart keys drill --key keys/                                   whether that would work for every root key";

/// Arguments of `upstart keys`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct KeysArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make the keys of a new system, and a repository without upgrades that trusts them
    Make(make::MakeKeysArgs),
    /// List the roles: their keys, how many must sign, and for how many days their metadata is good
    List(show::ListKeysArgs),
    /// Write a new root, signed by the old keys and by the new ones
    Rotate(change::RotateArgs),
    /// Sign metadata anew, so that it is good for longer
    Renew(change::RenewArgs),
    /// Show that a lost key can be rotated away: in a copy, with a client that trusts the root of today
    Drill(show::DrillArgs),
}

/// Where the repository is.
#[derive(Debug, Args)]
pub(crate) struct RepositoryArgs {
    /// The folder of the signed repository
    #[arg(long, value_name = "DIR", default_value = "repository")]
    pub(crate) repository: PathBuf,
}

/// Who signs.
#[derive(Debug, Args)]
pub(crate) struct SignerArgs {
    /// A file with a private key, or a folder of such files `*.pem` (repeatable)
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
    /// A command that signs with a key which no file holds, such as a hardware token's: it gets the bytes on stdin and
    /// writes the signature to stdout (repeatable)
    #[arg(long, value_name = "COMMAND")]
    pub(crate) sign_with: Vec<String>,
}

impl SignerArgs {
    fn signers(&self) -> anyhow::Result<Vec<Signer>> {
        let mut signers = Vec::new();
        for path in &self.keys {
            signers.extend(Signer::read(path).map_err(unsigned)?);
        }
        let commands = self.sign_with.iter().cloned();
        signers.extend(commands.map(Signer::Command));
        Ok(signers)
    }
}

/// `upstart keys`.
pub(crate) fn run(globals: &Globals, arguments: &KeysArgs) -> CommandOutcome {
    match &arguments.command {
        KeysCommand::Make(arguments) => make::run(globals, arguments),
        KeysCommand::List(arguments) => show::list(globals, arguments),
        KeysCommand::Rotate(arguments) => change::rotate(globals, arguments),
        KeysCommand::Renew(arguments) => change::renew(globals, arguments),
        KeysCommand::Drill(arguments) => show::drill(globals, arguments),
    }
}

/// The repository in a folder.
pub(super) async fn open(path: &Path) -> anyhow::Result<RepositoryWriter> {
    if !RepositoryWriter::exists(path) {
        return Err(crate::failure::failure(
            format!("{} holds no signed repository", path.display()),
            "give its folder as `--repository DIR`, or make one: `upstart keys make --system NAME`",
        ));
    }
    RepositoryWriter::open(path).await.map_err(unsigned)
}

/// Why something was not signed: a refusal where keys and rules say no.
pub(super) fn unsigned(error: SignError) -> anyhow::Error {
    let refused = match &error {
        SignError::KeyFile { .. } | SignError::Command { .. } | SignError::Disk { .. } => false,
        SignError::KeysMissing { .. } | SignError::Refused { .. } => true,
        SignError::Trust(error) => says_no(error),
    };
    CommandFailure {
        what: error.to_string(),
        next: error.advice().to_owned(),
        refused,
    }
    .into()
}

/// Why something is not trusted.
pub(super) fn untrusted(error: &TrustError) -> anyhow::Error {
    CommandFailure {
        what: error.to_string(),
        next: error.advice().to_owned(),
        refused: says_no(error),
    }
    .into()
}

/// Whether the repository was read, and is not to be trusted.
fn says_no(error: &TrustError) -> bool {
    !matches!(
        error,
        TrustError::Transport { .. } | TrustError::State { .. } | TrustError::TooSlow { .. }
    )
}

/// A role, as arguments name it.
fn role(text: &str) -> Result<RoleType, String> {
    let mut roles = repository::ROLES.into_iter();
    roles
        .find(|role| role.to_string() == text)
        .ok_or_else(|| format!("`{text}` is none of root, targets, snapshot, timestamp"))
}

/// `ROLE:REST`.
fn of_role(text: &str) -> Result<(RoleType, &str), String> {
    let (name, rest) = text
        .split_once(':')
        .ok_or_else(|| format!("`{text}` has no `:` after the role"))?;
    Ok((role(name)?, rest))
}
