//! Why the agent resets connections: the counters' names and what each means. The list in docs/guides/operating.md is made from it.

/// Every reason, by its counter.
const REASONS: [(&str, &str); 26] = [
    (
        "calls_and_sessions_mixed",
        "adapters of calls and of sessions stand between the caller's version and the software's: they make no chain",
    ),
    (
        "connection_state",
        "the connection may carry state of its caller, and the software that it spoke to has ended",
    ),
    ("damaged_label", "its label is damaged"),
    (
        "forgotten",
        "the node was forgotten (`upstart forget`) while it lives",
    ),
    (
        "held_too_long",
        "its call was held for `hold_ms`, or the node's patience was over",
    ),
    (
        "label_not_honoured",
        "its label comes from an address of no member and no declared network",
    ),
    (
        "maybe_a_member",
        "it has no label, and may come from a member that does not know this address yet; an agent that starts without a server and cannot tell says so in its log",
    ),
    (
        "no_descriptors",
        "the agent had no descriptor left to take it with",
    ),
    (
        "no_public_version",
        "it has no label, and the service is public at no version",
    ),
    (
        "no_such_service",
        "the version does not have the service that it reached",
    ),
    ("nobody_listens", "the software does not listen there"),
    (
        "not_taken",
        "it was to go back to the software, which did not take it in half a minute",
    ),
    (
        "observed",
        "the service's dispatch becomes observed, and the connection was the software's alone",
    ),
    ("other_system", "its label is of another system"),
    (
        "protocol_changed",
        "its calls became sessions, or the other way round, with an upgrade",
    ),
    (
        "protocol_without_adapter",
        "the service's protocol has no messages at the caller's version",
    ),
    (
        "refused_interface",
        "the upgrade refuses callers of this version (`adapter = \"refuse\"`)",
    ),
    ("retired", "its version is retired"),
    (
        "session_failed",
        "an adapter of sessions failed, or a side's messages are damaged; the remark in `upstart status` says which",
    ),
    (
        "session_flipped",
        "the software that the session was agreed with has ended",
    ),
    (
        "silent",
        "it said nothing for two minutes, though by its protocol callers speak first",
    ),
    ("software_down", "the software does not run"),
    (
        "too_many_connections",
        "the node serves `connections_max` already",
    ),
    (
        "too_many_from_one_address",
        "its address has `connections_per_address_max` already",
    ),
    ("too_many_held", "`held_calls_max` calls are held already"),
    ("withdrawn", "its version was withdrawn"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
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

    /// The reasons that the agent's code counts.
    fn counted() -> BTreeSet<String> {
        let mut files = Vec::new();
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut files,
        );
        let mut counted = BTreeSet::new();
        for file in files {
            let text = std::fs::read_to_string(file).expect("source");
            for rest in text.split(concat!('"', "reset.")).skip(1) {
                let name = rest.split('"').next().unwrap_or_default();
                if !name.is_empty() {
                    counted.insert(name.to_owned());
                }
            }
        }
        counted
    }

    #[test]
    fn the_documentation_lists_every_reason_that_is_counted() {
        let known: BTreeSet<String> = REASONS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(counted(), known);
        let rows = REASONS.map(|(name, means)| format!("| `reset.{name}` | {means} |\n"));
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/operating.md");
        let page = std::fs::read_to_string(page).expect("the page");
        let table = format!(
            "| counter | the connection was reset because |\n|---|---|\n{}",
            rows.concat()
        );
        assert!(
            page.contains(&table),
            "docs/guides/operating.md must have:\n{table}"
        );
    }
}
