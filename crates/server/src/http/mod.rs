//! The HTTP interface under `/v1`: routes, and what they share. Handlers translate; rules decide.

mod artifacts;
mod auth;
mod etag;
mod history;
mod host;
mod identities;
mod json_request;
mod labels;
mod members;
mod metrics;
mod newest;
mod nodes;
mod once;
mod openapi;
mod operate;
mod page;
mod pages;
mod permits;
mod requester;
mod routes;
mod signed;
mod source;
mod sync;
#[cfg(test)]
mod tests;
mod upgrades;
mod webhooks;

use crate::config::ServerConfig;
use crate::issuer::TokenIssuer;
use crate::local::Missed;
use crate::meters::ServerMeters;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::repository::{DamagedFile, RepositoryFolder, SignedRepository};
use crate::rules::{Order, still_counts};
use crate::sources::SourcePlaces;
use crate::state_writer::StateWriter;
use crate::udb::Udb;
pub(crate) use auth::RefusedLately;
use axum::extract::{OriginalUri, Request, State};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use identity::Authority;
use json_request::Asker;
use model::api::{Moment, RememberedSystem};
pub(crate) use page::{CensusKeeper, LiveStreams, PageSessions};
use parking_lot::Mutex;
use requester::Requester;
use serde_json::Value;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::watch;
use tower_http::trace::TraceLayer;

/// What every handler works with. Each request has it cloned several times.
#[derive(Clone)]
pub struct App(pub(crate) Arc<AppParts>);

impl Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

/// What there is to work with.
pub struct AppParts {
    pub(crate) state_writer: StateWriter,
    pub(crate) repository: RepositoryFolder,
    pub(crate) signed: Arc<SignedRepository>,
    pub(crate) udb: Arc<dyn Udb>,
    pub(crate) config: Arc<ServerConfig>,
    /// What its own user shows.
    pub(crate) token: Arc<str>,
    /// Who certifies keys.
    pub(crate) authority: Arc<Authority>,
    /// Whose web tokens let operators in.
    pub(crate) issuer: Option<Arc<TokenIssuer>>,
    /// Who fetches what from whom.
    pub(crate) sources: SourcePlaces,
    /// Who was refused lately.
    pub(crate) refused: RefusedLately,
    /// The socket at which its own user would be told it.
    pub(crate) missed: Missed,
    /// Files of published versions that the repository lacks.
    pub(crate) damaged: Arc<Mutex<Vec<DamagedFile>>>,
    /// Browsers that have signed in.
    pub(crate) sessions: PageSessions,
    /// The streams by which their pages are kept up to date.
    pub(crate) live: LiveStreams,
    /// The nodes, as the page counts them.
    pub(crate) census: CensusKeeper,
    /// What is counted for those who watch.
    pub(crate) meters: Arc<ServerMeters>,
    /// Becomes true when the server stops: waiting answers come at once.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl App {
    /// Has a command decided and answers its reply as JSON.
    async fn change(
        &self,
        command: Order,
        caller: Asker,
    ) -> Result<axum::Json<Value>, RequestRefusal> {
        let Asker {
            author,
            key,
            requester,
        } = caller;
        let proven = requester.principal().map(ToString::to_string);
        self.state_writer
            .ask_for(command, (author, proven), key, requester.asker())
            .await
            .map(axum::Json)
    }
}

impl App {
    /// A moment, with what only a server of this system can add.
    fn proven(&self, moment: Moment) -> Moment {
        let proof = self.authority.proof_of(&moment.to_prove());
        Moment { proof, ..moment }
    }

    /// The moment that somebody says to have seen. A node may make none up: what follows from it concerns everybody.
    fn believed(&self, requester: &Requester, seen: Option<Moment>) -> Option<Moment> {
        match requester {
            Requester::TokenHolder => seen,
            _ => seen.filter(|seen| seen.proof == self.proven(*seen).proof),
        }
    }

    /// What somebody says to remember of the system: what no server has told, at the moment that is believed, is left out.
    fn believed_memory(
        requester: &Requester,
        seen: Option<Moment>,
        told: Option<Box<RememberedSystem>>,
    ) -> Option<Box<RememberedSystem>> {
        let told = told?;
        let is_of_then = || seen.is_some_and(|seen| seen.memory == told.digest());
        if matches!(requester, Requester::TokenHolder) || is_of_then() {
            return Some(told);
        }
        Some(Box::new(RememberedSystem {
            system: told.system,
            ..RememberedSystem::default()
        }))
    }

    /// Whether somebody who has waited for an answer may still have it, and what comes late in a request may still be done.
    fn still_counts(&self, requester: &Requester) -> Result<(), RequestRefusal> {
        if let Requester::Claimed(caller) = requester {
            return auth::still_claimed(self, caller);
        }
        match requester.asker() {
            Some(asker) => still_counts(&self.state_writer.state(), &asker),
            None => Ok(()),
        }
    }

    /// Takes in what other servers of one database have committed.
    pub(crate) async fn catch_up(&self) -> Result<(), RequestRefusal> {
        let look = self
            .state_writer
            .ask(Order::Look, "server".to_owned(), None);
        look.await.map(drop)
    }
}

/// The whole interface.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in routes::table() {
        let access = middleware::from_fn_with_state((app.clone(), route.access), auth::check);
        let meter = app.meters.route(route.path, &route.method);
        let metered = middleware::from_fn_with_state(meter, metrics::measure);
        let handler = route.handler.layer(access).layer(metered);
        router = router.route(route.path, handler);
    }
    let page_meter = app.meters.route("page", &Method::OPTIONS);
    let page_metered = middleware::from_fn_with_state(page_meter, metrics::measure);
    router
        .merge(page::routes(&app).layer(page_metered))
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(etag::tag))
        .layer(middleware::from_fn_with_state(app.clone(), newest::look))
        .layer(middleware::from_fn_with_state(app.clone(), host::check))
        // What fails is said where it failed, in words.
        .layer(TraceLayer::new_for_http().on_failure(()))
        .with_state(app)
}

async fn unknown_route(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    if let Some(page) = page::no_such_page(&uri, request.headers()) {
        return page;
    }
    let path = uri.path();
    let there_is_none =
        format!("There is nothing at {path}; GET /v1/openapi.json lists every route.");
    let refusal = refuse(Kind::UNKNOWN_ROUTE, there_is_none);
    told_to_the_known(&app, request, refusal)
        .await
        .into_response()
}

async fn method_not_allowed(
    State(app): State<App>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> RequestRefusal {
    let path = uri.path();
    let other =
        format!("{path} has no {method}; GET /v1/openapi.json lists every route with its methods.");
    told_to_the_known(&app, request, refuse(Kind::METHOD_NOT_ALLOWED, other)).await
}

/// What no route answers; whoever is unknown does not learn which routes there are.
async fn told_to_the_known(app: &App, request: Request, said: RequestRefusal) -> RequestRefusal {
    let shown = auth::shown(&request);
    drop(request);
    match auth::check_unrouted(app, shown).await {
        Ok(()) => said,
        Err(refusal) => refusal,
    }
}
