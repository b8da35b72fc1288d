//! What a caller's certificate says.

use crate::IdentityError;
use aws_lc_rs::digest::{SHA256, digest};
use model::api::Principal;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a certificate says: whose key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whose.
    pub principal: Principal,
    /// The SHA-256 digest of the key, as hexadecimal digits.
    pub key: String,
    /// The how manieth certificate of this principal it is.
    pub counter: u64,
    /// From when on it counts, in milliseconds since 1970.
    pub begins_at_ms: u64,
    /// Until when, in milliseconds since 1970.
    pub expires_at_ms: u64,
}

impl PeerCertificate {
    /// Reads a certificate (DER) of a node or an operator. Whoever asks has checked its signature, or believes it anyway.
    ///
    /// # Errors
    /// It is no certificate, or one of somebody else.
    pub fn read(certificate: &[u8]) -> Result<Self, IdentityError> {
        let unfit = |why: &str| IdentityError::Unfit(format!("the certificate {why}"));
        let (_, read) = X509Certificate::from_der(certificate)
            .map_err(|error| unfit(&format!("cannot be read: {error}")))?;
        let name = read.subject().iter_common_name().next();
        let name = name.and_then(|name| name.as_str().ok());
        let name = name.ok_or_else(|| unfit("names nobody"))?;
        let principal = name
            .parse()
            .map_err(|why: String| unfit(&format!("is nobody's: {why}")))?;
        let counter = u64::try_from(&read.serial)
            .map_err(|_| unfit("has a number that no server has given"))?;
        let ms = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
        Ok(Self {
            principal,
            key: key_digest(read.public_key().raw),
            counter,
            begins_at_ms: ms(read.validity().not_before.timestamp()),
            expires_at_ms: ms(read.validity().not_after.timestamp()),
        })
    }

    /// When it is time for another: half of its life is over.
    #[must_use]
    pub fn renew_at_ms(&self) -> u64 {
        self.begins_at_ms + (self.expires_at_ms.saturating_sub(self.begins_at_ms)) / 2
    }
}

/// How a key (SubjectPublicKeyInfo, DER) is known.
pub(crate) fn key_digest(key: &[u8]) -> String {
    hex::encode(digest(&SHA256, key).as_ref())
}
