//! Signing: by keys in files, or by commands that know keys which no file holds (a hardware token's).

use crate::error::{SignError, TrustError};
use crate::keys::{PublicKey, is_public_key, read_private_key, short};
use crate::metadata::{Metadata, SignedDocument};
use crate::trust::signed_by;
use aws_lc_rs::rand::SystemRandom;
use std::fmt;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use tough::schema::{RoleType, Root, Signature, Signed};
use tough::sign::Sign;

/// The longest signature that a command gives, in bytes: RSA with 16,384 bits has 2,048.
const SIGNATURE_BYTES_MAX: u64 = 4096;

/// One who can sign.
pub enum Signer {
    /// A private key.
    Key(Box<dyn Sign>),
    /// A command: the bytes on its stdin, the signature on its stdout.
    Command(String),
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Signer::Key",
            Self::Command(_) => "Signer::Command",
        })
    }
}

impl Signer {
    /// The key in a file, or every private key in a folder's files `*.pem`.
    ///
    /// # Errors
    /// A file cannot be read, is no key, or others can read it.
    pub fn read(path: &Path) -> Result<Vec<Self>, SignError> {
        if !path.is_dir() {
            return Ok(vec![Self::Key(read_private_key(path)?)]);
        }
        let disk = |source| SignError::Disk {
            path: path.to_owned(),
            source,
        };
        let mut signers = Vec::new();
        for entry in std::fs::read_dir(path).map_err(disk)? {
            let file = entry.map_err(disk)?.path();
            let is_key = file.extension().is_some_and(|ending| ending == "pem");
            if is_key && !is_public_key(&file)? {
                signers.push(Self::Key(read_private_key(&file)?));
            }
        }
        Ok(signers)
    }

    /// The number of its key; a command's key is only known by its signatures.
    pub(crate) fn key_id(&self) -> Option<String> {
        match self {
            Self::Key(pair) => Some(PublicKey::of(pair.tuf_key()).ok()?.id),
            Self::Command(_) => None,
        }
    }

    /// Its signature, unless its key is none of these.
    async fn sign(
        &self,
        bytes: &[u8],
        wanted: &[PublicKey],
    ) -> Result<Option<(String, Vec<u8>)>, SignError> {
        match self {
            Self::Key(pair) => {
                let id = PublicKey::of(pair.tuf_key())?.id;
                if !wanted.iter().any(|key| key.id == id) {
                    return Ok(None);
                }
                let signature = pair.sign(bytes, &SystemRandom::new()).await;
                let signature = signature.map_err(|error| SignError::Refused {
                    problem: format!("key {} does not sign: {error}", short(&id)),
                    advice: "use another key",
                })?;
                Ok(Some((id, signature)))
            }
            Self::Command(command) => {
                let signature = by_command(command, bytes)?;
                let mut keys = wanted.iter();
                let key = keys.find(|key| key.verifies(bytes, &signature));
                Ok(key.map(|key| (key.id.clone(), signature)))
            }
        }
    }
}

/// Runs a command that signs. It may wait for a person (a touch, a number), so it has as much time as it takes.
fn by_command(command: &str, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
    let fault = |problem: String| SignError::Command {
        command: command.to_owned(),
        problem,
    };
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| fault(format!("cannot be run: {error}")))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut signature = Vec::new();
    let read = std::thread::scope(|scope| {
        // A command that does not read all of it fails by its signature.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(bytes)));
        stdout.map_or(Ok(0), |stdout| {
            stdout.take(SIGNATURE_BYTES_MAX).read_to_end(&mut signature)
        })
    });
    read.map_err(|error| fault(format!("cannot be read from: {error}")))?;
    let status = child.wait();
    let status = status.map_err(|error| fault(format!("cannot be waited for: {error}")))?;
    if !status.success() {
        return Err(fault(format!("failed ({status})")));
    }
    if signature.is_empty() {
        return Err(fault("gave no signature".to_owned()));
    }
    Ok(signature)
}

/// The keys that a root lets sign for a role.
pub(crate) fn keys_of(root: &Root, role: RoleType) -> Vec<PublicKey> {
    let keys = root.keys(role).cloned();
    keys.filter_map(|key| PublicKey::of(key).ok()).collect()
}

/// Signs, so that every one of these roots vouches for it.
pub(crate) async fn sign<T: Metadata>(
    content: T,
    roots: &[&Root],
    signers: &[Signer],
) -> Result<SignedDocument<T>, SignError> {
    let bytes = content
        .canonical_form()
        .map_err(|error| SignError::Refused {
            problem: error.to_string(),
            advice: "this cannot be written as metadata",
        })?;
    let mut wanted: Vec<PublicKey> = Vec::new();
    for key in roots.iter().flat_map(|root| keys_of(root, T::TYPE)) {
        if !wanted.contains(&key) {
            wanted.push(key);
        }
    }
    let mut signed = Signed {
        signed: content,
        signatures: Vec::new(),
    };
    // Keys in files first: commands may ask people, and are only asked for what is still missing.
    let is_command = |signer: &&Signer| matches!(signer, Signer::Command(_));
    let files = signers.iter().filter(|signer| !is_command(signer));
    for signer in files.chain(signers.iter().filter(is_command)) {
        if is_command(&signer) && lacking(&signed, roots)?.is_none() {
            break;
        }
        let signature = signer.sign(&bytes, &wanted).await?;
        if let Some((id, signature)) = signature {
            wanted.retain(|key| key.id != id);
            signed.signatures.push(Signature {
                keyid: hex::decode(id).unwrap_or_default().into(),
                sig: signature.into(),
            });
        }
    }
    signed
        .signatures
        .sort_by(|one, other| one.keyid.cmp(&other.keyid));
    match lacking(&signed, roots)? {
        None => Ok(SignedDocument::write(signed)),
        Some(missing) => Err(missing),
    }
}

/// What is missing until every one of these roots vouches for it.
fn lacking<T: Metadata>(
    signed: &Signed<T>,
    roots: &[&Root],
) -> Result<Option<SignError>, SignError> {
    let document = SignedDocument::write(signed.clone());
    for root in roots {
        let valid = match signed_by(root, &document) {
            Ok(()) => continue,
            Err(TrustError::UnknownKey { .. }) => 0,
            Err(TrustError::TooFewKeys { valid, .. }) => valid,
            Err(other) => return Err(other.into()),
        };
        let keys = keys_of(root, T::TYPE);
        return Ok(Some(SignError::KeysMissing {
            document: T::TYPE.to_string(),
            valid,
            threshold: threshold(root, T::TYPE),
            wanted: keys.iter().map(|key| short(&key.id).to_owned()).collect(),
        }));
    }
    Ok(None)
}

/// How many keys of a role must sign.
pub(crate) fn threshold(root: &Root, role: RoleType) -> u64 {
    root.roles.get(&role).map_or(0, |keys| keys.threshold.get())
}
