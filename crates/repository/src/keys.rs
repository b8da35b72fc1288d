//! Keys: private ones in files that only their owner can read, public ones as metadata lists them.

use crate::error::SignError;
use crate::transport::open_file;
use aws_lc_rs::signature::{self, Ed25519KeyPair, UnparsedPublicKey, VerificationAlgorithm};
use std::collections::HashMap;
use std::fs::Permissions;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use tough::schema::key::{Ed25519Key, Ed25519Scheme, Key};
use tough::sign::Sign;

/// The longest key file, in bytes: an RSA key of 16,384 bits.
const KEY_FILE_BYTES_MAX: u64 = 16 << 10;
/// What private keys can be.
const PRIVATE_KEYS: &str = "give a private key as PEM (PKCS #8): Ed25519, ECDSA P-256 or RSA";
/// What a file with a public key says of itself.
const PUBLIC_TAG: &str = "PUBLIC KEY";
/// What stands before the 32 bytes of an Ed25519 key in a public key file (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [48, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0];
/// How a key's file ends until it is whole.
const FRESH_ENDING: &str = ".new";
/// How much of a key's number people see: enough to tell the keys of one system apart.
const SHORT_LENGTH: usize = 12;

/// A public key with its number, by which metadata names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub(crate) key: Key,
    /// Its number: 64 hexadecimal digits.
    pub id: String,
}

impl PublicKey {
    pub(crate) fn of(key: Key) -> Result<Self, SignError> {
        let id = key.key_id().map_err(|error| SignError::Refused {
            problem: error.to_string(),
            advice: "use another key",
        })?;
        let id = hex::encode(id.as_ref() as &[u8]);
        Ok(Self { key, id })
    }

    /// As metadata lists it: JSON.
    pub fn text(&self) -> String {
        // Plain data with string keys always serialises.
        serde_json::to_string(&self.key).unwrap_or_default()
    }

    /// Reads a key as metadata lists it.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, SignError> {
        let key = serde_json::from_str(text).map_err(|error| SignError::Refused {
            problem: format!("this is no public key: {error}"),
            advice: "use a server and a command line of one release",
        })?;
        Self::of(key)
    }

    /// Whether it has made this signature of these bytes.
    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let (algorithm, public): (&'static dyn VerificationAlgorithm, &[u8]) = match &self.key {
            Key::Ed25519 { keyval, .. } => (&signature::ED25519, &keyval.public),
            Key::Ecdsa { keyval, .. } | Key::EcdsaOld { keyval, .. } => {
                (&signature::ECDSA_P256_SHA256_ASN1, &keyval.public)
            }
            Key::Rsa { keyval, .. } => (&signature::RSA_PSS_2048_8192_SHA256, &keyval.public),
        };
        UnparsedPublicKey::new(algorithm, public)
            .verify(bytes, signature)
            .is_ok()
    }
}

/// The beginning of a key's number, for people.
pub fn short(id: &str) -> &str {
    id.get(..SHORT_LENGTH).unwrap_or(id)
}

/// Makes a private key (Ed25519) in a new file. A key that is there already stays.
///
/// # Errors
/// The file cannot be written, or is no key.
pub fn make_key(path: &Path) -> Result<PublicKey, SignError> {
    let fault = |problem: String| key_fault(path, problem, "see to the disk, and try again");
    let made = Ed25519KeyPair::generate().map_err(|error| fault(error.to_string()))?;
    let document = made
        .to_pkcs8v1()
        .map_err(|error| fault(error.to_string()))?;
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let text = pem::encode_config(&pem::Pem::new("PRIVATE KEY", document.as_ref()), lines);
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let beginning = format!(
        ".{}.",
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    remove_interrupted(folder, &beginning).map_err(|error| fault(error.to_string()))?;
    // It gets its name when it is whole, and goes away by itself otherwise: half a key would be taken for one that is there.
    let mut fresh = tempfile::Builder::new()
        .prefix(&beginning)
        .suffix(FRESH_ENDING)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(|error| fault(error.to_string()))?;
    fresh
        .as_file()
        .lock()
        .and_then(|()| fresh.write_all(text.as_bytes()))
        .and_then(|()| fresh.as_file().sync_all())
        .map_err(|error| fault(error.to_string()))?;
    match fresh.persist_noclobber(path) {
        Err(error) if error.error.kind() != ErrorKind::AlreadyExists => {
            return Err(fault(error.error.to_string()));
        }
        _ => {}
    }
    PublicKey::of(read_private_key(path)?.tuf_key())
}

/// Removes what whoever was killed while he made this key has left; one that is being made is locked.
fn remove_interrupted(folder: &Path, beginning: &str) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_fresh = name.starts_with(beginning) && name.ends_with(FRESH_ENDING);
        if is_fresh && open_file(&entry.path())?.is_some_and(|file| file.try_lock().is_ok()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Reads a private key that nobody but its owner can read.
pub(crate) fn read_private_key(path: &Path) -> Result<Box<dyn Sign>, SignError> {
    let (text, mode) = read(path)?;
    if mode & 0o077 != 0 {
        return Err(key_fault(
            path,
            format!(
                "others can read or write this key (mode {:04o})",
                mode & 0o7777
            ),
            "make it its owner's alone with `chmod 600`; if others may have read it, rotate it away (`upstart keys rotate`)",
        ));
    }
    let parsed = pem::parse(&text)
        .map_err(|error| key_fault(path, format!("it is no PEM: {error}"), PRIVATE_KEYS))?;
    if let Ok(pair) = tough::sign::parse_keypair(parsed.contents()) {
        return Ok(Box::new(pair));
    }
    let pair = tough::sign::parse_keypair(&text)
        .map_err(|_| key_fault(path, "it is no private key".to_owned(), PRIVATE_KEYS))?;
    Ok(Box::new(pair))
}

/// Whether a file holds a public key, as PEM.
pub(crate) fn is_public_key(path: &Path) -> Result<bool, SignError> {
    let (text, _) = read(path)?;
    Ok(pem::parse(&text).is_ok_and(|parsed| parsed.tag() == PUBLIC_TAG))
}

/// Reads a public key, or that of a private one.
///
/// # Errors
/// The file cannot be read, or holds no key of a known kind.
pub fn read_public_key(path: &Path) -> Result<PublicKey, SignError> {
    let (text, _) = read(path)?;
    let unknown = |problem: String| {
        let advice = "give a key as PEM: Ed25519, ECDSA P-256 or RSA";
        key_fault(path, problem, advice)
    };
    let parsed = pem::parse(&text).map_err(|error| unknown(format!("it is no PEM: {error}")))?;
    if parsed.tag() != PUBLIC_TAG {
        return PublicKey::of(read_private_key(path)?.tuf_key());
    }
    if let Some(public) = parsed.contents().strip_prefix(&ED25519_PREFIX) {
        return PublicKey::of(Key::Ed25519 {
            keyval: Ed25519Key {
                public: public.to_vec().into(),
                _extra: HashMap::new(),
            },
            scheme: Ed25519Scheme::Ed25519,
            _extra: HashMap::new(),
        });
    }
    let text = String::from_utf8_lossy(&text);
    let mut key: Key = (text.trim().parse())
        .map_err(|_| unknown("it is no public key of a known kind".to_owned()))?;
    // One key has one number, however its file is written.
    match &mut key {
        Key::Rsa { keyval, .. } => keyval.public = keyval.public.to_vec().into(),
        Key::Ecdsa { keyval, .. } | Key::EcdsaOld { keyval, .. } => {
            keyval.public = keyval.public.to_vec().into();
        }
        Key::Ed25519 { .. } => {}
    }
    PublicKey::of(key)
}

/// A key file's contents and mode.
fn read(path: &Path) -> Result<(Vec<u8>, u32), SignError> {
    let advice = "name a file that holds a key";
    let fault = |problem: String| key_fault(path, problem, advice);
    let opened = open_file(path).map_err(|error| fault(error.to_string()))?;
    let file = opened.ok_or_else(|| fault("there is no such file".to_owned()))?;
    let about = file.metadata().map_err(|error| fault(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(KEY_FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| fault(error.to_string()))?;
    Ok((bytes, about.mode()))
}

fn key_fault(path: &Path, problem: String, advice: &'static str) -> SignError {
    SignError::KeyFile {
        path: path.to_owned(),
        problem,
        advice,
    }
}
