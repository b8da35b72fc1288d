//! Whole systems: a real server, real agents, real software, and what the product promises of them.

mod cross_version;
mod failed_upgrade;
mod first_start;
mod harness;
mod recovery;
mod server_away;
mod together;
mod unreachable;
