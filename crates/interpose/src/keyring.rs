//! The keys by which labels are signed, where they are: mapped once, when the table first says so, and never before.
//!
//! The holder gives the memory to processes of the software only, by a descriptor that allows nothing but reading. What follows, the next key
//! or the end of signing, is seen in the memory.

use crate::messenger;
use crate::state;
use crate::{kernel, state::map_descriptor};
use intercept::address::destination;
use intercept::hook_protocol::HookMessage;
use intercept::keyring::{BYTES, KeyringView, Proofs};
use intercept::label::Label;
use intercept::stats::Counter;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

static KEYRING: OnceLock<KeyringView<'static>> = OnceLock::new();

/// The holder's own, which nobody gives it.
pub fn set(words: &'static [AtomicU64]) {
    if let Some(view) = KeyringView::new(words) {
        let _ = KEYRING.set(view);
    }
}

/// The keys; none where the holder does not give them.
fn keyring() -> Option<KeyringView<'static>> {
    if let Some(known) = KEYRING.get() {
        return Some(*known);
    }
    let descriptor = messenger::ask(&HookMessage::Keyring).ok()??;
    let words = map_descriptor(descriptor, BYTES, libc::O_RDONLY);
    kernel::close(descriptor);
    set(words?.0);
    KEYRING.get().copied()
}

/// Has the keys before the program locks itself up, if labels are signed by then.
pub fn prepare() {
    if signs() {
        let _ = keyring();
    }
}

/// Whether labels are signed.
pub(crate) fn signs() -> bool {
    state::table(|table| table.signs()) == Some(true)
}

/// The label as it goes out to this address where labels are signed. Without the keys it goes out unsigned, and whoever demands signed
/// ones refuses it.
pub(crate) fn signed(label: Label, to: SocketAddr) -> Label {
    match keyring() {
        Some(keyring) => keyring.sign(label, destination(to), kernel::now_unix_s()),
        None => {
            state::count(Counter::ConnectUnsigned);
            label
        }
    }
}

/// What labels of accepted connections are judged by. `signs`: the table says that labels are signed.
pub(crate) fn proofs(signs: bool) -> Proofs<'static> {
    if !signs {
        return Proofs::NONE;
    }
    Proofs {
        keyring: keyring(),
        now_s: kernel::now_unix_s(),
    }
}
