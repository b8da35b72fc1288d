//! What the upgrade file says, as it reads at this node: command lines, environments, directories.

use super::bundles::{Bundles, UnusableBundle};
use super::surroundings::Surroundings;
use crate::layout::Layout;
use crate::relay::LiveTraffic;
use crate::shared::Shared;
use crate::{environment, launch};
use intercept::environment as variable;
use model::bundle::{Class, SoftwareKind, SoftwareSource};
use model::expression::{ExpressionError, ExpressionScope, Template};
use model::machine::{Place, Serving};
use std::collections::BTreeMap;
use std::io;
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

/// What renders what the upgrade file says.
pub(super) struct Rendering {
    surroundings: Arc<Surroundings>,
    traffic: Arc<LiveTraffic>,
    bundles: Arc<Bundles>,
    /// The copy of the preloaded library that new children get.
    library: PathBuf,
    /// Where table and counters lie.
    shared: Shared,
    /// The holder's socket for hooks.
    hook_socket: String,
}

/// Why nothing can be made of what the upgrade file says.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenderError {
    /// The file cannot be had.
    #[error(transparent)]
    Bundle(#[from] UnusableBundle),
    /// An expression has no value here.
    #[error("{0}")]
    Expression(ExpressionError),
    /// There is nothing to be rendered.
    #[error("the class has no transform")]
    NoTransform,
    /// The software's user must not have what it needs.
    #[error("cannot let user {user} write to the node's counters")]
    Counters {
        /// Who that is.
        user: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<ExpressionError> for RenderError {
    fn from(error: ExpressionError) -> Self {
        Self::Expression(error)
    }
}

impl Rendering {
    pub(super) fn new(
        surroundings: &Arc<Surroundings>,
        traffic: &Arc<LiveTraffic>,
        bundles: &Arc<Bundles>,
        library: PathBuf,
        shared: Shared,
        hook_socket: String,
    ) -> Self {
        Self {
            surroundings: surroundings.clone(),
            traffic: traffic.clone(),
            bundles: bundles.clone(),
            library,
            shared,
            hook_socket,
        }
    }

    fn layout(&self) -> &Layout {
        &self.surroundings.layout
    }

    /// Everything that expressions of what runs can see.
    pub(super) fn scope(&self, serving: Serving, class: &Class) -> ExpressionScope {
        let Serving { version, bundle } = serving;
        let mut scope = self.traffic.catalog().scope_at(version);
        scope.state = Some(self.layout().current().display().to_string());
        scope.bundle = Some(self.layout().bundle(bundle).display().to_string());
        let software = class.software.source.as_ref();
        scope.software =
            software.map(|source| self.software_path(bundle, source).display().to_string());
        scope
    }

    /// Where the unpacked software of a bundle lies.
    pub(super) fn software_path(&self, place: Place, source: &SoftwareSource) -> PathBuf {
        match source.kind {
            SoftwareKind::Folder => self.layout().bundle(place).join(&source.path),
            SoftwareKind::Tar | SoftwareKind::TarGz => self.layout().unpacked(place, &source.path),
        }
    }

    /// The software of a bundle as it is started here.
    pub(super) fn render(&self, serving: Serving) -> Result<Rendered, RenderError> {
        let class = self.bundles.definition(serving.bundle)?;
        let scope = self.scope(serving, &class);
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
        Ok(render()?)
    }

    /// The transform of the upgrade that leads to a place.
    pub(super) fn render_transform(&self, place: Place) -> Result<RenderedTransform, RenderError> {
        let class = self.bundles.definition(place)?;
        let serving = Serving {
            version: place.version,
            bundle: place,
        };
        let scope = self.scope(serving, &class);
        let transform = class
            .state
            .transform
            .as_ref()
            .ok_or(RenderError::NoTransform)?;
        let bundle = self.layout().bundle(place);
        let render = || -> Result<RenderedTransform, ExpressionError> {
            let user = optional(class.software.user.as_ref(), &scope)?;
            Ok(RenderedTransform {
                command: texts(&transform.command, &scope)?,
                environment: environment::of_software(
                    user.as_deref(),
                    &self.surroundings.config.pass_environment,
                ),
                directory: bundle.clone(),
                readable: vec![self.layout().version(place)],
                user,
                timeout_ms: transform.timeout_ms,
            })
        };
        Ok(render()?)
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
        all.insert(variable::TABLE.to_owned(), self.shared.table_name());
        all.insert(variable::STATS.to_owned(), self.shared.stats_name());
        all.insert(variable::HOLDER.to_owned(), self.hook_socket.clone());
        all
    }

    /// Lets the software's user read the table and the library, and write the counters.
    pub(super) fn prepare_shared_files(&self, user: Option<&str>) -> Result<(), RenderError> {
        let Some(user) = user else {
            return Ok(());
        };
        let give = || -> io::Result<()> {
            let (uid, gid) = launch::user::ids(user)?;
            self.shared.give_stats(uid, gid)
        };
        give().map_err(|source| RenderError::Counters {
            user: user.to_owned(),
            source,
        })
    }

    /// What commands beside the software get: what everybody gets, what the node's configuration passes on, and what the upgrade file says.
    pub(super) fn command_environment(&self, rendered: &Rendered) -> BTreeMap<String, String> {
        let passed = &self.surroundings.config.pass_environment;
        let mut all = environment::of_software(rendered.user.as_deref(), passed);
        all.extend(rendered.environment.clone());
        all
    }
}

fn texts(templates: &[Template], scope: &ExpressionScope) -> Result<Vec<String>, ExpressionError> {
    templates
        .iter()
        .map(|template| template.render(scope))
        .collect()
}

fn optional(
    template: Option<&Template>,
    scope: &ExpressionScope,
) -> Result<Option<String>, ExpressionError> {
    template.map(|template| template.render(scope)).transpose()
}
