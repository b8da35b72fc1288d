//! Connections over TLS: one HTTP client for each pin and credential, so that no connection is used for whom it was not opened.

use crate::{ClientError, builder};
use identity::{Credential, Pin, client_config};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a connection is opened with: whose servers are believed, and which key and certificate are shown.
type OpenedWith = (Option<Pin>, Option<(String, u64)>);

/// The HTTP clients there are.
#[derive(Debug, Default)]
pub(crate) struct EncryptedClients(Mutex<BTreeMap<OpenedWith, reqwest::Client>>);

/// The most that are kept: those that were replaced are of no use any more.
const KEPT: usize = 4;

impl EncryptedClients {
    /// The one for servers with this pin, whom this credential is shown. Without a pin it takes whatever listens for the server: what
    /// the kernel says of a listener on this host has told who that is.
    pub(crate) fn get(
        &self,
        pin: Option<Pin>,
        credential: Option<&Arc<Credential>>,
    ) -> Result<reqwest::Client, ClientError> {
        let shown = credential.map(|credential| {
            let says = credential.says();
            (says.key.clone(), says.counter)
        });
        let with = (pin, shown);
        let mut clients = self.0.lock();
        if let Some(client) = clients.get(&with) {
            return Ok(client.clone());
        }
        let tls = client_config(pin, credential.map(AsRef::as_ref))?;
        let client = builder()
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(ClientError::Setup)?;
        if clients.len() >= KEPT {
            clients.clear();
        }
        clients.insert(with, client.clone());
        Ok(client)
    }
}
