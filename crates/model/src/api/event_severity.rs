//! How much an event asks of people.

use super::EventKind;

/// How much an event asks of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventSeverity {
    /// What an upgrade, or an operator, does.
    Info,
    /// Something went wrong and was survived, or may go wrong.
    Warning,
    /// Something stands still, or is not as it should be, until somebody looks.
    Error,
}

impl EventSeverity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Error];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl EventKind {
    /// How much it asks of people.
    #[must_use]
    pub fn severity(self) -> EventSeverity {
        match self {
            Self::NodeBlocked
            | Self::NodeSetBack
            | Self::NodeServerDiffers
            | Self::NodeDoubled
            | Self::NodeDistrusts
            | Self::ChildCrashed
            | Self::AdapterFailed
            | Self::MemberSupplanted
            | Self::UpgradeStopped
            | Self::RepositoryUnsealed
            | Self::IdentityCloned
            | Self::SystemSetBack => EventSeverity::Error,
            Self::NodeUnreachable
            | Self::NodeStageFailed
            | Self::NodeTransformFailed
            | Self::NodeAfterStartFailed
            | Self::NodeProbeFailed
            | Self::NodeFlippingBack
            | Self::NodeMended
            | Self::NodeServerLags
            | Self::NodeVariablesKept
            | Self::NodeUnknownToSome
            | Self::ChildKilled
            | Self::ChildSilent
            | Self::AnswerRefused
            | Self::SessionsFailed
            | Self::MemberBypassed
            | Self::LabelRefused
            | Self::OnceFailed
            | Self::PermitExpired
            | Self::PermitBroken
            | Self::RepositoryRestored
            | Self::RepositoryExpires
            | Self::IdentityRefused => EventSeverity::Warning,
            _ => EventSeverity::Info,
        }
    }
}
