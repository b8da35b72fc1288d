//! Signatures as Standard Webhooks has them: HMAC-SHA-256 over id, time and body, by each of the secrets that count.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// What a secret begins with, in writing.
const PREFIX: &str = "whsec_";

/// How many bytes a secret has.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that the receiver has, too.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

impl fmt::Debug for SigningSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningSecret")
    }
}

impl SigningSecret {
    /// Reads one as it is written, `whsec_` and base64 of 24 to 64 bytes.
    ///
    /// # Errors
    /// It is none; the message does not show it.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let none = "is no secret: it is `whsec_` and 24 to 64 random bytes in base64";
        let coded = text.trim().strip_prefix(PREFIX).ok_or(none)?;
        let bytes = STANDARD.decode(coded).map_err(|_| none)?;
        SECRET_BYTES
            .contains(&bytes.len())
            .then_some(Self(bytes))
            .ok_or(none)
    }

    /// One of these random bytes, as it is written.
    #[must_use]
    pub fn written(bytes: &[u8; 32]) -> String {
        format!("{PREFIX}{}", STANDARD.encode(bytes))
    }
}

/// The header `webhook-signature`: a signature by each secret, so that secrets can be replaced one after the other.
#[must_use]
pub fn sign(secrets: &[SigningSecret], id: &str, at_s: u64, body: &[u8]) -> String {
    let signed = secrets.iter().filter_map(|secret| {
        // A key of any length is one.
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).ok()?;
        mac.update(format!("{id}.{at_s}.").as_bytes());
        mac.update(body);
        let code = STANDARD.encode(mac.finalize().into_bytes());
        Some(format!("v1,{code}"))
    });
    signed.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification of Standard Webhooks, which its libraries in other languages check, too.
    #[test]
    fn signatures_are_those_of_the_specification() {
        let secret = SigningSecret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("one");
        let body = b"{\"test\": 2432232314}";
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = sign(std::slice::from_ref(&secret), id, 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = SigningSecret::read(&SigningSecret::written(&[7; 32])).expect("one");
        let both = sign(&[other, secret], id, 1_614_265_330, body);
        assert!(
            both.ends_with(&signed) && both.split(' ').count() == 2,
            "{both}"
        );
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        for bad in [
            "",
            "hunter2",
            "whsec_",
            "whsec_aGk=",
            "whsec_***",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            let told = SigningSecret::read(bad).expect_err("none");
            assert!(
                bad.is_empty() || bad == "whsec_" || !told.contains(bad),
                "{told}"
            );
        }
        let secret = SigningSecret::read(&SigningSecret::written(&[7; 32])).expect("one");
        assert_eq!(format!("{secret:?}"), "SigningSecret");
    }
}
