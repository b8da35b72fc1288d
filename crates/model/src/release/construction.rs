//! Builds the releases from the upgrades, one on top of the other.

use super::{History, HistoryError, Release, ReleaseClass, filters};
use crate::bundle::{ClassUpgrade, Schedule, Upgrade};
use crate::ids::Version;
use crate::spelling::nearest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) fn history(
    upgrades: impl IntoIterator<Item = Arc<Upgrade>>,
    withdrawn: &BTreeSet<Version>,
) -> Result<History, HistoryError> {
    let mut sorted = BTreeMap::new();
    for upgrade in upgrades {
        if !withdrawn.contains(&upgrade.version) {
            let version = upgrade.version;
            if sorted.insert(version, upgrade).is_some() {
                return Err(HistoryError::Twice(version));
            }
        }
    }
    let withdrawn = withdrawn.clone();
    let mut builder = Builder {
        history: History {
            withdrawn,
            ..History::default()
        },
        roots: BTreeMap::new(),
    };
    for upgrade in sorted.into_values() {
        builder.add(upgrade)?;
    }
    Ok(builder.history)
}

pub(super) struct Builder {
    pub(super) history: History,
    /// The first class of each class' line: a name belongs to one line for ever, since nodes are known by it.
    roots: BTreeMap<String, String>,
}

impl Builder {
    fn add(&mut self, upgrade: Arc<Upgrade>) -> Result<(), HistoryError> {
        self.check_sequence(&upgrade)?;
        let before = self
            .history
            .releases
            .get(&upgrade.from)
            .map(|release| release.classes.clone());
        let mut step = ReleaseStep {
            builder: self,
            upgrade: &upgrade,
            before: before.unwrap_or_default(),
        };
        let classes = step.classes()?;
        let release = Release {
            version: upgrade.version,
            from: upgrade.from,
            settings: upgrade.settings.clone(),
            classes,
        };
        self.history.releases.insert(upgrade.version, release);
        self.history.upgrades.insert(upgrade.version, upgrade);
        Ok(())
    }

    fn check_sequence(&self, upgrade: &Upgrade) -> Result<(), HistoryError> {
        let version = upgrade.version;
        let expected = self.history.newest();
        if upgrade.from != expected {
            return Err(HistoryError::WrongFrom {
                version,
                found: upgrade.from,
                expected,
            });
        }
        let mut between = (expected.0 + 1..version.0).map(Version);
        if let Some(missing) = between.find(|number| !self.history.withdrawn.contains(number)) {
            return Err(HistoryError::Gap { version, missing });
        }
        match self.history.upgrades.get(&expected) {
            Some(before) if before.system != upgrade.system => Err(HistoryError::OtherSystem {
                version,
                found: upgrade.system.clone(),
                expected: before.system.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// One upgrade on top of the release before it.
pub(super) struct ReleaseStep<'a> {
    pub(super) builder: &'a mut Builder,
    pub(super) upgrade: &'a Upgrade,
    before: BTreeMap<String, Arc<ReleaseClass>>,
}

impl ReleaseStep<'_> {
    fn classes(&mut self) -> Result<BTreeMap<String, Arc<ReleaseClass>>, HistoryError> {
        let mut successors: BTreeMap<&str, Vec<&ClassUpgrade>> = BTreeMap::new();
        for class in self.upgrade.classes.values().filter(|class| !class.added) {
            successors
                .entry(class.was.as_deref().unwrap_or(&class.name))
                .or_default()
                .push(class);
        }
        for name in &self.upgrade.removed {
            if !self.before.contains_key(name) {
                return Err(self.class_error(
                    name,
                    format!("is to be removed, but {}", self.not_before(name)),
                ));
            }
            if successors.contains_key(name.as_str()) {
                return Err(self.class_error(name, "is removed and taken over at once".to_owned()));
            }
        }
        for (origin, classes) in &successors {
            filters::check(self.upgrade.version, origin, classes)?;
        }
        let mut classes = BTreeMap::new();
        for class in self.upgrade.classes.values() {
            classes.insert(class.name.clone(), Arc::new(self.class(class)?));
        }
        for (name, class) in &self.before {
            if self.upgrade.removed.contains(name) || successors.contains_key(name.as_str()) {
                continue;
            }
            let inherited = inherited(name, class, name, Schedule::default());
            if classes.insert(name.clone(), Arc::new(inherited)).is_some() {
                let problem =
                    "exists already and keeps its nodes; two classes cannot become one".to_owned();
                return Err(self.class_error(name, problem));
            }
        }
        self.check_order(&classes)?;
        self.check_once(&classes)?;
        Ok(classes)
    }

    fn class(&mut self, class: &ClassUpgrade) -> Result<ReleaseClass, HistoryError> {
        let origin = if class.added {
            None
        } else {
            Some(class.was.as_ref().unwrap_or(&class.name))
        };
        let before = match origin {
            None => None,
            Some(origin) => Some((
                origin.clone(),
                Arc::clone(self.before.get(origin).ok_or_else(|| {
                    let advice = if class.was.is_some() {
                        ""
                    } else {
                        "; write `added = true` if it is new"
                    };
                    self.class_error(&class.name, format!("{}{advice}", self.not_before(origin)))
                })?),
            )),
        };
        self.claim_name(class, before.as_ref().map(|(origin, _)| origin.as_str()))?;
        let Some(definition) = &class.definition else {
            let Some((origin, before)) = &before else {
                return Err(self.class_error(
                    &class.name,
                    "is new and does not say what it runs".to_owned(),
                ));
            };
            return Ok(inherited(
                &class.name,
                before,
                origin,
                class.schedule.clone(),
            ));
        };
        let mut interfaces = BTreeMap::new();
        for service in definition.services.values() {
            let before = before.as_ref().map(|(_, before)| before.as_ref());
            interfaces.insert(
                service.name.clone(),
                self.interface(class, service, before)?,
            );
        }
        Ok(ReleaseClass {
            name: class.name.clone(),
            definition: Arc::new(definition.clone()),
            provided_by: self.upgrade.version,
            schedule: class.schedule.clone(),
            origin: before.map(|(origin, _)| origin),
            interfaces,
        })
    }

    /// Every name belongs to one line of classes.
    fn claim_name(
        &mut self,
        class: &ClassUpgrade,
        origin: Option<&str>,
    ) -> Result<(), HistoryError> {
        let roots = &self.builder.roots;
        let root = origin
            .map_or(&class.name, |origin| {
                roots.get(origin).unwrap_or(&class.name)
            })
            .clone();
        let taken = match roots.get(&class.name) {
            None => false,
            Some(other) => class.added || *other != root,
        };
        if taken {
            let problem = "the name was used by another class before, and nodes are known by it; choose a new one";
            return Err(self.class_error(&class.name, problem.to_owned()));
        }
        self.builder.roots.insert(class.name.clone(), root);
        Ok(())
    }

    fn not_before(&self, name: &str) -> String {
        let hint = nearest(name, self.before.keys().map(String::as_str))
            .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
        format!("version {} has no class `{name}`{hint}", self.upgrade.from)
    }

    pub(super) fn class_error(&self, class: &str, problem: String) -> HistoryError {
        HistoryError::Class {
            version: self.upgrade.version,
            class: class.to_owned(),
            problem,
        }
    }
}

/// The class as it was, under its (perhaps new) name.
fn inherited(name: &str, before: &ReleaseClass, origin: &str, schedule: Schedule) -> ReleaseClass {
    ReleaseClass {
        name: name.to_owned(),
        origin: Some(origin.to_owned()),
        schedule,
        ..before.clone()
    }
}
