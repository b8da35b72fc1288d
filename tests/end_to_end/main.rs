//! Whole systems: a real server, real agents, real software, and what the product promises of them.

mod cross_version;
mod first_start;
mod harness;
