//! The preloaded library in real programs: what they see, what it hands over, and what it costs.

mod exports;
mod hand_overs;
mod harness;
mod matrix;
mod netns;
mod syscalls;
mod traced;
