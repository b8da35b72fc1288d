//! Signing in and out. A link only shows a button: that somebody's program looks at links uses none up.

use super::guard::{Visitor, cookies, kept};
use super::session::SESSION_MS;
use super::{PageRefusal, shown};
use crate::front::CallerConnection;
use crate::http::App;
use crate::http::auth::by_pasted;
use crate::http::requester::{Access, Requester};
use crate::problem::{Kind, RequestRefusal, refuse};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, response};
use identity::is_web_token;
use model::api::Right;
use model::visible::is_order;
use page::{code_page, login_page};
use serde::Deserialize;

/// The longest name that somebody gives who shows the server's own token.
const NAME_CHARACTERS_MAX: usize = 100;

/// The name of somebody who gives none.
const NAME_UNNAMED: &str = "operator";

/// What leads to where one signs in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LoginQuery {
    to: String,
    code: String,
}

/// What somebody shows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LoginForm {
    token: String,
    name: String,
    code: String,
}

/// What every form carries that belongs to a session.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LeaveForm {
    form_token: String,
}

/// Where one signs in.
pub(super) async fn show(Query(query): Query<LoginQuery>) -> Response {
    if query.code.is_empty() {
        return shown(login_page(within(&query.to), None));
    }
    shown(code_page(&query.code))
}

/// Signs in with a token, or with the code of a link.
pub(super) async fn enter(
    State(app): State<App>,
    connection: Option<Extension<CallerConnection>>,
    Query(query): Query<LoginQuery>,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Response {
    let connection = connection.map(|Extension(connection)| connection);
    let to = within(&query.to);
    let entered = if form.code.is_empty() {
        let is_web = is_web_token(form.token.trim());
        let found = by_pasted(&app, connection.clone(), form.token).await;
        let found = found.map_err(|refusal| match refusal.kind {
            Kind::UNAUTHORIZED if !is_web => refuse(
                Kind::UNAUTHORIZED,
                "That is not the server\u{2019}s own token. `upstart page` signs you in without one.",
            ),
            _ => refusal,
        });
        found.and_then(|requester| {
            requester.check(Access::Right(Right::View))?;
            Ok((requester, name(&form.name)))
        })
    } else {
        used(&app, &form.code).await
    };
    match entered {
        Ok((requester, author)) => {
            let now_ms = app.config.clock.now_ms();
            // Whoever was signed in here is no longer.
            for before in cookies(&headers) {
                app.sessions.end(&before);
            }
            let secret = app.sessions.begin(requester, author, now_ms);
            let held = kept(connection.as_ref(), &headers, &secret, SESSION_MS);
            let held = response::AppendHeaders([(header::SET_COOKIE, held)]);
            (held, Redirect::to(to)).into_response()
        }
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.kind.status);
            let page = shown(login_page(to, Some(&refusal.detail)));
            (status.unwrap_or(StatusCode::FORBIDDEN), page).into_response()
        }
    }
}

/// Who has had a link made.
async fn used(app: &App, code: &str) -> Result<(Requester, String), RequestRefusal> {
    let now_ms = app.config.clock.now_ms();
    app.sessions.use_link(code, now_ms).ok_or_else(|| {
        refuse(
            Kind::UNAUTHORIZED,
            "The link was used already, is older than a minute, or gave way to newer ones of yours, or was made before the server was started: make another with `upstart page`.",
        )
    })
}

/// Signs out.
pub(super) async fn leave(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
    connection: Option<Extension<CallerConnection>>,
    headers: HeaderMap,
    Form(form): Form<LeaveForm>,
) -> Result<Response, PageRefusal> {
    visitor.asker(Right::View, &form.form_token)?;
    app.sessions.end(&visitor.secret);
    let connection = connection.map(|Extension(connection)| connection);
    let forgotten = kept(connection.as_ref(), &headers, "", 0);
    let forgotten = response::AppendHeaders([(header::SET_COOKIE, forgotten)]);
    Ok((forgotten, Redirect::to("/login")).into_response())
}

/// A place on this very server; anything else is its first page.
fn within(to: &str) -> &str {
    let mut letters = to.chars();
    let leads_out = letters.next() != Some('/') || matches!(letters.next(), Some('/' | '\\'));
    if leads_out || to.chars().any(|c| c.is_control() || !c.is_ascii()) {
        return "/";
    }
    to
}

/// The name that somebody gives, if it is one.
fn name(given: &str) -> String {
    let given = given.trim();
    let is_none = given.is_empty() || given.chars().any(|c| c.is_control() || is_order(c));
    if is_none {
        return NAME_UNNAMED.to_owned();
    }
    given.chars().take(NAME_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::{name, within};

    #[test]
    fn nobody_is_sent_elsewhere() {
        for good in ["/", "/nodes?class=a&after=b", "/nodes/a"] {
            assert_eq!(within(good), good);
        }
        for bad in [
            "",
            "https://attacker.example",
            "//attacker.example",
            "/\\attacker.example",
            "javascript:alert(1)",
            "/a\nSet-Cookie: x",
            "/\u{e4}",
        ] {
            assert_eq!(within(bad), "/", "{bad}");
        }
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(name(" ann "), "ann");
        assert_eq!(name("a\nb"), "operator");
        assert_eq!(name("ann\u{200b}"), "operator");
        assert_eq!(name(&"a".repeat(200)).len(), 100);
    }
}
