//! Who asks is found out before anything else, and whether the route is for them.

use super::requester::{Access, CertifiedCaller, ClaimedCaller, Requester};
use super::{App, newest};
use crate::front::{CallerConnection, UnknownCaller};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::rules::Order;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use identity::{ClaimedOperator, PeerCertificate, PinnedToken, is_web_token};
use model::api::{EventKind, IdentityFact, Principal, PrincipalKind, Right};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often the history says at most that somebody asks for what is not theirs.
const REFUSED_SAID_PAUSE: Duration = Duration::from_secs(60);

/// How much of a refusal the history tells, in bytes.
const DETAIL_BYTES_MAX: usize = 300;

/// How many of those who were refused lately are remembered.
const REFUSED_KEPT: usize = 1_000;

/// A route's own check: the server, and whom the route is for.
pub(super) type RouteAccess = (App, Access);

/// Lets a request pass whose caller is known, and may ask for it.
pub(super) async fn check(
    State((app, access)): State<RouteAccess>,
    mut request: Request,
    next: Next,
) -> Result<Response, RequestRefusal> {
    let shown = shown(&request);
    let mut requester = requester(&app, shown, access).await?;
    if let (Requester::Certified(caller), Access::Right(right)) = (&mut requester, access) {
        caller.right = Some(right);
    }
    if let Some(caller) = request.extensions().get::<UnknownCaller>() {
        caller.is_known_now(requester.principal());
    }
    if let Err(refusal) = requester.check(access) {
        tell_refused(&app, &requester, &refusal).await;
        return Err(refusal);
    }
    request.extensions_mut().insert(requester.clone());
    Ok(next.run(request).await)
}

/// What a request shows of who sends it.
pub(super) struct RequestProof {
    connection: Option<CallerConnection>,
    token: Option<String>,
}

impl RequestProof {
    fn certificate(&self) -> Option<&PeerCertificate> {
        self.connection.as_ref()?.certificate.as_ref()
    }

    fn is_nothing(&self) -> bool {
        self.token.is_none() && self.certificate().is_none()
    }
}

/// What a request shows of who sends it.
pub(super) fn shown(request: &Request) -> RequestProof {
    RequestProof {
        connection: request.extensions().get::<CallerConnection>().cloned(),
        token: bearer(request.headers()),
    }
}

/// What has no route is nobody's business who is not known.
pub(super) async fn check_unrouted(app: &App, shown: RequestProof) -> Result<(), RequestRefusal> {
    requester(app, shown, Access::Certified).await.map(drop)
}

/// Finds out who asks. Of several servers another may have made them known a moment ago: whoever is not known is looked for once more.
async fn requester(
    app: &App,
    shown: RequestProof,
    access: Access,
) -> Result<Requester, RequestRefusal> {
    let found = found(app, &shown, access).await;
    let is_unknown = found
        .as_ref()
        .is_err_and(|refusal| [Kind::UNAUTHORIZED, Kind::IDENTITY_ENDED].contains(&refusal.kind));
    if !is_unknown || !app.udb.is_shared() || shown.is_nothing() {
        return found;
    }
    newest::catch_up(app).await;
    self::found(app, &shown, access).await
}

async fn found(
    app: &App,
    shown: &RequestProof,
    access: Access,
) -> Result<Requester, RequestRefusal> {
    let connection = shown.connection.as_ref();
    if connection.is_some_and(CallerConnection::is_open_to_others) {
        return Err(refuse(
            Kind::NOT_ENCRYPTED,
            "From other hosts this server is asked over TLS: give its address as https://HOST:PORT.",
        ));
    }
    match shown.certificate() {
        Some(certificate) => {
            let address = connection.map_or(Ipv4Addr::UNSPECIFIED.into(), |from| from.address);
            certified(app, certificate, address, access).await
        }
        None => match (shown.token.as_deref(), &app.issuer) {
            (Some(token), Some(issuer)) if is_web_token(token) => {
                claimed(app, issuer.check(token).await?).await
            }
            (token, _) => by_token(app, token),
        },
    }
}

/// Somebody who has pasted a token into the page: the connection's own certificate says nothing of who did that.
pub(super) async fn by_pasted(
    app: &App,
    connection: Option<CallerConnection>,
    token: String,
) -> Result<Requester, RequestRefusal> {
    let shown = RequestProof {
        connection: connection.map(CallerConnection::without_certificate),
        token: Some(PinnedToken::of(token.trim()).secret),
    };
    requester(app, shown, Access::Right(Right::View)).await
}

/// Whether somebody who was known before still is, and as what.
pub(super) async fn still_known(
    app: &App,
    before: &Requester,
) -> Result<Requester, RequestRefusal> {
    let access = Access::Right(Right::View);
    match before {
        Requester::TokenHolder => Ok(Requester::TokenHolder),
        Requester::Certified(caller) => {
            certified(app, &caller.certificate, caller.address, access).await
        }
        Requester::Claimed(caller) => still_claimed(app, caller).map(|()| before.clone()),
        Requester::Invited(_) => Err(unauthorized()),
    }
}

/// Somebody whom the issuer names.
async fn claimed(app: &App, claimed: ClaimedOperator) -> Result<Requester, RequestRefusal> {
    let caller = ClaimedCaller {
        principal: Principal::operator(&claimed.name),
        role: claimed.role,
        expires_at_ms: claimed.expires_at_ms,
    };
    let checked = still_claimed(app, &caller);
    let requester = Requester::Claimed(caller);
    if let Err(refusal) = &checked {
        tell_refused(app, &requester, refusal).await;
    }
    checked.map(|()| requester)
}

/// Whether an issuer's word counts yet. Whoever has a key of that name, or had one, is somebody else, and so is a node.
pub(super) fn still_claimed(app: &App, caller: &ClaimedCaller) -> Result<(), RequestRefusal> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    if since.is_ok_and(|since| since.as_millis() > u128::from(caller.expires_at_ms)) {
        return Err(refuse(
            Kind::UNAUTHORIZED,
            "The web token has expired: get another.",
        ));
    }
    let name = &caller.principal.name;
    let Some(who) = has_name(app, &caller.principal) else {
        return Ok(());
    };
    Err(refuse(
        Kind::FORBIDDEN,
        format!(
            "{name} is the name of {who}: have the issuer's rules (`upstart server --issuer`) give whom it names other names."
        ),
    ))
}

/// Who has an operator's name already, besides those whom an issuer names.
fn has_name(app: &App, principal: &Principal) -> Option<String> {
    let name = &principal.name;
    let state = app.state_writer.state();
    if state.names.contains_key(name) {
        return Some("a node of this system".to_owned());
    }
    if state.identities.contains_key(principal) {
        return Some(format!("{principal}, who is known by a key, or was"));
    }
    let now_ms = app.config.clock.now_ms();
    let mut invited = state.invitations.values();
    let invited = invited.find(|of| of.principal.name == *name && of.expires_at_ms > now_ms);
    if let Some(invited) = invited {
        return Some(format!("{}, who is invited", invited.principal));
    }
    // Commands call whoever has the server's own token by the login name and the host.
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let (_, at) = name.rsplit_once('@')?;
    at.eq_ignore_ascii_case(&host)
        .then(|| format!("those who use the server's own token on its host {host}"))
}

/// Somebody who shows a certificate of this system's authority.
async fn certified(
    app: &App,
    certificate: &PeerCertificate,
    address: IpAddr,
    access: Access,
) -> Result<Requester, RequestRefusal> {
    let principal = &certificate.principal;
    let caller = |role, networks| {
        Requester::Certified(CertifiedCaller {
            certificate: certificate.clone(),
            role,
            address,
            networks,
            right: None,
        })
    };
    let is_over = certificate.expires_at_ms <= app.config.clock.now_ms();
    let known = known(app, principal);
    let Some(known) = known.filter(|known| !is_older(known, certificate)) else {
        // A database that was set back does not know whom it has certified since: the node tells it, which enrols again.
        let is_for_nodes = matches!(access, Access::Entry | Access::Node);
        if is_for_nodes && principal.kind == PrincipalKind::Node && !is_over {
            return Ok(caller(None, Vec::new()));
        }
        return Err(ended(&format!("{principal} is not known here")));
    };
    if known.revoked_at_ms.is_some() {
        if is_forgotten(app, principal) {
            return Err(refuse(
                Kind::NODE_FORGOTTEN,
                format!(
                    "Node `{0}` was forgotten by an operator; to take it in again, start its agent with the token that `upstart invite node {0}` makes; to end it, `upstart stop`.",
                    principal.name
                ),
            ));
        }
        return Err(ended(&format!("the key of {principal} is revoked")));
    }
    if known.key != certificate.key {
        return Err(ended(&format!("{principal} has another key now")));
    }
    if is_over && access != Access::Entry {
        return Err(refuse(
            Kind::CERTIFICATE_EXPIRED,
            "Ask for another: POST /v1/certificates, with a request that is signed with the same key.",
        ));
    }
    if known.shown < certificate.counter {
        let order = Order::Shown(principal.clone(), certificate.counter);
        // That the token is used up is noted before anything is done with what it gave.
        let _ = app
            .state_writer
            .ask(order, principal.to_string(), None)
            .await?;
    }
    Ok(caller(known.role, known.networks.clone()))
}

pub(super) fn known(app: &App, principal: &Principal) -> Option<Arc<IdentityFact>> {
    app.state_writer.state().identities.get(principal).cloned()
}

/// Whether what is known is older than a certificate: that was given for another key since, and the database was set back.
pub(super) fn is_older(known: &IdentityFact, certificate: &PeerCertificate) -> bool {
    known.key != certificate.key
        && known.counter < certificate.counter
        && known.counts_from_ms < certificate.begins_at_ms
        && !known.ended_keys.contains(&certificate.key)
}

fn is_forgotten(app: &App, principal: &Principal) -> bool {
    let state = app.state_writer.state();
    principal.kind == PrincipalKind::Node
        && !state.names.contains_key(&principal.name)
        && state.forgotten.values().any(|name| *name == principal.name)
}

fn ended(why: &str) -> RequestRefusal {
    refuse(
        Kind::IDENTITY_ENDED,
        format!("{why}; an admin makes a new one-time token with `upstart invite`."),
    )
}

/// Whoever shows the server's token, or a one-time token.
fn by_token(app: &App, given: Option<&str>) -> Result<Requester, RequestRefusal> {
    let Some(given) = given else {
        return Err(unauthorized());
    };
    // Digests are compared, so that the time taken says nothing about the token.
    let shown = digest(given);
    if shown == digest(&app.token) {
        return Ok(Requester::TokenHolder);
    }
    let state = app.state_writer.state();
    let now_ms = app.config.clock.now_ms();
    let invitation = state.invitations.get(&shown);
    invitation
        .filter(|found| found.expires_at_ms > now_ms)
        .map(|found| Requester::Invited(Arc::clone(found)))
        .ok_or_else(|| {
            refuse(
                Kind::UNAUTHORIZED,
                "The token is neither the server's (`--token-file`; the server's own is the file `token` in its data directory), nor a one-time token that can still be used: those are used up by the first key, withdrawn, or expire; an admin makes another with `upstart invite`.",
            )
        })
}

fn unauthorized() -> RequestRefusal {
    refuse(
        Kind::UNAUTHORIZED,
        "Show a certificate of this system, or send `Authorization: Bearer TOKEN` with the server's token (`--token-file`; the server's own is the file `token` in its data directory), or with a one-time token.",
    )
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, given) = value.split_once(' ')?;
    // The pin behind it is for the caller.
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| PinnedToken::of(given.trim()).secret)
}

/// How a secret is known that is kept nowhere.
pub(super) fn digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// Who was refused lately, and when the history said so.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefusedLately(Arc<Mutex<BTreeMap<String, Instant>>>);

impl RefusedLately {
    /// Whether it is to be said.
    fn is_news(&self, who: String) -> bool {
        let now = Instant::now();
        let mut said = self.0.lock();
        said.retain(|_, at| now.saturating_duration_since(*at) < REFUSED_SAID_PAUSE);
        let is_news = !said.contains_key(&who) && said.len() < REFUSED_KEPT;
        if is_news {
            said.insert(who, now);
        }
        is_news
    }
}

/// The history tells who asks for what is not theirs, now and then.
pub(super) async fn tell_refused(app: &App, requester: &Requester, refusal: &RequestRefusal) {
    let Some(principal) = requester.principal() else {
        return;
    };
    let who = principal.to_string();
    let kind = match refusal.kind {
        Kind::IDENTITY_CLONED => EventKind::IdentityCloned,
        Kind::FORBIDDEN => EventKind::IdentityRefused,
        _ => return,
    };
    if !app.refused.is_news(format!("{who} {}", refusal.kind.name)) {
        return;
    }
    let end = refusal
        .detail
        .floor_char_boundary(DETAIL_BYTES_MAX.min(refusal.detail.len()));
    let message = format!("{who} was refused: {}", &refusal.detail[..end]);
    tracing::warn!("{message}");
    let order = Order::Remark(kind, message);
    let noted = app.state_writer.ask(order, "server".to_owned(), None).await;
    if let Err(error) = noted {
        tracing::debug!(detail = error.detail, "the refusal is not in the history");
    }
}

#[cfg(test)]
mod tests {
    use super::RefusedLately;

    #[test]
    fn a_refusal_is_said_once_in_a_while() {
        let refused = RefusedLately::default();
        assert!(refused.is_news("node:a".to_owned()));
        assert!(!refused.is_news("node:a".to_owned()));
        assert!(refused.is_news("node:b".to_owned()));
    }
}
