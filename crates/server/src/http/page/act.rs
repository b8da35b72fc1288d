//! What operators do from the page: asked for on a page of its own, decided by the same rules as everywhere.

use super::guard::Visitor;
use super::{PageRefusal, shown};
use crate::http::App;
use crate::problem::{Kind, refuse};
use crate::rules::Order;
use axum::Extension;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use model::api::{ApproveRequest, PauseRequest, PublicRequest, RetireRequest, Right};
use model::ids::{PermitId, Version};
use page::{PageAction, confirmation, document};
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
    let (title, content) = confirmation(&action(&name, &form)?, &user);
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
    let order = order(&action, &form);
    let _ = app.change(order, asker).await?;
    Ok(Redirect::to(&format!("/?done={}", action.name())).into_response())
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
        PageAction::Approve { version, class } => Order::Approve(ApproveRequest {
            version: Version(*version),
            class: class.clone(),
            node: None,
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
