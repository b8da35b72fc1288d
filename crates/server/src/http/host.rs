//! Which name a request asks for: a page in a browser can give this server any name that its author owns, and read what is answered
//! as its own (DNS rebinding). What listens on loopback is asked by address or as `localhost`.

use super::App;
use crate::problem::{Kind, RequestRefusal, refuse};
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use std::net::IpAddr;

/// Lets a request pass that asks for this host.
pub(super) async fn check(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, RequestRefusal> {
    let is_inside = app.config.listen.ip().is_loopback();
    if is_inside && !is_this_host(request.uri(), request.headers()) {
        return Err(refuse(
            Kind::MISDIRECTED,
            "This server listens on loopback: ask it by address or as `localhost`.",
        ));
    }
    Ok(next.run(request).await)
}

/// Whether it asks for an address, for `localhost`, or for nothing in particular.
fn is_this_host(uri: &Uri, headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::HOST).iter();
    let mut named = named.map(|value| value.to_str().ok().and_then(|host| host.parse().ok()));
    let is_here = |authority: &Authority| {
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
    };
    uri.authority().is_none_or(is_here) && named.all(|host| host.as_ref().is_some_and(is_here))
}

#[cfg(test)]
mod tests {
    use super::is_this_host;
    use axum::http::{HeaderMap, HeaderValue, Uri, header};

    #[test]
    fn a_name_that_somebody_owns_is_not_this_host() {
        let asks = |host: &'static [u8]| {
            let value = HeaderValue::from_bytes(host).expect("a value");
            let headers = HeaderMap::from_iter([(header::HOST, value)]);
            is_this_host(&Uri::from_static("/v1/system"), &headers)
        };
        assert!(asks(b"127.0.0.1:7070") && asks(b"[::1]:7070") && asks(b"LOCALHOST:7070"));
        assert!(asks(b"localhost"));
        assert!(!asks(b"attacker.example") && !asks(b"attacker.example:7070"));
        assert!(!asks(b"127.0.0.1.attacker.example") && !asks(b"") && !asks(b"\xff"));
        let none = HeaderMap::new();
        assert!(is_this_host(&Uri::from_static("/"), &none));
        let absolute = Uri::from_static("http://attacker.example/v1/system");
        assert!(!is_this_host(&absolute, &none));
    }
}
