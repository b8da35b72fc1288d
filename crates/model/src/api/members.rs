//! The members' list: which addresses are members', and who knows them.

use super::{LabelOrder, LabelsHeld, Moment};
use crate::ids::NodeId;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// An address of a node in the members' list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Listed {
    /// The address.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: IpAddr,
    /// The port that peers dial; none for an address that the node's own connections come from.
    pub port: Option<u16>,
    /// The number of the list in which it came: whoever has acknowledged that one, or a later one, knows it.
    pub since: u64,
}

/// `POST /v1/nodes/{id}/members`: which addresses are members', and who knows them. The list is numbered by the view in
/// which it changed last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MembersRequest {
    /// The number of the list that the agent holds; zero for none.
    pub seen: u64,
    /// The number of the list that its software's hooks go by.
    pub in_force: u64,
    /// The `acks` of the last answer, when the agent waits for others to acknowledge; else absent.
    pub acks: Option<u64>,
    /// The `silence` of the last answer: which members are silent, as far as the agent knows. Absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<u64>,
    /// The moment at which the list came: in another history its number is another list's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<Moment>,
    /// What the agent does about labels. Absent before a server has said that it knows of signed ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelsHeld>,
}

/// The answer to [`MembersRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MembersResponse {
    /// The list's number.
    pub at: u64,
    /// `members` is the whole list; else only what has changed since `seen`.
    pub whole: bool,
    /// The members with their addresses.
    pub members: Vec<Member>,
    /// Who may not know every address of the asking node yet.
    pub behind: Vec<Behind>,
    /// Changes whenever somebody acknowledges a list, falls silent or comes back.
    pub acks: u64,
    /// Members that the server has not heard for too long: whether they still are at their addresses it cannot tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<NodeId>,
    /// Changes with `silent`; the same at every server. Zero: nobody is silent.
    #[serde(default)]
    pub silence: u64,
    /// Where the server's history is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<Moment>,
    /// What the node does about labels; absent from a server that knows of no signed ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelOrder>,
}

/// A node in the members' list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    /// Its number.
    pub node: NodeId,
    /// All its addresses.
    pub listed: Vec<Listed>,
}

/// A member that may not know every address of another yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Behind {
    /// Its number.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// It is reachable, and runs software or has done so: worth waiting for.
    pub awaited: bool,
    /// The list that its hooks go by; zero before its first, when it runs no software yet.
    pub in_force: u64,
}
