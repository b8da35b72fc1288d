//! Real systems for the tests: a server and agents as processes, on free ports, in a directory that ends with the test.

mod boxes;
mod bundle;
mod call;
mod clock;
mod disk;
mod node;
mod peers;
mod place;
mod process;
mod redis;
mod server;
mod system;
mod wait;

pub(crate) use boxes::Boxes;
pub(crate) use bundle::Bundle;
pub(crate) use call::{Caller, dial_with, is_crash, refused};
pub(crate) use clock::Clock;
pub(crate) use disk::Disk;
pub(crate) use node::{Frozen, Node, NodeOptions};
pub(crate) use peers::{PeerCaller, peers};
pub(crate) use process::{alive, kill, pids_naming};
pub(crate) use redis::{CacheCaller, cache, has_redis};
pub(crate) use server::upstart;
pub(crate) use system::System;
pub(crate) use wait::{until, until_ok};
