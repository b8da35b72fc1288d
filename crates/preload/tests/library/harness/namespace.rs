//! What tests do in a namespace, where everything must come to pass.

use network::Namespace;
use std::process::Command;

/// A program of this namespace.
pub(crate) fn command(namespace: &Namespace, program: impl AsRef<std::ffi::OsStr>) -> Command {
    namespace.command(program)
}

/// Drops packets that come into this namespace and match an nftables expression.
pub(crate) fn drop_incoming(namespace: &Namespace, matching: &str) {
    let rules = format!(
        "table inet t {{ chain c {{ type filter hook input priority 0; {matching} drop; }}; }}"
    );
    namespace.nft(&rules).expect("a rule");
}

/// Sets a kernel setting of this namespace.
pub(crate) fn set(namespace: &Namespace, setting: &str, value: &str) {
    namespace.set(setting, value).expect("a setting");
}

/// Runs this in the namespace: sockets made in it belong there for good.
pub(crate) fn within<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> T {
    namespace.within(work).expect("entered")
}
