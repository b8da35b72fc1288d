//! Whole systems: a real server, real agents, real software, and what the product promises of them.

mod catching_up;
mod clocks;
mod components;
mod cross_version;
mod failed_upgrade;
mod first_start;
mod full_disk;
mod garbage;
mod harness;
mod joining;
mod networks;
mod odd_moments;
mod operating;
mod recording;
mod recovery;
mod reflink;
mod server_away;
mod sessions;
mod staging;
mod together;
mod unreachable;
