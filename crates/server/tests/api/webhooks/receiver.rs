//! A receiver of webhooks that takes what it is sent, or does not, in every way that one can.

use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Takes it.
    Take,
    /// Takes it, and answers without end.
    TakeEndlessly,
    /// Takes it, and breaks off in the answer's body.
    TakeAndBreak,
    /// Ends the connection.
    Close,
    /// Ends it within the status line.
    CloseInHead,
    /// Answers something that is no HTTP.
    Garbage,
    /// Has a status that there is none of.
    Lie,
    /// Sends elsewhere.
    Redirect,
    /// Has failed, with a body without end.
    FailEndlessly,
    /// Has failed.
    Fail,
    /// Does not want it, ever.
    Refuse,
    /// Asks to be left alone for some seconds.
    Busy,
    /// Is gone for good.
    Gone,
    /// Never answers.
    Silence,
}

impl Behaviour {
    /// Those that end soon.
    pub(crate) const QUICK: [Self; 11] = [
        Self::Take,
        Self::TakeEndlessly,
        Self::TakeAndBreak,
        Self::Close,
        Self::CloseInHead,
        Self::Garbage,
        Self::Lie,
        Self::Redirect,
        Self::FailEndlessly,
        Self::Fail,
        Self::Refuse,
    ];

    /// Whether its status says that the receiver has it.
    pub(crate) fn is_taken(self) -> bool {
        matches!(self, Self::Take | Self::TakeEndlessly | Self::TakeAndBreak)
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) raw: Vec<u8>,
    pub(crate) body: Value,
    pub(crate) behaviour: Behaviour,
}

impl Received {
    /// The number of the event.
    pub(crate) fn number(&self) -> u64 {
        self.body["data"]["sequence"].as_u64().expect("a number")
    }

    pub(crate) fn kind(&self) -> &str {
        self.body["data"]["kind"].as_str().expect("a kind")
    }
}

/// How long a receiver works on a request before it answers.
const WORK: Duration = Duration::from_millis(2);

type Decides = dyn Fn(usize, &Received) -> Behaviour + Send + Sync;

/// A receiver.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
    /// How many requests were under way at once, at most.
    pub(crate) at_once: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// One that takes everything.
    pub(crate) async fn start() -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), |_, _| Behaviour::Take).await
    }

    /// One that does this with the request of that number.
    pub(crate) async fn at(
        address: SocketAddr,
        decides: impl Fn(usize, &Received) -> Behaviour + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let at_once: Arc<AtomicUsize> = Arc::default();
        let decides: Arc<Decides> = Arc::new(decides);
        let task = tokio::spawn({
            let (received, at_once) = (Arc::clone(&received), Arc::clone(&at_once));
            async move {
                let under_way: Arc<AtomicUsize> = Arc::default();
                while let Ok((stream, _)) = listener.accept().await {
                    let (received, at_once) = (Arc::clone(&received), Arc::clone(&at_once));
                    let (decides, under_way) = (Arc::clone(&decides), Arc::clone(&under_way));
                    tokio::spawn(async move {
                        serve(stream, &received, &*decides, (&under_way, &at_once)).await;
                    });
                }
            }
        });
        Self {
            address,
            received,
            at_once,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The numbers of the events whose requests came, in order.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.received.lock().iter().map(Received::number).collect()
    }

    /// The numbers of those that it has taken.
    pub(crate) fn taken(&self) -> Vec<u64> {
        let received = self.received.lock();
        let taken = received.iter().filter(|it| it.behaviour.is_taken());
        taken.map(Received::number).collect()
    }
}

/// Whether a port is one where nobody listens; it stays free for a while.
pub(crate) async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    listener.local_addr().expect("an address")
}

/// One request for each connection.
async fn serve(
    mut stream: TcpStream,
    received: &Mutex<Vec<Received>>,
    decides: &Decides,
    (under_way, at_once): (&AtomicUsize, &AtomicUsize),
) {
    let Some(mut request) = read(&mut stream).await else {
        return;
    };
    let number = received.lock().len();
    request.behaviour = decides(number, &request);
    let behaviour = request.behaviour;
    received.lock().push(request);
    // The work that it makes: one that came before the answer would meet it.
    let count = under_way.fetch_add(1, Ordering::SeqCst) + 1;
    at_once.fetch_max(count, Ordering::SeqCst);
    tokio::time::sleep(WORK).await;
    under_way.fetch_sub(1, Ordering::SeqCst);
    answer(&mut stream, behaviour).await;
}

async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut raw = Vec::new();
    let head = loop {
        if let Some(at) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(raw[..head].to_vec()).ok()?;
    let lines = text.lines().skip(1);
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    let mut body = raw.split_off(head + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Received {
        headers,
        body: serde_json::from_slice(&body).ok()?,
        raw: body,
        behaviour: Behaviour::Take,
    })
}

/// How much an answer without end has: more than anybody reads, and not so much that a test of a server that read it would take for ever.
const ENDLESS_BYTES: usize = 64 << 20;

async fn answer(stream: &mut TcpStream, behaviour: Behaviour) {
    let head =
        |status: &str, more: &str| format!("HTTP/1.1 {status}\r\n{more}Connection: close\r\n\r\n");
    let text = match behaviour {
        Behaviour::Take => head("204 No Content", ""),
        Behaviour::TakeEndlessly => head("200 OK", ""),
        Behaviour::TakeAndBreak => head("202 Accepted", "Content-Length: 1000\r\n") + "half",
        Behaviour::Close => return,
        Behaviour::CloseInHead => "HTTP/1.1 20".to_owned(),
        Behaviour::Garbage => "220 mail.example.org ESMTP\r\n\r\n".to_owned(),
        Behaviour::Lie => head("999 Fine", ""),
        Behaviour::Redirect => head(
            "307 Elsewhere",
            "Location: http://127.0.0.1:9/\r\nContent-Length: 0\r\n",
        ),
        Behaviour::FailEndlessly => head("500 Oh", ""),
        Behaviour::Fail => head("503 Later", "Content-Length: 5\r\n") + "later",
        Behaviour::Refuse => head("400 Bad", "Content-Length: 9\r\n") + "hunter\x1b[2",
        Behaviour::Busy => head("429 Busy", "Retry-After: 100\r\nContent-Length: 0\r\n"),
        Behaviour::Gone => head("410 Gone", "Content-Length: 0\r\n"),
        Behaviour::Silence => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            return;
        }
    };
    // The other side may have gone.
    let _ = stream.write_all(text.as_bytes()).await;
    if matches!(
        behaviour,
        Behaviour::TakeEndlessly | Behaviour::FailEndlessly
    ) {
        let block = vec![b'x'; 64 << 10];
        for _ in 0..ENDLESS_BYTES / block.len() {
            if stream.write_all(&block).await.is_err() {
                break;
            }
        }
    }
    let _ = stream.shutdown().await;
}
