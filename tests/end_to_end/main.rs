//! Whole systems: a real server, real agents, real software, and what the product promises of them.

mod catching_up;
mod clocks;
mod cross_version;
mod failed_upgrade;
mod first_start;
mod harness;
mod joining;
mod networks;
mod operating;
mod recovery;
mod server_away;
mod staging;
mod together;
mod unreachable;
