//! The command line as programs and people meet it: the real binary, its exit codes, its output.

mod bundles;
mod help;
mod logs;
mod system;
mod upstart;
