//! The kernel's side of the net under the software: the filter that catches its calls, the notifications that come of it, and the
//! processes that made them. What is decided about a call is in this crate's other modules, the same as for the hooks.
//!
//! Here, other than in a hook, allocation is allowed: all of it runs in the holder, or in a launch before exec.

pub mod alarm;
pub mod filter;
pub mod notice;
pub mod target;
