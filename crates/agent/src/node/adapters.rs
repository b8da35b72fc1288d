//! The adapters of the versions that the node answers: lenses and components, loaded from their bundles.

use super::Node;
use crate::error_chain::chain;
use crate::layout::Layout;
use crate::relay::{Loaded, LoadedSessions};
use crate::unpoisoned::Unpoisoned as _;
use adapter::component::{
    CompileHelper, Compiler, ComponentStep, Declaration, Place as Standing, Program, SessionStep,
};
use adapter::{AdapterKind, Lens, StateId, Stores};
use model::bundle::Adapter;
use model::ids::Version;
use model::machine::Place;
use model::routing::Direction;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A file of an `adapter` key, read and proved.
#[derive(Clone)]
enum Read {
    Lens(Arc<Lens>),
    Component(Arc<Declaration>, Arc<Program>),
}

impl Read {
    fn kind(&self) -> AdapterKind {
        match self {
            Read::Lens(_) => AdapterKind::Lens,
            Read::Component(_, program) => AdapterKind::of(program),
        }
    }
}

/// Loads adapters, and keeps what they need: their states, and components that are loaded already.
pub(super) struct Loader {
    stores: Arc<Stores>,
    compiler: Compiler,
    /// By file: a bundle never changes.
    read: Mutex<BTreeMap<PathBuf, Read>>,
}

impl Loader {
    pub(super) fn new(layout: &Layout, upstart_binary: &Path) -> Self {
        let helper = CompileHelper {
            upstart_binary: upstart_binary.to_owned(),
        };
        Self {
            stores: Arc::new(Stores::new(layout.adapter_state())),
            compiler: Compiler::new(helper, layout.compiled()),
            read: Mutex::default(),
        }
    }

    /// What adapters remember.
    pub(super) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Writes what the future adapters of an upgrade remember, for its transform.
    pub(super) fn give_to_transform(&self, upgrade: Version, folder: &Path) -> Result<(), String> {
        let id = state_id(upgrade, Direction::Future);
        (self.stores.export(id, folder)).map_err(|error| error.to_string())
    }

    /// Lets the past adapters of an upgrade begin with what its transform has left; nothing where it left nothing.
    pub(super) fn begin_transformed(
        &self,
        node: &Node,
        place: Place,
        folder: &Path,
    ) -> Result<(), String> {
        let class = node.shipped_class(place)?;
        let has_adapters = class.is_some_and(|class| {
            let mut services = class.services.values();
            services.any(|service| matches!(service.past, Adapter::File(_)))
        });
        if !has_adapters {
            return Ok(());
        }
        let id = state_id(place.version, Direction::Past);
        let imported = self.stores.import(id, folder);
        imported.map_err(|error| format!("the adapters' state that the transform wrote: {error}"))
    }

    /// Reads a file of a bundle; a component is compiled where it was not yet. Blocks.
    fn read(&self, bundle: &Path, path: &str) -> Result<Read, String> {
        let file = bundle.join(path);
        if let Some(read) = self.known().get(&file) {
            return Ok(read.clone());
        }
        let text = std::fs::read_to_string(&file)
            .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let read = if Declaration::is_one(&text) {
            let declaration = Declaration::parse(path, &text).map_err(|error| error.to_string())?;
            let component = declaration.component();
            let program =
                self.compiler
                    .program(&component, &bundle.join(&component), declaration.limits());
            let program = program.map_err(|error| chain(&error))?;
            Read::Component(Arc::new(declaration), program)
        } else {
            let lens = Lens::parse(path, &text).map_err(|error| error.to_string())?;
            Read::Lens(Arc::new(lens))
        };
        self.known().insert(file, read.clone());
        Ok(read)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Read>> {
        self.read.lock().unpoisoned()
    }

    fn load(
        &self,
        node: &Node,
        places: &BTreeMap<Version, Place>,
    ) -> Result<(Loaded, LoadedSessions), String> {
        let catalog = node.catalog();
        let (mut loaded, mut sessions) = (Loaded::new(), LoadedSessions::new());
        let mut used = Vec::new();
        for (version, place) in places {
            // By the word of the revision that lies here: a newer one may name other files.
            let Some(class) = node.shipped_class(*place)? else {
                continue;
            };
            let before = (catalog.history().release(*version)).map(|release| release.from);
            for (service, definition) in &class.services {
                for direction in [Direction::Past, Direction::Future] {
                    let Adapter::File(path) = definition.adapter(direction) else {
                        continue;
                    };
                    let bundle = node.layout.bundle(*place);
                    let read = self.read(&bundle, path)?;
                    let serves = read.kind().serves(definition);
                    serves.map_err(|problem| format!("{}: {path}: {problem}", definition.key))?;
                    if let Read::Component(declaration, _) = &read {
                        let fits = declaration.fits(definition.protocol);
                        fits.map_err(|error| error.to_string())?;
                    }
                    used.push(bundle.join(path));
                    let (key, stores) =
                        ((*version, service.clone(), direction), self.stores.clone());
                    let standing = standing(*version, before.unwrap_or_default(), direction);
                    match read {
                        Read::Lens(lens) => drop(loaded.insert(key, lens.adapter(side(direction)))),
                        Read::Component(declaration, program) if program.is_of_sessions() => {
                            let step = SessionStep::new(declaration, program, stores, standing);
                            sessions.insert(key, Arc::new(step));
                        }
                        Read::Component(declaration, program) => {
                            let step = ComponentStep::new(declaration, program, stores, standing);
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

fn side(direction: Direction) -> adapter::Direction {
    match direction {
        Direction::Past => adapter::Direction::Past,
        Direction::Future => adapter::Direction::Future,
    }
}

fn state_id(upgrade: Version, direction: Direction) -> StateId {
    StateId {
        upgrade: upgrade.0,
        direction: side(direction),
    }
}

fn standing(upgrade: Version, before: Version, direction: Direction) -> Standing {
    let (caller, next) = match direction {
        Direction::Past => (before, upgrade),
        Direction::Future => (upgrade, before),
    };
    Standing {
        state: state_id(upgrade, direction),
        caller_version: caller.0,
        next_version: next.0,
    }
}

/// Loads the adapters of every version that the node answers.
pub(super) async fn load(
    node: &Arc<Node>,
    places: BTreeMap<Version, Place>,
) -> Result<(Loaded, LoadedSessions), String> {
    let shared = node.clone();
    let loading = tokio::task::spawn_blocking(move || shared.adapters.load(&shared, &places));
    loading.await.map_err(|error| error.to_string())?
}

/// Proves the adapters of a staged bundle, and compiles its components.
pub(super) async fn prepare(
    node: &Arc<Node>,
    place: Place,
    files: Vec<String>,
) -> Result<(), String> {
    let shared = node.clone();
    let preparing = tokio::task::spawn_blocking(move || {
        let bundle = shared.layout.bundle(place);
        files
            .iter()
            .try_for_each(|path| shared.adapters.read(&bundle, path).map(|_| ()))
    });
    preparing.await.map_err(|error| error.to_string())?
}
