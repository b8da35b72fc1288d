//! Between calls as the chain has them and calls as the contract has them.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, request, response};

use crate::bindings::upstart::adapter::messages as wit;
use call::strip_hops;
use call::{
    Body, Call, CallContext, HttpAnswer, HttpCall, Refusal, RefusalBody, RefusalKind, RefusalWords,
};

/// Written anew where the message leaves.
const LENGTHS: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// Most headers that an adapter may make.
const HEADERS_MAX: usize = 128;

/// Headers as the contract has them; the error names one that is not UTF-8.
fn given(headers: &HeaderMap) -> Result<Vec<wit::Header>, String> {
    let kept = headers.iter().filter(|(name, _)| !LENGTHS.contains(name));
    kept.map(|(name, value)| {
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| format!("the header `{name}` is not UTF-8"))?;
        Ok(wit::Header {
            name: name.as_str().to_owned(),
            value: value.to_owned(),
        })
    })
    .collect()
}

fn taken(headers: Vec<wit::Header>) -> Result<HeaderMap, String> {
    if headers.len() > HEADERS_MAX {
        return Err(format!("it made more than {HEADERS_MAX} headers"));
    }
    let mut map = HeaderMap::with_capacity(headers.len());
    for wit::Header { name, value } in headers {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
        let value = HeaderValue::from_bytes(value.as_bytes()).ok();
        let Some((parsed, value)) = parsed.zip(value) else {
            return Err(format!(
                "it made a header `{name}` that HTTP does not allow"
            ));
        };
        map.append(parsed, value);
    }
    strip_hops(&mut map);
    for name in LENGTHS {
        map.remove(name);
    }
    Ok(map)
}

/// A request as the adapter sees it.
pub(crate) fn request(head: &request::Parts, body: &Bytes) -> Result<wit::HttpRequest, String> {
    Ok(wit::HttpRequest {
        method: head.method.as_str().to_owned(),
        target: target(&head.uri).to_owned(),
        headers: given(&head.headers)?,
        body: body.to_vec(),
    })
}

fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// A call that the adapter delegates.
pub(crate) fn call(request: wit::HttpRequest, context: CallContext) -> Result<Call, String> {
    let method = Method::from_bytes(request.method.as_bytes())
        .ok()
        .filter(|method| *method != Method::CONNECT)
        .ok_or_else(|| format!("it delegates by a method `{}` that is none", request.method))?;
    let target = request.target.as_str();
    let uri = PathAndQuery::try_from(target).ok().map(Uri::from);
    let uri = uri.filter(|_| target.starts_with('/') || target == "*");
    let uri = uri.ok_or_else(|| format!("it delegates to `{target}`, which is no path"))?;
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = method;
    head.uri = uri;
    head.headers = taken(request.headers)?;
    Ok(Call::Http(HttpCall {
        head,
        body: whole(request.body),
        context,
    }))
}

fn whole(bytes: Vec<u8>) -> Body {
    if bytes.is_empty() {
        Body::Empty
    } else {
        Body::Bytes(bytes.into())
    }
}

/// An answer as the adapter sees it.
pub(crate) fn reply(head: &response::Parts, body: Vec<u8>) -> Result<wit::HttpReply, String> {
    Ok(wit::HttpReply {
        status: head.status.as_u16(),
        headers: given(&head.headers)?,
        body,
    })
}

/// What the adapter answers; `method` is that of the call.
pub(crate) fn answer(reply: wit::HttpReply, method: &Method) -> Result<HttpAnswer, String> {
    let status = StatusCode::from_u16(reply.status).ok();
    let status = status.filter(|status| (200..600).contains(&status.as_u16()));
    let status = status.ok_or_else(|| format!("it answers with a status {}", reply.status))?;
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    head.headers = taken(reply.headers)?;
    let bodiless = *method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if bodiless {
        Body::Empty
    } else {
        whole(reply.body)
    };
    Ok(HttpAnswer { head, body })
}

/// A refusal of somebody nearer to the software, as the adapter sees it.
pub(crate) fn refusal(refusal: &Refusal) -> wit::Refusal {
    let reply = match &refusal.words {
        RefusalWords::Http {
            body: RefusalBody::Problem,
            ..
        }
        | RefusalWords::Message(_) => None,
        RefusalWords::Http {
            status, headers, ..
        } => {
            let (body, media) = refusal.http_body();
            let media = Some(("content-type", media)).filter(|(_, media)| !media.is_empty());
            let others = headers.iter().filter_map(|(name, value)| {
                // It was text when the component wrote it.
                Some((name.as_str(), value.to_str().ok()?))
            });
            Some(wit::HttpReply {
                status: status.as_u16(),
                headers: (media.into_iter().chain(others))
                    .map(|(name, value)| wit::Header {
                        name: name.to_owned(),
                        value: value.to_owned(),
                    })
                    .collect(),
                body: body.into_written(),
            })
        }
    };
    wit::Refusal {
        reason: refusal.reason.clone(),
        reply: reply.map(wit::Reply::Http),
    }
}

/// A refusal of the adapter's own, perhaps with a reply in its own words, whose body is text.
pub(crate) fn refused(
    reason: String,
    reply: Option<wit::HttpReply>,
    rule: String,
) -> Result<Refusal, String> {
    let kind = RefusalKind::Declared;
    let mut own = Refusal::new(kind, rule, reason, StatusCode::UNPROCESSABLE_ENTITY);
    let Some(reply) = reply else {
        return Ok(own);
    };
    let text = String::from_utf8(reply.body.clone())
        .map_err(|_| "it refuses with a body that is not UTF-8".to_owned())?;
    let mut answer = answer(reply, &Method::GET)?;
    let media = answer.head.headers.remove(header::CONTENT_TYPE);
    let media = media.as_ref().and_then(|media| media.to_str().ok());
    own.words = RefusalWords::Http {
        status: answer.head.status,
        headers: answer.head.headers,
        body: RefusalBody::Text {
            media: media.unwrap_or_default().to_owned(),
            text,
        },
    };
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_in_the_components_own_words_keeps_its_headers() {
        let header = |name: &str, value: &str| wit::Header {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let reply = wit::HttpReply {
            status: 429,
            headers: vec![
                header("content-type", "text/plain"),
                header("retry-after", "5"),
                header("content-length", "99"),
            ],
            body: b"later".to_vec(),
        };
        let own = refused("too many".to_owned(), Some(reply), "rule".to_owned());
        let own = own.expect("what HTTP allows");
        let RefusalWords::Http { headers, .. } = &own.words else {
            panic!("{own:?}");
        };
        assert_eq!(headers.len(), 1, "{own:?}");
        let handed_on = refusal(&own);
        let Some(wit::Reply::Http(shown)) = handed_on.reply else {
            panic!("{handed_on:?}");
        };
        assert_eq!((shown.status, shown.body), (429, b"later".to_vec()));
        let shown = shown.headers.iter();
        let shown: Vec<(&str, &str)> = shown
            .map(|header| (header.name.as_str(), header.value.as_str()))
            .collect();
        assert_eq!(
            shown,
            [("content-type", "text/plain"), ("retry-after", "5")]
        );
    }
}
