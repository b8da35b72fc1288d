//! What all verifiers of those who are called have in common: TLS 1.3 and nothing older. They differ in whom they take for the one who is
//! meant.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// Whom somebody calls, as certificates show it.
pub(super) trait CalledOne: fmt::Debug + Send + Sync {
    /// Whether whoever shows this certificate, and these beside it, is the one who is called.
    fn is_shown(
        &self,
        certificate: &CertificateDer<'_>,
        beside: &[CertificateDer<'_>],
        now: UnixTime,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), Error>;
}

/// Verifies that it is the one who is called, whatever name or address that has.
#[derive(Debug)]
pub(super) struct CalledVerifier<C> {
    pub(super) called: C,
    pub(super) provider: Arc<CryptoProvider>,
}

impl<C: CalledOne> ServerCertVerifier for CalledVerifier<C> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        (self.called)
            .is_shown(end_entity, intermediates, now, &self.provider)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
