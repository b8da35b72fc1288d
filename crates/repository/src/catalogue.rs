//! The upgrades of a system as its publishers have signed them: which versions, which revisions, what is withdrawn. Pure.

use crate::error::{SignError, TrustError};
use crate::metadata::manifest_target;
use model::ids::{Place, Revision, Version};
use model::manifest::{Digest, Manifest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use tough::TargetName;
use tough::schema::{Hashes, Target, Targets};

/// The upgrades that are signed, by version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Catalogue {
    /// Every version that was ever published; a withdrawn one too, since its number is never used again.
    pub upgrades: BTreeMap<Version, SignedUpgrade>,
}

/// One upgrade as it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedUpgrade {
    /// The version that it starts from; zero for the first.
    pub from: Version,
    /// Whether it was taken back.
    pub withdrawn: bool,
    /// Its manifests, by revision.
    pub revisions: BTreeMap<Revision, SignedManifest>,
}

/// A manifest as it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SignedManifest {
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What is signed of a manifest besides its digest, so that an upgrade is known before its manifest is fetched.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Particulars {
    from: Version,
    #[serde(default)]
    withdrawn: bool,
}

impl SignedUpgrade {
    /// The first revision with this manifest.
    pub fn revision_of(&self, manifest: SignedManifest) -> Option<Revision> {
        let mut revisions = self.revisions.iter();
        let found = revisions.find(|(_, signed)| **signed == manifest);
        found.map(|(revision, _)| *revision)
    }
}

impl Catalogue {
    /// Reads the catalogue from signed targets. Targets of other names are left to those who know them.
    ///
    /// # Errors
    /// Its publishers have signed what cannot be.
    pub(crate) fn of(targets: &Targets) -> Result<Self, TrustError> {
        let mut catalogue = Self::default();
        for (name, target) in &targets.targets {
            let Some(place) = place(name.raw()) else {
                continue;
            };
            let malformed = |problem: String| TrustError::Malformed {
                document: "targets".to_owned(),
                problem: format!("{}: {problem}", name.raw()),
            };
            let custom: serde_json::Map<_, _> = target.custom.clone().into_iter().collect();
            let particulars: Particulars = serde_json::from_value(custom.into())
                .map_err(|error| malformed(error.to_string()))?;
            let digest = <[u8; 32]>::try_from(target.hashes.sha256.as_ref())
                .map_err(|_| malformed("its digest is no SHA-256".to_owned()))?;
            let upgrade =
                catalogue
                    .upgrades
                    .entry(place.version)
                    .or_insert_with(|| SignedUpgrade {
                        from: particulars.from,
                        withdrawn: particulars.withdrawn,
                        revisions: BTreeMap::new(),
                    });
            if (upgrade.from, upgrade.withdrawn) != (particulars.from, particulars.withdrawn) {
                let problem = "another revision says otherwise from where it starts, or whether it is withdrawn";
                return Err(malformed(problem.to_owned()));
            }
            let manifest = SignedManifest {
                sha256: Digest(digest),
                bytes: target.length,
            };
            upgrade.revisions.insert(place.revision, manifest);
        }
        Ok(catalogue)
    }

    /// The signed manifest of a revision.
    pub fn manifest(&self, place: Place) -> Option<SignedManifest> {
        let upgrade = self.upgrades.get(&place.version)?;
        upgrade.revisions.get(&place.revision).copied()
    }

    /// Every revision with its manifest, also of what is withdrawn.
    pub fn manifests(&self) -> impl Iterator<Item = (Place, SignedManifest)> + '_ {
        self.upgrades.iter().flat_map(|(&version, upgrade)| {
            let place = move |revision| Place { version, revision };
            let mut revisions = upgrade.revisions.iter();
            std::iter::from_fn(move || {
                revisions
                    .next()
                    .map(|(&revision, &manifest)| (place(revision), manifest))
            })
        })
    }
}

/// The place that a target's name says; none for targets of other kinds. Only the one spelling counts.
fn place(name: &str) -> Option<Place> {
    let text = name.strip_prefix("upgrades/")?.strip_suffix(".json")?;
    let (version, revision) = text.split_once('.')?;
    let place = Place {
        version: version.parse().ok()?,
        revision: revision.parse().ok()?,
    };
    (manifest_target(place) == name).then_some(place)
}

/// Adds an upgrade, or a revision of the newest kind, to targets. The same contents again are the same.
///
/// # Errors
/// The number is taken, skipped or withdrawn.
pub(crate) fn add(
    targets: &mut Targets,
    manifest: &Manifest,
    revise: bool,
) -> Result<Place, SignError> {
    let catalogue = Catalogue::of(targets)?;
    let text = manifest.text();
    let signed = SignedManifest {
        sha256: manifest.digest(),
        bytes: text.len() as u64,
    };
    let version = manifest.version;
    let there = catalogue.upgrades.get(&version);
    let newest = there.and_then(|upgrade| upgrade.revisions.last_key_value());
    let revision = match (newest, there) {
        // Nothing is to be signed: a server that has lost it is given it again, as one that is withdrawn.
        (_, Some(there)) if there.withdrawn && !revise && there.revision_of(signed).is_some() => {
            let revision = there.revision_of(signed).unwrap_or_default();
            return Ok(Place { version, revision });
        }
        (_, Some(there)) if there.withdrawn => {
            return Err(refused(
                format!("version {version} was withdrawn, and its number is never used again"),
                "publish the next number",
            ));
        }
        (Some((&revision, known)), _) if *known == signed => {
            return Ok(Place { version, revision });
        }
        // What is published again after its server has lost it; a revision may go back to what one before it was.
        (Some(_), Some(there)) if !revise && there.revision_of(signed).is_some() => {
            let revision = there.revision_of(signed).unwrap_or_default();
            return Ok(Place { version, revision });
        }
        (Some(_), _) if !revise => {
            return Err(refused(
                format!("version {version} is signed with other contents"),
                "sign a revision (`--revise`), or the next number",
            ));
        }
        (Some((revision, _)), Some(there)) if there.from == manifest.from => {
            Revision(revision.0 + 1)
        }
        (Some(_), _) => {
            return Err(refused(
                format!("a revision of version {version} starts from the same version"),
                "give `from` in upgrade.toml the value that it had",
            ));
        }
        (None, _) => first_revision(&catalogue, manifest, revise)?,
    };
    let place = Place { version, revision };
    let particulars = Particulars {
        from: manifest.from,
        withdrawn: false,
    };
    insert(targets, place, signed, particulars)?;
    Ok(place)
}

fn insert(
    targets: &mut Targets,
    place: Place,
    signed: SignedManifest,
    particulars: Particulars,
) -> Result<(), SignError> {
    let target = Target {
        length: signed.bytes,
        hashes: Hashes {
            sha256: signed.sha256.0.to_vec().into(),
            _extra: HashMap::new(),
        },
        custom: custom(particulars),
        _extra: HashMap::new(),
    };
    let name = TargetName::new(manifest_target(place))
        .map_err(|error| refused(error.to_string(), "choose another version"))?;
    targets.targets.insert(name, target);
    Ok(())
}

fn first_revision(
    catalogue: &Catalogue,
    manifest: &Manifest,
    revise: bool,
) -> Result<Revision, SignError> {
    let version = manifest.version;
    let newest = catalogue.upgrades.keys().next_back();
    let next = newest.map_or(Version::FIRST, |newest| Version(newest.0 + 1));
    if revise {
        let problem = format!("there is no version {version} to revise");
        return Err(refused(problem, "leave `--revise` out"));
    }
    if version != next {
        return Err(refused(
            format!("the next version is {next}, the upgrade says {version}"),
            "write that number into upgrade.toml: numbers follow one another",
        ));
    }
    let mut standing = catalogue.upgrades.iter().rev();
    let standing = standing.find(|(_, upgrade)| !upgrade.withdrawn);
    let from = standing.map_or(Version(0), |(version, _)| *version);
    if manifest.from != from {
        return Err(refused(
            format!(
                "the newest version in use is {from}, the upgrade starts from {}",
                manifest.from
            ),
            "write the newest version as `from` into upgrade.toml",
        ));
    }
    Ok(Revision(1))
}

/// Marks the newest version as withdrawn; once more is the same.
///
/// # Errors
/// It is not the newest version.
pub(crate) fn withdraw(targets: &mut Targets, version: Version) -> Result<(), SignError> {
    let catalogue = Catalogue::of(targets)?;
    let newest = catalogue.upgrades.keys().next_back();
    if newest != Some(&version) {
        return Err(refused(
            format!("version {version} is not the newest one"),
            "withdraw the newest version only: later ones start from it",
        ));
    }
    for (name, target) in &mut targets.targets {
        let upgrade = place(name.raw()).filter(|place| place.version == version);
        if let Some(there) = upgrade.and_then(|place| catalogue.upgrades.get(&place.version)) {
            target.custom = custom(Particulars {
                from: there.from,
                withdrawn: true,
            });
        }
    }
    Ok(())
}

fn custom(particulars: Particulars) -> HashMap<String, serde_json::Value> {
    HashMap::from([
        ("from".to_owned(), particulars.from.0.into()),
        ("withdrawn".to_owned(), particulars.withdrawn.into()),
    ])
}

fn refused(problem: String, advice: &'static str) -> SignError {
    SignError::Refused { problem, advice }
}
