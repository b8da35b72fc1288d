//! What stands before every page: what browsers may do with it, where forms come from, and who looks.

use super::PageRefusal;
use super::session::BrowserSession;
use crate::front::{CallerConnection, UnknownCaller};
use crate::http::App;
use crate::http::auth::still_known;
use crate::http::json_request::Asker;
use crate::http::requester::{Access, Requester};
use crate::problem::{Kind, refuse};
use axum::extract::{Request, State};
use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use model::api::{Principal, Right, Role};
use page::{PageFrame, PageUser, encoded};

/// What a page may load: its own style, its own script and its own stream, and nothing that stands in it.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What every answer says. With `no-referrer` a browser would hide from where its own forms come, too.
const SAFETY: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// What everybody may store that is not told otherwise.
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");

/// From where a browser says that a request comes.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a proxy in front says of how it was asked.
const FORWARDED_PROTOCOL: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// So many of our name are looked at.
const COOKIES_MAX: usize = 8;

/// What the name of the cookie begins with.
const COOKIE: &str = "upstart-session";

/// What it begins with over TLS: the browser keeps it to this very host.
const COOKIE_ENCRYPTED: &str = "__Host-";

/// Lets pass what a browser may be asked for, and adds what it must know.
pub(super) async fn is_safe(request: Request, next: Next) -> Response {
    let is_stream = request.uri().path() == "/live";
    let response = match fault(&request) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    safe(if is_stream {
        response
    } else {
        in_words(response)
    })
}

/// What could not be read at all is refused by the library, in its own words: people get a page.
fn in_words(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_plain = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !response.status().is_client_error() || !is_plain {
        return response;
    }
    let (kind, detail) = match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE => (Kind::TOO_LARGE, "The form is too large."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (Kind::BAD_REQUEST, "That is no form of this page."),
        _ => (
            Kind::BAD_REQUEST,
            "The address or the form has something twice, or something that is no text: begin on the page itself.",
        ),
    };
    PageRefusal(refuse(kind, detail)).into_response()
}

/// An answer with what every answer says.
pub(super) fn safe(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in SAFETY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(NOT_KEPT);
    response
}

fn fault(request: &Request) -> Option<PageRefusal> {
    let connection = request.extensions().get::<CallerConnection>();
    if connection.is_some_and(CallerConnection::is_open_to_others) {
        return Some(PageRefusal(refuse(
            Kind::NOT_ENCRYPTED,
            "From other hosts this page is asked for over TLS: write https:// before its address.",
        )));
    }
    let changes = request.method() != Method::GET && request.method() != Method::HEAD;
    if changes && !is_from_here(request.headers()) {
        return Some(PageRefusal(refuse(
            Kind::FORBIDDEN,
            "This form was not sent from this server's own page. Open the page itself, and send it there.",
        )));
    }
    None
}

/// Whether a form comes from a page of this server. Browsers say so; where they say only its origin, that is the host that they ask.
fn is_from_here(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        return site == "same-origin";
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).and_then(|origin| origin.parse::<Uri>().ok());
    let origin = origin.as_ref().and_then(Uri::authority);
    let host = text(header::HOST);
    origin
        .zip(host)
        .is_some_and(|(origin, host)| origin.as_str().eq_ignore_ascii_case(host))
}

/// Who looks, as the handlers get it.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// What the browser keeps.
    pub(super) secret: String,
    session: BrowserSession,
    /// As they are known now.
    requester: Requester,
}

/// Lets those pass who have signed in, and are still known; takes others to where they do.
pub(super) async fn is_known(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match visitor(&app, request.headers()).await {
        Ok(Some(visitor)) => {
            if let Some(caller) = request.extensions().get::<UnknownCaller>() {
                caller.is_known_now(visitor.principal());
            }
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Ok(None) if request.method() == Method::GET && request.uri().path() != "/live" => {
            let wanted = request.uri().path_and_query();
            let wanted = wanted.map_or("/", |wanted| wanted.as_str());
            Redirect::to(&format!("/login?to={}", encoded(wanted))).into_response()
        }
        Ok(None) => PageRefusal(refuse(
            Kind::UNAUTHORIZED,
            "The session is over: sign in, and send it again.",
        ))
        .into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn visitor(app: &App, headers: &HeaderMap) -> Result<Option<Visitor>, PageRefusal> {
    let now_ms = app.config.clock.now_ms();
    let known = cookies(headers).into_iter().find_map(|secret| {
        let session = app.sessions.used(&secret, now_ms)?;
        Some((secret, session))
    });
    let Some((secret, session)) = known else {
        return Ok(None);
    };
    let requester = match still_known(app, &session.requester).await {
        Ok(requester) => requester,
        Err(refusal) => {
            if StatusCode::UNAUTHORIZED == refusal.kind.status {
                app.sessions.end(&secret);
            }
            return Err(refusal.into());
        }
    };
    requester.check(Access::Right(Right::View))?;
    Ok(Some(Visitor {
        secret,
        session,
        requester,
    }))
}

impl Visitor {
    /// Who they are, where that is proven.
    pub(super) fn principal(&self) -> Option<&Principal> {
        self.requester.principal()
    }

    /// What they may do.
    pub(super) fn role(&self) -> Role {
        match &self.requester {
            Requester::TokenHolder => Role::Admin,
            Requester::Certified(caller) => caller.role.unwrap_or(Role::Viewer),
            Requester::Claimed(caller) => caller.role,
            Requester::Invited(_) => Role::Viewer,
        }
    }

    /// As whom the history knows them: the name that is proven, else the one that they gave.
    pub(super) fn name(&self) -> String {
        let proven = self.principal();
        proven.map_or_else(|| self.session.author.clone(), |known| known.name.clone())
    }

    /// As pages show them.
    pub(super) fn user(&self) -> PageUser {
        PageUser {
            name: self.name(),
            role: self.role(),
            form_token: self.session.form_token.clone(),
        }
    }

    /// Who asks for something that needs a right, if they have it, and the form is of their session.
    pub(super) fn asker(&self, right: Right, form_token: &str) -> Result<Asker, PageRefusal> {
        // Digests are compared, so that the time taken says nothing.
        let digest = crate::http::auth::digest;
        if digest(form_token) != digest(&self.session.form_token) {
            return Err(PageRefusal(refuse(
                Kind::FORBIDDEN,
                "The form is not of this session: go back to the page, and send it from there.",
            )));
        }
        self.requester.check(Access::Right(right))?;
        let mut requester = self.requester.clone();
        if let Requester::Certified(caller) = &mut requester {
            caller.right = Some(right);
        }
        Ok(Asker {
            author: self.name(),
            key: None,
            requester,
        })
    }

    /// Whether they may still look, later on.
    pub(super) async fn goes_on(&self, app: &App) -> bool {
        let now_ms = app.config.clock.now_ms();
        app.sessions.goes_on(&self.secret, now_ms)
            && still_known(app, &self.session.requester)
                .await
                .is_ok_and(|known| known.check(Access::Right(Right::View)).is_ok())
    }

    /// What stands around a page.
    pub(super) fn frame(&self, app: &App, title: String, path: &'static str) -> PageFrame {
        let state = app.state_writer.state();
        PageFrame {
            title,
            system: state.system.clone().unwrap_or_default().0,
            user: self.user(),
            paused: state.paused.clone(),
            trouble: app.state_writer.trouble(),
            now_ms: app.config.clock.now_ms(),
            path,
            done: None,
            is_live: true,
        }
    }
}

/// The name of the cookie. The port is in it, which browsers pass over: servers of several systems on one host have a session each.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let port = host.and_then(|host| host.rsplit_once(':')?.1.parse::<u16>().ok());
    port.map_or_else(|| COOKIE.to_owned(), |port| format!("{COOKIE}-{port}"))
}

/// What a browser keeps of sessions: others on this host may have put some of the name before ours.
pub(super) fn cookies(headers: &HeaderMap) -> Vec<String> {
    let wanted = cookie_name(headers);
    let texts = headers.get_all(header::COOKIE).iter();
    let texts: Vec<_> = texts
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    let pairs = texts
        .iter()
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let found =
        pairs.filter(|(name, _)| name.strip_prefix(COOKIE_ENCRYPTED).unwrap_or(name) == wanted);
    let secrets = found.map(|(_, secret)| secret.to_owned());
    secrets.take(COOKIES_MAX).collect()
}

/// Has a browser keep a secret for so long: for none it forgets it.
pub(super) fn kept(
    connection: Option<&CallerConnection>,
    headers: &HeaderMap,
    secret: &str,
    ms: u64,
) -> HeaderValue {
    let by_proxy = headers.get(FORWARDED_PROTOCOL);
    let is_encrypted = connection.is_some_and(|connection| connection.is_encrypted)
        || by_proxy.is_some_and(|protocol| protocol == "https");
    let (prefix, secure) = if is_encrypted {
        (COOKIE_ENCRYPTED, "; Secure")
    } else {
        ("", "")
    };
    let name = cookie_name(headers);
    let holds = format!("Path=/; HttpOnly; SameSite=Strict; Max-Age={}", ms / 1_000);
    let text = format!("{prefix}{name}={secret}; {holds}{secure}");
    // Hexadecimal digits always fit a header.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(HeaderName, &'static str)]) -> HeaderMap {
        let all = all.iter().cloned();
        all.map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_form_comes_from_this_servers_own_page() {
        let host = (header::HOST, "127.0.0.1:7070");
        let from = |all: &[(HeaderName, &'static str)]| is_from_here(&headers(all));
        let origin = |value| from(&[host.clone(), (header::ORIGIN, value)]);
        assert!(origin("http://127.0.0.1:7070"));
        assert!(!origin("http://127.0.0.1:7071") && !origin("https://attacker.example"));
        assert!(!origin("null") && !from(std::slice::from_ref(&host)));
        let site = |value| from(&[(FETCH_SITE, value), (header::ORIGIN, "http://x")]);
        assert!(site("same-origin"));
        assert!(!site("same-site") && !site("cross-site") && !site("none"));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let found = |text| cookies(&headers(&[(header::COOKIE, text)]));
        assert_eq!(found("a=b; upstart-session=c; d=e"), ["c"]);
        assert_eq!(found("__Host-upstart-session=c"), ["c"]);
        assert!(found("xupstart-session=c").is_empty());
        assert_eq!(found("upstart-session=x; upstart-session=c"), ["x", "c"]);
        let odd = HeaderValue::from_bytes(b"a=\xff; upstart-session=c").expect("a value");
        let odd = HeaderMap::from_iter([(header::COOKIE, odd)]);
        assert_eq!(cookies(&odd), ["c"]);
        // A server at another port has its own.
        let cookies = (
            header::COOKIE,
            "upstart-session-7070=a; upstart-session-7071=b",
        );
        let host = (header::HOST, "localhost:7071");
        assert_eq!(super::cookies(&headers(&[cookies, host])), ["b"]);
    }

    #[test]
    fn over_tls_the_cookie_is_for_tls_only() {
        let plain = kept(None, &HeaderMap::new(), "ab", 5_000);
        let expected = "upstart-session=ab; Path=/; HttpOnly; SameSite=Strict; Max-Age=5";
        assert_eq!(plain, expected);
        let proxied = headers(&[(FORWARDED_PROTOCOL, "https")]);
        let encrypted = kept(None, &proxied, "ab", 0);
        let expected =
            "__Host-upstart-session=ab; Path=/; HttpOnly; SameSite=Strict; Max-Age=0; Secure";
        assert_eq!(encrypted, expected);
    }
}
