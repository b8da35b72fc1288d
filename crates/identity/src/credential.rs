//! What a node or an operator shows: a key of its own, and the certificate that says whose it is.

use crate::{IdentityError, PeerCertificate, Pin, crypto, files};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file of the key.
const KEY_FILE: &str = "key.pem";

/// The file of the certificate, and of the authority's.
const CERTIFICATE_FILE: &str = "certificate.pem";

/// The file of the digest of the last token that was used.
const TOKEN_FILE: &str = "token.digest";

/// A key with its certificate.
#[derive(Clone)]
pub struct Credential {
    key: Arc<PrivateKeyDer<'static>>,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    pin: Pin,
    says: PeerCertificate,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({:?})", self.says)
    }
}

impl Credential {
    /// Whose servers it is for.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// What the certificate says.
    #[must_use]
    pub fn says(&self) -> &PeerCertificate {
        &self.says
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// The certificate of the authority that has certified the key.
    pub(crate) fn authority(&self) -> CertificateDer<'static> {
        self.authority.clone()
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }
}

/// The folder in which somebody's key and certificate lie.
#[derive(Debug)]
pub struct CredentialFolder {
    folder: PathBuf,
    key: KeyPair,
    /// The key is in its file.
    is_kept: bool,
}

/// How a token is known that is kept nowhere.
fn digest_of(token: &str) -> String {
    crate::peer::key_digest(token.as_bytes())
}

impl CredentialFolder {
    /// Opens a folder, and makes it, and a key in it, where there is none yet.
    ///
    /// # Errors
    /// The folder or the key cannot be used, or others can read the key.
    pub fn open(folder: &Path) -> Result<Self, IdentityError> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(folder);
        made.map_err(files::at(folder))?;
        let path = folder.join(KEY_FILE);
        let text = match files::read(&path)? {
            Some(text) => text,
            None => {
                let key = KeyPair::generate().map_err(crypto("make a key"))?;
                let text = files::pem("PRIVATE KEY", key.serialized_der());
                // Of two that make one at the same time the first wins.
                files::write(&path, &text, false)?;
                files::read(&path)?.unwrap_or(text)
            }
        };
        let key = KeyPair::from_pem(&text).map_err(|error| IdentityError::Damaged {
            path,
            why: error.to_string(),
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            key,
            is_kept: true,
        })
    }

    /// The same folder with a new key, in the place of one that counts no longer; it is kept with its first certificate.
    ///
    /// # Errors
    /// The cryptography fails.
    pub fn with_new_key(&self) -> Result<Self, IdentityError> {
        Ok(Self {
            folder: self.folder.clone(),
            key: KeyPair::generate().map_err(crypto("make a key"))?,
            is_kept: false,
        })
    }

    /// Keeps other programs from renewing the certificate, as long as the file is open.
    ///
    /// # Errors
    /// The folder cannot be locked.
    pub fn lock(&self) -> Result<File, IdentityError> {
        let folder = File::open(&self.folder).map_err(files::at(&self.folder))?;
        folder.lock().map_err(files::at(&self.folder))?;
        Ok(folder)
    }

    /// The same folder with the key that is kept in it.
    ///
    /// # Errors
    /// As [`CredentialFolder::open`].
    pub fn with_kept_key(&self) -> Result<Self, IdentityError> {
        Self::open(&self.folder)
    }

    /// Whether this token was the last one with which the key was certified.
    #[must_use]
    pub fn has_used(&self, token: &str) -> bool {
        let noted = files::read(&self.folder.join(TOKEN_FILE));
        noted.is_ok_and(|noted| noted.is_some_and(|noted| noted.trim() == digest_of(token)))
    }

    /// Notes that the key was certified with this token; the token itself is not kept.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note_used(&self, token: &str) -> Result<(), IdentityError> {
        files::write(&self.folder.join(TOKEN_FILE), &digest_of(token), true).map(drop)
    }

    /// A folder that must be there already; `None` where it has no key.
    ///
    /// # Errors
    /// As [`CredentialFolder::open`].
    pub fn find(folder: &Path) -> Result<Option<Self>, IdentityError> {
        match files::read(&folder.join(KEY_FILE))? {
            Some(_) => Self::open(folder).map(Some),
            None => Ok(None),
        }
    }

    /// A request for a certificate of the key (PKCS #10, PEM).
    ///
    /// # Errors
    /// The cryptography fails.
    pub fn request(&self) -> Result<String, IdentityError> {
        request(&self.key)
    }

    /// The key with the certificate that was kept; `None` where none was.
    ///
    /// # Errors
    /// The certificate cannot be read, or is of another key.
    pub fn credential(&self) -> Result<Option<Credential>, IdentityError> {
        let path = self.folder.join(CERTIFICATE_FILE);
        match files::read_public(&path)? {
            Some(text) => self.read(&path, &text).map(Some),
            None => Ok(None),
        }
    }

    /// Keeps a certificate of the key, with the authority's behind it, durably.
    ///
    /// # Errors
    /// It is none, or of another key; the file cannot be written.
    pub fn keep(&self, certificates: &str) -> Result<Credential, IdentityError> {
        let path = self.folder.join(CERTIFICATE_FILE);
        let credential = self.read(&path, certificates)?;
        // Of two programs that ask at once one may come late with the older certificate. Another authority counts from one.
        if let Ok(Some(there)) = self.credential()
            && there.pin == credential.pin
            && there.says.counter > credential.says.counter
        {
            return Ok(there);
        }
        if !self.is_kept {
            // Between the two a token is still good for this key.
            let key = files::pem("PRIVATE KEY", self.key.serialized_der());
            files::write(&self.folder.join(KEY_FILE), &key, true)?;
        }
        files::write(&path, certificates, true)?;
        Ok(credential)
    }

    fn read(&self, path: &Path, text: &str) -> Result<Credential, IdentityError> {
        credential(&self.key, text).map_err(|why| IdentityError::Damaged {
            path: path.to_owned(),
            why,
        })
    }
}

/// A request for a certificate of a key (PKCS #10, PEM).
pub(crate) fn request(key: &KeyPair) -> Result<String, IdentityError> {
    let request = CertificateParams::default().serialize_request(key);
    let request = request.map_err(crypto("sign a request for a certificate"))?;
    Ok(files::pem("CERTIFICATE REQUEST", request.der()))
}

/// A key with its certificate, behind which the authority's stands (PEM); or why they are of no use.
pub(crate) fn credential(key: &KeyPair, text: &str) -> Result<Credential, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = certificates.map_err(|error| error.to_string())?;
    let [certificate, authority] = certificates.as_slice() else {
        return Err("it does not hold a certificate and its authority's".to_owned());
    };
    let says = PeerCertificate::read(certificate).map_err(|error| error.to_string())?;
    let own = rcgen::PublicKeyData::subject_public_key_info(key);
    if says.key != crate::peer::key_digest(&own) {
        return Err("its certificate is of another key".to_owned());
    }
    let pin = Pin::of_certificate(authority)
        .ok_or_else(|| "its authority's certificate cannot be read".to_owned())?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(str::to_owned)?;
    Ok(Credential {
        key: Arc::new(key),
        certificate: certificate.clone(),
        authority: authority.clone(),
        pin,
        says,
    })
}
