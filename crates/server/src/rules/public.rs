//! Public versions: what callers without a label get. A class that was renamed keeps its services' public versions under
//! both names, so that nodes on either side of the rename agree.

use super::{Draft, known, some_of};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::udb::Change;
use model::api::{EventKind, PublicRequest};
use model::bundle::PublicPolicy;
use model::ids::Version;
use model::release::{History, ReleaseClass};
use std::collections::{BTreeMap, BTreeSet};

/// Gives the services that a new version brings their public versions.
pub(super) fn begin(draft: &mut Draft<'_>, history: &History, version: Version) {
    let Some(release) = history.release(version) else {
        return;
    };
    for class in release.classes.values() {
        for (service, definition) in &class.definition.services {
            let key = format!("{}/{service}", class.name);
            let change = match definition.public {
                PublicPolicy::First => first(draft, class, service, version),
                PublicPolicy::Latest | PublicPolicy::Nobody => {
                    no_longer_first(draft, history, class, service)
                }
            };
            if let Some(version) = change {
                draft.change(Change::Public(key, version));
            }
        }
    }
}

/// A service without a public version gets that of the class it comes from, or the version at which it appears.
fn first(
    draft: &Draft<'_>,
    class: &ReleaseClass,
    service: &str,
    version: Version,
) -> Option<Option<Version>> {
    let public = &draft.state.public;
    if public.contains_key(&format!("{}/{service}", class.name)) {
        return None;
    }
    let origin = class.origin.as_ref();
    let inherited = origin.and_then(|origin| public.get(&format!("{origin}/{service}")));
    Some(Some(inherited.copied().unwrap_or(version)))
}

/// The policy changes away from `first`: what was derived from that goes.
fn no_longer_first(
    draft: &Draft<'_>,
    history: &History,
    class: &ReleaseClass,
    service: &str,
) -> Option<Option<Version>> {
    let key = format!("{}/{service}", class.name);
    let before = history.release(draft.state.history.newest())?;
    let was = before
        .classes
        .get(class.origin.as_ref()?)?
        .definition
        .services
        .get(service)?;
    let derived = was.public == PublicPolicy::First && draft.state.public.contains_key(&key);
    derived.then_some(None)
}

/// Moves the public version of one service, or of all; answers all of them.
pub(super) fn set(
    draft: &mut Draft<'_>,
    request: &PublicRequest,
) -> Result<BTreeMap<String, Version>, RequestRefusal> {
    let version = request.version;
    let upgrade = known(draft.state, version)?;
    let refused = |detail: String| Err(refuse(Kind::PUBLIC_REFUSED, detail));
    if upgrade.withdrawn {
        return refused(format!(
            "Version {version} is withdrawn; choose one that is in use."
        ));
    }
    if version <= draft.state.retiring_through {
        return refused(format!("Version {version} is retired; choose a newer one."));
    }
    let mut moved: BTreeSet<String> = BTreeSet::new();
    match &request.service {
        Some(key) => {
            let keys = one(draft, key)?;
            if !spoken_at(&draft.state.history, &keys, version) {
                return refused(format!(
                    "Version {version} has no service `{key}`; choose a version that has it."
                ));
            }
            moved.extend(keys);
        }
        None => {
            for key in draft.state.public.keys() {
                let keys = linked(&draft.state.history, key);
                if spoken_at(&draft.state.history, &keys, version) {
                    moved.insert(key.clone());
                }
            }
            if moved.is_empty() {
                return refused(format!(
                    "Version {version} has none of the services that have a public version."
                ));
            }
        }
    }
    Ok(move_all(draft, moved, version))
}

/// The names of one service, which must be known.
fn one(draft: &Draft<'_>, key: &str) -> Result<BTreeSet<String>, RequestRefusal> {
    let history = &draft.state.history;
    let keys = linked(history, key);
    if history
        .versions()
        .any(|version| spoken_at(history, &keys, version))
    {
        return Ok(keys);
    }
    let there: BTreeSet<String> = services(history).collect();
    let there: Vec<String> = there.into_iter().collect();
    let detail = format!(
        "No version has a service `{key}` (written CLASS/SERVICE); there are {}.",
        some_of(&there)
    );
    Err(refuse(Kind::UNKNOWN_SERVICE, detail))
}

fn move_all(
    draft: &mut Draft<'_>,
    keys: BTreeSet<String>,
    version: Version,
) -> BTreeMap<String, Version> {
    let mut public = draft.state.public.clone();
    let mut changed = Vec::new();
    for key in keys {
        if public.insert(key.clone(), version) != Some(version) {
            draft.change(Change::Public(key.clone(), Some(version)));
            changed.push(key);
        }
    }
    if !changed.is_empty() {
        let message = format!("version {version} is public for {}", some_of(&changed));
        draft.event(EventKind::PublicMoved, None, Some(version), message);
    }
    public
}

/// Every `class/service` of every version.
fn services(history: &History) -> impl Iterator<Item = String> + '_ {
    let releases = history
        .versions()
        .filter_map(|version| history.release(version));
    releases
        .flat_map(|release| release.classes.values())
        .flat_map(|class| {
            let services = class.interfaces.keys();
            services.map(move |service| format!("{}/{service}", class.name))
        })
}

/// The names that a service (`class/service`) has had and will have, by the renames of its class.
pub(super) fn linked(history: &History, key: &str) -> BTreeSet<String> {
    let Some((class, service)) = key.split_once('/') else {
        return BTreeSet::new();
    };
    let mut older = BTreeSet::from([class.to_owned()]);
    let mut newer = older.clone();
    let releases = || {
        history
            .versions()
            .filter_map(|version| history.release(version))
    };
    let renames = |release: &model::release::Release| -> Vec<(String, String)> {
        let renamed = release.classes.values().filter_map(|class| {
            let origin = class.origin.clone()?;
            (origin != class.name).then(|| (origin, class.name.clone()))
        });
        renamed.collect()
    };
    for (origin, name) in releases().flat_map(&renames) {
        if newer.contains(&origin) {
            newer.insert(name);
        }
    }
    let reversed: Vec<_> = releases().flat_map(&renames).collect();
    for (origin, name) in reversed.into_iter().rev() {
        if older.contains(&name) {
            older.insert(origin);
        }
    }
    older
        .union(&newer)
        .map(|class| format!("{class}/{service}"))
        .collect()
}

/// Whether a version has the service, by any of its names.
pub(super) fn spoken_at(history: &History, keys: &BTreeSet<String>, version: Version) -> bool {
    let Some(release) = history.release(version) else {
        return false;
    };
    keys.iter()
        .filter_map(|key| key.split_once('/'))
        .any(|(class, service)| {
            let class = release.classes.get(class);
            class.is_some_and(|class| class.interfaces.contains_key(service))
        })
}
