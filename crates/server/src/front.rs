//! Connections: accepted, bounded until their callers are known, served, and ended in order.
//!
//! Whoever has shown no token yet is a stranger. Strangers have little time and few places; when those are taken, the one who has had his
//! longest goes, so that a crowd of them keeps nobody out: who has a token shows it at once.

use crate::meters::OpenCount;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use identity::PeerCertificate;
use model::api::Principal;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

/// How many strangers are connected at most: as many as a large system's agents come in a few tenths of a second, so that none of them is
/// sent away when the server has stood still for a moment.
const STRANGERS_MAX: usize = 1024;

/// How long a stranger may take to show a token: it stands in the head of the first request.
const STRANGER_LIMIT: Duration = Duration::from_secs(10);

/// How long a caller who is known may take for the head of its next request, the time before it included.
const HEAD_LIMIT: Duration = Duration::from_secs(120);

/// How many connections one person or node has at most, who is known by name: far more than agents, commands and browsers open, and so few
/// that nobody takes the descriptors that all others need. The server's own token names nobody, and is not limited.
const EACH_MAX: usize = 256;

/// How long nothing is accepted when descriptors have run out.
const SCARCITY_PAUSE: Duration = Duration::from_millis(50);

/// How often that is said at most: callers can keep it so.
const SAID_PAUSE: Duration = Duration::from_secs(60);

/// Those who have shown no token yet, by the order in which they came.
#[derive(Clone, Debug, Default)]
struct Strangers(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    last: u64,
    leave: BTreeMap<u64, Arc<Notify>>,
    /// Whose connection it is, of those that are known.
    people: HashMap<u64, Principal>,
    /// The connections of each.
    known: HashMap<Principal, BTreeMap<u64, Arc<Notify>>>,
}

impl Queue {
    /// A connection is somebody's now; when they have their share, their oldest one goes.
    fn know(&mut self, number: u64, principal: &Principal, leave: &Arc<Notify>) {
        if self.people.get(&number) == Some(principal) {
            return;
        }
        // A proxy may carry several people on one.
        self.forget(number);
        self.people.insert(number, principal.clone());
        let theirs = self.known.entry(principal.clone()).or_default();
        theirs.insert(number, Arc::clone(leave));
        if theirs.len() > EACH_MAX
            && let Some((oldest, leave)) = theirs.pop_first()
        {
            self.people.remove(&oldest);
            leave.notify_one();
        }
    }

    fn forget(&mut self, number: u64) {
        let Some(principal) = self.people.remove(&number) else {
            return;
        };
        if let Some(theirs) = self.known.get_mut(&principal) {
            theirs.remove(&number);
            if theirs.is_empty() {
                self.known.remove(&principal);
            }
        }
    }
}

/// One connection's caller, as long as it is a stranger.
#[derive(Clone, Debug)]
pub(crate) struct UnknownCaller(Arc<StrangersPlace>);

#[derive(Debug)]
struct StrangersPlace {
    number: u64,
    strangers: Strangers,
    /// Rung when it must go.
    leave: Arc<Notify>,
}

impl Strangers {
    /// Gives a new one a place, if need be that of the one who has had his longest.
    fn admit(&self) -> UnknownCaller {
        let mut waiting = self.lock();
        if waiting.leave.len() >= STRANGERS_MAX
            && let Some((_, oldest)) = waiting.leave.pop_first()
        {
            oldest.notify_one();
        }
        waiting.last += 1;
        let number = waiting.last;
        let leave = Arc::new(Notify::new());
        waiting.leave.insert(number, Arc::clone(&leave));
        drop(waiting);
        let strangers = self.clone();
        UnknownCaller(Arc::new(StrangersPlace {
            number,
            strangers,
            leave,
        }))
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Queue> {
        self.0.lock()
    }
}

impl UnknownCaller {
    /// The caller has shown who it is, if its token or certificate names somebody: it is no stranger any more.
    pub(crate) fn is_known_now(&self, principal: Option<&Principal>) {
        let place = &self.0;
        let mut queue = place.strangers.lock();
        queue.leave.remove(&place.number);
        if let Some(principal) = principal {
            queue.know(place.number, principal, &place.leave);
        }
    }

    fn is_stranger(&self) -> bool {
        let waiting = self.0.strangers.lock();
        waiting.leave.contains_key(&self.0.number)
    }
}

impl Drop for StrangersPlace {
    fn drop(&mut self) {
        let mut queue = self.strangers.lock();
        queue.leave.remove(&self.number);
        queue.forget(self.number);
    }
}

/// Serves until `stopping` is true and every request under way has been answered.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    router: Router,
    open: OpenCount,
    mut stopping: watch::Receiver<bool>,
) {
    let strangers = Strangers::default();
    let mut connections = JoinSet::new();
    let mut said = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let caller = strangers.admit();
                let tls = tls.clone();
                let counted = open.enter();
                let greeted = greet(stream, tls, router.clone(), caller, stopping.clone());
                connections.spawn(async move {
                    greeted.await;
                    drop(counted);
                });
            }
            Err(error) => {
                let is_new = said.is_none_or(|said: Instant| said.elapsed() > SAID_PAUSE);
                if is_scarcity(&error) && is_new {
                    said = Some(Instant::now());
                    tracing::warn!(%error, "no connection can be accepted");
                }
                tokio::time::sleep(SCARCITY_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Anything else is a caller that has gone while it waited.
fn is_scarcity(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// What is known of the connection on which a request came.
#[derive(Clone, Debug)]
pub(crate) struct CallerConnection {
    /// The certificate that was shown, of this system's authority.
    pub(crate) certificate: Option<PeerCertificate>,
    /// From where.
    pub(crate) address: IpAddr,
    /// Whether it is encrypted by TLS up to here.
    pub(crate) is_encrypted: bool,
    /// Whether it is the address of another host, from where everybody on the way can read along.
    is_plain_from_elsewhere: bool,
}

impl CallerConnection {
    /// The same, as if no certificate had been shown.
    pub(crate) fn without_certificate(mut self) -> Self {
        self.certificate = None;
        self
    }

    /// Whether everybody on the way can read along.
    pub(crate) fn is_open_to_others(&self) -> bool {
        self.is_plain_from_elsewhere
    }
}

/// The first byte of TLS: a record of the handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Finds out whether a caller speaks TLS, within a stranger's time, and serves it.
async fn greet(
    stream: TcpStream,
    tls: TlsAcceptor,
    router: Router,
    caller: UnknownCaller,
    stopping: watch::Receiver<bool>,
) {
    // Answers are small, and somebody waits for each of them.
    let _ = stream.set_nodelay(true);
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
        return;
    };
    let address = peer.ip().to_canonical();
    let mut connection = CallerConnection {
        certificate: None,
        address,
        is_encrypted: false,
        is_plain_from_elsewhere: false,
    };
    let mut left = stopping.clone();
    let greeted = async {
        let mut first = [0];
        let count = stream.peek(&mut first).await.ok()?;
        if count == 0 || first[0] != TLS_HANDSHAKE {
            return Some(Greeted::Plain(stream));
        }
        let accepted = tls.accept(stream).await;
        let accepted =
            accepted.inspect_err(|error| tracing::debug!(%error, %peer, "no TLS came about"));
        accepted.ok().map(|stream| Greeted::Tls(Box::new(stream)))
    };
    let greeted = tokio::select! {
        greeted = greeted => greeted,
        () = caller.0.leave.notified() => None,
        () = tokio::time::sleep(STRANGER_LIMIT) => None,
        _ = left.wait_for(|stopping| *stopping) => None,
    };
    match greeted {
        Some(Greeted::Plain(stream)) => {
            let is_own = address.is_loopback() || address == local.ip().to_canonical();
            connection.is_plain_from_elsewhere = !is_own;
            serve_one(stream, connection, router, caller, stopping).await;
        }
        Some(Greeted::Tls(stream)) => {
            let shown = stream.get_ref().1.peer_certificates();
            let shown = shown.and_then(|shown| PeerCertificate::read(shown.first()?).ok());
            connection.certificate = shown;
            connection.is_encrypted = true;
            serve_one(stream, connection, router, caller, stopping).await;
        }
        None => {}
    }
}

/// How a caller has begun.
enum Greeted {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

async fn serve_one(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    about: CallerConnection,
    router: Router,
    caller: UnknownCaller,
    mut stopping: watch::Receiver<bool>,
) {
    let shown = caller.clone();
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(shown.clone());
        request.extensions_mut().insert(about.clone());
        router.clone().oneshot(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut time_is_up = pin!(tokio::time::sleep(STRANGER_LIMIT));
    let (mut is_watched, mut ends) = (true, false);
    loop {
        tokio::select! {
            // How a connection ends is its caller's business.
            _ = &mut connection => return,
            () = caller.0.leave.notified() => return,
            () = &mut time_is_up, if is_watched => {
                if caller.is_stranger() {
                    return;
                }
                is_watched = false;
            }
            _ = stopping.wait_for(|stopping| *stopping), if !ends => {
                connection.as_mut().graceful_shutdown();
                ends = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EACH_MAX, STRANGERS_MAX, Strangers};
    use model::api::Principal;

    #[tokio::test]
    async fn the_one_who_has_been_a_stranger_longest_makes_room() {
        let strangers = Strangers::default();
        let known = strangers.admit();
        known.is_known_now(None);
        let first = strangers.admit();
        let others: Vec<_> = (1..STRANGERS_MAX).map(|_| strangers.admit()).collect();
        assert!(first.is_stranger() && !known.is_stranger());
        let next = strangers.admit();
        first.0.leave.notified().await;
        assert!(!first.is_stranger() && next.is_stranger());
        drop(others);
        assert_eq!(strangers.lock().leave.len(), 1);
    }

    #[tokio::test]
    async fn nobody_who_is_known_takes_all_descriptors() {
        let strangers = Strangers::default();
        let (eve, ann) = (Principal::operator("eve"), Principal::operator("ann"));
        let anns = strangers.admit();
        anns.is_known_now(Some(&ann));
        let mut eves = Vec::new();
        for _ in 0..=EACH_MAX {
            let one = strangers.admit();
            // Each request says it again.
            one.is_known_now(Some(&eve));
            one.is_known_now(Some(&eve));
            eves.push(one);
        }
        eves[0].0.leave.notified().await;
        assert_eq!(strangers.lock().known[&eve].len(), EACH_MAX);
        assert_eq!(strangers.lock().known[&ann].len(), 1);
        // What a proxy carries is whose the last request was.
        anns.is_known_now(Some(&eve));
        assert!(!strangers.lock().known.contains_key(&ann));
        drop((eves, anns));
        let queue = strangers.lock();
        assert!(queue.known.is_empty() && queue.people.is_empty());
    }
}
