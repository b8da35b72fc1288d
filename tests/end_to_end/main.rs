//! Whole systems: a real server, real agents, real software, and what the product promises of them.

mod first_start;
mod harness;
