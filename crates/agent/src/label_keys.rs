//! The keys by which the system's labels are signed, as the agent itself uses them: it judges what the hooks give it, and signs what it says
//! to other members.

use intercept::keyring::{HeldKeyring, Keyring, ProofVerdict};
use label::Label;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The keyring that the agent goes by. Copies share it.
#[derive(Clone)]
pub(crate) struct LabelKeys {
    shared: Arc<SharedKeyring>,
}

struct SharedKeyring {
    held: HeldKeyring<Box<[AtomicU64]>>,
    /// What was published last; one at a time publishes.
    published: Mutex<Keyring>,
}

/// How a label is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It is believed: its proof is good, or none is looked for.
    Believed,
    /// It is believed although its proof is not good: nothing is refused yet.
    Unproved,
    /// It is refused.
    Refused(ProofVerdict),
}

impl LabelKeys {
    /// No keys: nothing is signed, and nothing is looked for.
    pub(crate) fn none() -> Self {
        let held = HeldKeyring::private();
        held.publish(&Keyring::default());
        Self {
            shared: Arc::new(SharedKeyring {
                held,
                published: Mutex::default(),
            }),
        }
    }

    /// Goes by this keyring from now on.
    pub(crate) fn publish(&self, keyring: Keyring) {
        let mut published = self.shared.published.lock();
        self.shared.held.publish(&keyring);
        *published = keyring;
    }

    /// The keyring as it was published last.
    pub(crate) fn published(&self) -> Keyring {
        self.shared.published.lock().clone()
    }

    /// The label as it goes out to this address.
    pub(crate) fn signed(&self, label: Label, to: SocketAddr) -> Label {
        let now_s = interpose::kernel::now_unix_s();
        self.shared.held.view().sign(label, to, now_s)
    }

    /// What is thought of a label that has come to this address.
    pub(crate) fn judge(&self, label: &Label, local: SocketAddr) -> Judgement {
        if self.shared.published.lock().keys.is_empty() {
            return Judgement::Believed;
        }
        let view = self.shared.held.view();
        match view.verdict(label, local, interpose::kernel::now_unix_s()) {
            ProofVerdict::Proved => Judgement::Believed,
            verdict if view.demanded() => Judgement::Refused(verdict),
            _ => Judgement::Unproved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use intercept::keyring::LabelKey;

    #[test]
    fn a_label_without_a_proof_is_refused_once_proofs_are_demanded() {
        let at = SocketAddr::from(([10, 0, 0, 1], 7000));
        let label = Label::plain(7, 2, 3);
        let keys = LabelKeys::none();
        assert_eq!(keys.signed(label, at), label);
        assert_eq!(keys.judge(&label, at), Judgement::Believed);
        let key = LabelKey {
            generation: 1,
            key: [1; 32],
        };
        let mut keyring = Keyring {
            signing: Some(1),
            keys: vec![key],
            ..Keyring::default()
        };
        keys.publish(keyring.clone());
        assert_eq!(keys.judge(&label, at), Judgement::Unproved);
        keyring.demanded = true;
        keys.publish(keyring);
        let refused = Judgement::Refused(ProofVerdict::Unsigned);
        assert_eq!(keys.judge(&label, at), refused);
        let signed = keys.signed(label, at);
        assert_eq!(keys.judge(&signed, at), Judgement::Believed);
        let elsewhere = SocketAddr::from(([10, 0, 0, 2], 7000));
        let refused = Judgement::Refused(ProofVerdict::Elsewhere);
        assert_eq!(keys.judge(&signed, elsewhere), refused);
    }
}
