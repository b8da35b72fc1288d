//! How somebody outside of the system is asked over HTTP.

use std::time::Duration;
use tokio_rustls::rustls::ClientConfig;

/// Who asks: directly, and nobody but the one who was named, whatever that one answers.
///
/// # Errors
/// Nobody can be asked over TLS.
pub(crate) fn outside_client(
    tls: ClientConfig,
    limit: Duration,
) -> Result<reqwest::Client, String> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(limit)
        .user_agent(concat!("upstart/", env!("CARGO_PKG_VERSION")))
        .build();
    client.map_err(|error| error.to_string())
}
