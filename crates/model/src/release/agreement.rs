//! How an upgrade's services and schedules agree with the classes before and beside them.

use super::construction::ReleaseStep;
use super::{HistoryError, InterfaceId, ReleaseClass};
use crate::bundle::{ClassUpgrade, Interface, Protocol, Service};
use crate::ids::Version;
use crate::spelling::nearest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl ReleaseStep<'_> {
    /// `after` names classes of this version, and no class waits for itself by a roundabout way.
    pub(super) fn check_order(
        &self,
        classes: &BTreeMap<String, Arc<ReleaseClass>>,
    ) -> Result<(), HistoryError> {
        let after = |name: &str| {
            let schedule = classes.get(name).map(|class| &class.schedule);
            let after = schedule.and_then(|schedule| schedule.after.as_ref());
            after.map_or(&[][..], |after| &after.classes)
        };
        for name in classes.keys() {
            if let Some(unknown) = after(name)
                .iter()
                .find(|other| !classes.contains_key(*other))
            {
                let hint = nearest(unknown, classes.keys().map(String::as_str))
                    .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                let version = self.upgrade.version;
                let problem =
                    format!("schedule.after: version {version} has no class `{unknown}`{hint}");
                return Err(self.class_error(name, problem));
            }
            let mut reached: BTreeSet<&str> = BTreeSet::new();
            let mut open: Vec<&str> = after(name).iter().map(String::as_str).collect();
            while let Some(next) = open.pop() {
                if next == name {
                    let problem =
                        "schedule.after: it would wait for itself, so no node could ever upgrade";
                    return Err(self.class_error(name, problem.to_owned()));
                }
                if reached.insert(next) {
                    open.extend(after(next).iter().map(String::as_str));
                }
            }
        }
        Ok(())
    }

    /// What is done once is done by a node of a class of this version.
    pub(super) fn check_once(
        &self,
        classes: &BTreeMap<String, Arc<ReleaseClass>>,
    ) -> Result<(), HistoryError> {
        for (name, once) in &self.upgrade.once {
            if classes.contains_key(&once.class) {
                continue;
            }
            let hint = nearest(&once.class, classes.keys().map(String::as_str))
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let version = self.upgrade.version;
            let problem = format!("there is no class `{}`{hint}", once.class);
            return Err(HistoryError::Once {
                version,
                name: name.clone(),
                problem,
            });
        }
        Ok(())
    }

    pub(super) fn interface(
        &self,
        class: &ClassUpgrade,
        service: &Service,
        before: Option<&ReleaseClass>,
    ) -> Result<InterfaceId, HistoryError> {
        let old = before.and_then(|before| Some((before.interfaces.get(&service.name)?, before)));
        let own = InterfaceId(self.upgrade.version);
        let problem = match (service.interface, old) {
            (Interface::New, None) => return Ok(own),
            (Interface::New, Some(_)) => {
                "it was there before: write `interface = \"same\"` or `interface = \"changed\"`"
                    .to_owned()
            }
            (_, None) => {
                let known = before
                    .map(|before| &before.interfaces)
                    .into_iter()
                    .flatten();
                let hint = nearest(&service.name, known.map(|(name, _)| name.as_str()))
                    .map_or(String::new(), |near| {
                        format!(" (did you mean service `{near}`?)")
                    });
                format!("there was no such service before, so leave `interface` out{hint}")
            }
            (Interface::Same, Some((id, before))) => {
                let old = before.definition.services.get(&service.name);
                let what = match old {
                    Some(old) if old.protocol != service.protocol => "protocol",
                    Some(old) if old.framing != service.framing => "framing",
                    _ => return Ok(*id),
                };
                format!(
                    "its {what} changes, so its interface does: write `interface = \"changed\"`"
                )
            }
            (Interface::Changed, Some((_, before))) => {
                let old = before.definition.services.get(&service.name);
                // Adapters are of calls or of sessions, never of one on this side and the other on that.
                let is_http = |service: &Service| service.protocol == Protocol::Http;
                let changes = old.is_some_and(|old| is_http(old) != is_http(service));
                if !changes || !service.translates() {
                    return Ok(own);
                }
                "its protocol changes, and an adapter translates only between versions that both speak http, or neither: write `adapter = \"refuse\"`"
                    .to_owned()
            }
            (Interface::AsVersion(version), Some((id, before))) => {
                match self.interface_of(before, &service.name, version) {
                    Some(older) if older == *id => {
                        format!(
                            "version {version} had the same interface as the version before: write `interface = \"same\"`"
                        )
                    }
                    Some(older) => return Ok(older),
                    None => {
                        format!("as_version: version {version} had no such service of this class")
                    }
                }
            }
        };
        let (class, service) = (class.name.clone(), service.name.clone());
        Err(HistoryError::Service {
            version: self.upgrade.version,
            class,
            service,
            problem,
        })
    }

    /// The interface of a service at an older version, following the class back.
    fn interface_of(
        &self,
        class: &ReleaseClass,
        service: &str,
        version: Version,
    ) -> Option<InterfaceId> {
        let releases = &self.builder.history.releases;
        let mut at = self.upgrade.from;
        let mut name = class.name.clone();
        while at > version {
            let release = releases.get(&at)?;
            name = release.classes.get(&name)?.origin.clone()?;
            at = release.from;
        }
        let class = releases.get(&version)?.classes.get(&name)?;
        class.interfaces.get(service).copied()
    }
}
