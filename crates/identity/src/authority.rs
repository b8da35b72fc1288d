//! The authority of a system's upgrade servers.

use crate::peer::key_digest;
use crate::{IdentityError, Pin, crypto, files};
use aws_lc_rs::hmac;
use model::api::Principal;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::Path;
use time::OffsetDateTime;

/// By which name every server of an authority is known, at whatever address it is reached.
pub(crate) const SERVER_NAME: &str = "upgrade-server.upstart.internal";

/// The longest request for a certificate, in bytes.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// An authority: its key, and the certificate by which others check what it has signed.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    pin: Pin,
    /// For what only this authority's servers can have said.
    proofs: hmac::Key,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.pin)
    }
}

/// What a certificate is to say besides whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateTerms {
    /// The how manieth certificate of its principal it is.
    pub counter: u64,
    /// When it is given, in milliseconds since 1970.
    pub now_ms: u64,
    /// Until when it counts, in milliseconds since 1970.
    pub expires_at_ms: u64,
}

/// A request for a certificate, signed with the key that is to be certified.
#[derive(Debug)]
pub struct KeyRequest {
    request: CertificateSigningRequestParams,
    key: String,
}

/// The kinds of keys that are certified: short, and of one strength.
static KINDS: [&SignatureAlgorithm; 3] = [
    &rcgen::PKCS_ECDSA_P256_SHA256,
    &rcgen::PKCS_ECDSA_P384_SHA384,
    &rcgen::PKCS_ED25519,
];

/// What is said of others.
const OTHER_KIND: &str =
    "is of a key of another kind than is certified: make one for ECDSA P-256, or for Ed25519";

impl KeyRequest {
    /// Reads a request (PKCS #10, PEM) and checks that whoever sent it has the key. Whatever else it asks for is not looked at.
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &str) -> Result<Self, IdentityError> {
        let unfit = |why: &str| IdentityError::Unfit(format!("the certificate request {why}"));
        if text.len() > REQUEST_BYTES_MAX {
            return Err(unfit("is longer than 16 KiB"));
        }
        let request =
            CertificateSigningRequestParams::from_pem(text).map_err(|error| match error {
                rcgen::Error::UnsupportedSignatureAlgorithm => unfit(OTHER_KIND),
                error => unfit(&format!("cannot be used: {error}")),
            })?;
        if !KINDS.contains(&request.public_key.algorithm()) {
            return Err(unfit(OTHER_KIND));
        }
        let key = key_digest(&request.public_key.subject_public_key_info());
        Ok(Self { request, key })
    }

    /// The SHA-256 digest of the key, as hexadecimal digits.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Authority {
    /// The authority whose key and certificate are in this file, made where there is none.
    ///
    /// # Errors
    /// The file cannot be used, others can read it, or it holds something else.
    pub fn open(path: &Path) -> Result<Self, IdentityError> {
        if let Some(text) = files::read(path)? {
            return Self::read(path, &text);
        }
        files::write(path, &make()?, false)?;
        // Another server over the same folder may have been quicker: what is in the file is the authority.
        let text = files::read(path)?.unwrap_or_default();
        Self::read(path, &text)
    }

    fn read(path: &Path, text: &str) -> Result<Self, IdentityError> {
        let damaged = |why: String| IdentityError::Damaged {
            path: path.to_owned(),
            why,
        };
        let certificate = CertificateDer::from_pem_slice(text.as_bytes())
            .map_err(|error| damaged(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| damaged(error.to_string()))?;
        let key = KeyPair::try_from(&key).map_err(|error| damaged(error.to_string()))?;
        let pin = Pin::of_key(&key.subject_public_key_info());
        if Pin::of_certificate(&certificate) != Some(pin) {
            return Err(damaged("its certificate is of another key".to_owned()));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| damaged(error.to_string()))?;
        let proofs = proofs_key(&issuer);
        Ok(Self {
            issuer,
            proofs,
            pem: files::pem("CERTIFICATE", &certificate),
            certificate,
            pin,
        })
    }

    /// By what callers know its servers.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// What only servers of this authority can add to these numbers: 53 bits, which every reader of JSON keeps.
    #[must_use]
    pub fn proof_of(&self, numbers: &[u64]) -> u64 {
        let mut said = hmac::Context::with_key(&self.proofs);
        for number in numbers {
            said.update(&number.to_be_bytes());
        }
        proof(said)
    }

    /// The key with which it signs.
    pub(crate) fn signing_key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// Its certificate (DER).
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Certifies whose key it is; gives the certificate and the authority's own (PEM).
    ///
    /// # Errors
    /// The cryptography fails.
    pub fn certify(
        &self,
        request: &KeyRequest,
        principal: &Principal,
        terms: CertificateTerms,
    ) -> Result<String, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = called(&principal.to_string());
        params.serial_number = Some(SerialNumber::from(terms.counter));
        params.not_before = moment(terms.now_ms);
        params.not_after = moment(terms.expires_at_ms);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params
            .signed_by(&request.request.public_key, &self.issuer)
            .map_err(crypto("certify a key"))?;
        Ok(format!(
            "{}{}",
            files::pem("CERTIFICATE", certificate.der()),
            self.pem
        ))
    }

    /// A new key of a server, with the certificates that show it. It counts for ever: whoever steals a server's key has the authority's,
    /// too, and hosts without the right time must reach their server.
    pub(crate) fn server(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), IdentityError> {
        let key = KeyPair::generate().map_err(crypto("make a key"))?;
        let mut params = CertificateParams::new([SERVER_NAME.to_owned()])
            .map_err(crypto("name a server in a certificate"))?;
        params.distinguished_name = called("upgrade server");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(crypto("certify a server's key"))?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(crypto("use a key"))?;
        Ok((chain, key))
    }
}

/// 53 bits of what only the key's owner can say.
fn proof(said: hmac::Context) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&said.sign().as_ref()[..8]);
    u64::from_be_bytes(first) >> 11
}

/// A key that follows from the authority's, for another purpose.
fn proofs_key(issuer: &Issuer<'_, KeyPair>) -> hmac::Key {
    let own = hmac::Key::new(hmac::HMAC_SHA256, issuer.key().serialized_der());
    let derived = hmac::sign(&own, b"upstart: what servers have said");
    hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
}

/// A new authority's key and certificate (PEM).
fn make() -> Result<String, IdentityError> {
    let key = KeyPair::generate().map_err(crypto("make a key"))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = called("Upstart authority");
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params
        .self_signed(&key)
        .map_err(crypto("make an authority's certificate"))?;
    let key = files::pem("PRIVATE KEY", key.serialized_der());
    Ok(key + &files::pem("CERTIFICATE", certificate.der()))
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
    called
}

/// A certificate's times are of whole seconds, and end with the year 9999.
fn moment(at_ms: u64) -> OffsetDateTime {
    let seconds = i64::try_from(at_ms / 1_000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or_else(|_| rcgen::date_time_ymd(9999, 12, 31))
}
