//! What hooks leave behind: counters, the processes that they saw, callers shown in place of the agent, and slow paths.
//!
//! One file, mapped read-write by every process of the node's software, written with atomic words only; the agent reads it
//! as a file. Nothing in it is trusted for a decision on safety.

mod file;
mod view;

pub use file::{ProcessSeen, StatsFile, StatsSnapshot};
pub use view::{Deed, FILE_BYTES, FILE_WORDS, StatsView};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What is counted. The order is the file's: new ones go to the end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// All of them, in the file's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The counter's name, for people and metrics.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

counters! {
    /// The label went out with the handshake.
    ConnectLabelled = "connect.labelled",
    /// The label went out after the handshake, inside connect.
    ConnectSlowPath = "connect.slow_path",
    /// The slow path did not end in time or failed; the connect failed with it.
    ConnectSlowPathFailed = "connect.slow_path_failed",
    /// A connect to a member was refused while probing.
    ConnectRefused = "connect.refused",
    /// Left alone: no table.
    ConnectNoTable = "connect.bypass.no_table",
    /// Left alone: not an internet address.
    ConnectNotInternet = "connect.bypass.not_internet",
    /// Left alone: not a member.
    ConnectNotAMember = "connect.bypass.not_a_member",
    /// Left alone: not TCP.
    ConnectNotTcp = "connect.bypass.not_tcp",
    /// Left alone: the socket was connecting already.
    ConnectUnderway = "connect.bypass.underway",
    /// A send with MSG_FASTOPEN to a member became a labelled connect and a send.
    FastOpenReplaced = "connect.fast_open_replaced",
    /// A label of the same interface was consumed.
    AcceptLabelled = "accept.labelled",
    /// The agent's own connection was delivered.
    AcceptAgent = "accept.agent",
    /// A connection came back by token.
    AcceptTaken = "accept.taken",
    /// A token that the holder did not know.
    AcceptTokenUnknown = "accept.token_unknown",
    /// Delivered without a label: the public version has this interface.
    AcceptUnlabelled = "accept.unlabelled",
    /// Left alone: no declared service.
    AcceptNotAService = "accept.bypass.not_a_service",
    /// Left alone: not an internet socket.
    AcceptNotInternet = "accept.bypass.not_internet",
    /// Left alone: no table.
    AcceptNoTable = "accept.bypass.no_table",
    /// Handed over: another interface.
    HandOverForeign = "hand_over.foreign",
    /// Handed over: no label yet.
    HandOverUndecided = "hand_over.undecided",
    /// Handed over: unlabelled, for an adapter.
    HandOverPublic = "hand_over.public",
    /// Handed over: probing.
    HandOverProbing = "hand_over.probing",
    /// The holder could not take it: reset.
    HandOverFailed = "hand_over.failed",
    /// A bind took a kept listener.
    BindKept = "bind.kept",
    /// A bind of a kept port found none left.
    BindNotKept = "bind.not_kept",
    /// A listen was reported to the holder.
    Listening = "listen.reported",
    /// A listen could not be reported.
    ListeningUnreported = "listen.unreported",
    /// The library was loaded into a process and found its table.
    Loaded = "library.loaded",
    /// The library was loaded but could not map its table.
    LoadedWithoutTable = "library.without_table",
    /// A path was found to drop handshakes with data.
    PathRemembered = "path.remembered",
    /// The label went out with a Fast Open cookie: the member's kernel takes it with the first packet.
    ConnectCookie = "connect.cookie",
    /// A member's kernel was asked for a cookie; the label took the slow path.
    ConnectCookieAsked = "connect.cookie_asked",
    /// A call that did not go through the library reached the net.
    NetCall = "net.calls",
    /// One that the net had to let pass, since it may not look into the process.
    NetBlind = "net.blind",
    /// Left alone: not a member, at the port of a service.
    ConnectLikeAMember = "connect.bypass.like_a_member",
    /// Refused: nobody has shown lately that a member still listens there.
    ConnectInDoubt = "connect.in_doubt",
    /// An agent asked whether a member listens here, and was answered.
    AcceptAsked = "accept.asked",
    /// A label of the same interface was consumed that would be refused if proofs were demanded.
    AcceptUnproved = "accept.unproved",
    /// Labels are signed, but a process could not have the keys: its label went out unsigned.
    ConnectUnsigned = "connect.unsigned",
}
