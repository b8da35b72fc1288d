//! Decisions of interception, the member table and the protocol of hooks, holder and agent; no sockets here.
//!
//! The preloaded library (and later the seccomp net) asks [`decide`] what to do with a connect or an accepted
//! connection; the answers come from the member [`table`] alone. [`keyring`] has the keys that labels are signed with. [`hook_protocol`] is what hooks say to the holder,
//! [`holder`] what agent and holder say to each other, [`stats`] what hooks leave behind for people and for the agent.

pub mod address;
pub mod agent_key;
pub mod decide;
pub mod environment;
pub mod holder;
pub mod hook_protocol;
pub mod keyring;
pub mod stats;
pub mod table;
mod words;

pub use label;
