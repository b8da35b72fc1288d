//! Adapters in WebAssembly: components that answer calls, in a sandbox.
//!
//! A component is declared by a TOML file ([`Declaration`]) that says what its operations are and what they may use.
//! docs/reference/adapters.md is the reference, `wit/` the contract. Whatever a component does costs at most the call that it does it
//! in: it is limited in time, memory and state, shares no memory with anything, and reaches nothing but what it is given.

mod asked;
mod bindings;
mod broken;
mod chain_place;
mod compile;
mod convert;
mod declared;
mod engine;
mod error;
mod form;
mod host;
mod instance;
mod observe;
mod observed;
mod operation;
mod program;
mod run;
mod session;
mod session_bindings;
mod state;
mod step;
mod turns;

pub use chain_place::ChainPlace;
pub use compile::{COMPILE_COMMAND, CompileHelper, Compiler, compile_here};
pub use declared::{ComponentLimits, Declaration};
pub use error::ComponentError;
pub use program::Program;
pub use session::SessionStep;
pub use state::{ENTRIES_FILE, StateError, StateId, StateOrigin, Stores, UNFINISHED_FILE};
pub use step::ComponentStep;
