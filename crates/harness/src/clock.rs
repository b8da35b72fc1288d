//! Hosts whose clocks are wrong, by libfaketime.

use std::path::Path;
use std::process::Command;

/// Where Debian's package `faketime` has its library for programs with threads.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// What tells programs the time.
const VARIABLES: [&str; 4] = [
    "LD_PRELOAD",
    "FAKETIME",
    "FAKETIME_DONT_FAKE_MONOTONIC",
    "DONT_FAKE_MONOTONIC",
];

/// What a host's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Seconds ahead of the right time.
    ahead_s: i64,
}

impl Clock {
    /// The right time.
    pub const RIGHT: Self = Self { ahead_s: 0 };

    /// So many minutes ahead, or behind.
    pub const fn minutes_ahead(minutes: i64) -> Self {
        Self {
            ahead_s: minutes * 60,
        }
    }

    /// Whether clocks can be set wrong here; says so where they cannot.
    pub fn can_be_wrong(test: &str) -> bool {
        let found = library().is_some();
        if !found {
            println!("SKIPPED: {test}: faketime is not installed");
        }
        found
    }

    /// What an agent passes on, so that its software sees this time too.
    pub fn passed(self) -> &'static [&'static str] {
        if self == Self::RIGHT { &[] } else { &VARIABLES }
    }

    /// Lets a command see this time.
    pub fn applied(self, command: &mut Command) {
        if self == Self::RIGHT {
            return;
        }
        command
            .env("LD_PRELOAD", library().expect("faketime"))
            .env("FAKETIME", format!("{:+}s", self.ahead_s))
            // Clocks of different hosts differ in what they show, not in how time passes.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
    }

    /// The process sees this time, as far as can be told from outside: the library is in it.
    pub fn rules(self, pid: u32) -> bool {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        maps.contains("libfaketime") == (self != Self::RIGHT)
    }
}

fn library() -> Option<&'static str> {
    LIBRARIES.into_iter().find(|path| Path::new(path).is_file())
}
