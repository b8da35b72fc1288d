//! The command line of Upstart.
fn main() {}
