//! Which way adapters translate, and between what.

/// One of the two versions that an adapter stands between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The version that the upgrade replaces.
    Old,
    /// The version that the upgrade brings.
    New,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }

    /// As written in lens files: `old` or `new`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

/// Which way an adapter translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Callers at the old version on a node at the new one.
    Past,
    /// Callers at the new version on a node at the old one.
    Future,
}

impl Direction {
    /// The side that the callers speak.
    pub fn caller(self) -> Side {
        match self {
            Self::Past => Side::Old,
            Self::Future => Side::New,
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Past => Self::Future,
            Self::Future => Self::Past,
        }
    }

    /// As written in messages: `past` or `future`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Past => "past",
            Self::Future => "future",
        }
    }
}
