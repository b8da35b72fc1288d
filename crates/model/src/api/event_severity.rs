//! How much an event asks of people.

use super::EventKind;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How much an event asks of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
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

    /// That of an event by the name of its kind. One of a later version is a warning: nobody knows here what it asks.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        let known = EventKind::ALL.iter().find(|known| known.name() == kind);
        known.map_or(Self::Warning, |known| known.severity())
    }

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

impl fmt::Display for EventSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EventSeverity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|severity| severity.name() == text);
        found.ok_or_else(|| "a severity is `info`, `warning` or `error`".to_owned())
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
            | Self::WebhookFailing
            | Self::WebhookDisabled
            | Self::WebhookGap
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_later_version_is_a_warning() {
        assert_eq!(EventSeverity::of("node.blocked"), EventSeverity::Error);
        assert_eq!(EventSeverity::of("node.settled"), EventSeverity::Info);
        let later = EventSeverity::of("of.a_later_version");
        assert_eq!(later, EventSeverity::Warning);
        for severity in EventSeverity::ALL {
            assert_eq!(severity.name().parse(), Ok(severity));
        }
        assert!("fatal".parse::<EventSeverity>().is_err());
    }
}
