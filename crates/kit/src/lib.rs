//! What tests of any crate need: waiting with a bound, processes, programs and their workloads. It links nothing of the product, so that
//! light tests stay light; what runs whole systems is in the crate `harness`.

mod folders;
mod logs;
mod ports;
mod process;
pub mod programs;
mod relay;
mod wait;
pub mod workloads;

pub use folders::{copy_all, folders};
pub use logs::last_lines;
pub use ports::free_port;
pub use process::{alive, catches, kill, pids_naming, signal};
pub use relay::Relay;
pub use wait::{OverAtEnd, block_on, until, until_ok, wait_for};
