//! What operators do from the page: asked for on a page of its own, decided by the same rules as everywhere.

use super::guard::Visitor;
use super::{PageRefusal, shown};
use crate::http::App;
use crate::problem::{Kind, refuse};
use crate::rules::{Order, approvable, unknown_node, unknown_version};
use axum::Extension;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use model::api::{ApproveRequest, PauseRequest, PublicRequest, RetireRequest, Right};
use model::ids::{PermitId, Version};
use page::{ActionAbout, ActionPlace, PageAction, about, confirmation, document};
use serde::Deserialize;

/// What it is about, and why.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ActionForm {
    form_token: String,
    node: String,
    version: String,
    class: String,
    service: String,
    permit: String,
    reason: String,
    consent: String,
}

/// Asks whether something is to be done.
pub(super) async fn ask(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Query(form): Query<ActionForm>,
) -> Result<Response, PageRefusal> {
    let user = visitor.user();
    // Whoever may not do it is told so before anything is filled in.
    visitor.asker(Right::Operate, &user.form_token)?;
    let action = action(&name, &form)?;
    let about = about_now(&app, &action).await?;
    let (title, content) = confirmation(&action, &about, &user);
    let mut frame = visitor.frame(&app, title, "/act");
    frame.is_live = false;
    Ok(shown(document(&frame, &content)))
}

/// Does it.
pub(super) async fn perform(
    State(app): State<App>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Form(form): Form<ActionForm>,
) -> Result<Response, PageRefusal> {
    let asker = visitor.asker(Right::Operate, &form.form_token)?;
    let action = action(&name, &form)?;
    if about_now(&app, &action).await?.consent.is_some() && form.consent != "yes" {
        return Err(PageRefusal(refuse(
            Kind::INVALID,
            "The node is heard again, and serves: go back, and say clearly that it is to be forgotten all the same.",
        )));
    }
    let order = order(&action, &form);
    let _ = app.change(order, asker).await?;
    Ok(Redirect::to(&format!("/?done={}", action.name())).into_response())
}

/// How things stand with what is to be done; what cannot be done is refused before anything is filled in.
async fn about_now(app: &App, action: &PageAction) -> Result<ActionAbout, PageRefusal> {
    let census = match action {
        PageAction::Public { .. } => Some(app.census.census(app).await?),
        _ => None,
    };
    let state = app.state_writer.state();
    let mut place = ActionPlace {
        now_ms: app.config.clock.now_ms(),
        ..ActionPlace::default()
    };
    match action {
        PageAction::Forget { node } | PageAction::Retry { node } => {
            let fact = state.node(node).ok_or_else(|| unknown_node(node))?;
            place.node = Some(fact);
            return Ok(about(action, &place));
        }
        PageAction::Approve { version, .. } => {
            approvable(&state, Version(*version))?;
            let release = state.history.release(Version(*version));
            let classes = release.iter().flat_map(|release| release.classes.keys());
            place.classes = classes.cloned().collect();
        }
        PageAction::Public { service, version } => {
            let version = Version(*version);
            let _ = state
                .summary(version)
                .ok_or_else(|| unknown_version(&state, version))?;
            let class = service
                .as_ref()
                .and_then(|service| service.split('/').next());
            place.there = census.map(|census| census.there(class, version));
        }
        _ => {}
    }
    Ok(about(action, &place))
}

/// What is to be done.
fn action(name: &str, form: &ActionForm) -> Result<PageAction, PageRefusal> {
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let version = || number(&form.version, "version");
    let node = || {
        some(&form.node).ok_or_else(|| {
            PageRefusal(refuse(
                Kind::BAD_REQUEST,
                "No node is named: go there from the node's page.",
            ))
        })
    };
    Ok(match name {
        "pause" => PageAction::Pause,
        "resume" => PageAction::Resume,
        "approve" => PageAction::Approve {
            version: version()?,
            class: some(&form.class),
            node: some(&form.node),
        },
        "retry" => PageAction::Retry { node: node()? },
        "forget" => PageAction::Forget { node: node()? },
        "break-permit" => PageAction::BreakPermit {
            permit: number(&form.permit, "permit")?,
        },
        "public" => PageAction::Public {
            service: some(&form.service),
            version: version()?,
        },
        "retire" => PageAction::Retire {
            version: version()?,
        },
        _ => {
            return Err(PageRefusal(refuse(
                Kind::UNKNOWN_ROUTE,
                "There is no such thing to do.",
            )));
        }
    })
}

fn number<T: std::str::FromStr>(text: &str, of: &str) -> Result<T, PageRefusal> {
    text.parse().map_err(|_| {
        PageRefusal(refuse(
            Kind::BAD_REQUEST,
            format!("A {of} is a number: go there from the page that shows it."),
        ))
    })
}

/// What the rules are asked.
fn order(action: &PageAction, form: &ActionForm) -> Order {
    match action {
        PageAction::Pause => Order::Pause(PauseRequest {
            reason: form.reason.trim().to_owned(),
        }),
        PageAction::Resume => Order::Resume,
        PageAction::Approve {
            version,
            class,
            node,
        } => Order::Approve(ApproveRequest {
            version: Version(*version),
            class: class.clone(),
            node: node.clone(),
        }),
        PageAction::Retry { node } => Order::Retry(node.clone()),
        PageAction::Forget { node } => Order::Forget(node.clone()),
        PageAction::BreakPermit { permit } => Order::BreakPermit(PermitId(*permit)),
        PageAction::Public { service, version } => Order::SetPublic(PublicRequest {
            service: service.clone(),
            version: Version(*version),
        }),
        PageAction::Retire { version } => Order::Retire(RetireRequest {
            version: Version(*version),
            close: false,
        }),
    }
}
