//! TLS between callers and upgrade servers: version 1.3, with certificates of the servers' own authority on both sides.

mod between_nodes;
mod proof;

pub use between_nodes::{node_client_config, node_server_config};

use crate::authority::SERVER_NAME;
use crate::{Authority, Credential, IdentityError, PeerCertificate, Pin, crypto};
use proof::{CalledOne, CalledVerifier};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    RootCertStore, ServerConfig, SignatureScheme,
};
use std::sync::Arc;
use std::time::Duration;

/// How the error begins where what listens is no server of the authority with the pin that follows.
pub const UNPROVEN: &str = "does not show that it is a server of the authority with the pin";

/// How many sessions a caller can go on with from each connection: an agent opens one at a time.
const TICKETS: usize = 1;

/// The cryptography. Of what TLS 1.3 has, AES-128 with SHA-256 comes first: processors have instructions for both, and none for SHA-384, which
/// a short connection computes more of than of anything else.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let first = CipherSuite::TLS13_AES_128_GCM_SHA256;
    (provider.cipher_suites).sort_by_key(|suite| suite.suite() != first);
    Arc::new(provider)
}

/// How a server of this authority speaks: it has a new key for each of its lives, and asks callers for their certificates. Those who have
/// none are let in; what they may do is decided request by request. So is what comes of a certificate that has expired.
///
/// # Errors
/// The cryptography fails.
pub fn server_config(authority: &Authority) -> Result<ServerConfig, IdentityError> {
    let provider = provider();
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.certificate().clone())
        .map_err(crypto("use the authority's certificate"))?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(crypto("check certificates by the authority's"))?;
    let (chain, key) = authority.server()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(crypto("speak TLS 1.3"))?
        .with_client_cert_verifier(Arc::new(CertifiedCallers(verifier)))
        .with_single_cert(chain, key)
        .map_err(crypto("use the server's key"))?;
    // Callers keep what a session needs, encrypted for this server alone, so that however many come back, none costs a signature.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(crypto("make keys for tickets"))?;
    config.send_tls13_tickets = TICKETS;
    Ok(config)
}

/// How a caller speaks with servers of the authority with this pin, showing a credential where it has one. Without a pin whoever listens
/// is taken for the server: for listeners of this host of which the kernel has told whose they are.
///
/// # Errors
/// The cryptography fails.
pub fn client_config(
    pin: Option<Pin>,
    credential: Option<&Credential>,
) -> Result<ClientConfig, IdentityError> {
    let provider = provider();
    let verifier = CalledVerifier {
        called: PinnedServers(pin),
        provider: Arc::clone(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(crypto("speak TLS 1.3"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some(credential) = credential else {
        return Ok(builder.with_no_client_auth());
    };
    builder
        .with_client_auth_cert(vec![credential.certificate()], credential.key())
        .map_err(crypto("use the own key"))
}

/// Whose certificates are of the authority; when they expire is looked at request by request, since one whose certificate has expired
/// may ask for another.
#[derive(Debug)]
struct CertifiedCallers(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for CertifiedCallers {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let read = PeerCertificate::read(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let (first, last) = (read.begins_at_ms / 1_000, read.expires_at_ms / 1_000);
        let within = now.as_secs().clamp(first, last.max(first));
        let within = UnixTime::since_unix_epoch(Duration::from_secs(within));
        self.0.verify_client_cert(end_entity, intermediates, within)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Servers that the authority with this pin has certified, at whatever address.
#[derive(Debug)]
struct PinnedServers(Option<Pin>);

/// The time on a host that has none: later than servers' certificates begin.
const CLOCK_MIN: Duration = Duration::from_secs(1_000_000_000);

impl CalledOne for PinnedServers {
    fn is_shown(
        &self,
        certificate: &CertificateDer<'_>,
        beside: &[CertificateDer<'_>],
        now: UnixTime,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), Error> {
        let Some(pin) = self.0 else {
            return Ok(());
        };
        let authority = beside
            .iter()
            .find(|certificate| Pin::of_certificate(certificate) == Some(pin));
        let Some(authority) = authority else {
            return Err(Error::General(format!("{UNPROVEN} {pin}")));
        };
        // What a node or an operator shows is the authority's as well, and no server's.
        let unproven = |error| match error {
            Error::InvalidCertificate(_) => Error::General(format!("{UNPROVEN} {pin} ({error})")),
            error => error,
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = verifier
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let name =
            ServerName::try_from(SERVER_NAME).map_err(|error| Error::General(error.to_string()))?;
        let now = UnixTime::since_unix_epoch(CLOCK_MIN.max(Duration::from_secs(now.as_secs())));
        verifier
            .verify_server_cert(certificate, &[], &name, &[], now)
            .map(drop)
            .map_err(unproven)
    }
}

#[cfg(test)]
mod tests;
