//! Who comes in by the web tokens (RFC 7519) of an issuer, such as a company's single sign-on: whose tokens, and what they make of whom.

use crate::{IdentityError, crypto};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use model::api::Role;
use model::expression::{Allowed, Expression};
use model::names;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a token may be signed: by keys of which the issuer tells the public half, and nobody else has the other.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
];

/// By how much the clocks of the issuer and of the server may differ, in seconds.
const LEEWAY_S: u64 = 30;

/// Names that the history gives to nobody else.
const RESERVED: [&str; 2] = ["server", "operator"];

/// What an administrator says of an issuer: a file of `upstart server --issuer`.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its URL, as its tokens say it (`iss`).
    pub url: String,
    /// Where its keys are, as a set of JSON web keys (RFC 7517); asked of the issuer where this is none (OpenID Connect Discovery).
    pub keys: Option<PathBuf>,
    /// The authorities with which the issuer shows who it is over TLS (PEM); the host's where this is none.
    pub certificates: Option<PathBuf>,
    audience: String,
    name: Expression,
    role: Expression,
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerFile {
    issuer: String,
    audience: String,
    keys: Option<PathBuf>,
    certificates: Option<PathBuf>,
    name: String,
    role: String,
}

/// Why a file names no issuer.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct IssuerFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// An issuer's keys.
#[derive(Clone, Debug)]
pub struct IssuerKeySet(JwkSet);

impl IssuerKeySet {
    /// Reads a set of JSON web keys (RFC 7517).
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let told: ToldKeys = serde_json::from_slice(text)
            .map_err(|error| format!("no set of JSON web keys: {error}"))?;
        // What is not understood is left alone (RFC 7517, section 5).
        let keys = told.keys.into_iter();
        let keys = keys.filter_map(|key| serde_json::from_value(key).ok());
        Ok(Self(JwkSet {
            keys: keys.collect(),
        }))
    }
}

/// A set of keys as it is told.
#[derive(Deserialize)]
struct ToldKeys {
    keys: Vec<serde_json::Value>,
}

/// How an issuer is asked for its keys.
///
/// # Errors
/// Its certificates cannot be read.
pub fn issuer_tls(issuer: &Issuer) -> Result<ClientConfig, IdentityError> {
    outside_tls(issuer.certificates.as_deref())
}

/// How somebody outside of the system is asked over TLS, who shows a certificate of one of these authorities (PEM), else of one that the
/// host trusts.
///
/// # Errors
/// The file of the authorities cannot be read, or has none.
pub fn outside_tls(certificates: Option<&Path>) -> Result<ClientConfig, IdentityError> {
    let mut roots = RootCertStore::empty();
    match certificates {
        Some(file) => {
            let damaged = |why: String| IdentityError::Damaged {
                path: file.to_owned(),
                why,
            };
            let found = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>);
            for certificate in found.map_err(|error| damaged(error.to_string()))? {
                let added = roots.add(certificate);
                added.map_err(|error| damaged(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(damaged("it has no certificate".to_owned()));
            }
        }
        None => {
            // Of those of the host, which it cannot use, the others are used.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(crypto("speak TLS"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Who shows a token, as its issuer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedOperator {
    /// An operator's name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Until when the token counts.
    pub expires_at_ms: u64,
}

/// Why a token lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// None of the keys is named in it: there may be newer ones.
    #[error("it is signed with a key that the issuer does not tell")]
    UnknownKey,
    /// The key that it names has not signed it: it may have another by now.
    #[error("it is not signed by the issuer")]
    NotSigned,
    /// It is not what it must be.
    #[error("{0}")]
    Refused(String),
}

/// Whether this looks like a web token: three parts, of which the first is the beginning of a JSON object.
#[must_use]
pub fn is_web_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.split('.').count() == 3
}

impl Issuer {
    /// Reads the file of `--issuer`. Paths in it are meant from its folder.
    ///
    /// # Errors
    /// It cannot be read, or says something that cannot be.
    pub fn read(path: &Path) -> Result<Self, IssuerFileError> {
        let fail = |why: String| IssuerFileError {
            path: path.to_owned(),
            why,
        };
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let file: IssuerFile =
            toml::from_str(&text).map_err(|error| fail(error.to_string().trim_end().to_owned()))?;
        if file.audience.is_empty() {
            return Err(fail(
                "audience: it is empty; give what the issuer writes into tokens for Upstart (`aud`)"
                    .to_owned(),
            ));
        }
        let compiled = |key: &str, source: &str| {
            Expression::compile(key, source, &Allowed::CLAIMS)
                .map_err(|error| fail(error.to_string()))
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        Ok(Self {
            name: compiled("name", &file.name)?,
            role: compiled("role", &file.role)?,
            url: file.issuer,
            keys: file.keys.map(|keys| folder.join(keys)),
            certificates: file.certificates.map(|file| folder.join(file)),
            audience: file.audience,
        })
    }

    /// Who shows this token, by these keys of the issuer.
    ///
    /// # Errors
    /// It is not of this issuer, for somebody else, over, or makes nobody an operator.
    pub fn check(&self, token: &str, keys: &IssuerKeySet) -> Result<ClaimedOperator, ClaimError> {
        let refused = |why: &str| ClaimError::Refused(why.to_owned());
        let header = decode_header(token).map_err(|_| refused("it cannot be read"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(ClaimError::Refused(format!(
                "it is signed by {:?}, which is not taken",
                header.alg
            )));
        }
        let key = chosen(&keys.0, header.kid.as_deref())?;
        may_sign(key, header.alg)?;
        let key = DecodingKey::from_jwk(key)
            .map_err(|error| ClaimError::Refused(format!("its key cannot be used: {error}")))?;
        let mut rules = Validation::new(header.alg);
        rules.set_issuer(&[&self.url]);
        rules.set_audience(&[&self.audience]);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        rules.validate_nbf = true;
        rules.leeway = LEEWAY_S;
        let decoded = decode::<serde_json::Value>(token, &key, &rules)
            .map_err(|error| in_words(error.kind(), self))?;
        self.claimed(&decoded.claims)
    }

    fn claimed(&self, claims: &serde_json::Value) -> Result<ClaimedOperator, ClaimError> {
        let text = |expression: &Expression| {
            let text = expression.text_of_claims(claims);
            text.map_err(|error| ClaimError::Refused(error.to_string()))
        };
        let name = text(&self.name)?;
        if let Some(fault) = fault_of(&name) {
            return Err(ClaimError::Refused(format!(
                "name: `{}` cannot be an operator's: one {fault}",
                name.escape_debug()
            )));
        }
        // A number of seconds, which may have a fraction (RFC 7519, section 2).
        let expires_at_s = claims["exp"].as_f64().unwrap_or(0.0).max(0.0) as u64;
        let expires_at_s = expires_at_s.saturating_add(LEEWAY_S);
        let role = text(&self.role)?;
        let found = Role::ALL.into_iter().find(|known| known.as_str() == role);
        match found {
            Some(role) => Ok(ClaimedOperator {
                name,
                role,
                expires_at_ms: expires_at_s.saturating_mul(1_000),
            }),
            None if role.is_empty() => Err(ClaimError::Refused(format!("it gives {name} no role"))),
            None => Err(ClaimError::Refused(format!(
                "role: `{role}` is none; there are viewer, operator, publisher and admin"
            ))),
        }
    }
}

/// The key that a token names; the only one where it names none.
fn chosen<'k>(keys: &'k JwkSet, named: Option<&str>) -> Result<&'k Jwk, ClaimError> {
    let found = match (named, keys.keys.as_slice()) {
        (Some(named), _) => keys.find(named),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    found.ok_or(ClaimError::UnknownKey)
}

/// What keeps a name from being that of somebody whom an issuer names: people must be able to tell it from others at sight.
fn fault_of(name: &str) -> Option<&'static str> {
    let is_a_principal = ["node:", "operator:"]
        .iter()
        .any(|kind| name.starts_with(kind));
    if RESERVED.contains(&name) || is_a_principal {
        return Some("has not a name that Upstart gives itself");
    }
    if name.starts_with('-') || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("has visible ASCII only, and no dash at the beginning");
    }
    names::fault(name)
}

/// Whether a key is for such signatures.
fn may_sign(key: &Jwk, algorithm: Algorithm) -> Result<(), ClaimError> {
    let refused = |why: &str| Err(ClaimError::Refused(why.to_owned()));
    let for_signatures = key.common.public_key_use.as_ref();
    if for_signatures.is_some_and(|its| *its != PublicKeyUse::Signature) {
        return refused("its key is not one for signatures (`use`)");
    }
    let meant = key.common.key_algorithm.map(|meant| meant.to_string());
    if meant.is_some_and(|meant| meant != format!("{algorithm:?}")) {
        return refused("its key is for another algorithm (`alg`)");
    }
    Ok(())
}

fn in_words(kind: &ErrorKind, issuer: &Issuer) -> ClaimError {
    ClaimError::Refused(match kind {
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => return ClaimError::NotSigned,
        ErrorKind::ExpiredSignature => "it has expired: get another".to_owned(),
        ErrorKind::ImmatureSignature => "it does not count yet: see the clocks".to_owned(),
        ErrorKind::InvalidAudience => {
            format!("it is not for `{}` (`aud`)", issuer.audience)
        }
        ErrorKind::InvalidIssuer => format!("it is not of {} (`iss`)", issuer.url),
        ErrorKind::MissingRequiredClaim(claim) => format!("it does not say `{claim}`"),
        _ => "it cannot be read".to_owned(),
    })
}

#[cfg(test)]
mod tests;
