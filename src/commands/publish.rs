//! `upstart publish`: checks an upgrade's folder, uploads what the repository lacks, then publishes.

use super::check::{Proved, complain, prove};
use super::operate::done;
use crate::connection::{connect, explain, wait_for};
use crate::failure::{CommandOutcome, refusal};
use crate::globals::Globals;
use clap::Args;
use client::{Client, ClientError};
use model::api::{PublishRequest, UpgradeSummary};
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
}

/// `upstart publish`.
pub(crate) fn run(globals: &Globals, arguments: &PublishArgs) -> CommandOutcome {
    let proved = match prove(&arguments.directory)? {
        Ok(proved) => proved,
        Err(errors) => return complain(globals, &errors),
    };
    let client = connect(globals)?;
    let there = wait_for(published(&client, &proved))?;
    let summary = wait_for(upload_and_publish(&client, &proved, arguments.revise))?;
    let what = format!(
        "{} version {} revision {} (manifest {})",
        proved.checked.upgrade.system, summary.version, summary.revision, summary.manifest_sha256
    );
    let sentence = if there == Some(summary.revision) {
        format!("Nothing has changed: this is {what}.")
    } else {
        format!("Published {what}.")
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
) -> anyhow::Result<UpgradeSummary> {
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
    let request = PublishRequest {
        manifest: proved.checked.manifest.text(),
        revise,
    };
    client.publish(&request).await.map_err(explain)
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
