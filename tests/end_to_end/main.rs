//! Whole systems: a real server, real agents, real software, and what the product promises of them.

#[path = "../../crates/component/tests/components/assemble.rs"]
mod assemble;
mod backup;
mod backups;
mod catching_up;
mod clocks;
mod commands;
mod components;
mod container;
mod cross_version;
mod damage;
mod environments;
mod failed_upgrade;
mod first_start;
mod full_disk;
mod garbage;
mod giving_back;
mod idle;
mod joining;
mod listeners;
mod lost_holder;
mod networks;
mod observed;
mod odd_moments;
mod operating;
mod peers;
mod recording;
mod recovery;
mod redis;
mod reflink;
mod revisions;
mod server_away;
mod sessions;
mod several_servers;
mod shared_memory;
mod signed;
mod staging;
mod state;
mod stopping;
mod together;
mod unreachable;
mod waits;

use ::harness;
