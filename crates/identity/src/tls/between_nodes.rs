//! TLS between nodes of one system: each shows the certificate that the servers' authority has given it.

use super::proof::{CalledOne, CalledVerifier};
use super::{CertifiedCallers, provider};
use crate::{Credential, IdentityError, PeerCertificate, crypto};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig};
use std::sync::Arc;

/// Certificates of the authority that has certified this key. When they expire is not looked at: the servers say who counts.
fn certified(credential: &Credential) -> Result<CertifiedCallers, IdentityError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(credential.authority())
        .map_err(crypto("use the authority's certificate"))?;
    let provider = provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(crypto("check certificates by the authority's"))?;
    Ok(CertifiedCallers(verifier))
}

/// How a node that serves others speaks: it shows its certificate, and wants one of the same authority.
///
/// # Errors
/// The cryptography fails.
pub fn node_server_config(credential: &Credential) -> Result<ServerConfig, IdentityError> {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(crypto("speak TLS 1.3"))?
        .with_client_cert_verifier(Arc::new(certified(credential)?))
        .with_single_cert(vec![credential.certificate()], credential.key())
        .map_err(crypto("use the own key"))
}

/// How a node speaks with another one that has this key (the digest of [`PeerCertificate::key`]).
///
/// # Errors
/// The cryptography fails.
pub fn node_client_config(
    credential: &Credential,
    key: &str,
) -> Result<ClientConfig, IdentityError> {
    let provider = provider();
    let called = NodeWithKey {
        key: key.to_owned(),
        certified: certified(credential)?,
    };
    let verifier = CalledVerifier {
        called,
        provider: Arc::clone(&provider),
    };
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(crypto("speak TLS 1.3"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![credential.certificate()], credential.key())
        .map_err(crypto("use the own key"))
}

/// The one node that is meant.
#[derive(Debug)]
struct NodeWithKey {
    key: String,
    certified: CertifiedCallers,
}

impl CalledOne for NodeWithKey {
    fn is_shown(
        &self,
        certificate: &CertificateDer<'_>,
        beside: &[CertificateDer<'_>],
        now: UnixTime,
        _provider: &Arc<CryptoProvider>,
    ) -> Result<(), Error> {
        let read = PeerCertificate::read(certificate)
            .map_err(|error| Error::General(error.to_string()))?;
        if read.key != self.key {
            let why = format!("what listens there is {}, with another key", read.principal);
            return Err(Error::General(why));
        }
        (self.certified)
            .verify_client_cert(certificate, beside, now)
            .map(drop)
    }
}
