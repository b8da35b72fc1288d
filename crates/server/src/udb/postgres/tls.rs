//! TLS between a server and PostgreSQL, asked for in the URL as PostgreSQL's own programs have it (`sslmode` and the files beside it).

use crate::udb::UdbError;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{self, ChannelBinding, MakeTlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whose certificate is taken for the database's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DatabaseTrust {
    /// Anybody's: who only listens on the way learns nothing, who stands in it does.
    Anybody,
    /// One of the host's authorities or, from a file, of these; with the host's name in it, or whatever name is in it.
    Certified {
        roots: Option<Vec<CertificateDer<'static>>>,
        is_named: bool,
    },
}

/// The certificates of a PEM file, or why there are none.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, UdbError> {
    let unusable = |why: String| unusable(file, &why);
    let found = CertificateDer::pem_file_iter(file).map_err(|error| unusable(error.to_string()))?;
    let found: Result<Vec<_>, _> = found.collect();
    let found = found.map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    Ok(found)
}

/// The private key of a PEM file, or why there is none.
pub(super) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, UdbError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| unusable(file, &error.to_string()))
}

pub(super) fn unusable(file: &Path, why: &str) -> UdbError {
    let file = file.display();
    UdbError::Address(format!("the file {file} is of no use for TLS: {why}"))
}

/// What makes connections to the database into TLS.
#[derive(Clone)]
pub(super) struct DatabaseTls(TlsConnector);

impl DatabaseTls {
    /// With a certificate of the server's own, where it has one to show.
    pub(super) fn new(
        trust: DatabaseTrust,
        own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<Self, UdbError> {
        let failed = |error: Error| UdbError::Address(format!("TLS cannot be spoken: {error}"));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = DatabaseVerifier::new(trust, Arc::clone(&provider))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match own {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(failed)?,
            None => builder.with_no_client_auth(),
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for DatabaseTls {
    type Stream = EncryptedStream<S>;
    type TlsConnect = HostConnector;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<HostConnector> {
        // A Unix socket has no host's name, and no TLS is spoken over it.
        let name = if host.is_empty() { "localhost" } else { host };
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        Ok(HostConnector {
            connector: self.0.clone(),
            name: name.to_owned(),
        })
    }
}

/// What makes a connection to one host into TLS.
pub(super) struct HostConnector {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> tls::TlsConnect<S> for HostConnector {
    type Stream = EncryptedStream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<EncryptedStream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let greeting = self.connector.connect(self.name, stream);
        Box::pin(async move { greeting.await.map(EncryptedStream) })
    }
}

/// A connection to the database over TLS.
pub(super) struct EncryptedStream<S>(TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> tls::TlsStream for EncryptedStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        let digest = certificates.and_then(|chain| end_point_digest(chain.first()?));
        digest.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for EncryptedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for EncryptedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// What binds a password's proof to the connection on which it is given (RFC 5929, section 4.1): the digest of the certificate, by the
/// function of its own signature. None where that is of another kind.
fn end_point_digest(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let signed = read.signature_algorithm.algorithm.to_id_string();
    let digest = match signed.as_str() {
        // MD5 and SHA-1 with RSA, where SHA-256 takes their place; SHA-256 with RSA, with ECDSA.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.3.2" => Sha256::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512::digest(certificate).to_vec(),
        _ => return None,
    };
    Some(digest)
}

/// Decides whether what answers is the database.
#[derive(Debug)]
struct DatabaseVerifier {
    /// None takes anybody.
    chains: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that are trusted as they are: a database often has one that is its own root.
    listed: Vec<CertificateDer<'static>>,
    is_named: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl DatabaseVerifier {
    fn new(
        trust: DatabaseTrust,
        provider: Arc<tokio_rustls::rustls::crypto::CryptoProvider>,
    ) -> Result<Self, UdbError> {
        let algorithms = provider.signature_verification_algorithms;
        let DatabaseTrust::Certified { roots, is_named } = trust else {
            return Ok(Self {
                chains: None,
                listed: Vec::new(),
                is_named: false,
                algorithms,
            });
        };
        let mut store = RootCertStore::empty();
        let listed = roots.unwrap_or_default();
        let trusted = if listed.is_empty() {
            rustls_native_certs::load_native_certs().certs
        } else {
            listed.clone()
        };
        store.add_parsable_certificates(trusted);
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider);
        let chains = chains.build().map_err(|error| {
            let none = format!(
                "no authority's certificate can be read ({error}); name a file with sslrootcert"
            );
            UdbError::Address(none)
        })?;
        Ok(Self {
            chains: Some(chains),
            listed,
            is_named,
            algorithms,
        })
    }

    /// Whether a certificate that is trusted as it is may be shown now, by this host.
    fn is_as_listed(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (_, read) = X509Certificate::from_der(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now_s > read.validity().not_after.timestamp() {
            return Err(Error::InvalidCertificate(CertificateError::Expired));
        }
        if self.is_named {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for DatabaseVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chains) = &self.chains else {
            return Ok(ServerCertVerified::assertion());
        };
        if self.listed.iter().any(|listed| listed == end_entity) {
            return self.is_as_listed(end_entity, name, now);
        }
        match chains.verify_server_cert(end_entity, intermediates, name, ocsp_response, now) {
            // The name comes last: the chain is in order.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.is_named => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
