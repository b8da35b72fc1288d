//! The shell around the node machine: journal file, sockets, fetch, transforms; and the holder.

mod agent_key;
mod birth;
pub mod config;
pub mod confine;
mod contact;
pub mod control;
pub mod dial;
pub mod environment;
pub mod fetch;
pub mod holder;
pub mod holder_client;
mod household;
pub mod journal;
mod kernel;
mod knowledge;
pub mod launch;
pub mod layout;
mod library;
pub mod limits;
mod members;
mod node;
mod packet;
mod probe;
mod relay;
mod repository;
mod seldom;
pub mod shared;
pub mod snapshot;
mod sync;
pub mod transform;
mod tree;
pub mod trust;
mod unpoisoned;
mod vital;

pub use config::Config;
pub use node::{AgentError, Claimed, Runner, claim, run, runner, stop};
