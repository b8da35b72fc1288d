//! The adapter between a set of integers with colours (version 1) and one with flavours (version 2), in both directions.
//!
//! `form` knows how each version is spoken, `sequence` what must be remembered so that every call sees the effects of all earlier ones,
//! `component` is what the node of Upstart calls.

#[cfg(target_family = "wasm")]
mod component;
pub mod form;
pub mod sequence;
