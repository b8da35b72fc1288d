//! The kinds of events, each with its name in the history.

use crate::named::named;

named! {
    /// What happened. Agents of other versions may tell more kinds, so that on the wire, and in the history, a kind is its name.
    EventKind {
        /// A node has made itself known for the first time, or at another place.
        NodeEnrolled = "node.enrolled",
        /// A node that was out of reach is heard again.
        NodeReachable = "node.reachable",
        /// A node has not been heard for longer than it may be silent.
        NodeUnreachable = "node.unreachable",
        /// An operator has forgotten a node.
        NodeForgotten = "node.forgotten",
        /// An operator has told a node to try again.
        NodeRetry = "node.retry",
        /// A node fetches the version at which it joins.
        NodeJoining = "node.joining",
        /// A node has staged a version.
        NodeStaged = "node.staged",
        /// A node could not stage a version.
        NodeStageFailed = "node.stage_failed",
        /// A node has dropped a version that was withdrawn or retired.
        NodeUnstaged = "node.unstaged",
        /// A node waits, for another reason than before.
        NodeWaits = "node.waits",
        /// A node leaves its version.
        NodeStopping = "node.stopping",
        /// A node has given an upgrade up at no cost, or tries again.
        NodeReturned = "node.returned",
        /// A transform has failed.
        NodeTransformFailed = "node.transform_failed",
        /// The command after the start has failed, or the software at it.
        NodeAfterStartFailed = "node.after_start_failed",
        /// The software that was started is not healthy.
        NodeProbeFailed = "node.probe_failed",
        /// A node goes back to its old version.
        NodeFlippingBack = "node.flipping_back",
        /// A node is at a version.
        NodeSettled = "node.settled",
        /// A node has let the calls go that it held.
        NodeReleased = "node.released",
        /// A node is back at its old version, and waits for a revision, a withdrawal or a retry.
        NodeBlocked = "node.blocked",
        /// Files that were not as laid out have been laid out anew.
        NodeMended = "node.mended",
        /// A node's data directory is older than it was.
        NodeSetBack = "node.set_back",
        /// The server does not know what a node runs: it was set back.
        NodeServerLags = "node.server_lags",
        /// The server has published something else under the number of what a node runs.
        NodeServerDiffers = "node.server_differs",
        /// The server has what a node runs again.
        NodeServerAgrees = "node.server_agrees",
        /// Two agents report as one node.
        NodeDoubled = "node.doubled",
        /// The agent was given other variables than those with which the software runs, which keeps them.
        NodeVariablesKept = "node.variables_kept",
        /// A node takes nothing new from its server: that is not signed as the system's publishers sign.
        NodeDistrusts = "node.distrusts",
        /// A node serves though some members do not know its addresses.
        NodeUnknownToSome = "node.unknown_to_some",
        /// The software has ended by itself.
        ChildCrashed = "child.crashed",
        /// Software that did not end when it was told to was killed.
        ChildKilled = "child.killed",
        /// The software that a node went back to answers its probe.
        ChildHealthy = "child.healthy",
        /// The software that a node went back to does not answer its probe.
        ChildSilent = "child.silent",
        /// A lens has no rule for an answer of the software. The message has the software's own status and words, which the caller does not see.
        AnswerRefused = "answer.refused",
        /// A component trapped, took too long, or broke a limit.
        AdapterFailed = "adapter.failed",
        /// An adapter of sessions failed, or a side's messages were damaged.
        SessionsFailed = "sessions.failed",
        /// The software calls a service's port at an address that no member has declared: such calls carry no label. Declare it with `advertise`.
        MemberBypassed = "member.bypassed",
        /// Somebody else listens where a member was that the server does not hear: the software's calls there are refused.
        MemberSupplanted = "member.supplanted",
        /// A connection was reset for what its label says: it is damaged, of another system, comes from where nobody may label, or is not signed as the system demands.
        LabelRefused = "label.refused",
        /// An upgrade was published.
        UpgradePublished = "upgrade.published",
        /// A revision of an upgrade was published.
        UpgradeRevised = "upgrade.revised",
        /// An upgrade was withdrawn.
        UpgradeWithdrawn = "upgrade.withdrawn",
        /// Somebody has approved an upgrade.
        UpgradeApproved = "upgrade.approved",
        /// Versions are being retired.
        UpgradeRetiring = "upgrade.retiring",
        /// Versions are retired.
        UpgradeRetired = "upgrade.retired",
        /// A node has a permit.
        PermitAcquired = "permit.acquired",
        /// A node has confirmed its permit.
        PermitConfirmed = "permit.confirmed",
        /// A node no longer needs its permit.
        PermitEnded = "permit.ended",
        /// A node has not confirmed its permit in time.
        PermitExpired = "permit.expired",
        /// An operator has broken a permit.
        PermitBroken = "permit.broken",
        /// The server cannot seal what publishers sign.
        RepositoryUnsealed = "repository.unsealed",
        /// The signed repository was set back, and a publisher has brought back what he had seen of it.
        RepositoryRestored = "repository.restored",
        /// What people have signed is good for a short time only: after it nodes take nothing new.
        RepositoryExpires = "repository.expires",
        /// A public version was moved.
        PublicMoved = "public.moved",
        /// What the system does about signed labels has changed: an operator said so, or every node has acknowledged a step.
        LabelsChanged = "labels.changed",
        /// Somebody was invited: a one-time token was made.
        IdentityInvited = "identity.invited",
        /// Somebody's key was certified for the first time, or in the place of another key.
        IdentityCertified = "identity.certified",
        /// An operator has revoked somebody's key, or withdrawn an invitation.
        IdentityRevoked = "identity.revoked",
        /// A certificate older than the newest one that was shown asks for another: two have the same key.
        IdentityCloned = "identity.cloned",
        /// Somebody who is known asked for what is not theirs to ask.
        IdentityRefused = "identity.refused",
        /// A webhook was added, changed or removed.
        WebhookChanged = "webhook.changed",
        /// A webhook's receiver does not take what it is sent, again and again: everything that follows waits for it.
        WebhookFailing = "webhook.failing",
        /// A webhook's receiver takes what it is sent again.
        WebhookRecovered = "webhook.recovered",
        /// A webhook's receiver has said that it is gone for good: nothing is sent to it until an operator says so.
        WebhookDisabled = "webhook.disabled",
        /// An operator tries whether a webhook's receiver takes what it is sent. Told to that receiver only; not in the history.
        WebhookTest = "webhook.test",
        /// The history lacks entries that a webhook's receiver was not sent. Told to that receiver only; not in the history.
        WebhookGap = "webhook.gap",
        /// The upgrade database was found to be set back, or replaced.
        SystemSetBack = "system.set_back",
        /// A node was told to do something once for the whole system.
        OnceBegun = "once.begun",
        /// What is done once for the whole system is done.
        OnceDone = "once.done",
        /// What is done once for the whole system has failed, and is tried again.
        OnceFailed = "once.failed",
        /// The system was paused by the `stop_if` of a schedule.
        UpgradeStopped = "upgrade.stopped",
        /// The system was paused.
        SystemPaused = "system.paused",
        /// A pause has ended.
        SystemResumed = "system.resumed",
    }
}

/// The kinds that only a server tells, beside those of [`SERVERS_SUBJECTS`].
const SERVERS_OWN: [EventKind; 6] = [
    EventKind::NodeEnrolled,
    EventKind::NodeReachable,
    EventKind::NodeUnreachable,
    EventKind::NodeForgotten,
    EventKind::NodeRetry,
    EventKind::NodeDoubled,
];

/// What only a server tells of.
const SERVERS_SUBJECTS: [&str; 8] = [
    "upgrade.",
    "permit.",
    "repository.",
    "public.",
    "identity.",
    "labels.",
    "webhook.",
    "system.",
];

impl EventKind {
    /// Whether a node may tell an event of this kind; one of another version may tell kinds that are not known here.
    #[must_use]
    pub fn is_a_nodes(kind: &str) -> bool {
        let is_kind =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte);
        !kind.is_empty()
            && kind.bytes().all(is_kind)
            && !SERVERS_OWN.iter().any(|own| own.name() == kind)
            && !SERVERS_SUBJECTS
                .iter()
                .any(|subject| kind.starts_with(subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_tells_what_happened_at_it_and_nothing_that_servers_decide() {
        for its in [
            "node.settled",
            "child.crashed",
            "adapter.failed",
            "of.a_later_version",
        ] {
            assert!(EventKind::is_a_nodes(its), "{its}");
        }
        for servers in [
            "node.forgotten",
            "upgrade.approved",
            "permit.broken",
            "system.set_back",
            "system.of_a_later_version",
            "identity.revoked",
            "webhook.gap",
            "System.paused",
            "\u{200b}system.paused",
            "",
        ] {
            assert!(!EventKind::is_a_nodes(servers), "{servers}");
        }
    }
}
