//! The system that a repository is of: every document names it, so that none is taken for another system's.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// The field in which metadata says of which system it is.
const SYSTEM_FIELD: &str = "x-upstart-system";

/// The system that a repository is of. Two systems may have one name, but hardly one number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemIdentity {
    /// Its name, as upgrade files say it.
    pub name: String,
    /// Its number, drawn once.
    pub number: u64,
}

impl fmt::Display for SystemIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (number {})", self.name, self.number)
    }
}

/// The fields that metadata has beyond the specification's.
pub(crate) type ExtraFields = HashMap<String, serde_json::Value>;

impl SystemIdentity {
    /// As a field of metadata.
    pub(crate) fn fields(&self) -> ExtraFields {
        let value = serde_json::json!({ "name": self.name, "number": self.number });
        HashMap::from([(SYSTEM_FIELD.to_owned(), value)])
    }

    /// From the fields of metadata.
    pub(crate) fn of(fields: &ExtraFields) -> Option<Self> {
        let value = fields.get(SYSTEM_FIELD)?;
        serde_json::from_value(value.clone()).ok()
    }
}
