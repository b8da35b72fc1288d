//! What the repository lacks, uploaded.

use super::chunking::Chunked;
use crate::commands::check::Proved;
use crate::connection::explain;
use crate::failure::refusal;
use client::{Client, ClientError};
use model::manifest::{CHUNKS_FILE, Digest};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// A file that goes to the repository.
pub(super) struct Upload {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) path: PathBuf,
    /// What it is called while it is sent.
    pub(super) name: String,
}

/// What the repository lacks of an upgrade: files, packs of chunks, and their index; each content once.
pub(super) async fn missing(
    client: &Client,
    proved: &Proved,
    chunked: Option<&Chunked>,
) -> anyhow::Result<Vec<Upload>> {
    let mut all: BTreeMap<Digest, Upload> = BTreeMap::new();
    let mut add = |upload: Upload| drop(all.insert(upload.digest, upload));
    let manifest = chunked.map_or(&proved.checked.manifest, |chunked| &chunked.manifest);
    for file in &manifest.files {
        let path = match (file.path.as_str(), chunked) {
            (CHUNKS_FILE, Some(chunked)) => chunked.index_path.clone(),
            (path, _) => proved.folder.path.join(path),
        };
        add(Upload {
            digest: file.sha256,
            size: file.size,
            path,
            name: file.path.clone(),
        });
    }
    for pack in chunked.iter().flat_map(|chunked| &chunked.packs) {
        add(Upload {
            digest: pack.pack.digest,
            size: pack.pack.size,
            path: pack.path.clone(),
            name: "new chunks".to_owned(),
        });
    }
    let mut missing = Vec::new();
    for (digest, upload) in all {
        let there = client.has_artifact(&digest.to_string()).await;
        if !there.map_err(explain)? {
            missing.push(upload);
        }
    }
    Ok(missing)
}

/// Uploads these files.
pub(super) async fn upload(client: &Client, missing: &[Upload]) -> anyhow::Result<()> {
    let total: u64 = missing.iter().map(|file| file.size).sum();
    let mut progress = UploadProgress {
        files: missing.len(),
        total,
        sent: 0,
    };
    for (index, file) in missing.iter().enumerate() {
        progress.show(index, &file.name);
        client
            .put_artifact_file(&file.digest.to_string(), &file.path)
            .await
            .map_err(|error| upload_failed(error, &file.path, file.size))?;
        progress.sent += file.size;
    }
    progress.end();
    Ok(())
}

/// Why a file could not be uploaded: most often somebody has written into it since it was read.
fn upload_failed(error: ClientError, path: &Path, size: u64) -> anyhow::Error {
    let now = std::fs::metadata(path).map(|found| found.len()).ok();
    let is_other = matches!(&error, ClientError::Problem(problem) if problem.kind.ends_with("/digest-mismatch"));
    if is_other || now != Some(size) {
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
