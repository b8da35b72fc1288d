//! The project's own commands, and what scenarios share with them. Nothing of the product is linked here, so that this is built within
//! the first minute of a fresh clone.

pub mod arguments;
pub mod docs;
pub mod fuzz;
pub mod install;
pub mod scenarios;
pub mod screenshots;
pub mod style;
pub mod test;
pub mod tutorial;
pub mod workspace;
