//! Listens to a connection between a caller and software that speak the same, and tells the calls that pass.
//!
//! It only hears copies of the bytes, in whatever pieces they pass: what it does not understand, or what is too long, ends
//! its listening and nothing else.

use std::collections::VecDeque;

use http::{Method, StatusCode};

use call::Form;

use crate::body_tee::BODY_BYTES_MAX;
use crate::{
    Content, Conversation, Ending, Headers, OF_THE_TRANSFER, Reply, Request, note_untyped,
};

/// The longest head that is understood, in bytes; as long as the longest that lenses see.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most headers of one message.
const HEADERS_MAX: usize = 128;
/// Most requests that wait for their answers.
const PIPELINE_MAX: usize = 64;
/// The longest line with a chunk's size, in bytes.
const CHUNK_LINE_BYTES_MAX: usize = 4096;

/// Listens to one connection.
#[derive(Debug, Default)]
pub struct HttpTap {
    requests: TapSide<Request>,
    answers: TapSide<Reply>,
    /// Requests whose answers have not passed yet.
    open: VecDeque<Request>,
    told: Vec<Conversation>,
    is_deaf: bool,
}

/// One direction: what has not been understood yet, and the message that is arriving.
#[derive(Debug)]
struct TapSide<M> {
    unread: Vec<u8>,
    arriving: Option<(M, ArrivingBody)>,
}

impl<M> Default for TapSide<M> {
    fn default() -> Self {
        Self {
            unread: Vec::new(),
            arriving: None,
        }
    }
}

/// A body that is arriving.
#[derive(Debug)]
struct ArrivingBody {
    framing: BodyFraming,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyFraming {
    /// So many bytes are missing.
    Length(u64),
    /// A chunk's size comes next.
    ChunkSize,
    /// So many bytes of a chunk are missing, its line end included.
    Chunk(u64),
    /// Lines up to an empty one.
    Trailers,
    /// Everything until the end of the connection.
    UntilEnd,
}

/// What the tap does not understand.
struct Deaf;

/// What a message says of its body.
struct BodyDescription {
    headers: Headers,
    length: Option<u64>,
    is_chunked: bool,
}

impl HttpTap {
    /// Hears bytes of the caller.
    pub fn hear_caller(&mut self, bytes: &[u8]) {
        self.hear(|tap| {
            tap.requests.unread.extend_from_slice(bytes);
            tap.follow()
        });
    }

    /// Hears bytes of the software.
    pub fn hear_software(&mut self, bytes: &[u8]) {
        self.hear(|tap| {
            tap.answers.unread.extend_from_slice(bytes);
            tap.follow()
        });
    }

    /// Hears that the software has ended its side.
    pub fn end_of_software(&mut self) {
        self.hear(|tap| {
            if let Some((_, body)) = &mut tap.answers.arriving
                && body.framing == BodyFraming::UntilEnd
            {
                body.framing = BodyFraming::Length(0);
            }
            tap.follow()
        });
    }

    /// The calls that have passed since this was asked.
    pub fn told(&mut self) -> Vec<Conversation> {
        std::mem::take(&mut self.told)
    }

    /// Whether it no longer understands what passes.
    pub fn is_deaf(&self) -> bool {
        self.is_deaf
    }

    fn hear(&mut self, listen: impl FnOnce(&mut Self) -> Result<(), Deaf>) {
        if !self.is_deaf && listen(self).is_err() {
            self.is_deaf = true;
            self.requests = TapSide::default();
            self.answers = TapSide::default();
            self.open.clear();
        }
    }

    fn follow(&mut self) -> Result<(), Deaf> {
        while let Some((request, body)) = self.requests.next(request)? {
            let mut request = request;
            request.body = Content(body);
            note_untyped(&mut request.headers, &request.body);
            if self.open.len() >= PIPELINE_MAX {
                return Err(Deaf);
            }
            self.open.push_back(request);
        }
        // Answers before the end of their requests wait.
        while let Some(method) = self.open.front().map(|request| request.method.clone()) {
            let Some((reply, body)) = self.answers.next(|head| reply(head, &method))? else {
                break;
            };
            if reply.status == StatusCode::SWITCHING_PROTOCOLS || method == Method::CONNECT {
                return Err(Deaf);
            }
            if reply.status.is_informational() {
                continue;
            }
            self.tell(reply, body);
        }
        Ok(())
    }

    fn tell(&mut self, mut reply: Reply, body: Vec<u8>) {
        let Some(sends) = self.open.pop_front() else {
            return;
        };
        reply.body = Content(body);
        note_untyped(&mut reply.headers, &reply.body);
        self.told.push(Conversation {
            sends,
            gets: Ending::answer(reply),
            ..Conversation::default()
        });
    }
}

impl<M> TapSide<M> {
    /// The next whole message, if it is there.
    fn next(
        &mut self,
        parse: impl Fn(&[u8]) -> ParsedHead<M>,
    ) -> Result<Option<(M, Vec<u8>)>, Deaf> {
        if self.arriving.is_none() {
            let Some((message, length, framing)) = parse(&self.unread)? else {
                return if self.unread.len() > HEAD_BYTES_MAX {
                    Err(Deaf)
                } else {
                    Ok(None)
                };
            };
            self.unread.drain(..length);
            let framing = framing.unwrap_or(BodyFraming::Length(0));
            let bytes = Vec::new();
            self.arriving = Some((message, ArrivingBody { framing, bytes }));
        }
        let Some((_, body)) = &mut self.arriving else {
            return Ok(None);
        };
        if !body.take(&mut self.unread)? {
            return Ok(None);
        }
        Ok(self
            .arriving
            .take()
            .map(|(message, body)| (message, body.bytes)))
    }
}

impl ArrivingBody {
    /// Takes what belongs to it; whether it is whole.
    fn take(&mut self, unread: &mut Vec<u8>) -> Result<bool, Deaf> {
        loop {
            match self.framing {
                BodyFraming::Length(0) => return Ok(true),
                BodyFraming::Length(missing) => {
                    let count = self.keep(unread, missing)?;
                    self.framing = BodyFraming::Length(missing - count);
                    if missing > count {
                        return Ok(false);
                    }
                }
                BodyFraming::UntilEnd => {
                    self.keep(unread, u64::MAX)?;
                    return Ok(false);
                }
                BodyFraming::ChunkSize => match httparse::parse_chunk_size(unread) {
                    Ok(httparse::Status::Complete((length, 0))) => {
                        unread.drain(..length);
                        self.framing = BodyFraming::Trailers;
                    }
                    Ok(httparse::Status::Complete((length, size))) => {
                        unread.drain(..length);
                        self.framing = BodyFraming::Chunk(size.checked_add(2).ok_or(Deaf)?);
                    }
                    Ok(httparse::Status::Partial) if unread.len() <= CHUNK_LINE_BYTES_MAX => {
                        return Ok(false);
                    }
                    _ => return Err(Deaf),
                },
                BodyFraming::Chunk(missing) => {
                    // The last two bytes are the chunk's line end.
                    let count = self.keep(unread, missing.saturating_sub(2))?;
                    let ends = (missing - count).min(unread.len() as u64).min(2);
                    let missing = missing - count;
                    let ends = if missing <= 2 { ends } else { 0 };
                    unread.drain(..usize::try_from(ends).unwrap_or(0));
                    if missing > ends {
                        self.framing = BodyFraming::Chunk(missing - ends);
                        return Ok(false);
                    }
                    self.framing = BodyFraming::ChunkSize;
                }
                BodyFraming::Trailers => {
                    let Some(end) = unread.windows(2).position(|pair| pair == b"\r\n") else {
                        return if unread.len() > HEAD_BYTES_MAX {
                            Err(Deaf)
                        } else {
                            Ok(false)
                        };
                    };
                    unread.drain(..end + 2);
                    if end == 0 {
                        self.framing = BodyFraming::Length(0);
                    }
                }
            }
        }
    }

    fn keep(&mut self, unread: &mut Vec<u8>, at_most: u64) -> Result<u64, Deaf> {
        let count = usize::try_from(at_most)
            .unwrap_or(usize::MAX)
            .min(unread.len());
        if self.bytes.len() + count > BODY_BYTES_MAX {
            return Err(Deaf);
        }
        self.bytes.extend(unread.drain(..count));
        Ok(count as u64)
    }
}

/// A message's head, its length, and how its body is framed; nothing while it is not whole.
type ParsedHead<M> = Result<Option<(M, usize, Option<BodyFraming>)>, Deaf>;

fn request(bytes: &[u8]) -> ParsedHead<Request> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let Ok(status) = parsed.parse(bytes) else {
        return Err(Deaf);
    };
    let httparse::Status::Complete(length) = status else {
        return Ok(None);
    };
    let method = parsed
        .method
        .and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    let (Some(method), Some(target)) = (method, parsed.path) else {
        return Err(Deaf);
    };
    let head = head(parsed.headers)?;
    let framing = head.framing(None);
    let request = Request {
        form: Form::Http,
        method,
        target: target.to_owned(),
        headers: head.headers,
        body: Content::default(),
    };
    Ok(Some((request, length, framing)))
}

fn reply(bytes: &[u8], asked: &Method) -> ParsedHead<Reply> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let Ok(status) = parsed.parse(bytes) else {
        return Err(Deaf);
    };
    let httparse::Status::Complete(length) = status else {
        return Ok(None);
    };
    let code = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(Deaf)?;
    let head = head(parsed.headers)?;
    let bodiless = *asked == Method::HEAD
        || code.is_informational()
        || matches!(code, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = if bodiless {
        None
    } else {
        head.framing(Some(BodyFraming::UntilEnd))
    };
    let reply = Reply {
        status: code,
        headers: head.headers,
        body: Content::default(),
    };
    Ok(Some((reply, length, framing)))
}

fn head(parsed: &[httparse::Header<'_>]) -> Result<BodyDescription, Deaf> {
    let mut head = BodyDescription {
        headers: Headers::new(),
        length: None,
        is_chunked: false,
    };
    for header in parsed {
        let name = header.name.to_ascii_lowercase();
        let value = String::from_utf8_lossy(header.value).into_owned();
        match name.as_str() {
            "content-length" => head.length = Some(value.trim().parse().map_err(|_| Deaf)?),
            "transfer-encoding" if value.trim().eq_ignore_ascii_case("chunked") => {
                head.is_chunked = true
            }
            "transfer-encoding" => return Err(Deaf),
            _ => {}
        }
        if !OF_THE_TRANSFER.contains(&name.as_str()) {
            head.headers.entry(name).or_default().push(value);
        }
    }
    Ok(head)
}

impl BodyDescription {
    fn framing(&self, otherwise: Option<BodyFraming>) -> Option<BodyFraming> {
        match (self.is_chunked, self.length) {
            (true, _) => Some(BodyFraming::ChunkSize),
            (false, Some(length)) => Some(BodyFraming::Length(length)),
            (false, None) => otherwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "POST /a?b=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{\"n\":1}\
        HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n\
        PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n\
        GET /end HTTP/1.1\r\n\r\n";
    const SOFTWARE: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\n\r\n{}\
        HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n\
        HTTP/1.1 200 OK\r\n\r\nuntil the end";

    fn listen(pieces: usize) -> HttpTap {
        let mut tap = HttpTap::default();
        let (mut a, mut b) = (
            CALLER.as_bytes().chunks(pieces),
            SOFTWARE.as_bytes().chunks(pieces),
        );
        loop {
            let (caller, software) = (a.next(), b.next());
            if caller.is_none() && software.is_none() {
                break;
            }
            tap.hear_caller(caller.unwrap_or_default());
            tap.hear_software(software.unwrap_or_default());
        }
        tap.end_of_software();
        tap
    }

    #[test]
    fn calls_are_told_however_their_bytes_are_cut() {
        for pieces in [1, 2, 3, 7, 64, 4096] {
            let mut tap = listen(pieces);
            let told = tap.told();
            let titles: Vec<String> = told.iter().map(Conversation::title).collect();
            assert_eq!(
                titles,
                ["POST /a?b=1", "HEAD /h", "PUT /c", "GET /end"],
                "{pieces}"
            );
            assert_eq!(told[0].sends.body, Content(b"{\"n\":1}".to_vec()));
            let first = &told[0].gets;
            assert_eq!(first.status, Some(StatusCode::CREATED));
            let headers = first.headers.as_ref().expect("headers");
            assert_eq!(headers["x-a"], ["1", "2"]);
            assert!(!headers.contains_key("content-length"));
            assert_eq!(told[1].gets.body, Some(Content::default()));
            assert_eq!(told[2].sends.body, Content(b"abcde".to_vec()));
            assert_eq!(told[2].gets.body, Some(Content(b"z".to_vec())));
            assert_eq!(told[3].gets.body, Some(Content(b"until the end".to_vec())));
            assert!(!tap.is_deaf());
        }
    }

    #[test]
    fn what_is_not_understood_ends_the_listening() {
        for (caller, software) in [
            ("\x16\x03\x01\x02\x00", ""),
            (
                "GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n",
                "HTTP/1.1 101 Switching Protocols\r\n\r\nraw",
            ),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", ""),
            ("GET / HTTP/1.1\r\n\r\n", "nonsense\r\n\r\n"),
            (
                "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                "",
            ),
        ] {
            let mut tap = HttpTap::default();
            tap.hear_caller(caller.as_bytes());
            tap.hear_software(software.as_bytes());
            assert!(tap.is_deaf(), "{caller}");
            assert_eq!(tap.told(), []);
        }
    }

    #[test]
    fn nothing_grows_without_a_limit() {
        let mut tap = HttpTap::default();
        tap.hear_caller(b"PUT / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n");
        for _ in 0..=BODY_BYTES_MAX / 1024 {
            tap.hear_caller(&[b'x'; 1024]);
        }
        assert!(tap.is_deaf());
        let mut tap = HttpTap::default();
        for _ in 0..=HEAD_BYTES_MAX / 1024 {
            tap.hear_caller(b"A: ");
            tap.hear_caller(&[b'x'; 1021]);
        }
        assert!(tap.is_deaf());
    }
}
