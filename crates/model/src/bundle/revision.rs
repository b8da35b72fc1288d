//! What a revision of an upgrade may not change: nodes may have staged or settled at the one before it.

use super::{BundleError, ClassUpgrade, Service, Upgrade};
use crate::manifest::UPGRADE_FILE;
use std::collections::{BTreeMap, BTreeSet};

impl Upgrade {
    /// What keeps this upgrade from being a revision of `old`; nothing when it may replace it. Versions, classes,
    /// filters, services, ports and interfaces stay; software, adapters, transforms, schedules and texts may change.
    pub fn differences_from(&self, old: &Upgrade) -> Vec<BundleError> {
        let mut found = Vec::new();
        let mut same = |key: &str, same: bool| {
            if !same {
                found.push(BundleError {
                    key: key.to_owned(),
                    ..BundleError::of_file(
                        UPGRADE_FILE,
                        "a revision cannot change this",
                        "put it back, or publish the change as the next version",
                    )
                });
            }
        };
        same("system", self.system == old.system);
        same("version", self.version == old.version);
        same("from", self.from == old.from);
        same("removed.classes", self.removed == old.removed);
        for name in union(&self.classes, &old.classes) {
            let key = format!("class.{name}");
            match (self.classes.get(name), old.classes.get(name)) {
                (Some(new), Some(old)) => compare_classes(&key, new, old, &mut same),
                _ => same(&key, false),
            }
        }
        found
    }
}

fn compare_classes(
    key: &str,
    new: &ClassUpgrade,
    old: &ClassUpgrade,
    same: &mut dyn FnMut(&str, bool),
) {
    same(&format!("{key}.added"), new.added == old.added);
    same(&format!("{key}.was"), new.was == old.was);
    same(&format!("{key}.filter"), new.filter == old.filter);
    let (new, old) = match (&new.definition, &old.definition) {
        (Some(new), Some(old)) => (&new.services, &old.services),
        (None, None) => return,
        _ => return same(&format!("{key}.software"), false),
    };
    for name in union(new, old) {
        let key = format!("{key}.service.{name}");
        match (new.get(name), old.get(name)) {
            (Some(new), Some(old)) => compare_services(&key, new, old, same),
            _ => same(&key, false),
        }
    }
}

fn compare_services(key: &str, new: &Service, old: &Service, same: &mut dyn FnMut(&str, bool)) {
    same(&format!("{key}.port"), new.port == old.port);
    same(&format!("{key}.protocol"), new.protocol == old.protocol);
    same(&format!("{key}.interface"), new.interface == old.interface);
}

fn union<'a, T>(a: &'a BTreeMap<String, T>, b: &'a BTreeMap<String, T>) -> BTreeSet<&'a String> {
    a.keys().chain(b.keys()).collect()
}

#[cfg(test)]
mod tests {
    use crate::bundle::Upgrade;
    use crate::release::tests::upgrade;
    use std::sync::Arc;

    const OLD: &str = "system = \"s\"\nversion = 2\nfrom = 1\n[class.a]\nRUN\n\
                       service.x = { port = 1, protocol = \"http\", interface = \"changed\", adapter = \"refuse\" }\n";

    fn told(change: impl Fn(&str) -> String) -> Vec<String> {
        let (old, new): (Arc<Upgrade>, Arc<Upgrade>) = (upgrade(OLD), upgrade(&change(OLD)));
        new.differences_from(&old)
            .into_iter()
            .map(|error| error.key)
            .collect()
    }

    #[test]
    fn what_is_mended_may_differ() {
        assert!(told(|old| old.replace("refuse", "lens.toml")).is_empty());
        assert!(told(|old| format!("description = \"mended\"\n{old}")).is_empty());
        assert!(told(|old| old.replace("RUN", "RUN\nschedule = { approval = true }")).is_empty());
        assert!(told(|old| old.replace("RUN", "RUN\nlifecycle.stop_signal = \"INT\"")).is_empty());
    }

    #[test]
    fn what_others_rely_on_may_not() {
        assert_eq!(
            told(|old| old.replace("port = 1", "port = 2")),
            ["class.a.service.x.port"]
        );
        assert_eq!(told(|old| old.replace("\"s\"", "\"t\"")), ["system"]);
        assert_eq!(
            told(|old| old.replace("service.x", "service.y")),
            ["class.a.service.x", "class.a.service.y"]
        );
        assert_eq!(
            told(|old| format!("{old}[class.b]\nwas = \"c\"\n")),
            ["class.b"]
        );
        assert_eq!(
            told(|old| old.replace("\"changed\", adapter = \"refuse\"", "\"same\"")),
            ["class.a.service.x.interface"]
        );
        let error = upgrade(&OLD.replace("port = 1", "port = 2"))
            .differences_from(&upgrade(OLD))
            .remove(0);
        assert_eq!(
            error.to_string(),
            "upgrade.toml: class.a.service.x.port: a revision cannot change this; put it back, or publish the change as the next version"
        );
    }
}
