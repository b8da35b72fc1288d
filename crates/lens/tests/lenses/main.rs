//! Lenses as nodes use them, and what is said of wrong ones.

mod errors;
mod explain;
mod expressions;
mod invertible;
mod lookups;
mod messages;
mod operations;
mod properties;
mod reference;
mod rules;
mod store;
mod support;
