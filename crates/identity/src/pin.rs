//! The pin of an authority: by it callers know the servers that it has certified, wherever these are reached.

use aws_lc_rs::digest::{SHA256, digest};
use std::fmt;
use std::str::FromStr;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The SHA-256 digest of an authority's public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of a public key (SubjectPublicKeyInfo, DER).
    pub(crate) fn of_key(key: &[u8]) -> Self {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest(&SHA256, key).as_ref());
        Self(pin)
    }

    /// The pin of the key in a certificate (DER); `None` where it is none.
    #[must_use]
    pub fn of_certificate(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        Some(Self::of_key(certificate.public_key().raw))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pin = [0; 32];
        hex::decode_to_slice(text, &mut pin)
            .map_err(|_| format!("`{text}` is no pin: it has 64 hexadecimal digits"))?;
        Ok(Self(pin))
    }
}

/// What stands between a token's secret and the pin of those that it is for.
const SEPARATOR: char = '.';

/// A token: a secret, and, where it says so, the pin of the authority whose servers it may be shown to.
#[derive(Clone, PartialEq, Eq)]
pub struct PinnedToken {
    /// What is shown.
    pub secret: String,
    /// To whom.
    pub pin: Option<Pin>,
}

impl PinnedToken {
    /// Reads a token. What does not end in a pin is a secret as a whole.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let pinned = text
            .rsplit_once(SEPARATOR)
            .and_then(|(secret, pin)| Some((secret, pin.parse().ok()?)));
        match pinned {
            Some((secret, pin)) if !secret.is_empty() => Self {
                secret: secret.to_owned(),
                pin: Some(pin),
            },
            _ => Self {
                secret: text.to_owned(),
                pin: None,
            },
        }
    }
}

impl fmt::Display for PinnedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.secret)?;
        match self.pin {
            Some(pin) => write!(f, "{SEPARATOR}{pin}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PinnedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedToken(***, {:?})", self.pin)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pin, PinnedToken};

    #[test]
    fn a_token_says_whom_it_is_for_or_is_a_secret_as_a_whole() {
        let pin = Pin::of_key(b"a key");
        let token = PinnedToken {
            secret: "a.secret".to_owned(),
            pin: Some(pin),
        };
        assert_eq!(PinnedToken::of(&token.to_string()), token);
        for text in ["no-pin", "a.b", ".", &format!(".{pin}"), ""] {
            let read = PinnedToken::of(text);
            assert_eq!((read.secret.as_str(), read.pin), (text, None), "{text}");
        }
        assert!(
            !format!("{token:?}").contains("secret"),
            "nobody logs secrets"
        );
    }
}
