//! Repositories of a small system, and clients of them; what an attacker does is in files of its own.

mod attacks;
mod attacks_on_roots;
mod copies;
mod interoperation;
mod interruptions;
mod signing;
mod web;

use crate::metadata::{Metadata, SignedDocument};
use crate::{
    Catalogue, DirectoryTransport, RepositoryWriter, RoleRule, RoleType, Signer, SystemIdentity,
    TrustError, Verifier, make_key, store_artifact,
};
use jiff::{SignedDuration, Timestamp as Time};
use model::ids::{Place, Revision, Version};
use model::manifest::{Digest, FORMAT, Manifest, ManifestFile, Mode, UPGRADE_FILE};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tough::schema::{Root, Signature, Signed, Snapshot, Targets, Timestamp};

/// The time at which most things happen.
pub(crate) fn noon() -> Time {
    "2030-06-01T12:00:00Z".parse().expect("a time")
}

pub(crate) fn days_later(days: i64) -> Time {
    noon() + SignedDuration::from_hours(24 * days)
}

/// A system's repository, with three root keys of which two sign, two publishers who both sign, and one server.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) writer: RepositoryWriter,
}

/// The keys' files below a site's folder.
pub(crate) const KEYS: [&str; 6] = ["root-1", "root-2", "root-3", "alice", "bob", "server"];

impl Site {
    pub(crate) async fn new() -> Self {
        Self::of("shop", 7, None).await
    }

    /// Another one, with the keys of an older site where one is given.
    pub(crate) async fn of(name: &str, number: u64, like: Option<&Self>) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        for key in KEYS {
            if let Some(like) = like {
                std::fs::copy(like.key(key), folder.path().join(format!("{key}.pem")))
                    .expect("copied");
            }
        }
        let key = |name: &str| {
            make_key(&folder.path().join(format!("{name}.pem"))).expect("a key is made")
        };
        let rule = |role, names: &[&str], threshold| RoleRule {
            role,
            keys: names.iter().map(|name| key(name)).collect(),
            threshold,
        };
        let rules = [
            rule(RoleType::Root, &["root-1", "root-2", "root-3"], 2),
            rule(RoleType::Targets, &["alice", "bob"], 2),
            rule(RoleType::Snapshot, &["server"], 1),
            rule(RoleType::Timestamp, &["server"], 1),
        ];
        let system = SystemIdentity {
            name: name.to_owned(),
            number,
        };
        let signers = Signer::read(folder.path()).expect("keys");
        let path = folder.path().join("repository");
        let writer = RepositoryWriter::create(&path, &system, &rules, &signers, noon());
        Self {
            writer: writer.await.expect("a repository is made"),
            folder,
        }
    }

    /// The file of a key.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pem"))
    }

    pub(crate) fn signers(&self, names: &[&str]) -> Vec<Signer> {
        let keys = names.iter();
        keys.flat_map(|name| Signer::read(&self.key(name)).expect("a key"))
            .collect()
    }

    /// Publishes the next version with one artifact that holds this text.
    pub(crate) async fn publish(&mut self, version: u32, text: &str) -> Place {
        let manifest = manifest(version, text);
        self.store(&manifest, text).await;
        let signers = self.signers(&["alice", "bob", "server"]);
        let published = self.writer.publish(&manifest, false, &signers, noon());
        published.await.expect("it is published")
    }

    pub(crate) async fn store(&self, manifest: &Manifest, text: &str) {
        let path = self.folder.path().join("artifact");
        for file in &manifest.files {
            std::fs::write(&path, contents(&file.path, text)).expect("written");
            store_artifact(file, &path, self.writer.path())
                .await
                .expect("stored");
        }
    }

    /// The repository, as anybody may read it.
    pub(crate) fn transport(&self) -> DirectoryTransport {
        DirectoryTransport {
            path: self.writer.path().to_owned(),
        }
    }

    /// One who pins the first root and has taken what is there.
    pub(crate) async fn client(&self) -> Client {
        let mut client = self.new_client();
        client.refresh(self, noon()).await.expect("it is trusted");
        client
    }

    pub(crate) fn new_client(&self) -> Client {
        let folder = tempfile::tempdir().expect("a directory");
        let root = std::fs::read(self.path("metadata/1.root.json")).expect("a root");
        let path = folder.path().join("trusted");
        Client {
            verifier: Verifier::pin(&path, &root).expect("it is pinned"),
            folder,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.writer.path().join(name)
    }

    pub(crate) fn read<T: Metadata>(&self, name: &str) -> SignedDocument<T> {
        let bytes = std::fs::read(self.path(name)).expect("it is there");
        SignedDocument::read(&bytes).expect("metadata")
    }

    pub(crate) fn root(&self) -> Root {
        self.writer.trust().root.content.signed.clone()
    }

    pub(crate) fn targets(&self) -> Targets {
        let there = self.writer.trust().targets.clone();
        there.expect("targets").content.signed
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let there = self.writer.trust().snapshot.clone();
        there.expect("a snapshot").content.signed
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        let there = self.writer.trust().timestamp.clone();
        there.expect("a timestamp").content.signed
    }

    /// Writes a document as an attacker does who has these keys.
    pub(crate) async fn put<T: Metadata>(&self, content: T, keys: &[&str]) -> SignedDocument<T> {
        let document = forged(content, &self.signers(keys)).await;
        std::fs::write(self.path(&document.path()), &document.bytes).expect("written");
        document
    }

    /// Seals targets as a thief of the server's key does.
    pub(crate) async fn seal(&self, targets: &SignedDocument<Targets>) {
        let mut snapshot = self.snapshot();
        snapshot.version = crate::metadata::next(snapshot.version);
        snapshot
            .meta
            .insert("targets.json".to_owned(), targets.reference());
        let snapshot = self.put(snapshot, &["server"]).await;
        let mut timestamp = self.timestamp();
        timestamp.version = crate::metadata::next(timestamp.version);
        let reference = snapshot.reference();
        timestamp.meta.insert("snapshot.json".to_owned(), reference);
        self.put(timestamp, &["server"]).await;
    }
}

/// Signs, whether or not it suffices.
pub(crate) async fn forged<T: Metadata>(content: T, signers: &[Signer]) -> SignedDocument<T> {
    let bytes = content.canonical_form().expect("a form");
    let mut signatures = Vec::new();
    for signer in signers {
        let Signer::Key(pair) = signer else { continue };
        let random = aws_lc_rs::rand::SystemRandom::new();
        signatures.push(Signature {
            keyid: pair.tuf_key().key_id().expect("a number"),
            sig: pair.sign(&bytes, &random).await.expect("signed").into(),
        });
    }
    SignedDocument::write(Signed {
        signed: content,
        signatures,
    })
}

/// One who verifies.
pub(crate) struct Client {
    pub(crate) verifier: Verifier,
    pub(crate) folder: TempDir,
}

impl Client {
    pub(crate) async fn refresh(&mut self, site: &Site, now: Time) -> Result<(), TrustError> {
        self.verifier.refresh(&site.transport(), now).await
    }

    /// Refreshes, and gets nothing: what was trusted stays, also after a start.
    pub(crate) async fn refuses(&mut self, site: &Site) -> TrustError {
        let before = self.verifier.catalogue();
        let refused = self.refresh(site, noon()).await;
        let error = refused.expect_err("it must not be trusted");
        assert!(!error.advice().is_empty());
        assert_eq!(self.verifier.catalogue(), before, "after {error}");
        assert_eq!(self.again().catalogue(), before, "after {error}");
        error
    }

    /// The same one after a start.
    pub(crate) fn again(&self) -> Verifier {
        Verifier::open(&self.path()).expect("its state")
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("trusted")
    }
}

pub(crate) fn manifest(version: u32, text: &str) -> Manifest {
    let file = |path: &str| ManifestFile {
        mode: Mode::Plain,
        path: path.to_owned(),
        sha256: Digest::of(contents(path, text).as_bytes()),
        size: contents(path, text).len() as u64,
    };
    Manifest {
        description: String::new(),
        files: vec![file("software"), file(UPGRADE_FILE)],
        format: FORMAT,
        from: Version(version - 1),
        system: "shop".to_owned(),
        version: Version(version),
    }
}

fn contents(path: &str, text: &str) -> String {
    format!("{path}: {text}")
}

pub(crate) fn place(version: u32, revision: u32) -> Place {
    Place {
        version: Version(version),
        revision: Revision(revision),
    }
}

pub(crate) fn versions(catalogue: &Catalogue) -> Vec<u32> {
    catalogue.upgrades.keys().map(|version| version.0).collect()
}

pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = (std::fs::read_dir(folder).expect("a folder"))
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
