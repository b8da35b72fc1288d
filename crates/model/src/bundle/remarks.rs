//! What a sound upgrade should be known to leave open: no mistake, but nothing that Upstart covers either.

use super::{Adapter, Class, ClassUpgrade, Interface, Protocol, Service, Upgrade};
use crate::machine::ProbeMode;

/// What is said of one place of an upgrade file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The key that it is about.
    pub key: String,
    /// What is not covered, and what would be.
    pub text: String,
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "remark: {}: {}", self.key, self.text)
    }
}

/// Everything that is to be said of an upgrade, in the order of its classes.
#[must_use]
pub fn remarks(upgrade: &Upgrade) -> Vec<Remark> {
    let mut found = Vec::new();
    for class in upgrade.classes.values() {
        if let Some(definition) = &class.definition {
            of_class(class, definition, &mut found);
            for service in definition.services.values() {
                of_service(service, &mut found);
            }
        }
    }
    found
}

fn of_class(class: &ClassUpgrade, definition: &Class, found: &mut Vec<Remark>) {
    let mut say = |key: &str, text: &str| {
        found.push(Remark {
            key: format!("class.{}.{key}", class.name),
            text: text.to_owned(),
        });
    };
    let is_joined = definition.lifecycle.probe.mode == ProbeMode::Joined;
    if is_joined && class.schedule.rolling.is_none() {
        say(
            "lifecycle.probe",
            "a probe with mode `joined` does not lead back, and nothing keeps the next node from upgrading when it fails: say \
             `schedule = { max_unavailable = 1 }`",
        );
    }
    if definition.software.allow_io_uring {
        say(
            "software.allow_io_uring",
            "connections that the software makes or accepts with io_uring are not intercepted: no call of another version is \
             translated on them",
        );
    }
    if !definition.software.no_new_privileges {
        say(
            "software.no_new_privileges",
            "where the agent is not privileged only programs that load the library are intercepted: a static one, or one in Go, is \
             stopped",
        );
    }
    if definition.lifecycle.stop_signal.name == "KILL" {
        say(
            "lifecycle.stop_signal",
            "software that is killed writes nothing any more: what it has acknowledged must be in its state by then",
        );
    }
}

fn of_service(service: &Service, found: &mut Vec<Remark>) {
    let mut say = |text: &str| {
        found.push(Remark {
            key: service.key.clone(),
            text: text.to_owned(),
        });
    };
    if [&service.past, &service.future].contains(&&Adapter::Refuse) {
        say(
            "callers of the other version are refused while versions are mixed, the other nodes' among them where these call it",
        );
    }
    let changes = matches!(
        service.interface,
        Interface::Changed | Interface::AsVersion(_)
    );
    if changes && service.protocol == Protocol::Raw {
        say(
            "`raw` has no ends of messages: an adapter sees what has arrived, in pieces as they come",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::remarks;
    use crate::bundle::UpgradeFile;
    use std::collections::BTreeMap;

    fn said(class: &str) -> Vec<String> {
        let text = format!("system = \"mesh\"\nversion = 2\nfrom = 1\n{class}");
        let file = UpgradeFile::parse(&text).expect("reads");
        let upgrade = file.prove(&BTreeMap::new()).expect("proves");
        remarks(&upgrade).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_not_covered_is_said_at_its_key() {
        let open = "[class.peer]\n\
            software = { command = [\"peerd\"], allow_io_uring = true, no_new_privileges = false }\n\
            service.bus = { port = 1, protocol = \"raw\", interface = \"changed\", adapter = \"refuse\" }\n\
            lifecycle = { stop_signal = \"KILL\", probe = { mode = \"joined\", tcp = \"bus\" } }";
        let said_of_it = said(open);
        let keys = [
            "class.peer.lifecycle.probe: ",
            "class.peer.software.allow_io_uring: ",
            "class.peer.software.no_new_privileges: ",
            "class.peer.lifecycle.stop_signal: ",
            "class.peer.service.bus: ",
            "class.peer.service.bus: ",
        ];
        assert_eq!(said_of_it.len(), keys.len(), "{said_of_it:#?}");
        for (line, key) in said_of_it.iter().zip(keys) {
            assert!(line.starts_with(&format!("remark: {key}")), "{line}");
        }
    }

    #[test]
    fn what_is_covered_needs_no_remark() {
        let closed = "[class.peer]\n\
            schedule = { max_unavailable = 1 }\n\
            software = { command = [\"peerd\"] }\n\
            service.bus = { port = 1, protocol = \"lines\", interface = \"same\" }\n\
            lifecycle = { probe = { mode = \"joined\", tcp = \"bus\" } }";
        assert_eq!(said(closed), Vec::<String>::new());
    }
}
