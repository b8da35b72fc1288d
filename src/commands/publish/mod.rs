//! `upstart publish`: checks an upgrade's folder, cuts its large files into chunks, uploads what the repository lacks, then publishes.

mod chunking;
mod dry_run;
mod earlier;
mod foreseen;
mod packs;
mod upload;

use super::check::{Proved, complain, prove};
use super::keys::unsigned;
use super::operate::done;
use crate::connection::{configuration_folder, connect, explain, wait_for};
use crate::failure::{CommandOutcome, failure};
use crate::globals::Globals;
use chunking::chunk;
use clap::Args;
use client::{Client, PublishError, PublisherKeys, SignedPublication, usual_keys};
use earlier::{EarlierUpgrade, earlier};
use foreseen::foresee;
use model::manifest::{CHUNKS_FILE, Manifest};
use std::path::{Path, PathBuf};
use upload::{missing, upload};

/// Arguments of `upstart publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// The folder with `upgrade.toml`
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Mend an upgrade that is published already: same versions and interfaces, new contents
    #[arg(long)]
    pub(crate) revise: bool,
    /// Change nothing: only say what would be uploaded, and what nodes would fetch
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) signing: SigningArgs,
}

/// With which keys an upgrade is signed.
#[derive(Debug, Args)]
pub(crate) struct SigningArgs {
    /// The folder of the system's keys (*.pem); a new system's are made there [default: ~/.config/upstart/keys/SYSTEM]
    #[arg(long, value_name = "DIR", env = "UPSTART_KEYS")]
    pub(crate) keys: Option<PathBuf>,
    /// A command that signs with a key that is in no file, such as a hardware token's: it gets the bytes on stdin and
    /// writes the signature to stdout (repeatable)
    #[arg(long, value_name = "COMMAND")]
    pub(crate) sign_with: Vec<String>,
    /// The system's first root, if another publisher has made the system's keys; needed the first time only. Get it from that publisher: whoever
    /// chooses the root chooses what is signed
    #[arg(long, value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
}

impl SigningArgs {
    /// The keys of a system.
    pub(crate) fn keys(&self, system: &str) -> anyhow::Result<PublisherKeys> {
        Ok(PublisherKeys {
            folder: keys_folder(self.keys.as_deref(), system)?,
            commands: self.sign_with.clone(),
            root: self.root.clone(),
        })
    }
}

/// The folder of a system's keys: the one that was named, or the usual one.
pub(crate) fn keys_folder(named: Option<&Path>, system: &str) -> anyhow::Result<PathBuf> {
    match named {
        Some(folder) => Ok(folder.to_owned()),
        None => Ok(usual_keys(&configuration()?, system)),
    }
}

/// Where the user's configuration lies, as the XDG base directories say.
fn configuration() -> anyhow::Result<PathBuf> {
    configuration_folder().ok_or_else(|| {
        failure(
            "there is no home directory to keep the system's keys in",
            "name a folder for them: --keys DIR",
        )
    })
}

/// Why something could not be signed and published.
pub(crate) fn unpublished(error: PublishError) -> anyhow::Error {
    match error {
        PublishError::Server(error) => explain(error),
        PublishError::Sign(error) => unsigned(error),
    }
}

/// `upstart publish`.
pub(crate) fn run(globals: &Globals, arguments: &PublishArgs) -> CommandOutcome {
    let proved = match prove(&arguments.directory)? {
        Ok(proved) => proved,
        Err(errors) => return complain(globals, &errors),
    };
    let client = connect(globals)?;
    let upgrade = &proved.checked.upgrade;
    let earlier = wait_for(earlier(&client, upgrade))?;
    let published = earlier.first().filter(|it| is_same(it, &proved));
    let chunked = match published {
        Some(published) if !wait_for(lacks_index(&client, &published.manifest))? => None,
        _ => Some(chunk(&proved, &earlier)?),
    };
    if arguments.dry_run {
        let missing = wait_for(missing(&client, &proved, chunked.as_ref()))?;
        return dry_run::report(globals, &proved, &earlier, chunked.as_ref(), &missing);
    }
    let keys = arguments.signing.keys(&upgrade.system)?;
    let manifest = match (&chunked, published) {
        (Some(chunked), _) => &chunked.manifest,
        (None, Some(published)) => &published.manifest,
        (None, None) => &proved.checked.manifest,
    };
    let answer = wait_for(async {
        let missing = missing(&client, &proved, chunked.as_ref()).await?;
        if published.is_none() && !missing.is_empty() {
            foresee(&client, &keys, (upgrade, manifest), arguments.revise).await?;
        }
        upload(&client, &missing).await?;
        let answer = client.publish_signed(&keys, manifest, arguments.revise);
        answer.await.map_err(unpublished)
    })?;
    let there = published.map(|published| published.revision);
    let is_there = there == Some(answer.summary.revision);
    told(globals, upgrade.system.as_str(), &keys, &answer, is_there)
}

/// Whether this is published already: the same files, whatever is known of their chunks.
fn is_same(published: &EarlierUpgrade, proved: &Proved) -> bool {
    published.without_chunks() == proved.checked.manifest
}

/// Whether the repository has lost the index of an upgrade that is published: then it is made again.
async fn lacks_index(client: &Client, manifest: &Manifest) -> anyhow::Result<bool> {
    let Some(file) = manifest.file(CHUNKS_FILE) else {
        return Ok(false);
    };
    let there = client.has_artifact(&file.sha256.to_string()).await;
    Ok(!there.map_err(explain)?)
}

fn told(
    globals: &Globals,
    system: &str,
    keys: &PublisherKeys,
    published: &SignedPublication,
    is_there: bool,
) -> CommandOutcome {
    let summary = &published.summary;
    let what = format!(
        "{system} version {} revision {} (manifest {})",
        summary.version, summary.revision, summary.manifest_sha256
    );
    let sentence = if is_there {
        format!("Nothing has changed: this is {what}.")
    } else {
        format!("Published {what}.")
    };
    let sentence = if published.made_keys {
        format!(
            "{sentence}\nIts keys were made in {}: whoever has them decides what nodes run, so keep them safe (`upstart keys --help`).",
            crate::output::within(&keys.folder.display().to_string())
        )
    } else {
        sentence
    };
    let sentence = match &published.unremembered {
        Some(error) => format!(
            "{sentence}\nIt could not be noted beside the keys ({error}): until the next command that signs, a server which is set back cannot get it back from here; {}.",
            error.advice()
        ),
        None => sentence,
    };
    done(globals, summary, &sentence)
}
