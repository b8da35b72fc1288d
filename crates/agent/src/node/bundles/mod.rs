//! The bundles that lie here: what each revision says of the node's class, and whether it is what was published.

mod mending;
mod revisions;
mod sweeping;

pub(super) use sweeping::UsedPlaces;

use super::surroundings::Surroundings;
use crate::fetch::{self, FetchError};
use crate::layout::Layout;
use crate::relay::LiveTraffic;
use component::Declaration;
use model::bundle::{BundleFiles, Class, OnceCommand, Shipped};
use model::machine::Place;
use model::manifest::{Manifest, ManifestError};
use model::schedule::Schedule;
use revisions::ReadRevisions;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinError;

/// What lies in the version folders.
pub(super) struct Bundles {
    surroundings: Arc<Surroundings>,
    traffic: Arc<LiveTraffic>,
    /// What they say of themselves.
    revisions: ReadRevisions,
    /// Files that were compared with what was published.
    looked: fetch::LookedAt,
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnusableBundle {
    /// A file of it cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its manifest is none.
    #[error("{path}")]
    Manifest {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// It is not what was published.
    #[error("{path} is not what was published: it was changed here")]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// Its upgrade file does not hold.
    #[error("{path}: {problems}")]
    UpgradeFile {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problems: String,
    },
    /// It says nothing of the node's class.
    #[error("the node's class has no software in version {place}")]
    NoSoftware {
        /// Which bundle.
        place: Place,
    },
    /// Files are damaged, and what they should be cannot be had.
    #[error("files of version {place} are not what was published ({files}) and cannot be mended")]
    Unmended {
        /// Whose files.
        place: Place,
        /// The first of them.
        files: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// The archive of its software cannot be looked at.
    #[error("the software of version {place} cannot be compared with its archive")]
    Archive {
        /// Whose.
        place: Place,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// It cannot be fetched, laid out or noted.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A look at it broke.
    #[error("{0}")]
    Broken(JoinError),
}

impl Bundles {
    pub(super) fn new(surroundings: &Arc<Surroundings>, traffic: &Arc<LiveTraffic>) -> Arc<Self> {
        Arc::new(Self {
            surroundings: surroundings.clone(),
            traffic: traffic.clone(),
            revisions: ReadRevisions::default(),
            looked: fetch::LookedAt::default(),
        })
    }

    fn layout(&self) -> &Layout {
        &self.surroundings.layout
    }

    /// The bundles that lie here, in order.
    pub(super) fn staged_places(&self) -> Vec<Place> {
        let mut places = self.places_on_disk();
        places.retain(|place| self.layout().bundle(*place).is_dir());
        places
    }

    /// What lies here, bundles or what is left of them, in order.
    fn places_on_disk(&self) -> Vec<Place> {
        let Ok(entries) = std::fs::read_dir(self.layout().versions()) else {
            return Vec::new();
        };
        let mut places: Vec<Place> = entries
            .flatten()
            .filter_map(|entry| parse_place(entry.file_name().to_str()?))
            .collect();
        places.sort_unstable();
        places
    }

    /// What the node's class is in this bundle, if the bundle says something of it.
    pub(super) fn shipped_class(
        &self,
        bundle: Place,
    ) -> Result<Option<Arc<Class>>, UnusableBundle> {
        let revision = self.revisions.read(self.layout(), bundle)?;
        let catalog = self.traffic.catalog();
        let class = catalog.class_at(bundle.version);
        let mentioned = class.and_then(|class| revision.upgrade.classes.get(&class.name));
        let definition = mentioned.and_then(|class| class.definition.clone());
        Ok(definition.map(Arc::new))
    }

    /// When the node's class may go to a place, where its upgrade says something of that class.
    pub(super) fn schedule(&self, to: Place) -> Result<Option<Schedule>, UnusableBundle> {
        let revision = self.revisions.read(self.layout(), to)?;
        let catalog = self.traffic.catalog();
        let class = catalog.class_at(to.version);
        let mentioned = class.and_then(|class| revision.upgrade.classes.get(&class.name));
        Ok(mentioned.map(|class| class.schedule.clone()))
    }

    /// What is done once for the whole system when everybody is at a place, if its upgrade has something of that name.
    pub(super) fn once(
        &self,
        place: Place,
        name: &str,
    ) -> Result<Option<OnceCommand>, UnusableBundle> {
        let revision = self.revisions.read(self.layout(), place)?;
        Ok(revision.upgrade.once.get(name).cloned())
    }

    /// The definition of what runs from a bundle.
    pub(super) fn definition(&self, bundle: Place) -> Result<Arc<Class>, UnusableBundle> {
        self.shipped_class(bundle)?
            .ok_or(UnusableBundle::NoSoftware { place: bundle })
    }

    /// Whether a revision of an upgrade transforms this node's state.
    pub(super) fn transforms_at(&self, place: Place) -> Result<bool, UnusableBundle> {
        let class = self.shipped_class(place)?;
        Ok(class.is_some_and(|class| class.state.transform.is_some()))
    }

    /// Whether nodes that run the software of one bundle need no restart for another revision of it.
    pub(super) fn runs_as(&self, new: Place, old: Place) -> Result<bool, UnusableBundle> {
        let (new_class, old_class) = (self.definition(new)?, self.definition(old)?);
        let (new_files, old_files) = (self.files(new)?, self.files(old)?);
        let new = Shipped {
            class: &new_class,
            files: &new_files.0,
            adapters: &new_files.1,
        };
        Ok(new.runs_as(&Shipped {
            class: &old_class,
            files: &old_files.0,
            adapters: &old_files.1,
        }))
    }

    /// A bundle's files, and those of them that adapters consist of.
    fn files(&self, bundle: Place) -> Result<(BundleFiles, BTreeSet<String>), UnusableBundle> {
        let revision = self.revisions.read(self.layout(), bundle)?;
        let mut adapters = BTreeSet::new();
        for file in revision.upgrade.adapter_files() {
            adapters.insert(file.to_owned());
            let text = read_text(&self.layout().bundle(bundle).join(file))?;
            if Declaration::is_one(&text)
                && let Ok(declaration) = Declaration::parse(file, &text)
            {
                adapters.insert(declaration.component());
            }
        }
        Ok((revision.manifest.listing(), adapters))
    }

    /// Keeps a bundle's manifest beside it, before the bundle is there.
    pub(super) fn keep_manifest(
        &self,
        place: Place,
        manifest: &Manifest,
    ) -> Result<(), UnusableBundle> {
        let path = self.layout().manifest(place);
        let keep = || -> io::Result<()> {
            std::fs::create_dir_all(self.layout().version(place))?;
            let fresh = path.with_extension("new");
            std::fs::write(&fresh, manifest.text())?;
            std::fs::File::open(&fresh)?.sync_all()?;
            std::fs::rename(&fresh, &path)
        };
        Ok(keep().map_err(fetch::disk("write", &path))?)
    }
}

/// Reads a file of a bundle.
pub(super) fn read_text(path: &Path) -> Result<String, UnusableBundle> {
    std::fs::read_to_string(path).map_err(|source| UnusableBundle::Read {
        path: path.to_owned(),
        source,
    })
}

fn read_manifest(path: PathBuf) -> Result<Manifest, UnusableBundle> {
    Manifest::parse(&read_text(&path)?).map_err(|source| UnusableBundle::Manifest { path, source })
}

fn parse_place(name: &str) -> Option<Place> {
    let (version, revision) = name.split_once('.')?;
    Some(Place {
        version: version.parse().ok()?,
        revision: revision.parse().ok()?,
    })
}
