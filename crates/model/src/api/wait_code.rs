//! The kinds of reasons for which nodes wait, each with its name in answers.

use crate::named::named;

named! {
    /// The kinds of reasons why a node waits, as programs know them.
    WaitCode {
        /// The version was withdrawn.
        Withdrawn = "withdrawn",
        /// The server does not list the version.
        NotPublished = "not_published",
        /// A newer revision of the version is published.
        NotNewest = "not_newest",
        /// The node fetches a version further ahead, which the others of its class run.
        Fetches = "fetches",
        /// Somebody has paused the system.
        Paused = "paused",
        /// The upgrade has failed at nodes of the class, and is blocked there.
        Blocked = "blocked",
        /// A node that is reachable could not answer callers at the version yet.
        NotStaged = "not_staged",
        /// Nodes of classes that come first are not there yet.
        NotYetAt = "not_yet_at",
        /// Nodes of classes that come first are there, and have not shown that they are healthy.
        NotYetHealthy = "not_yet_healthy",
        /// Others have settled too recently (`soak_ms`).
        Soaks = "soaks",
        /// A person has to say yes (`upstart approve`).
        NotApproved = "not_approved",
        /// Nodes of the class are there, and their software is not well: the soak time begins when it is.
        Failing = "failing",
        /// As many nodes are unavailable as may be (`max_unavailable`).
        Limit = "limit",
        /// Nodes of a wave that comes first are not there yet, or not healthy (`waves`).
        Wave = "wave",
        /// The node has a role that goes last, and others of its group are not there yet (`role`).
        Role = "role",
        /// The node is not idle (`idle`).
        Idle = "idle",
        /// What is done once for the whole system at an earlier version is not done yet (`once`).
        Once = "once",
        /// A condition of the schedule does not hold (`go_if`).
        GoIf = "go_if",
        /// A condition of the schedule needs what is not known (`go_if`).
        GoIfUnknown = "go_if_unknown",
        /// No window of the schedule is open (`windows`).
        NoWindow = "no_window",
        /// The schedule lets nobody begin for a while (`freeze`).
        Frozen = "frozen",
        /// The schedule's times are those of the node's site, and the node does not say in which zone that is.
        NoZone = "no_zone",
    }
}
