//! One file for each command, or for a few that belong together.

pub(crate) mod adapter;
pub(crate) mod agent;
pub(crate) mod carry;
pub(crate) mod check;
pub(crate) mod claim;
pub(crate) mod database;
pub(crate) mod events;
mod first_process;
pub(crate) mod generate;
pub(crate) mod hidden;
pub(crate) mod identities;
pub(crate) mod keys;
pub(crate) mod labels;
pub(crate) mod lens;
pub(crate) mod logs;
mod node_directory;
pub(crate) mod nodes;
pub(crate) mod operate;
pub(crate) mod permit;
pub(crate) mod publish;
pub(crate) mod record;
mod reference;
pub(crate) mod retire;
pub(crate) mod server;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod watch;
