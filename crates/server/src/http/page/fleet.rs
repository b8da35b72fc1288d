//! The pages of the fleet and of one upgrade.

use super::guard::Visitor;
use super::{PageRefusal, shown};
use crate::http::App;
use crate::http::operate::completed;
use crate::problem::{Kind, refuse};
use crate::rules::unknown_version;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use model::api::{PermitFact, SystemView};
use model::ids::Version;
use page::{FleetPageView, PageAction, UpgradePageView, document, fleet_page, upgrade_page};
use serde::Deserialize;

/// How many permits are named by their nodes.
const PERMITS_NAMED: usize = 20;

/// How much of the history stands there.
const EVENTS_SHOWN: u32 = 12;

/// What was done just before, by its name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DoneQuery {
    pub(super) done: String,
}

/// The fleet.
pub(super) async fn fleet(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<DoneQuery>,
) -> Result<Response, PageRefusal> {
    let census = app.census.census(&app).await?;
    let (system, permits) = system(&app).await;
    let newest = app.udb.events_before(u64::MAX, EVENTS_SHOWN).await;
    let user = visitor.user();
    let content = fleet_page(&FleetPageView {
        system: &system,
        census: &census,
        permits,
        // The page says by itself that the database is in trouble.
        events: newest.unwrap_or_default(),
        user: &user,
        now_ms: app.config.clock.now_ms(),
    });
    let mut frame = visitor.frame(&app, "Fleet".to_owned(), "/");
    frame.done = PageAction::done(&query.done).map(str::to_owned);
    Ok(shown(document(&frame, &content)))
}

/// The system without its nodes, and the first permits with their nodes' names.
async fn system(app: &App) -> (SystemView, Vec<(PermitFact, String)>) {
    let now_ms = app.config.clock.now_ms();
    let (view, permits) = {
        let state = app.state_writer.state();
        let view = state.view_without_nodes(now_ms);
        let first = view.permits.iter().take(PERMITS_NAMED);
        let named = first.map(|permit| {
            let fact = state.nodes.get(&permit.node);
            let name = fact.map_or_else(|| permit.node.to_string(), |fact| fact.name.clone());
            (permit.clone(), name)
        });
        let named = named.collect();
        (view, named)
    };
    (completed(app, view).await, permits)
}

/// One upgrade.
pub(super) async fn upgrade(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
    Path(version): Path<String>,
) -> Result<Response, PageRefusal> {
    let version: Version = version.parse().map_err(|_| {
        refuse(
            Kind::BAD_REQUEST,
            "A version is a number; the fleet's page has them all.",
        )
    })?;
    let census = app.census.census(&app).await?;
    let now_ms = app.config.clock.now_ms();
    let (upgrade, system) = {
        let state = app.state_writer.state();
        let upgrade = state.summary(version);
        let upgrade = upgrade.ok_or_else(|| unknown_version(&state, version))?;
        (upgrade, state.view_without_nodes(now_ms))
    };
    let user = visitor.user();
    let content = upgrade_page(&UpgradePageView {
        upgrade: &upgrade,
        system: &system,
        census: &census,
        user: &user,
        now_ms,
    });
    let frame = visitor.frame(&app, format!("Version {version}"), "/upgrades");
    Ok(shown(document(&frame, &content)))
}
