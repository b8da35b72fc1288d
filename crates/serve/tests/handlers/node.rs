//! A node around the connection handler: a gate, software on a real socket, a caller with raw bytes.
#![allow(dead_code, unreachable_pub)]

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use call::{Chain, Closed, Counters, Dial, Direction, Gate, Lease, Limits, Pending, Upstream};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lens::Lens;
use serve::{MessageNode, MessageProtocol, Served, serve_http, serve_messages};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wire::framing::Codec;

/// Longest that anything may take.
pub const BOUND: Duration = Duration::from_secs(20);

/// How long a caller's socket lingers by what it has from its listener.
pub const LENT_LINGER: Duration = Duration::from_secs(7);

/// What the gate gives out; `None` while it holds calls.
#[derive(Clone)]
pub struct Leave {
    pub chain: Arc<Chain>,
    pub upstream: Upstream,
    pub give_back: bool,
    pub closed: bool,
}

pub struct TestGate {
    pub leave: watch::Sender<Option<Leave>>,
    pub waiting: AtomicUsize,
    pub in_calls: Arc<AtomicUsize>,
    /// The software's framing, where calls are messages.
    codec: Option<Arc<Codec>>,
}

struct InCall(Arc<AtomicUsize>);

impl Drop for InCall {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate for TestGate {
    fn enter(&self) -> Pending<'_, Result<Lease, Closed>> {
        Box::pin(async move {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let mut leave = self.leave.subscribe();
            let found = leave
                .wait_for(Option::is_some)
                .await
                .map_err(|_| Closed)?
                .clone();
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            let Some(found) = found.filter(|found| !found.closed) else {
                return Err(Closed);
            };
            self.in_calls.fetch_add(1, Ordering::SeqCst);
            Ok(Lease {
                chain: found.chain,
                upstream: found.upstream,
                give_back: found.give_back,
                guard: Some(Box::new(InCall(self.in_calls.clone()))),
            })
        })
    }

    fn replaced(&self, upstream: Upstream) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut leave = self.leave.subscribe();
            let replaced =
                leave.wait_for(|now| !now.as_ref().is_some_and(|now| now.upstream == upstream));
            if replaced.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn codec(&self) -> Option<Arc<Codec>> {
        self.codec.clone()
    }
}

struct PlainDial;

impl Dial for PlainDial {
    fn dial(&self, upstream: Upstream, _: SocketAddr) -> Pending<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(upstream.address))
    }
}

/// A node with one caller's connection.
pub struct Node {
    pub gate: Arc<TestGate>,
    pub counters: Arc<Counters>,
    pub served: JoinHandle<Served>,
    pub caller: Caller,
}

pub fn leave(chain: Chain, address: SocketAddr, generation: u64) -> Leave {
    let upstream = Upstream {
        address,
        generation,
    };
    Leave {
        chain: Arc::new(chain),
        upstream,
        give_back: false,
        closed: false,
    }
}

pub fn limits() -> Limits {
    Limits {
        head_bytes_max: 8192,
        headers_max: 20,
        body_bytes_max: 4096,
        ..Limits::default()
    }
}

impl Node {
    /// One whose service speaks HTTP.
    pub async fn start(leave: Option<Leave>, limits: Limits) -> Self {
        let limits = Arc::new(limits);
        Self::serving(leave, None, |stream, peer, gate, counters| {
            serve_http(stream, peer, gate, Arc::new(PlainDial), limits, counters)
        })
        .await
    }

    /// One whose calls are messages; the codecs are the caller's and the software's.
    pub async fn start_messages(
        leave: Option<Leave>,
        protocol: MessageProtocol,
        software: Arc<Codec>,
    ) -> Self {
        Self::start_limited_messages(leave, protocol, software, Limits::default()).await
    }

    /// The same within limits.
    pub async fn start_limited_messages(
        leave: Option<Leave>,
        protocol: MessageProtocol,
        software: Arc<Codec>,
        limits: Limits,
    ) -> Self {
        Self::serving(leave, Some(software), |stream, peer, gate, observer| {
            let node = MessageNode {
                gate,
                dial: Arc::new(PlainDial),
                limits: Arc::new(limits),
                observer,
            };
            serve_messages(stream, peer, protocol, node)
        })
        .await
    }

    async fn serving<F>(
        leave: Option<Leave>,
        codec: Option<Arc<Codec>>,
        serve: impl FnOnce(TcpStream, SocketAddr, Arc<TestGate>, Arc<Counters>) -> F,
    ) -> Self
    where
        F: Future<Output = Served> + Send + 'static,
    {
        let gate = Arc::new(TestGate {
            leave: watch::channel(leave).0,
            waiting: AtomicUsize::new(0),
            in_calls: Arc::default(),
            codec,
        });
        let counters = Arc::new(Counters::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        // Every connection has them from its listener, as software may give them.
        let lent = SockRef::from(&listener);
        lent.set_linger(Some(LENT_LINGER)).expect("linger");
        let address = listener.local_addr().expect("address");
        let caller = TcpStream::connect(address).await.expect("connect");
        let (stream, peer) = listener.accept().await.expect("accept");
        let served = tokio::spawn(serve(stream, peer, gate.clone(), counters.clone()));
        Self {
            gate,
            counters,
            served,
            caller: Caller {
                stream: caller,
                unread: Vec::new(),
            },
        }
    }

    pub fn now(&self, leave: Leave) {
        self.gate.leave.send_replace(Some(leave));
    }

    pub fn hold(&self) {
        self.gate.leave.send_replace(None);
    }

    /// How the connection ended.
    pub async fn served(self) -> Served {
        bounded(self.served).await.expect("no panic")
    }
}

/// A lens in front of software of the version after its callers'.
pub fn past(lens: &str) -> Chain {
    let lens = Arc::new(Lens::parse("test.toml", lens).expect("a lens"));
    lens::chain(vec![(lens, Direction::Past)])
}

/// Fails the test if it takes too long.
pub async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("in time")
}

/// Waits for a condition.
pub async fn until(condition: impl Fn() -> bool) {
    bounded(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A caller that writes bytes and reads answers.
pub struct Caller {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

pub fn request(start: &str, body: &str) -> String {
    let length = body.len();
    format!("{start} HTTP/1.1\r\nHost: h:1\r\nContent-Length: {length}\r\n\r\n{body}")
}

impl Caller {
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        bounded(self.stream.write_all(bytes.as_ref()))
            .await
            .expect("write");
    }

    async fn more(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        let length = bounded(self.stream.read(&mut buffer)).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unread.extend_from_slice(&buffer[..length]);
        Ok(())
    }

    async fn line_end(&mut self, mark: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(at) = self
                .unread
                .windows(mark.len())
                .position(|window| window == mark)
            {
                return Ok(at);
            }
            self.more().await?;
        }
    }

    /// The next bytes, when so many are there.
    pub async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.more().await?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    pub async fn try_read(&mut self) -> io::Result<Reply> {
        let at = self.line_end(b"\r\n\r\n").await?;
        let head = String::from_utf8(self.take(at + 4).await?).expect("text");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        let mut reply = Reply {
            status,
            head,
            body: Vec::new(),
        };
        if let Some(length) = reply.header("content-length") {
            let length = length.parse().expect("a length");
            reply.body = self.take(length).await?;
        } else if reply.header("transfer-encoding").is_some() {
            loop {
                let at = self.line_end(b"\r\n").await?;
                let line = String::from_utf8(self.take(at + 2).await?).expect("text");
                let length = usize::from_str_radix(line.trim(), 16).expect("a length");
                let chunk = self.take(length + 2).await?;
                reply.body.extend_from_slice(&chunk[..length]);
                if length == 0 {
                    break;
                }
            }
        }
        Ok(reply)
    }

    pub async fn read(&mut self) -> Reply {
        self.try_read().await.expect("an answer")
    }

    pub async fn call(&mut self, start: &str, body: &str) -> Reply {
        self.write(request(start, body)).await;
        self.read().await
    }

    /// The next bytes are these.
    pub async fn is_told(&mut self, bytes: &str) {
        let told = self.take(bytes.len()).await;
        let told = told.map(|told| String::from_utf8_lossy(&told).into_owned());
        assert_eq!(told.expect("more bytes"), bytes);
    }

    /// The connection has ended in order.
    pub async fn is_ended(&mut self) -> bool {
        matches!(self.take(1).await, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof)
    }

    /// The connection was reset, not closed.
    pub async fn is_reset(&mut self) -> bool {
        matches!(self.try_read().await, Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
    }
}

/// Software that answers as a function says, and remembers what it saw.
pub struct Software {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Software {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub type Answer = fn(&str, Bytes) -> Response<Full<Bytes>>;

impl Software {
    /// `answer` is given "METHOD target" and the body.
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let connections = Arc::new(AtomicUsize::new(0));
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (count, log) = (connections.clone(), seen.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let log = log.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let log = log.clone();
                    async move {
                        let start = format!("{} {}", request.method(), request.uri());
                        let body = request.into_body().collect().await;
                        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
                        log.lock().expect("log").push(start.clone());
                        Ok::<_, Infallible>(answer(&start, body))
                    }
                });
                let builder = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move {
                    let _ = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            connections,
            seen,
            task,
        }
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("log").clone()
    }
}

/// Whether a socket is as its listener lent it.
pub fn is_as_lent(stream: &TcpStream) -> bool {
    let linger = SockRef::from(stream).linger().expect("linger");
    linger == Some(LENT_LINGER) && !stream.nodelay().expect("nodelay")
}

/// Answers with what it was told.
pub fn echo(start: &str, body: Bytes) -> Response<Full<Bytes>> {
    let text = [start.as_bytes(), b"\n", &body].concat();
    Response::new(Full::new(text.into()))
}

/// Software that follows a script on each connection.
pub async fn scripted<F, R>(script: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(number, stream));
            number += 1;
        }
    });
    address
}
