//! The library replaces these functions and no others; above all none that moves data.

use crate::harness::library;
use kit::programs::{find, printed};
use std::process::Command;

const NEVER: [&str; 15] = [
    "read",
    "readv",
    "write",
    "writev",
    "send",
    "recv",
    "recvfrom",
    "recvmsg",
    "poll",
    "ppoll",
    "select",
    "epoll_wait",
    "epoll_ctl",
    "close",
    "dup2",
];

#[test]
fn exported_symbols_are_the_golden_ones() {
    if find("exported symbols", "nm").is_none() {
        return;
    }
    let listed = printed(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(library()),
    );
    let mut names: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    names.sort_unstable();
    let golden: Vec<_> = include_str!("golden/exported_symbols.txt")
        .lines()
        .collect();
    assert_eq!(names, golden);
    assert!(names.iter().all(|name| !NEVER.contains(name)));
}
