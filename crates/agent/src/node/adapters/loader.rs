//! The adapters of the versions that the node answers: lenses and components, loaded from their bundles.

use crate::error_chain::chain;
use crate::node::bundles::{Bundles, UnusableBundle, read_text};
use crate::node::surroundings::Surroundings;
use crate::relay::{LiveTraffic, Loaded, LoadedSessions};
use call::AdapterKind;
use component::{
    ChainPlace, CompileHelper, Compiler, ComponentStep, Declaration, Program, SessionStep, StateId,
    Stores,
};
use lens::Lens;
use model::bundle::Adapter;
use model::ids::Version;
use model::machine::Place;
use model::routing::AdapterDirection;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of an `adapter` key, read and proved.
#[derive(Clone)]
enum ReadAdapter {
    Lens(Arc<Lens>),
    Component(Arc<Declaration>, Arc<Program>),
}

impl ReadAdapter {
    fn kind(&self) -> AdapterKind {
        match self {
            Self::Lens(_) => AdapterKind::Lens,
            Self::Component(_, program) => program.kind(),
        }
    }
}

/// Loads adapters, and keeps what they need: their states, and components that are loaded already.
pub(in crate::node) struct AdapterLoader {
    surroundings: Arc<Surroundings>,
    traffic: Arc<LiveTraffic>,
    bundles: Arc<Bundles>,
    stores: Arc<Stores>,
    compiler: Compiler,
    /// By file: a bundle never changes.
    read: Mutex<BTreeMap<PathBuf, ReadAdapter>>,
}

/// Why adapters cannot be loaded, or their state not moved.
#[derive(Debug, thiserror::Error)]
pub(in crate::node) enum AdapterError {
    /// Their bundle cannot be read.
    #[error(transparent)]
    Bundle(#[from] UnusableBundle),
    /// One of them cannot be read, proved or compiled, or does not fit its service.
    #[error("{0}")]
    Unfit(String),
    /// What they remember cannot be given away.
    #[error("{0}")]
    Export(component::StateError),
    /// What they should remember cannot be taken over.
    #[error("the adapters' state that the transform wrote: {0}")]
    Import(component::StateError),
    /// Loading broke.
    #[error("{0}")]
    Broken(tokio::task::JoinError),
}

impl AdapterLoader {
    pub(in crate::node) fn new(
        surroundings: &Arc<Surroundings>,
        traffic: &Arc<LiveTraffic>,
        bundles: &Arc<Bundles>,
    ) -> Arc<Self> {
        let layout = &surroundings.layout;
        let helper = CompileHelper {
            upstart_binary: surroundings.binary.clone(),
        };
        Arc::new(Self {
            stores: Arc::new(Stores::new(layout.adapter_state())),
            compiler: Compiler::new(helper, layout.compiled()),
            read: Mutex::default(),
            surroundings: surroundings.clone(),
            traffic: traffic.clone(),
            bundles: bundles.clone(),
        })
    }

    /// What adapters remember.
    pub(in crate::node) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Writes what the future adapters of an upgrade remember, for its transform.
    pub(in crate::node) fn give_to_transform(
        &self,
        upgrade: Version,
        folder: &Path,
    ) -> Result<(), AdapterError> {
        let id = state_id(upgrade, AdapterDirection::Future);
        (self.stores.export(id, folder)).map_err(AdapterError::Export)
    }

    /// Lets the past adapters of an upgrade begin with what its transform has left; nothing where it left nothing.
    pub(in crate::node) fn begin_transformed(
        &self,
        place: Place,
        folder: &Path,
    ) -> Result<(), AdapterError> {
        let class = self.bundles.shipped_class(place)?;
        let has_adapters = class.is_some_and(|class| {
            let mut services = class.services.values();
            services.any(|service| matches!(service.past, Adapter::File(_)))
        });
        if !has_adapters {
            return Ok(());
        }
        let id = state_id(place.version, AdapterDirection::Past);
        let imported = self.stores.import(id, folder);
        imported.map_err(AdapterError::Import)
    }

    /// Reads a file of a bundle; a component is compiled where it was not yet. Blocks.
    fn read(&self, bundle: &Path, path: &str) -> Result<ReadAdapter, AdapterError> {
        let file = bundle.join(path);
        if let Some(read) = self.known().get(&file) {
            return Ok(read.clone());
        }
        let text = read_text(&file)?;
        let read = if Declaration::is_one(&text) {
            let declaration = Declaration::parse(path, &text).map_err(unfit)?;
            let component = declaration.component();
            let program =
                self.compiler
                    .program(&component, &bundle.join(&component), declaration.limits());
            let program = program.map_err(|error| unfit(chain(&error)))?;
            ReadAdapter::Component(Arc::new(declaration), program)
        } else {
            let lens = Lens::parse(path, &text).map_err(unfit)?;
            ReadAdapter::Lens(Arc::new(lens))
        };
        self.known().insert(file, read.clone());
        Ok(read)
    }

    fn known(&self) -> parking_lot::MutexGuard<'_, BTreeMap<PathBuf, ReadAdapter>> {
        self.read.lock()
    }

    /// Loads the adapters of every version that the node answers.
    pub(in crate::node) async fn load(
        self: &Arc<Self>,
        places: BTreeMap<Version, Place>,
    ) -> Result<(Loaded, LoadedSessions), AdapterError> {
        let loader = self.clone();
        let loading = tokio::task::spawn_blocking(move || loader.load_all(&places));
        loading.await.map_err(AdapterError::Broken)?
    }

    /// Proves the adapters of a staged bundle, and compiles its components.
    pub(in crate::node) async fn prepare(
        self: &Arc<Self>,
        place: Place,
        files: Vec<String>,
    ) -> Result<(), AdapterError> {
        let loader = self.clone();
        let preparing = tokio::task::spawn_blocking(move || {
            let bundle = loader.surroundings.layout.bundle(place);
            files
                .iter()
                .try_for_each(|path| loader.read(&bundle, path).map(|_| ()))
        });
        preparing.await.map_err(AdapterError::Broken)?
    }

    fn load_all(
        &self,
        places: &BTreeMap<Version, Place>,
    ) -> Result<(Loaded, LoadedSessions), AdapterError> {
        let catalog = self.traffic.catalog();
        let (mut loaded, mut sessions) = (Loaded::new(), LoadedSessions::new());
        let mut used = Vec::new();
        for (version, place) in places {
            // By the word of the revision that lies here: a newer one may name other files.
            let Some(class) = self.bundles.shipped_class(*place)? else {
                continue;
            };
            let before = (catalog.history().release(*version)).map(|release| release.from);
            for (service, definition) in &class.services {
                for direction in [AdapterDirection::Past, AdapterDirection::Future] {
                    let Adapter::File(path) = definition.adapter(direction) else {
                        continue;
                    };
                    let bundle = self.surroundings.layout.bundle(*place);
                    let read = self.read(&bundle, path)?;
                    let serves = read.kind().serves(definition);
                    serves.map_err(|problem| {
                        unfit(format!("{}: {path}: {problem}", definition.key))
                    })?;
                    if let ReadAdapter::Component(declaration, _) = &read {
                        let fits = declaration.fits(definition.protocol);
                        fits.map_err(unfit)?;
                    }
                    used.push(bundle.join(path));
                    let (key, stores) =
                        ((*version, service.clone(), direction), self.stores.clone());
                    let between = chain_place(*version, before.unwrap_or_default(), direction);
                    match read {
                        ReadAdapter::Lens(lens) => {
                            drop(loaded.insert(key, lens.adapter(side(direction))))
                        }
                        ReadAdapter::Component(declaration, program)
                            if program.is_of_sessions() =>
                        {
                            let step = SessionStep::new(declaration, program, stores, between);
                            sessions.insert(key, Arc::new(step));
                        }
                        ReadAdapter::Component(declaration, program) => {
                            let step = ComponentStep::new(declaration, program, stores, between);
                            loaded.insert(key, Arc::new(step));
                        }
                    }
                }
            }
        }
        self.known().retain(|file, _| used.contains(file));
        Ok((loaded, sessions))
    }
}

fn unfit(problem: impl ToString) -> AdapterError {
    AdapterError::Unfit(problem.to_string())
}

fn side(direction: AdapterDirection) -> call::Direction {
    match direction {
        AdapterDirection::Past => call::Direction::Past,
        AdapterDirection::Future => call::Direction::Future,
    }
}

fn state_id(upgrade: Version, direction: AdapterDirection) -> StateId {
    StateId {
        upgrade: upgrade.0,
        direction: side(direction),
    }
}

fn chain_place(upgrade: Version, before: Version, direction: AdapterDirection) -> ChainPlace {
    let (caller, next) = match direction {
        AdapterDirection::Past => (before, upgrade),
        AdapterDirection::Future => (upgrade, before),
    };
    ChainPlace {
        state: state_id(upgrade, direction),
        caller_version: caller.0,
        next_version: next.0,
    }
}
