//! Tests of the machine against a model of its shell.

mod crashes;
mod life;
mod old_version;
mod revisions;
mod trouble;
mod world;
