//! Refuses what HTTP/1.1 leaves open to interpretation, so that caller, agent and software can never understand one
//! message differently (request smuggling and response splitting, RFC 9112, section 11).
//!
//! Hyper refuses most of it while it parses (folded lines, bare CR, NUL, conflicting lengths, space before a colon), and
//! writes what passes anew: CRLF, one framing header, plain chunks. Here is what it lets through or would pass on.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Version, request, response};

/// Fields that no `Connection` header may take away: an intermediary that obeys it would send another request on
/// (hop-by-hop abuse).
const NEVER_HOP_BY_HOP: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::AUTHORIZATION,
    header::COOKIE,
    header::TRANSFER_ENCODING,
];

/// Why a request could be understood in two ways, if it could.
pub(super) fn ambiguous_request(head: &mut request::Parts) -> Option<&'static str> {
    ambiguous_coding(&head.headers)
        .or_else(|| ambiguous_host(head))
        .or_else(|| misused_connection(&head.headers))
}

/// Why an answer could be understood in two ways, if it could; lengths that say the same twice, or that a transfer
/// coding overrides (RFC 9112, section 6.3), are made one.
pub(super) fn ambiguous_answer(head: &mut response::Parts) -> Option<&'static str> {
    if head.status.is_informational() {
        return Some("it switches to another protocol, which nobody asked for");
    }
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        head.headers.remove(header::CONTENT_LENGTH);
        return ambiguous_coding(&head.headers);
    }
    one_length(&mut head.headers)
}

/// A body is chunked or it is not: other codings could be undone twice, or by nobody.
fn ambiguous_coding(headers: &HeaderMap) -> Option<&'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next()?;
    let plain = first.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
    (!plain).then_some("its Transfer-Encoding is not exactly `chunked`")
}

/// Who is asked must be said once. Where the target says it `Host` does not count (RFC 9112, section 3.2.2), and is made to say the same:
/// whoever believes either is told one thing.
fn ambiguous_host(head: &mut request::Parts) -> Option<&'static str> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Some("it has several Host headers");
    }
    if host.is_some_and(|host| !is_one_host(host)) {
        return Some("its Host header is not one host");
    }
    let authority = head.uri.authority()?;
    if head.uri.scheme().is_none() {
        return Some("its target is a host without a path");
    }
    let named = HeaderValue::from_str(authority.as_str()).ok();
    let Some(named) = named.filter(is_one_host) else {
        return Some("its target does not name one host");
    };
    if host != Some(&named) && (host.is_some() || head.version == Version::HTTP_11) {
        head.headers.insert(header::HOST, named);
    }
    None
}

/// No separators, no user, no path: what is left is read alike by everybody.
fn is_one_host(value: &HeaderValue) -> bool {
    !(value.as_bytes().iter()).any(|byte| {
        matches!(
            byte,
            b' ' | b'\t' | b',' | b'/' | b'\\' | b'@' | b'?' | b'#'
        )
    })
}

fn misused_connection(headers: &HeaderMap) -> Option<&'static str> {
    let named = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        names.any(|name| {
            let name = name.trim_ascii();
            (NEVER_HOP_BY_HOP.iter())
                .any(|kept| kept.as_str().as_bytes().eq_ignore_ascii_case(name))
        })
    };
    (headers.get_all(header::CONNECTION).iter())
        .any(named)
        .then_some("its Connection header names a field that belongs to the request itself")
}

/// `5, 5` and two equal lines become one; hyper has refused what differs, unless no body can follow.
fn one_length(headers: &mut HeaderMap) -> Option<&'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next()?;
    let several = lengths.next().is_some() || first.as_bytes().contains(&b',');
    if !several {
        return None;
    }
    let mut numbers = headers
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    let number = numbers.next()?;
    let alike = numbers.all(|other| other == number);
    let one = HeaderValue::from_bytes(number).ok().filter(|_| alike);
    match one {
        Some(one) => {
            headers.insert(header::CONTENT_LENGTH, one);
            None
        }
        None => Some("it has several lengths"),
    }
}
