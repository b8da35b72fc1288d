//! Two network namespaces joined by a cable: 10.99.0.1 (callers) and 10.99.0.2 (servers). Needs root, `ip` and `nft`.

use super::programs::{find, printed};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A pair of namespaces, removed at its end.
pub(crate) struct Pair {
    /// Where callers are, at 10.99.0.1 and fd99::1.
    pub(crate) callers: String,
    /// Where servers are, at 10.99.0.2 and fd99::2.
    pub(crate) servers: String,
}

impl Pair {
    /// Makes a pair, or says why the test is skipped.
    pub(crate) fn make(test: &str) -> Option<Self> {
        find(test, "ip")?;
        find(test, "nft")?;
        if !super::is_root(test) {
            return None;
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |side: &str| format!("upstart-{side}-{}-{number}", std::process::id());
        let pair = Self {
            callers: name("callers"),
            servers: name("servers"),
        };
        for namespace in [&pair.callers, &pair.servers] {
            ip(&["netns", "add", namespace]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        ip(&[
            "-n",
            &pair.callers,
            "link",
            "add",
            "cable",
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            &pair.servers,
        ]);
        for (namespace, last) in [(&pair.callers, 1), (&pair.servers, 2)] {
            ip(&[
                "-n",
                namespace,
                "address",
                "add",
                &format!("10.99.0.{last}/24"),
                "dev",
                "cable",
            ]);
            ip(&[
                "-n",
                namespace,
                "address",
                "add",
                &format!("fd99::{last}/64"),
                "dev",
                "cable",
                "nodad",
            ]);
            ip(&["-n", namespace, "link", "set", "cable", "up"]);
        }
        Some(pair)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for namespace in [&self.callers, &self.servers] {
            let _ = Command::new("ip")
                .args(["netns", "delete", namespace])
                .status();
        }
    }
}

fn ip(arguments: &[&str]) {
    printed(Command::new("ip").args(arguments));
}

/// A program of this namespace.
pub(crate) fn command(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// Drops packets that come into this namespace and match an nftables expression.
pub(crate) fn drop_incoming(namespace: &str, matching: &str) {
    let rules = format!(
        "table inet t {{ chain c {{ type filter hook input priority 0; {matching} drop; }}; }}"
    );
    printed(command(namespace, "nft").arg(rules));
}

/// Sets a kernel setting of this namespace.
pub(crate) fn set(namespace: &str, setting: &str, value: &str) {
    let path = format!("/proc/sys/{setting}");
    printed(command(namespace, "sh").args(["-c", &format!("echo {value} > {path}")]));
}

/// Runs this in the namespace: sockets made in it belong there for good.
pub(crate) fn within<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let path = format!("/run/netns/{namespace}");
    let file = std::fs::File::open(path).expect("a namespace");
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            let kind = rustix::thread::LinkNameSpaceType::Network;
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind))
                .expect("entered");
            work()
        });
        there.join().expect("no panic there")
    })
}
