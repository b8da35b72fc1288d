//! Leave to fetch artifacts from other nodes: what the servers' authority signs for a node's key, for a short time. Nodes cannot ask whether
//! another one still belongs to the system; a pass says that it did a moment ago.

use crate::{Authority, Credential, IdentityError, crypto};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rcgen::SigningKey as _;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long a pass counts, in milliseconds: as long as a revocation may take to be known.
pub const PASS_LIFE_MS: u64 = 60_000;

/// The longest pass, in bytes.
const PASS_BYTES_MAX: usize = 512;

/// Stands before what is signed, which is hence no certificate.
const PURPOSE: &str = "upstart: may fetch artifacts from nodes";

/// What is signed: whose key, and until when.
fn said(key: &str, until_ms: u64) -> String {
    format!("{PURPOSE}\n{key}\n{until_ms}")
}

impl Authority {
    /// A pass for the node with this key (the digest of [`PeerCertificate::key`](crate::PeerCertificate)), that counts until this time
    /// (milliseconds since 1970).
    ///
    /// # Errors
    /// The cryptography fails.
    pub fn pass(&self, key: &str, until_ms: u64) -> Result<String, IdentityError> {
        let signed = self.signing_key().sign(said(key, until_ms).as_bytes());
        let signed = signed.map_err(crypto("sign a pass"))?;
        Ok(format!("{until_ms}.{}", hex::encode(signed)))
    }
}

/// By what a node checks passes: the certificate of the authority that has certified it.
#[derive(Clone)]
pub struct PassChecker(CertificateDer<'static>);

impl PassChecker {
    /// For passes of the authority that has certified this key.
    #[must_use]
    pub fn of(credential: &Credential) -> Self {
        Self(credential.authority())
    }

    /// Whether a pass is of the authority, for this key, and counts at this time (milliseconds since 1970).
    ///
    /// # Errors
    /// Why it does not count, in words.
    pub fn check(&self, pass: &str, key: &str, now_ms: u64) -> Result<(), &'static str> {
        let parts = (pass.len() <= PASS_BYTES_MAX).then(|| pass.split_once('.'));
        let (until, signed) = parts.flatten().ok_or("is no pass")?;
        let until_ms: u64 = until.parse().map_err(|_| "is no pass")?;
        let signed = hex::decode(signed).map_err(|_| "is no pass")?;
        let (_, authority) =
            X509Certificate::from_der(&self.0).map_err(|_| "cannot be checked here")?;
        let public = &authority.public_key().subject_public_key.data;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public)
            .verify(said(key, until_ms).as_bytes(), &signed)
            .map_err(|_| "is not for this caller's key")?;
        // A server's clock that is ahead gives none that counts for long.
        if until_ms <= now_ms || until_ms > now_ms.saturating_add(10 * PASS_LIFE_MS) {
            return Err("has expired, or this host's clock is wrong");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CertificateTerms, CredentialFolder, KeyRequest};
    use model::api::Principal;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn certified(authority: &Authority, name: &str) -> Credential {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = CredentialFolder::open(folder.path()).expect("made");
        let request = KeyRequest::read(&folder.request().expect("signed")).expect("a request");
        let terms = CertificateTerms {
            counter: 1,
            now_ms: NOW_MS,
            expires_at_ms: NOW_MS + 3_600_000,
        };
        let certificate = authority.certify(&request, &Principal::node(name), terms);
        (folder.keep(&certificate.expect("certified"))).expect("of its key")
    }

    fn authority() -> Authority {
        let folder = tempfile::tempdir().expect("a folder");
        Authority::open(&folder.path().join("authority.pem")).expect("made")
    }

    #[test]
    fn a_pass_counts_for_one_key_of_one_authority_and_for_a_short_time() {
        let (own, other) = (authority(), authority());
        let (one, two) = (certified(&own, "one"), certified(&own, "two"));
        let (key, checker) = (&one.says().key, PassChecker::of(&two));
        let until_ms = NOW_MS + PASS_LIFE_MS;
        let pass = own.pass(key, until_ms).expect("signed");
        assert_eq!(checker.check(&pass, key, NOW_MS), Ok(()));
        assert!(checker.check(&pass, key, until_ms).is_err());
        assert!(checker.check(&pass, &two.says().key, NOW_MS).is_err());
        let foreign = other.pass(key, until_ms).expect("signed");
        assert!(checker.check(&foreign, key, NOW_MS).is_err());
        let longer = pass.replacen(&until_ms.to_string(), &(until_ms + 1).to_string(), 1);
        assert!(checker.check(&longer, key, NOW_MS).is_err());
        let for_ever = own.pass(key, u64::MAX).expect("signed");
        assert!(checker.check(&for_ever, key, NOW_MS).is_err());
    }

    #[test]
    fn what_is_no_pass_is_refused() {
        let own = authority();
        let one = certified(&own, "one");
        let checker = PassChecker::of(&one);
        for pass in ["", ".", "1", "1.zz", "x.00", &"1".repeat(1_000)] {
            assert!(
                checker.check(pass, &one.says().key, NOW_MS).is_err(),
                "{pass}"
            );
        }
    }
}
