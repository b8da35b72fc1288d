//! `upstart keys`: the keys that sign a system's upgrades, and the root that says which keys these are; at a server, or in a folder.

mod change;
mod make;
mod show;

use super::publish::{keys_folder, unpublished};
use crate::connection::{connect, explain};
use crate::failure::{Advise, CommandFailure, CommandOutcome, failure, refusal};
use crate::globals::Globals;
use crate::output;
use clap::{Args, Subcommand};
use client::{Client, PublisherKeys, check_keys};
use repository::{RepositoryWriter, RoleType, SignError, Signer, TrustError, Verifier};
use std::path::{Path, PathBuf};

/// What `upstart keys --help` says below the options.
const AFTER_HELP: &str = "\
They work on the repository of the upgrade server, or with --repository on one in a folder. The first `upstart publish` makes the keys of a new system by itself.

Examples:
  upstart keys list                                                who may sign what, and for how many days it is good
  upstart keys renew                                               another year for root and targets
  upstart keys rotate --remove 3f2a --add root:root-4.pem          a new key in the place of one that is lost
  upstart keys drill                                               whether that would work for every root key
  upstart keys make --system shop --publishers 2 --publisher-threshold 2
                                                                   a new system for whose upgrades two must sign";

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
    /// Make the keys of a new system, and begin a repository that trusts them
    Make(make::MakeKeysArgs),
    /// List the roles: their keys, how many must sign, and for how many days their signatures are still valid
    List(show::ListKeysArgs),
    /// Write a new root, signed by the old keys and by the new ones
    Rotate(change::RotateArgs),
    /// Sign the metadata again, so that it expires later
    Renew(change::RenewArgs),
    /// Try what happens if a key is lost: replace it in a copy, and check that a client that trusts today's root follows
    Drill(show::DrillArgs),
}

/// Where the repository is.
#[derive(Debug, Args)]
pub(crate) struct RepositoryArgs {
    /// The folder of a signed repository; without it, the upgrade server's
    #[arg(long, value_name = "DIR")]
    pub(crate) repository: Option<PathBuf>,
    /// The folder of the system's keys, with what is trusted of the system [default: ~/.config/upstart/keys/SYSTEM]
    #[arg(long, value_name = "DIR", env = "UPSTART_KEYS")]
    pub(crate) keys: Option<PathBuf>,
    /// The system's first root, if another publisher has made the system's keys; needed the first time only. Get it from that publisher: whoever
    /// chooses the root chooses what is signed
    #[arg(long, value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
}

/// Who signs.
#[derive(Debug, Args)]
pub(crate) struct SignerArgs {
    /// A file with a private key, or a folder of such files `*.pem` (repeatable) [default: the folder of the system's keys]
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) signing_keys: Vec<PathBuf>,
    /// A command that signs with a key that is in no file, such as a hardware token's: it gets the bytes on stdin and
    /// writes the signature to stdout (repeatable)
    #[arg(long, value_name = "COMMAND")]
    pub(crate) sign_with: Vec<String>,
}

impl SignerArgs {
    fn signers(&self) -> anyhow::Result<Vec<Signer>> {
        let mut signers = Vec::new();
        for path in &self.signing_keys {
            check_keys(path).map_err(unsigned)?;
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

/// A repository that was opened, with its server where it is one's.
pub(crate) struct OpenedRepository {
    /// The repository; of a server's a copy of its metadata.
    pub(super) writer: RepositoryWriter,
    /// Where it is served.
    pub(super) served: Option<ServedRepository>,
}

/// A repository at a server.
pub(crate) struct ServedRepository {
    pub(super) client: Client,
    pub(super) keys: PublisherKeys,
    pub(super) verifier: Verifier,
    /// Where the copy lies as long as it is needed.
    _copy: tempfile::TempDir,
}

impl OpenedRepository {
    /// Those who were named, or else everybody whose key lies with the system's.
    pub(super) fn signers(&self, arguments: &SignerArgs) -> anyhow::Result<Vec<Signer>> {
        match &self.served {
            Some(served) if arguments.signing_keys.is_empty() && arguments.sign_with.is_empty() => {
                served.keys.signers().map_err(unsigned)
            }
            _ => arguments.signers(),
        }
    }
}

/// The repository that the arguments name: one in a folder, or the server's.
pub(super) async fn open(
    globals: &Globals,
    arguments: &RepositoryArgs,
) -> anyhow::Result<OpenedRepository> {
    let Some(path) = &arguments.repository else {
        return open_served(globals, arguments).await;
    };
    if !RepositoryWriter::exists(path) {
        return Err(failure(
            format!("{} holds no signed repository", path.display()),
            "give its folder as `--repository DIR`, or make one: `upstart keys make --system NAME --repository DIR`",
        ));
    }
    Ok(OpenedRepository {
        writer: open_folder(path).await?,
        served: None,
    })
}

/// The repository in a folder; says so where a change that was interrupted is ended by that.
async fn open_folder(path: &Path) -> anyhow::Result<RepositoryWriter> {
    let writer = RepositoryWriter::open(path).await.map_err(unsigned)?;
    if writer.has_ended_a_change() {
        output::note(&format!(
            "a change of {} was interrupted, and is ended now: this is root {}",
            path.display(),
            writer.trust().root_version()
        ));
    }
    Ok(writer)
}

async fn open_served(
    globals: &Globals,
    arguments: &RepositoryArgs,
) -> anyhow::Result<OpenedRepository> {
    let client = connect(globals)?;
    let system = client.repository().await.map_err(explain)?.system;
    let system = system.ok_or_else(|| {
        refusal(
            "nothing is signed at this server yet",
            "`upstart publish` begins with the first upgrade, or `upstart keys make --system NAME` does; for a repository in a folder, give `--repository DIR`",
        )
    })?;
    let keys = PublisherKeys {
        folder: keys_folder(arguments.keys.as_deref(), &system.name)?,
        commands: Vec::new(),
        root: arguments.root.clone(),
    };
    let trusted = client.trusted(&keys, &system).await;
    let verifier = trusted.map_err(unpublished)?;
    let copy = tempfile::tempdir().advise("cannot make a temporary folder", "see to the disk")?;
    let copied = repository::copy_metadata(verifier.trust(), &client, copy.path()).await;
    copied.map_err(|error| untrusted(&error))?;
    let writer = RepositoryWriter::open(copy.path()).await;
    Ok(OpenedRepository {
        writer: writer.map_err(unsigned)?,
        served: Some(ServedRepository {
            client,
            keys,
            verifier,
            _copy: copy,
        }),
    })
}

/// Why something was not signed: a refusal where keys and rules say no.
pub(super) fn unsigned(error: SignError) -> anyhow::Error {
    let refused = match &error {
        SignError::KeyFile { .. } | SignError::Command { .. } | SignError::Disk { .. } => false,
        SignError::KeysMissing { .. } | SignError::Refused { .. } | SignError::Outdated { .. } => {
            true
        }
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
        TrustError::Transport { .. }
            | TrustError::State { .. }
            | TrustError::Unkept { .. }
            | TrustError::TooSlow { .. }
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
