//! Intents: what an adapter is about to do to the software, written down first.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};

use super::AdapterState;
use super::transaction::cost;
use call::Form;

/// A call that an adapter has begun to delegate for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// Its conflict key; none for the whole node.
    pub(crate) key: Option<String>,
    /// The version on its caller's label.
    pub(crate) version: u32,
    /// Its caller's address.
    pub(crate) address: String,
    /// The service that was called.
    pub(crate) service: String,
    /// What it is; then its body is all there is of it where it is not of HTTP.
    #[serde(default, skip_serializing_if = "is_http")]
    pub(crate) form: Form,
    /// It was made at the next version: the adapter was to follow it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) observed: bool,
    /// Its method.
    pub(crate) method: String,
    /// Its path and query.
    pub(crate) target: String,
    /// Its headers.
    pub(crate) headers: Vec<(String, String)>,
    /// Its body.
    #[serde(with = "in_base64")]
    pub(crate) body: Vec<u8>,
}

impl Intent {
    /// What it counts in the state's limit while it is open.
    pub(super) fn cost(&self) -> i64 {
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
        cost(self.target.len() + headers, self.body.len())
    }

    /// Whether calls with this key must not come before it is known what became of it.
    pub(crate) fn concerns(&self, key: Option<&str>) -> bool {
        match (&self.key, key) {
            (Some(mine), Some(other)) => mine == other,
            _ => true,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_http(form: &Form) -> bool {
    *form == Form::Http
}

mod in_base64 {
    use super::{BASE64_STANDARD, Engine};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64_STANDARD.decode(text).map_err(D::Error::custom)
    }
}

/// A durable intent of a call that still runs. Dropped before it is closed it is one of which nobody knows how far it came.
pub(crate) struct OpenIntent {
    pub(super) state: Arc<AdapterState>,
    pub(super) id: u64,
    /// Taken when the commit that closes it has been handed over.
    pub(super) intent: Option<Intent>,
}

impl Drop for OpenIntent {
    fn drop(&mut self) {
        if let Some(intent) = self.intent.take() {
            self.state.left_open(self.id, intent);
        }
    }
}
