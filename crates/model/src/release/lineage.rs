//! One node's class at every version: found once, asked for every connection.

use super::filters::{self, Choice};
use super::{History, HistoryError, InterfaceId, ReleaseClass};
use crate::bundle::{ClassUpgrade, PublicPolicy};
use crate::expression::NodeScope;
use crate::ids::Version;
use crate::machine::Work;
use crate::spelling::nearest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One node's class at every version of a history.
#[derive(Clone, Debug)]
pub struct Lineage {
    classes: BTreeMap<Version, Arc<ReleaseClass>>,
    versions: Vec<Version>,
    withdrawn: BTreeSet<Version>,
    problem: Option<(Version, HistoryError)>,
}

/// How callers without a label are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Public {
    /// As callers of this version.
    At(Version),
    /// By the software itself, whatever its version.
    Own,
    /// Not at all.
    Nobody,
}

impl Lineage {
    pub(super) fn new(
        history: &History,
        node: &NodeScope,
        enrolled_at: Option<Version>,
    ) -> Result<Self, HistoryError> {
        let has = |version: &Version| {
            history
                .release(*version)
                .is_some_and(|release| release.classes.contains_key(&node.class))
        };
        let start = match enrolled_at {
            Some(version) => Some(version).filter(has),
            None => history.versions().find(has),
        };
        let start = start.ok_or_else(|| {
            let names = history
                .releases
                .values()
                .flat_map(|release| release.classes.keys());
            let hint = nearest(&node.class, names.map(String::as_str))
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            HistoryError::NoSuchClass {
                node: node.name.clone(),
                class: node.class.clone(),
                hint,
            }
        })?;
        let mut lineage = Self {
            classes: BTreeMap::new(),
            versions: history.versions().collect(),
            withdrawn: history.withdrawn.clone(),
            problem: None,
        };
        lineage.walk_back(history, start, &node.class);
        if let Err((version, error)) = lineage.walk_on(history, start, node) {
            lineage.problem = Some((version, error));
        }
        Ok(lineage)
    }

    fn walk_back(&mut self, history: &History, start: Version, class: &str) {
        let mut at = history.release(start);
        let mut name = Some(class.to_owned());
        while let (Some(release), Some(class)) = (at, name) {
            let Some(found) = release.classes.get(&class) else {
                break;
            };
            self.classes.insert(release.version, Arc::clone(found));
            name = found.origin.clone();
            at = history.release(release.from);
        }
    }

    fn walk_on(
        &mut self,
        history: &History,
        start: Version,
        node: &NodeScope,
    ) -> Result<(), (Version, HistoryError)> {
        let mut node = node.clone();
        for upgrade in history
            .upgrades
            .range(start..)
            .skip(1)
            .map(|(_, upgrade)| upgrade)
        {
            let version = upgrade.version;
            let successors: Vec<&ClassUpgrade> = upgrade
                .classes
                .values()
                .filter(|class| {
                    !class.added && class.was.as_ref().unwrap_or(&class.name) == &node.class
                })
                .collect();
            if upgrade.removed.contains(&node.class) {
                return Ok(());
            }
            if !successors.is_empty() {
                match filters::choose(&successors, &node) {
                    Ok(Choice::One(class)) => node.class = class.name.clone(),
                    Ok(choice) => {
                        return Err((
                            version,
                            filters::split(version, &node.class, &node, &choice),
                        ));
                    }
                    Err(source) => {
                        let node = node.name;
                        return Err((
                            version,
                            HistoryError::Filter {
                                version,
                                node,
                                source,
                            },
                        ));
                    }
                }
            }
            let class = history
                .release(version)
                .and_then(|release| release.classes.get(&node.class));
            if let Some(class) = class {
                self.classes.insert(version, Arc::clone(class));
            }
        }
        Ok(())
    }

    /// The node's class at `version`; absent before the class was added, after it was removed, and from a
    /// [`problem`](Self::problem) on.
    pub fn class(&self, version: Version) -> Option<&Arc<ReleaseClass>> {
        self.classes.get(&version)
    }

    /// The first version in which there is no place for this node, and why; it cannot go there.
    pub fn problem(&self) -> Option<&(Version, HistoryError)> {
        self.problem.as_ref()
    }

    /// Every version of the history, in order.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Whether this version was withdrawn.
    pub fn is_withdrawn(&self, version: Version) -> bool {
        self.withdrawn.contains(&version)
    }

    /// The interface of a service at a version.
    pub fn interface(&self, service: &str, version: Version) -> Option<InterfaceId> {
        self.class(version)?.interfaces.get(service).copied()
    }

    /// Whether two versions talk to each other directly on this service.
    pub fn same_interface(&self, service: &str, a: Version, b: Version) -> bool {
        let interface = self.interface(service, a);
        interface.is_some() && interface == self.interface(service, b)
    }

    /// What the upgrade to `version` brings to this node.
    pub fn work(&self, version: Version) -> Work {
        match self.class(version) {
            Some(class) if class.provided_by == version => Work::Restart,
            Some(_) => Work::Number,
            None if self.classes.range(..version).next_back().is_some() => Work::Remove,
            None => Work::Number,
        }
    }

    /// How callers without a label are served on a service of a node at `version`. `moved` is what operators have set
    /// (`class/service` to version), by any name that the class ever had.
    pub fn public(
        &self,
        service: &str,
        version: Version,
        moved: &BTreeMap<String, Version>,
    ) -> Public {
        let Some(class) = self.class(version) else {
            return Public::Nobody;
        };
        let others = self.classes.values().rev();
        let mut names = std::iter::once(class)
            .chain(others)
            .map(|class| &class.name);
        if let Some(set) = names.find_map(|name| moved.get(&format!("{name}/{service}"))) {
            return Public::At(*set);
        }
        match class
            .definition
            .services
            .get(service)
            .map(|service| service.public)
        {
            None | Some(PublicPolicy::Nobody) => Public::Nobody,
            Some(PublicPolicy::Latest) => Public::Own,
            Some(PublicPolicy::First) => Public::At(self.first_published(service, version)),
        }
    }

    /// The oldest version from which on the service was there without a break until `version`.
    pub fn first_published(&self, service: &str, version: Version) -> Version {
        let older = self.classes.range(..=version).rev();
        let present = older.take_while(|(_, class)| class.interfaces.contains_key(service));
        present.last().map_or(version, |(first, _)| *first)
    }
}
