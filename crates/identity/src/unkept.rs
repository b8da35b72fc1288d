//! A key that lies in no file, of a caller that lives no longer than its process.

use crate::credential::{Credential, credential, request};
use crate::{IdentityError, crypto};
use rcgen::KeyPair;
use std::fmt;

/// A key that lies in no file.
pub struct UnkeptKey(KeyPair);

impl fmt::Debug for UnkeptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnkeptKey")
    }
}

impl UnkeptKey {
    /// Makes one.
    ///
    /// # Errors
    /// The cryptography fails.
    pub fn make() -> Result<Self, IdentityError> {
        KeyPair::generate().map(Self).map_err(crypto("make a key"))
    }

    /// A request for a certificate of the key (PKCS #10, PEM).
    ///
    /// # Errors
    /// The cryptography fails.
    pub fn request(&self) -> Result<String, IdentityError> {
        request(&self.0)
    }

    /// The key with its certificate, behind which the authority's stands (PEM).
    ///
    /// # Errors
    /// They are none, or of another key.
    pub fn certified(&self, certificates: &str) -> Result<Credential, IdentityError> {
        credential(&self.0, certificates).map_err(IdentityError::Unfit)
    }
}
