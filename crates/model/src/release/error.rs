//! Why an upgrade does not follow on those before it, or has no place for a node.

use crate::expression::ExpressionError;
use crate::ids::Version;

/// Why an upgrade does not follow on those before it, or has no place for a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Two upgrades lead to one version.
    #[error("two upgrades lead to version {0}")]
    Twice(Version),
    /// It is of another system.
    #[error("version {version}: system is `{found}`, but the versions before are of `{expected}`")]
    OtherSystem {
        /// The upgrade.
        version: Version,
        /// Its system.
        found: String,
        /// The system of the others.
        expected: String,
    },
    /// It starts from the wrong version.
    #[error(
        "version {version}: from is {found}, but the version before it is {expected}; write `from = {expected}`"
    )]
    WrongFrom {
        /// The upgrade.
        version: Version,
        /// Its `from`.
        found: Version,
        /// The newest version before it that is not withdrawn.
        expected: Version,
    },
    /// A number is missing that was never withdrawn.
    #[error(
        "version {version}: version {missing} is missing and was not withdrawn; use the next free number"
    )]
    Gap {
        /// The upgrade.
        version: Version,
        /// The number.
        missing: Version,
    },
    /// What it says about a class does not fit the version before.
    #[error("version {version}: class.{class}: {problem}")]
    Class {
        /// The upgrade.
        version: Version,
        /// The class.
        class: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// What is done once does not fit the classes.
    #[error("version {version}: once.{name}.class: {problem}")]
    Once {
        /// The upgrade.
        version: Version,
        /// What is done once.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// What it says about a service does not fit the version before.
    #[error("version {version}: class.{class}.service.{service}: {problem}")]
    Service {
        /// The upgrade.
        version: Version,
        /// The class.
        class: String,
        /// The service.
        service: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The filters of a split class do not choose exactly one successor.
    #[error(
        "version {version}: class `{origin}` splits, but for a node with {attributes} {outcome}"
    )]
    Split {
        /// The upgrade.
        version: Version,
        /// The class that splits.
        origin: String,
        /// Attributes for which it goes wrong, for people.
        attributes: String,
        /// What happens then.
        outcome: String,
    },
    /// A filter cannot be evaluated for a node.
    #[error("version {version}: node `{node}`")]
    Filter {
        /// The upgrade.
        version: Version,
        /// The node.
        node: String,
        /// What is wrong.
        source: ExpressionError,
    },
    /// No version has a class of this name.
    #[error("node `{node}`: no version of the system has a class `{class}`{hint}")]
    NoSuchClass {
        /// The node.
        node: String,
        /// The class.
        class: String,
        /// The nearest class.
        hint: String,
    },
}

impl HistoryError {
    /// The upgrade that it is about, where it is one.
    pub fn version(&self) -> Option<Version> {
        match self {
            Self::Twice(version)
            | Self::OtherSystem { version, .. }
            | Self::WrongFrom { version, .. }
            | Self::Gap { version, .. }
            | Self::Class { version, .. }
            | Self::Service { version, .. }
            | Self::Once { version, .. }
            | Self::Split { version, .. }
            | Self::Filter { version, .. } => Some(*version),
            Self::NoSuchClass { .. } => None,
        }
    }

    /// The key of that upgrade's file that is to be changed, and what is wrong with it.
    pub fn finding(&self) -> (String, String) {
        match self {
            Self::Twice(version) => (
                "version".to_owned(),
                format!(
                    "is {version}, which another upgrade has already; use the next free number"
                ),
            ),
            Self::OtherSystem {
                found, expected, ..
            } => (
                "system".to_owned(),
                format!("is `{found}`, but the versions before are of `{expected}`"),
            ),
            Self::WrongFrom {
                found, expected, ..
            } => (
                "from".to_owned(),
                format!(
                    "is {found}, but the version before is {expected}; write `from = {expected}`"
                ),
            ),
            Self::Gap { version, missing } => (
                "version".to_owned(),
                format!(
                    "is {version}, but version {missing} is missing and was not withdrawn; use the next free number"
                ),
            ),
            Self::Class { class, problem, .. } => (format!("class.{class}"), problem.clone()),
            Self::Once { name, problem, .. } => (format!("once.{name}.class"), problem.clone()),
            Self::Service {
                class,
                service,
                problem,
                ..
            } => (format!("class.{class}.service.{service}"), problem.clone()),
            Self::Split {
                origin,
                attributes,
                outcome,
                ..
            } => (
                "class".to_owned(),
                format!(
                    "class `{origin}` splits, but for a node with {attributes} {outcome}; write filters of which exactly one holds for every node"
                ),
            ),
            Self::Filter { source, .. } => (source.key.clone(), source.to_string()),
            Self::NoSuchClass { .. } => (String::new(), self.to_string()),
        }
    }
}
