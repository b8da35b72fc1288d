//! What the upgrade file says, as it reads at this node: command lines, environments, directories.

use super::Node;
use super::child::StopManner;
use crate::{environment, launch};
use intercept::environment as variable;
use model::bundle::{Class, SoftwareKind, SoftwareSource, StopTo};
use model::expression::{ExpressionError, Scope, Template};
use model::ids::Version;
use model::machine::Place;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The software of a class as it is started here.
pub(super) struct Rendered {
    pub(super) command: Vec<String>,
    /// What the upgrade file adds to the environment.
    pub(super) environment: BTreeMap<String, String>,
    pub(super) directory: String,
    pub(super) user: Option<String>,
    pub(super) adopt: Option<String>,
    pub(super) refuse_io_uring: bool,
    pub(super) no_new_privileges: bool,
}

/// A transform as it is run here.
pub(super) struct RenderedTransform {
    pub(super) command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) directory: PathBuf,
    pub(super) readable: Vec<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) timeout_ms: u64,
}

impl Node {
    /// The definition in force at a place, and where the files that it names lie.
    pub(super) fn definition(&self, place: Place) -> Result<(Arc<Class>, Place), String> {
        let knowledge = self.knowledge();
        let class = knowledge.class_at(place.version).ok_or_else(|| {
            format!(
                "the node's class does not exist at version {}",
                place.version
            )
        })?;
        let provided = self.provider(class.provided_by, place);
        Ok((class.definition.clone(), provided))
    }

    /// The place whose bundle provides a version's files: the revision at hand, the newest staged one for older versions.
    fn provider(&self, provided_by: Version, place: Place) -> Place {
        if provided_by == place.version {
            return place;
        }
        self.staged_places()
            .into_iter()
            .rev()
            .find(|staged| staged.version == provided_by)
            .or_else(|| self.knowledge().newest_place(provided_by))
            .unwrap_or(place)
    }

    /// What lies on disk, in order.
    pub(super) fn staged_places(&self) -> Vec<Place> {
        let Ok(entries) = std::fs::read_dir(self.layout.versions()) else {
            return Vec::new();
        };
        let mut places: Vec<Place> = entries
            .flatten()
            .filter_map(|entry| parse_place(entry.file_name().to_str()?))
            .filter(|place| self.layout.bundle(*place).is_dir())
            .collect();
        places.sort_unstable();
        places
    }

    /// Everything that expressions of a place can see.
    pub(super) fn scope(&self, place: Place, class: &Class, provided: Place) -> Scope {
        let mut scope = self.knowledge().scope_at(place.version);
        scope.state = Some(self.layout.current().display().to_string());
        scope.bundle = Some(self.layout.bundle(provided).display().to_string());
        let software = class.software.source.as_ref();
        scope.software =
            software.map(|source| self.software_path(provided, source).display().to_string());
        scope
    }

    /// Where the unpacked software of a bundle lies.
    pub(super) fn software_path(&self, place: Place, source: &SoftwareSource) -> PathBuf {
        match source.kind {
            SoftwareKind::Folder => self.layout.bundle(place).join(&source.path),
            SoftwareKind::Tar | SoftwareKind::TarGz => self.layout.unpacked(place, &source.path),
        }
    }

    /// The software of a place as it is started here.
    pub(super) fn render(&self, place: Place) -> Result<Rendered, String> {
        let (class, provided) = self.definition(place)?;
        let scope = self.scope(place, &class, provided);
        let software = &class.software;
        let render = || -> Result<Rendered, ExpressionError> {
            Ok(Rendered {
                command: texts(&software.command, &scope)?,
                environment: software
                    .environment
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), value.render(&scope)?)))
                    .collect::<Result<_, ExpressionError>>()?,
                directory: software.directory.render(&scope)?,
                user: optional(software.user.as_ref(), &scope)?,
                adopt: optional(class.state.adopt.as_ref(), &scope)?,
                refuse_io_uring: !software.allow_io_uring,
                no_new_privileges: software.no_new_privileges,
            })
        };
        render().map_err(|error| error.to_string())
    }

    /// The transform of the upgrade that leads to a place.
    pub(super) fn render_transform(&self, place: Place) -> Result<RenderedTransform, String> {
        let (class, provided) = self.definition(place)?;
        let scope = self.scope(place, &class, provided);
        let transform = class
            .state
            .transform
            .as_ref()
            .ok_or("the class has no transform")?;
        let bundle = self.layout.bundle(provided);
        let render = || -> Result<RenderedTransform, ExpressionError> {
            let user = optional(class.software.user.as_ref(), &scope)?;
            Ok(RenderedTransform {
                command: texts(&transform.command, &scope)?,
                environment: environment::of_software(
                    user.as_deref(),
                    &self.config.pass_environment,
                ),
                directory: bundle.clone(),
                readable: vec![self.layout.version(provided)],
                user,
                timeout_ms: transform.timeout_ms,
            })
        };
        render().map_err(|error| error.to_string())
    }

    /// Whether the upgrade to a version transforms this node's state.
    pub(super) fn transforms_at(&self, version: Version) -> bool {
        let knowledge = self.knowledge();
        knowledge.class_at(version).is_some_and(|class| {
            class.provided_by == version && class.definition.state.transform.is_some()
        })
    }

    /// How the software of a place is asked to end.
    pub(super) fn stop_manner(&self, place: Place) -> StopManner {
        match self.definition(place) {
            Ok((class, _)) => StopManner {
                signal: class.lifecycle.stop_signal.number,
                to_all: class.lifecycle.stop_signal_to == StopTo::All,
                grace_ms: class.lifecycle.stop_grace_ms,
            },
            Err(_) => StopManner::default(),
        }
    }

    /// The software's whole environment: what commands beside it get, and the library's.
    pub(super) fn child_environment(&self, rendered: &Rendered) -> BTreeMap<String, String> {
        let mut all = self.command_environment(rendered);
        let text = |path: &Path| path.display().to_string();
        let preload = match all.get(variable::PRELOAD) {
            Some(others) if !others.is_empty() => format!("{} {others}", text(&self.library)),
            _ => text(&self.library),
        };
        all.insert(variable::PRELOAD.to_owned(), preload);
        all.insert(variable::TABLE.to_owned(), text(&self.layout.table()));
        all.insert(variable::STATS.to_owned(), text(&self.layout.stats()));
        all.insert(variable::HOLDER.to_owned(), self.hook_socket.clone());
        all
    }

    /// Lets the software's user read the table and the library, and write the counters.
    pub(super) fn prepare_shared_files(&self, user: Option<&str>) -> Result<(), String> {
        let Some(user) = user else {
            return Ok(());
        };
        let give = || -> std::io::Result<()> {
            let (uid, gid) = launch::user::ids(user)?;
            std::os::unix::fs::chown(self.layout.stats(), Some(uid), Some(gid))
        };
        give().map_err(|error| {
            format!(
                "cannot let user {user} write {}: {error}",
                self.layout.stats().display()
            )
        })
    }

    /// What commands beside the software get: what everybody gets, what the node's configuration passes on, and what the upgrade file says.
    pub(super) fn command_environment(&self, rendered: &Rendered) -> BTreeMap<String, String> {
        let passed = &self.config.pass_environment;
        let mut all = environment::of_software(rendered.user.as_deref(), passed);
        all.extend(rendered.environment.clone());
        all
    }
}

fn texts(templates: &[Template], scope: &Scope) -> Result<Vec<String>, ExpressionError> {
    templates
        .iter()
        .map(|template| template.render(scope))
        .collect()
}

fn optional(template: Option<&Template>, scope: &Scope) -> Result<Option<String>, ExpressionError> {
    template.map(|template| template.render(scope)).transpose()
}

fn parse_place(name: &str) -> Option<Place> {
    let (version, revision) = name.split_once('.')?;
    Some(Place {
        version: version.parse().ok()?,
        revision: revision.parse().ok()?,
    })
}
