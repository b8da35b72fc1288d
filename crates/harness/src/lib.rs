//! Whole systems for tests: a real server, agents and software as processes, on free ports, in a directory that ends with the
//! test. What does not come to pass panics, as in a test, and says what was waited for.

mod boxes;
mod bundle;
mod call;
mod clock;
mod commands;
mod disk;
mod errand;
mod frozen;
mod node;
mod node_options;
mod objects;
mod place;
mod postgres;
mod registry;
mod server;
mod system;

pub use boxes::Boxes;
pub use bundle::Bundle;
pub use call::{Answer, Caller, Late, dial_as_member, dial_from, dial_with, is_crash, refused};
pub use clock::Clock;
pub use commands::{Commands, done, is_settled, stop, write_token};
pub use disk::{Disk, hide_control_groups};
pub use errand::{ERRAND_RUNNER, Errand, ErrandEnd};
pub use frozen::Frozen;
pub use kit::{alive, kill, pids_naming, signal, until, until_ok};
pub use node::Node;
pub use node_options::NodeOptions;
pub use objects::{ArtifactsPlace, BUCKET, ObjectStore};
pub use postgres::{DATABASE_NAME, GUEST, PgBouncer, Postgres};
pub use registry::{OciRegistry, REGISTRY_NAME};
pub use server::{Server, copy_keys, program, upstart};
pub use system::System;
