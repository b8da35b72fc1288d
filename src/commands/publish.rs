//! `upstart publish`: checks an upgrade's folder, uploads what the repository lacks, then publishes.

use super::check::{Proved, complain, prove};
use super::keys::unsigned;
use super::operate::done;
use crate::connection::{configuration_folder, connect, explain, wait_for};
use crate::failure::{CommandOutcome, failure, refusal};
use crate::globals::Globals;
use clap::Args;
use client::{Client, ClientError, PublishError, PublisherKeys, SignedPublication, usual_keys};
use model::ids::Revision;
use model::manifest::{Digest, ManifestFile};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Arguments of `upstart publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// The folder with `upgrade.toml`
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Mend an upgrade that is published already: same versions and interfaces, new contents
    #[arg(long)]
    pub(crate) revise: bool,
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
    let there = wait_for(published(&client, &proved))?;
    let keys = arguments.signing.keys(&proved.checked.upgrade.system)?;
    let published = wait_for(upload_and_publish(
        &client,
        &proved,
        arguments.revise,
        &keys,
    ))?;
    let summary = published.summary;
    let what = format!(
        "{} version {} revision {} (manifest {})",
        proved.checked.upgrade.system, summary.version, summary.revision, summary.manifest_sha256
    );
    let sentence = if there == Some(summary.revision) {
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
    let sentence = match published.unremembered {
        Some(error) => format!(
            "{sentence}\nIt could not be noted beside the keys ({error}): until the next command that signs, a server which is set back cannot get it back from here; {}.",
            error.advice()
        ),
        None => sentence,
    };
    done(globals, &summary, &sentence)
}

/// The revision that has these contents already.
async fn published(client: &Client, proved: &Proved) -> anyhow::Result<Option<Revision>> {
    let view = client.system().await.map_err(explain)?;
    let version = proved.checked.upgrade.version;
    let mut upgrades = view.upgrades.iter();
    let there = upgrades.find(|upgrade| upgrade.version == version && !upgrade.withdrawn);
    let digest = Digest::of(proved.checked.manifest.text().as_bytes()).to_string();
    let same = there.filter(|upgrade| upgrade.manifest_sha256 == digest);
    Ok(same.map(|upgrade| upgrade.revision))
}

async fn upload_and_publish(
    client: &Client,
    proved: &Proved,
    revise: bool,
    keys: &PublisherKeys,
) -> anyhow::Result<SignedPublication> {
    let missing = missing(client, &proved.checked.manifest.files).await?;
    let total: u64 = missing.iter().map(|file| file.size).sum();
    let mut progress = UploadProgress {
        files: missing.len(),
        total,
        sent: 0,
    };
    for (index, file) in missing.iter().enumerate() {
        progress.show(index, &file.path);
        let path = proved.folder.path.join(&file.path);
        client
            .put_artifact_file(&file.sha256.to_string(), &path)
            .await
            .map_err(|error| upload_failed(error, &path, file))?;
        progress.sent += file.size;
    }
    progress.end();
    let manifest = &proved.checked.manifest;
    let published = client.publish_signed(keys, manifest, revise).await;
    published.map_err(unpublished)
}

/// Why a file could not be uploaded: most often somebody has written into it since it was read.
fn upload_failed(error: ClientError, path: &Path, file: &ManifestFile) -> anyhow::Error {
    let now = std::fs::metadata(path).map(|found| found.len()).ok();
    let is_other = matches!(&error, ClientError::Problem(problem) if problem.kind.ends_with("/digest-mismatch"));
    if is_other || now != Some(file.size) {
        return refusal(
            format!(
                "{} changed while it was published; nothing was published",
                path.display()
            ),
            "publish again when nothing writes into the folder any more",
        );
    }
    explain(error)
}

/// The files whose contents the repository does not have, each content once.
async fn missing<'a>(
    client: &Client,
    files: &'a [ManifestFile],
) -> anyhow::Result<Vec<&'a ManifestFile>> {
    let by_digest: BTreeMap<_, _> = files.iter().map(|file| (file.sha256, file)).collect();
    let mut missing = Vec::new();
    for (digest, file) in by_digest {
        if !client
            .has_artifact(&digest.to_string())
            .await
            .map_err(explain)?
        {
            missing.push(file);
        }
    }
    Ok(missing)
}

/// How far the upload has come, on stderr: one line that is written over on a terminal, nothing for a small upload elsewhere.
struct UploadProgress {
    files: usize,
    total: u64,
    sent: u64,
}

impl UploadProgress {
    fn show(&self, index: usize, path: &str) {
        self.say(&format!(
            "uploading {} of {} files, {}%: {path}",
            index + 1,
            self.files,
            crate::describe::percent(self.sent, self.total)
        ));
    }

    fn say(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        // A stderr that nobody reads must not end the upload.
        let _ = if stderr.is_terminal() {
            write!(stderr, "\r\x1b[2K{text}")
        } else {
            writeln!(stderr, "{text}")
        };
        let _ = stderr.flush();
    }

    fn end(&self) {
        match self.files {
            0 => {}
            _ if std::io::stderr().is_terminal() => {
                let _ = write!(std::io::stderr(), "\r\x1b[2K");
            }
            files => self.say(&format!("uploaded {files} of {files} files, 100%")),
        }
    }
}
