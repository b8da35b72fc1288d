//! Which adapters fit which protocols.

use model::bundle::{Dispatch, Protocol, Service};

/// What an adapter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterKind {
    /// A lens.
    Lens,
    /// A component of calls.
    Calls,
    /// A component of sessions.
    Sessions,
}

/// Why an adapter cannot stand where a service needs one, and what could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitAdapter {
    /// It is none of the service's protocol.
    #[error("{what} does not understand {protocol}, which this service speaks; it needs {needed}")]
    Protocol {
        /// What it is.
        what: &'static str,
        /// What is spoken.
        protocol: &'static str,
        /// What could stand there.
        needed: &'static str,
    },
    /// The service's dispatch is observed.
    #[error(
        "{what} remembers nothing of calls, so that it cannot follow them; where `dispatch` is \"observed\" it needs a component of the world `calls-adapter`"
    )]
    Forgetful {
        /// What it is.
        what: &'static str,
    },
}

impl AdapterKind {
    /// Whether it can stand between versions that speak this.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    fn speaks(self, protocol: Protocol) -> Result<(), UnfitAdapter> {
        let (what, needed) = match (self, protocol) {
            (Self::Lens | Self::Calls, Protocol::Http) => return Ok(()),
            (Self::Sessions, Protocol::Http) => (
                "a component of sessions",
                "a lens or a component of the world `calls-adapter`",
            ),
            (Self::Calls, Protocol::Raw) => (
                "a component of calls",
                "one of the world `sessions-adapter`",
            ),
            (Self::Sessions | Self::Calls, _) => return Ok(()),
            (Self::Lens, Protocol::Raw) => {
                ("a lens", "a component of the world `sessions-adapter`")
            }
            (Self::Lens, _) => (
                "a lens",
                "a component of the world `calls-adapter` or `sessions-adapter`",
            ),
        };
        Err(UnfitAdapter::Protocol {
            what,
            protocol: protocol.name(),
            needed,
        })
    }
}

impl AdapterKind {
    /// Whether it can do what a service asks of its adapters.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn serves(self, service: &Service) -> Result<(), UnfitAdapter> {
        self.speaks(service.protocol)?;
        let what = match (service.dispatch, self) {
            (Dispatch::Direct, _) | (Dispatch::Observed, Self::Calls) => return Ok(()),
            (Dispatch::Observed, Self::Lens) => "a lens",
            (Dispatch::Observed, Self::Sessions) => "a component of sessions",
        };
        Err(UnfitAdapter::Forgetful { what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_says_what_it_does_not_understand() {
        for protocol in Protocol::ALL {
            let is_http = protocol == Protocol::Http;
            let has_calls = protocol != Protocol::Raw;
            assert_eq!(AdapterKind::Lens.speaks(protocol).is_ok(), is_http);
            assert_eq!(AdapterKind::Calls.speaks(protocol).is_ok(), has_calls);
            assert_eq!(AdapterKind::Sessions.speaks(protocol).is_ok(), !is_http);
        }
        let told = AdapterKind::Lens
            .speaks(Protocol::Raw)
            .expect_err("no http")
            .to_string();
        assert!(told.contains("does not understand raw"), "{told}");
    }
}
