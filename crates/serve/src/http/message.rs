//! Between hyper's messages and calls: bodies, hop-by-hop headers, refusals as problems.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use call::strip_hops;
use call::{
    AwaitsContinue, Body, CallContext, Failure, HttpAnswer, HttpCall, Refusal, RefusalWords,
    WatchedBody,
};

use super::interim::{Expectation, WantedBody};
use super::strict;

/// A body on its way out.
pub(super) struct OutgoingBody {
    content: OutgoingContent,
    /// Told when the stream fails; what it holds is dropped with the body.
    end: Option<Box<dyn BodyEnd>>,
}

enum OutgoingContent {
    Whole(Option<Bytes>),
    Stream(Incoming),
    Watched(Box<dyn WatchedBody>),
    /// Not before the software wants it.
    Awaited(WantedBody),
}

/// Who wants to know how an answer's body ended. It is dropped with the body.
pub(super) trait BodyEnd: Any + Send {
    /// The stream that the body comes from failed.
    fn failed(&mut self);
}

impl OutgoingBody {
    fn new(body: Body) -> Self {
        let content = match body {
            Body::Empty => OutgoingContent::Whole(None),
            Body::Bytes(bytes) => {
                OutgoingContent::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
            }
            Body::Json(json) => {
                let mut bytes = Vec::with_capacity(json.length_hint());
                json.write(&mut bytes);
                OutgoingContent::Whole(Some(bytes.into()))
            }
            Body::Stream(stream) => OutgoingContent::Stream(stream),
            Body::Watched(stream) => OutgoingContent::Watched(stream),
        };
        Self { content, end: None }
    }

    fn awaited(expectation: Expectation) -> Self {
        Self {
            content: OutgoingContent::Awaited(expectation.wanted()),
            end: None,
        }
    }

    pub(super) fn with_end(mut self, end: Box<dyn BodyEnd>) -> Self {
        self.set_end(end);
        self
    }

    pub(super) fn set_end(&mut self, end: Box<dyn BodyEnd>) {
        self.end = Some(end);
    }
}

impl HttpBody for OutgoingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let OutgoingContent::Awaited(wanted) = &mut self.content {
            let body = ready!(wanted.as_mut().poll(cx));
            self.content = Self::new(body).content;
        }
        let frame = match &mut self.content {
            // It has just been replaced.
            OutgoingContent::Awaited(_) => return Poll::Pending,
            OutgoingContent::Whole(bytes) => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            OutgoingContent::Stream(stream) => ready!(Pin::new(stream).poll_frame(cx)),
            OutgoingContent::Watched(stream) => ready!(Pin::new(stream).poll_frame(cx)),
        };
        if let (Some(Err(_)), Some(end)) = (&frame, &mut self.end) {
            end.failed();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            OutgoingContent::Whole(bytes) => bytes.is_none(),
            OutgoingContent::Stream(stream) => stream.is_end_stream(),
            OutgoingContent::Watched(stream) => stream.is_end_stream(),
            OutgoingContent::Awaited(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            OutgoingContent::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            OutgoingContent::Stream(stream) => stream.size_hint(),
            OutgoingContent::Watched(stream) => stream.size_hint(),
            // The head says it.
            OutgoingContent::Awaited(_) => SizeHint::default(),
        }
    }
}

/// A caller's request as a call.
pub(super) fn call(request: Request<Incoming>, context: CallContext) -> HttpCall {
    let (mut head, body) = request.into_parts();
    let takes_trailers = takes_trailers(&head.headers);
    strip_hops(&mut head.headers);
    if takes_trailers {
        head.extensions.insert(TakesTrailers);
    }
    // It is asked again where the body goes on as it comes. Else the answer is given here, when the body is first read.
    if head.headers.remove(header::EXPECT).is_some() {
        head.extensions.insert(AwaitsContinue);
    }
    HttpCall {
        head,
        body: incoming(body),
        context,
    }
}

/// A call as a request to the software, and whether its body waits to be wanted.
pub(super) fn request(call: HttpCall) -> (Request<OutgoingBody>, Option<Expectation>) {
    let mut head = call.head;
    describe(&mut head.headers, &call.body);
    if head.extensions.remove::<TakesTrailers>().is_some() {
        head.headers
            .insert(header::TE, HeaderValue::from_static("trailers"));
        head.headers
            .insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    let awaits = head.extensions.remove::<AwaitsContinue>().is_some();
    if awaits && matches!(call.body, Body::Stream(_) | Body::Watched(_)) {
        head.headers
            .insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        let expectation = Expectation::new(call.body);
        let body = OutgoingBody::awaited(expectation.clone());
        return (Request::from_parts(head, body), Some(expectation));
    }
    (
        Request::from_parts(head, OutgoingBody::new(call.body)),
        None,
    )
}

/// Marks a call whose caller takes trailers, which concerns each connection by itself (RFC 9110, section 10.1.4).
#[derive(Clone, Copy, Debug)]
struct TakesTrailers;

fn takes_trailers(headers: &HeaderMap) -> bool {
    let is_trailers = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"trailers");
    (headers.get_all(header::TE).iter()).any(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',');
        codings.any(is_trailers)
    })
}

/// The software's response as an answer.
pub(super) fn answer(response: Response<Incoming>) -> Result<HttpAnswer, Failure> {
    let (mut head, body) = response.into_parts();
    if let Some(problem) = strict::ambiguous_answer(&mut head) {
        return Err(Failure::Ambiguous(problem));
    }
    strip_hops(&mut head.headers);
    Ok(HttpAnswer {
        head,
        body: incoming(body),
    })
}

/// An answer as a response to the caller.
pub(super) fn response(answer: HttpAnswer) -> Response<OutgoingBody> {
    let mut head = answer.head;
    head.version = http::Version::HTTP_11;
    describe(&mut head.headers, &answer.body);
    Response::from_parts(head, OutgoingBody::new(answer.body))
}

/// A refusal as a response to the caller.
pub(super) fn refusal(refusal: Refusal) -> Response<OutgoingBody> {
    let (body, media) = refusal.http_body();
    let mut response = Response::new(OutgoingBody::new(body));
    *response.status_mut() = refusal.status();
    if let RefusalWords::Http { headers, .. } = &refusal.words {
        response.headers_mut().clone_from(headers);
    }
    // Whoever answers by himself says when (RFC 9110, section 6.6.1).
    let now = httpdate::fmt_http_date(SystemTime::now());
    if let Ok(now) = HeaderValue::try_from(now) {
        response.headers_mut().entry(header::DATE).or_insert(now);
    }
    // What a lens calls it was proved to be a header's value.
    if !media.is_empty()
        && let Ok(media) = HeaderValue::try_from(media)
    {
        response.headers_mut().insert(header::CONTENT_TYPE, media);
    }
    response
}

fn incoming(body: Incoming) -> Body {
    if body.is_end_stream() {
        Body::Empty
    } else {
        Body::Stream(body)
    }
}

/// Bodies made here have the length that they have.
fn describe(headers: &mut HeaderMap, body: &Body) {
    if matches!(body, Body::Bytes(_) | Body::Json(_)) {
        headers.remove(header::CONTENT_LENGTH);
    }
}
