//! Why the agent resets connections. Each reason stands here once: as a value, with its counter and with what it means. The list in
//! docs/guides/operating.md is made from it.

macro_rules! reset_reasons {
    ($($reason:ident: $counter:literal, $meaning:literal;)*) => {
        /// Why a connection is reset.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ResetReason {
            $(#[doc = $meaning] $reason,)*
        }

        impl ResetReason {
            /// The counter of connections that were reset for it.
            pub(crate) fn counter(self) -> &'static str {
                match self {
                    $(Self::$reason => concat!("reset.", $counter),)*
                }
            }

            /// Its name, which is the counter's without what all of them begin with.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $counter,)*
                }
            }

            /// What it means, for people.
            pub(crate) fn meaning(self) -> &'static str {
                match self {
                    $(Self::$reason => $meaning,)*
                }
            }

            /// Every reason with its meaning, ordered by counter.
            pub(crate) const ALL: &[(Self, &str)] = &[$((Self::$reason, $meaning),)*];
        }
    };
}

reset_reasons! {
    CallsAndSessionsMixed: "calls_and_sessions_mixed",
        "adapters of calls and of sessions stand between the caller's version and the software's: they make no chain";
    ConnectionState: "connection_state",
        "the connection may carry state of its caller, and the software that it spoke to has ended";
    DamagedLabel: "damaged_label",
        "its label is damaged";
    Forgotten: "forgotten",
        "the node was forgotten (`upstart forget`) while it lives";
    HeldTooLong: "held_too_long",
        "its call was held for `hold_ms`, or the node's patience was over";
    LabelElsewhere: "label_elsewhere",
        "its label was signed for a connection to another address than this node's: it was taken from there, or this node's address is not its `advertise`";
    LabelForged: "label_forged",
        "its label is signed by somebody who does not have the system's key, or was changed";
    LabelNotHonoured: "label_not_honoured",
        "its label comes from an address of no member and no declared network";
    LabelOfNoKey: "label_of_no_key",
        "its label is signed with a key that has ended, or that this node does not have";
    LabelUnsigned: "label_unsigned",
        "its label is not signed, and the system demands that (`upstart labels`)";
    LabelUntimely: "label_untimely",
        "its label was signed more than ten minutes ago, or the caller's clock is more than five minutes ahead of this node's";
    MaybeAMember: "maybe_a_member",
        "it has no label, and may come from a member that does not know this address yet; an agent that starts without a server and cannot tell says so in its log";
    NoDescriptors: "no_descriptors",
        "the agent had no descriptor left to take it with";
    NoPublicVersion: "no_public_version",
        "it has no label, and the service is public at no version";
    NoSuchService: "no_such_service",
        "the version does not have the service that it reached";
    NobodyListens: "nobody_listens",
        "the software does not listen there";
    NotTaken: "not_taken",
        "it was to go back to the software, which did not take it in half a minute";
    Observed: "observed",
        "the service's dispatch becomes observed, and the connection was the software's alone";
    OtherSystem: "other_system",
        "its label is of another system";
    ProtocolChanged: "protocol_changed",
        "its calls became sessions, or the other way round, with an upgrade";
    ProtocolWithoutAdapter: "protocol_without_adapter",
        "the service's protocol has no messages at the caller's version";
    RefusedInterface: "refused_interface",
        "the upgrade refuses callers of this version (`adapter = \"refuse\"`)";
    Retired: "retired",
        "its version is retired";
    SessionFailed: "session_failed",
        "an adapter of sessions failed, or a side's messages are damaged; the remark in `upstart status` says which";
    SessionFlipped: "session_flipped",
        "the software that the session was agreed with has ended";
    Silent: "silent",
        "it said nothing for two minutes, though by its protocol callers speak first";
    SoftwareDown: "software_down",
        "the software does not run";
    TooManyConnections: "too_many_connections",
        "the node serves `connections_max` already";
    TooManyFromOneAddress: "too_many_from_one_address",
        "its address has `connections_per_address_max` already";
    TooManyHeld: "too_many_held",
        "`held_calls_max` calls are held already";
    Withdrawn: "withdrawn",
        "its version was withdrawn";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn the_documentation_lists_every_reason_that_is_counted() {
        let counters = ResetReason::ALL.iter().map(|(reason, _)| reason.counter());
        assert!(counters.is_sorted(), "the list is easier to read in order");
        let rows = (ResetReason::ALL.iter())
            .map(|(reason, means)| format!("| `{}` | {means} |\n", reason.counter()));
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/operating.md");
        let page = std::fs::read_to_string(page).expect("the page");
        let table = format!(
            "| counter | the connection was reset because |\n|---|---|\n{}",
            rows.collect::<String>()
        );
        assert!(
            page.contains(&table),
            "docs/guides/operating.md must have:\n{table}"
        );
    }

    #[test]
    fn no_reason_is_counted_that_is_not_listed() {
        let mut files = Vec::new();
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut files,
        );
        files.retain(|file| !file.ends_with("relay/reasons.rs"));
        assert!(!files.is_empty());
        for file in files {
            let text = std::fs::read_to_string(&file).expect("source");
            let literal = concat!('"', "reset.");
            assert!(!text.contains(literal), "{}", file.display());
        }
    }
}
