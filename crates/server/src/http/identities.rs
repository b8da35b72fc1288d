//! Whose keys are certified: invitations, certificates, revocation.

use super::App;
use super::auth::{digest, tell_refused};
use super::json_request::{JsonRequest, Named};
use super::requester::Requester;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::rules::{AdmittedBy, Applicant, Order};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use identity::{CertificateTerms, KeyRequest, PinnedToken};
use model::api::{
    Certified, CertifyRequest, IdentitiesView, InvitationFact, InviteRequest, Invited, Principal,
    Problem,
};
use serde_json::Value;

/// What a one-time token's secret holds of chance, in bytes.
const CHANCE_BYTES: usize = 32;

#[utoipa::path(get, path = "/v1/identities", tag = "identities",
    responses((status = 200, body = IdentitiesView), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Everybody whom the servers know by a key, or have invited.
pub(super) async fn list(State(app): State<App>) -> Json<IdentitiesView> {
    let state = app.state_writer.state();
    let now_ms = app.config.clock.now_ms();
    let open = state.invitations.values();
    Json(IdentitiesView {
        pin: app.authority.pin().to_string(),
        identities: (state.identities.values())
            .map(|fact| fact.as_ref().clone())
            .collect(),
        invitations: open
            .filter(|invitation| invitation.expires_at_ms > now_ms)
            .map(|invitation| invitation.as_ref().clone())
            .collect(),
        now_ms,
    })
}

#[utoipa::path(post, path = "/v1/invitations", tag = "identities", request_body = InviteRequest,
    responses((status = 200, body = Invited), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Makes a one-time token for a node or an operator; the one before for the same name is withdrawn.
pub(super) async fn invite(
    State(app): State<App>,
    asked: JsonRequest<InviteRequest>,
) -> Result<Json<Invited>, RequestRefusal> {
    let secret = hex::encode(rand::random::<[u8; CHANCE_BYTES]>());
    let mut caller = asked.caller;
    // A repeated request has another secret: that of a remembered answer is kept nowhere.
    caller.key = None;
    let order = Order::Invite(asked.body, digest(&secret));
    let made: InvitationFact = reply(app.change(order, caller).await?.0)?;
    let token = PinnedToken {
        secret,
        pin: Some(app.authority.pin()),
    };
    Ok(Json(Invited {
        token: token.to_string(),
        expires_at_ms: made.expires_at_ms,
    }))
}

#[utoipa::path(post, path = "/v1/certificates", tag = "identities", request_body = CertifyRequest,
    responses((status = 200, body = Certified), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Certifies the key of who asks: of an invited operator, or anew of somebody whose certificate ends.
pub(super) async fn certify(
    State(app): State<App>,
    asked: JsonRequest<CertifyRequest>,
) -> Result<Json<Certified>, RequestRefusal> {
    let request = key_request(&asked.body.certificate_request)?;
    let entry = match &asked.caller.requester {
        Requester::Certified(caller) => AdmittedBy::Certificate(caller.certificate.clone()),
        Requester::Invited(invitation) if invitation.role.is_some() => {
            AdmittedBy::Invitation(invitation.digest.clone())
        }
        Requester::Invited(_) => {
            return Err(refuse(
                Kind::FORBIDDEN,
                "This one-time token is a node's: give it to the node's agent, `upstart agent --token-file`.",
            ));
        }
        Requester::Claimed(_) => return Err(no_key_by_claims()),
        Requester::TokenHolder => {
            return Err(refuse(
                Kind::INVALID,
                "Whoever has the server's token needs no certificate; for another host make a one-time token with `upstart invite`.",
            ));
        }
    };
    let applicant = Applicant {
        key: request.key().to_owned(),
        entry,
    };
    let requester = asked.caller.requester.clone();
    let mut caller = asked.caller;
    caller.key = None;
    let decided = app.change(Order::Certify(applicant), caller).await;
    if let Err(refusal) = &decided {
        tell_refused(&app, &requester, refusal).await;
    }
    signed(&app, &request, reply(decided?.0)?).map(Json)
}

#[utoipa::path(delete, path = "/v1/identities/{principal}", tag = "identities",
    params(("principal" = String, Path, description = "`node:NAME` or `operator:NAME`")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Revokes a key, and withdraws what invitations there are for the same name.
pub(super) async fn revoke(
    State(app): State<App>,
    Named(principal): Named<String>,
    asked: JsonRequest<()>,
) -> Result<StatusCode, RequestRefusal> {
    let principal: Principal = principal
        .parse()
        .map_err(|why| refuse(Kind::BAD_REQUEST, format!("{why}.")))?;
    app.change(Order::Revoke(principal), asked.caller)
        .await
        .map(|_| StatusCode::NO_CONTENT)
}

/// Whoever has a web token shows it with each request.
pub(super) fn no_key_by_claims() -> RequestRefusal {
    refuse(
        Kind::FORBIDDEN,
        "A web token lets an operator in as long as it is good, and certifies no key: for that an admin makes a one-time token, `upstart invite`.",
    )
}

/// A certificate request, read or refused.
pub(super) fn key_request(text: &str) -> Result<KeyRequest, RequestRefusal> {
    KeyRequest::read(text).map_err(|error| refuse(Kind::INVALID, format!("{error}.")))
}

/// The certificate for what was decided.
pub(super) fn signed(
    app: &App,
    request: &KeyRequest,
    mut certified: Certified,
) -> Result<Certified, RequestRefusal> {
    let terms = CertificateTerms {
        counter: certified.counter,
        now_ms: app.config.clock.now_ms(),
        expires_at_ms: certified.expires_at_ms,
    };
    let certificate = app
        .authority
        .certify(request, &certified.principal, terms)
        .map_err(|error| refuse(Kind::REPOSITORY_UNAVAILABLE, format!("{error}.")))?;
    certified.certificate = certificate;
    Ok(certified)
}

/// What rules answer is what they say that it is.
fn reply<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, RequestRefusal> {
    serde_json::from_value(value)
        .map_err(|error| refuse(Kind::DATABASE_UNAVAILABLE, format!("{error}; ask again.")))
}
