//! What is read is not older than what another server has answered before: of several servers each looks first.

use super::App;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use std::time::Duration;

/// How long a look may take. What is read without one is what was so a moment ago, which is told when the database is away.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// What is named by its digest never changes.
const NEVER_CHANGES: &str = "/v1/artifacts/";

/// Has the state writer look for what other servers have committed before something is read.
pub(super) async fn look(State(app): State<App>, request: Request, next: Next) -> Response {
    let reads = request.method() == Method::GET;
    if reads && app.udb.is_shared() && !request.uri().path().starts_with(NEVER_CHANGES) {
        catch_up(&app).await;
    }
    next.run(request).await
}

/// Takes in what other servers have committed, if that is possible within a moment. Why it is not is shown by what is read.
pub(super) async fn catch_up(app: &App) {
    let _ = tokio::time::timeout(LOOK_LIMIT, app.catch_up()).await;
}
