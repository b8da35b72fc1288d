//! Who calls the server, and what they may do there.

use crate::names;
use crate::network::Network;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What kind of caller somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// A node's agent.
    Node,
    /// A person, or a program that works for some.
    Operator,
}

impl PrincipalKind {
    /// As it stands before a name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Operator => "operator",
        }
    }
}

/// Somebody whom servers know by a key: `node:NAME` or `operator:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Principal {
    /// What kind.
    pub kind: PrincipalKind,
    /// Their name, of those that [`names::fault`] takes.
    pub name: String,
}

impl Principal {
    /// The node of this name.
    #[must_use]
    pub fn node(name: impl Into<String>) -> Self {
        Self {
            kind: PrincipalKind::Node,
            name: name.into(),
        }
    }

    /// The operator of this name.
    #[must_use]
    pub fn operator(name: impl Into<String>) -> Self {
        Self {
            kind: PrincipalKind::Operator,
            name: name.into(),
        }
    }

    /// Whether it is the node of this name.
    #[must_use]
    pub fn is_node(&self, name: &str) -> bool {
        self.kind == PrincipalKind::Node && self.name == name
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.name)
    }
}

impl FromStr for Principal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = match text.split_once(':') {
            Some(("node", _)) => PrincipalKind::Node,
            Some(("operator", _)) => PrincipalKind::Operator,
            _ => return Err(format!("`{text}` is neither node:NAME nor operator:NAME")),
        };
        let name = text.split_once(':').map_or("", |(_, name)| name);
        match names::fault(name) {
            None => Ok(Self {
                kind,
                name: name.to_owned(),
            }),
            Some(why) => Err(format!("the name of {text} {why}")),
        }
    }
}

impl TryFrom<String> for Principal {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.to_string()
    }
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look at everything.
    Viewer,
    /// That, and decide how upgrades go on: pause, approve, retry, retire, withdraw permits, forget nodes.
    Operator,
    /// What a viewer may, and publish, revise and withdraw upgrades.
    Publisher,
    /// Everything, also who else may do what.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Publisher, Self::Admin];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Publisher => "publisher",
            Self::Admin => "admin",
        }
    }

    /// Whether who has this role may do what this right allows.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        match right {
            Right::View => true,
            Right::Operate => matches!(self, Self::Operator | Self::Admin),
            Right::Publish => matches!(self, Self::Publisher | Self::Admin),
            Right::Administer => self == Self::Admin,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind of request that needs a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Look.
    View,
    /// Decide how upgrades go on.
    Operate,
    /// Publish upgrades and withdraw them.
    Publish,
    /// Say who may do what.
    Administer,
}

impl Right {
    /// Which role gives it, the least.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::View => Role::Viewer,
            Self::Operate => Role::Operator,
            Self::Publish => Role::Publisher,
            Self::Administer => Role::Admin,
        }
    }
}

/// Somebody with a key that the servers have certified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IdentityFact {
    /// Who.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub principal: Principal,
    /// What an operator may do; absent for nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The SHA-256 digest of the key, as hexadecimal digits.
    pub key: String,
    /// How many certificates have been given.
    pub counter: u64,
    /// The newest of them that has been shown.
    #[serde(default)]
    pub shown: u64,
    /// When the newest was given.
    pub certified_at_ms: u64,
    /// Until when the newest counts.
    pub expires_at_ms: u64,
    /// When it was revoked; absent while it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<u64>,
    /// The networks in which a node's addresses are, besides those from which it calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub networks: Vec<Network>,
    /// The keys before, which count no longer and are never certified again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended_keys: Vec<String>,
    /// No certificate of another key counts that was given before: not even one of which a restored database knows nothing.
    #[serde(default)]
    pub counts_from_ms: u64,
}

/// A one-time token that was given and not used up yet. The secret itself is kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InvitationFact {
    /// The SHA-256 digest of its secret, as hexadecimal digits.
    pub digest: String,
    /// Whom it makes known.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub principal: Principal,
    /// What an operator will be allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The networks in which a node's addresses will be, besides those from which it calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub networks: Vec<Network>,
    /// Until when it can be used.
    pub expires_at_ms: u64,
    /// The key that was certified for it: it is used up once that certificate is shown, and of no use for another key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// `POST /v1/invitations`: makes a one-time token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// Whom it makes known.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub principal: Principal,
    /// What an operator will be allowed; absent for nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The networks in which a node's addresses will be, besides those from which it calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub networks: Vec<Network>,
    /// How long it can be used.
    pub valid_ms: u64,
}

/// The answer to [`InviteRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Invited {
    /// The token: a secret, and the pin of the servers that it may be shown to.
    pub token: String,
    /// Until when it can be used.
    pub expires_at_ms: u64,
}

/// `POST /v1/certificates`: asks for a certificate, for the first time with a one-time token, later with the certificate before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CertifyRequest {
    /// A certificate request (PKCS #10, PEM), signed with the key that is to be certified.
    pub certificate_request: String,
}

/// The answer to [`CertifyRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Certified {
    /// Whose key it is.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub principal: Principal,
    /// What an operator may do; absent for nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The how manieth certificate of this principal it is.
    pub counter: u64,
    /// Until when it counts.
    pub expires_at_ms: u64,
    /// The certificate, and the authority's (PEM).
    #[serde(default)]
    pub certificate: String,
}

/// `GET /v1/identities`: everybody whom the servers know by a key, or have invited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IdentitiesView {
    /// The pin of the servers' authority.
    pub pin: String,
    /// Whose keys are certified, or were.
    pub identities: Vec<IdentityFact>,
    /// One-time tokens that can still be used.
    pub invitations: Vec<InvitationFact>,
    /// The server's time.
    pub now_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::{Principal, Right, Role};

    #[test]
    fn somebody_is_a_node_or_an_operator_with_a_name() {
        for text in ["node:storage-1", "operator:ann@example", "node:a:b"] {
            let read: Principal = text.parse().expect(text);
            assert_eq!(read.to_string(), text);
        }
        for text in ["", "node", "node:", "server:a", "node:a b", "node:a/b"] {
            text.parse::<Principal>().expect_err(text);
        }
    }

    #[test]
    fn every_role_has_its_rights_and_no_others() {
        let rights = [
            Right::View,
            Right::Operate,
            Right::Publish,
            Right::Administer,
        ];
        let of = |role: Role| rights.map(|right| role.has(right));
        assert_eq!(of(Role::Viewer), [true, false, false, false]);
        assert_eq!(of(Role::Operator), [true, true, false, false]);
        assert_eq!(of(Role::Publisher), [true, false, true, false]);
        assert_eq!(of(Role::Admin), [true; 4]);
        assert!(rights.iter().all(|right| right.role().has(*right)));
    }
}
