//! Signed labels: what operators ask for, what nodes are told, and what they acknowledge.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// What a system does about its labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LabelMode {
    /// They are not signed.
    #[default]
    Off,
    /// Callers sign; a label without a valid signature is accepted, and counted.
    Sign,
    /// A label without a valid signature is refused.
    Demand,
}

impl fmt::Display for LabelMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Off => "off",
            Self::Sign => "sign",
            Self::Demand => "demand",
        })
    }
}

/// What an operator wants done about labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LabelsAction {
    /// Callers sign, and nothing is refused.
    Sign,
    /// What is not signed is refused.
    Demand,
    /// Nothing is signed.
    Off,
    /// The key is replaced.
    Rotate,
}

/// `POST /v1/labels`: changes what the system does about its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LabelsRequest {
    /// What is wanted.
    pub action: LabelsAction,
}

/// `GET /v1/labels`: what the system does about its labels, and who does not do it yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LabelsView {
    /// What is wanted.
    pub mode: LabelMode,
    /// The generation of the key that callers sign with; none where they do not.
    pub signing: Option<u32>,
    /// The generations of all keys that count. More than one: the key is being replaced.
    pub generations: Vec<u32>,
    /// The nodes, by name, that have not acknowledged this yet. What follows, as the end of a key, waits for them.
    pub awaited: Vec<String>,
    /// The nodes whose clocks differ from the server's by more than signed labels allow.
    pub clocks: Vec<ClockOff>,
}

/// A node whose clock is wrong, or the server's is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClockOff {
    /// Its name.
    pub node: String,
    /// By how many seconds its clock is ahead of the server's; negative when it is behind.
    pub seconds: i64,
}

/// One of a system's keys for labels. Whoever has it makes labels that every member believes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LabelSecret {
    /// Counts the system's keys.
    pub generation: u32,
    /// 32 random bytes in hex.
    pub key: String,
}

impl fmt::Debug for LabelSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LabelSecret({})", self.generation)
    }
}

/// What nodes do about labels: told to their agents only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LabelOrder {
    /// By it an agent says which order it has. Every order has its own, at every server.
    pub id: String,
    /// Counts the orders since labels are signed: one that says what an earlier one has said is another.
    pub step: u64,
    /// A label without a valid signature is refused.
    pub demanded: bool,
    /// The generation of the key by which callers sign.
    pub signing: Option<u32>,
    /// The keys that count.
    pub keys: Vec<LabelSecret>,
}

impl LabelOrder {
    /// The order to do this.
    #[must_use]
    pub fn new(step: u64, demanded: bool, signing: Option<u32>, keys: Vec<LabelSecret>) -> Self {
        let mut digest = Sha256::new();
        digest.update(step.to_be_bytes());
        digest.update([u8::from(demanded)]);
        digest.update(signing.unwrap_or(0).to_be_bytes());
        for secret in &keys {
            digest.update(secret.generation.to_be_bytes());
            digest.update(&secret.key);
        }
        let mut id = hex::encode(digest.finalize());
        // What is left says nothing of the keys: they are random.
        id.truncate(ID_DIGITS);
        Self {
            id,
            step,
            demanded,
            signing,
            keys,
        }
    }

    /// The order to do nothing.
    #[must_use]
    pub fn off() -> Self {
        Self::new(0, false, None, Vec::new())
    }
}

/// How many digits an order's id has.
const ID_DIGITS: usize = 16;

/// What an agent says of labels when it asks for the members' list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LabelsHeld {
    /// The order that the agent has, by its id.
    pub seen: String,
    /// The order that its software's hooks go by, all of them; empty while they go by none.
    pub in_force: String,
    /// The agent's clock, in milliseconds since 1970.
    pub clock_ms: u64,
}

/// What a server knows of a node's labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LabelsFact {
    /// The order that its software's hooks go by; empty for none.
    pub in_force: String,
    /// By how many seconds its clock is ahead of the server's, roughly.
    pub clock_off_s: i64,
}

impl LabelsFact {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
