//! A publisher's keys on disk: who has them decides what nodes run, so nobody else may put any there.

use access::{Distrust, Judge, listed};
use repository::{PublicKey, SignError, Signer, SystemIdentity, Verifier, make_key};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How many root keys a new system gets, and how many of them must sign: one may be lost.
pub(crate) const ROOT_KEYS: (u32, u64) = (3, 2);

/// What whoever can change the keys would decide.
const STAKE: &str = "who signs what nodes run";

/// A publisher's keys: those in a folder, and others.
#[derive(Debug)]
pub struct PublisherKeys {
    /// The folder: keys as `*.pem`, and what was trusted of each system with them. A new system's keys are made here.
    pub folder: PathBuf,
    /// Commands that sign, beside the folder's keys.
    pub commands: Vec<String>,
    /// The first root of the system, which is trusted from now on; needed once where somebody else has begun the system.
    pub root: Option<PathBuf>,
}

impl PublisherKeys {
    /// Everybody of them who can sign.
    ///
    /// # Errors
    /// A key cannot be read, or others can read it.
    pub fn signers(&self) -> Result<Vec<Signer>, SignError> {
        self.check()?;
        let mut signers = if self.folder.is_dir() {
            Signer::read(&self.folder)?
        } else {
            Vec::new()
        };
        signers.extend(self.commands.iter().cloned().map(Signer::Command));
        Ok(signers)
    }

    /// What is trusted of a system.
    pub(crate) fn trusted(&self, system_id: u64) -> PathBuf {
        self.folder.join(format!("trusted-{system_id}.json"))
    }

    /// A system of this name whose upgrades were published with these keys, and the file that says so.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn has_published(
        &self,
        name: &str,
    ) -> Result<Option<(PathBuf, SystemIdentity)>, SignError> {
        self.check()?;
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return Ok(None);
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let file = path.file_name().and_then(|file| file.to_str());
            if !file.is_some_and(|file| file.starts_with("trusted-") && file.ends_with(".json")) {
                continue;
            }
            let verifier = Verifier::open(&path)?;
            let has_published = verifier.sealed().is_some();
            if has_published && verifier.system().name == name {
                return Ok(Some((path, verifier.system().clone())));
            }
        }
        Ok(None)
    }

    /// The folder, which only its owner enters.
    pub(crate) fn make_folder(&self) -> Result<(), SignError> {
        let mut make = std::fs::DirBuilder::new();
        let made = make.recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|source| SignError::Disk {
            path: self.folder.clone(),
            source,
        })?;
        self.check()
    }

    /// Makes sure that nobody else puts keys into the folder, or says what is trusted there.
    ///
    /// # Errors
    /// Somebody else can.
    pub(crate) fn check(&self) -> Result<(), SignError> {
        if self.folder.exists() {
            check_keys(&self.folder)
        } else {
            Ok(())
        }
    }

    /// The first root beside the keys: what nodes and other publishers pin.
    pub(crate) fn keep_root(&self, root: &[u8]) -> Result<(), SignError> {
        let path = self.folder.join("1.root.json");
        repository::replace(&path, root).map_err(|source| SignError::Disk { path, source })
    }

    /// The keys of a new system: root keys and a publisher's. Those that are there stay.
    pub(crate) fn make(&self) -> Result<[Vec<PublicKey>; 2], SignError> {
        self.make_folder()?;
        let key = |name: String| make_key(&self.folder.join(format!("{name}.pem")));
        let roots = (1..=ROOT_KEYS.0).map(|number| key(format!("root-{number}")));
        let roots: Result<_, _> = roots.collect();
        Ok([roots?, vec![key("publisher-1".to_owned())?]])
    }
}

/// Makes sure that nobody but root and this user can change a key's file, or a folder and the keys in it.
///
/// # Errors
/// Somebody else can.
pub fn check_keys(path: &Path) -> Result<(), SignError> {
    let judge = Judge::new(STAKE);
    judge.all(path).map_err(unsafe_keys)?;
    if !path.is_dir() {
        return Ok(());
    }
    for file in listed(path).map_err(unsafe_keys)? {
        let ending = file.extension();
        if ending.is_some_and(|ending| ending == "pem" || ending == "json") {
            judge.within(&file).map_err(unsafe_keys)?;
        }
    }
    Ok(())
}

fn unsafe_keys(distrust: Distrust) -> SignError {
    let (path, problem) = match distrust {
        Distrust::Open {
            path,
            problem,
            stake,
        } => {
            let problem = format!("{problem}: whoever that is would decide {stake}");
            (path, problem)
        }
        Distrust::Look { path, source } => (path, format!("cannot be looked at: {source}")),
    };
    SignError::KeyFile {
        path,
        problem,
        advice: "see to it that only root and you can write there (`chown`, `chmod go-w`, `setfacl -b`), or keep the keys in another folder (`--keys DIR`); if somebody else may have put keys there, look at `upstart keys list` first",
    }
}
