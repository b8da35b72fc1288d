//! TLS to receivers: by the host's authorities, or by those that were given.

use crate::SettingsError;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The most bytes of given certificates.
const CA_BYTES_MAX: usize = 256 * 1024;

/// The certificates of a PEM text.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let wrong = |problem: String| SettingsError::new("ca", problem);
    if pem.len() > CA_BYTES_MAX {
        return Err(wrong(format!("it has {CA_BYTES_MAX} bytes at most")));
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|error| wrong(format!("it is no PEM: {error}")))?;
    let mut store = RootCertStore::empty();
    for certificate in &found {
        let added = store.add(certificate.clone());
        added.map_err(|error| wrong(format!("a certificate in it is of no use: {error}")))?;
    }
    if found.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(found)
}

/// How a receiver is spoken to; the host's authorities are read only where they are needed.
pub(crate) fn config(
    roots: Option<&[CertificateDer<'static>]>,
    is_used: bool,
) -> Result<ClientConfig, String> {
    let mut store = RootCertStore::empty();
    match roots {
        Some(roots) => {
            store.add_parsable_certificates(roots.iter().cloned());
        }
        None if is_used => {
            let found = rustls_native_certs::load_native_certs().certs;
            store.add_parsable_certificates(found);
            if store.is_empty() {
                return Err("this host knows no authority whose certificates to believe; install ca-certificates, or give --ca-file".to_owned());
            }
        }
        None => {}
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS cannot be spoken: {error}"))?;
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}
