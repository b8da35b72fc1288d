//! Tests of the machine against a model of its shell.

mod crashes;
mod life;
mod trouble;
mod world;
