//! Giving connections back: the software gets the caller's own socket, and nothing of Upstart is in its path any more.

use super::{Relay, ResetReason, SoftwareDial, reset_std};
use call::Upstream;
use intercept::holder::HandOverReason;
use label::{LABEL_BYTES_MAX, Label};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a connection that is given back may wait in the software's accept queue before it is closed.
const OFFER_TTL: Duration = Duration::from_secs(30);

/// How long it may take to be taken there: shorter, so that what nobody takes is still offered then, and can be reset.
const TAKE_LIMIT: Duration = Duration::from_secs(25);

/// Between two tries to give a connection back: its way may have led past the software's present listeners.
const SHOW_PAUSE_MIN: Duration = Duration::from_millis(20);
const SHOW_PAUSE_MAX: Duration = Duration::from_millis(500);

impl Relay {
    /// A connection of the agent's own came back to it: its label was late, so it is to reach the software after all; or nobody of the
    /// software listens there, and what is kept for it has taken it.
    pub(super) async fn take_back(
        self: &Arc<Self>,
        stream: TcpStream,
        label: &Label,
        handed_over: Option<HandOverReason>,
        service: Option<&str>,
    ) -> io::Result<()> {
        let software = stream.local_addr()?;
        let was_kept = handed_over == Some(HandOverReason::Held);
        if was_kept && label.token.is_some() {
            // Whoever shows the token tries again.
            reset_std(stream.into_std()?);
            return Ok(());
        }
        if was_kept && self.nobody_listens(software.port()) {
            return self.reset(stream, ResetReason::NobodyListens);
        }
        if label.token.is_some() {
            let mut bytes = [0; LABEL_BYTES_MAX];
            let length = label.encode(&mut bytes);
            return show(&self.software_dial, software, &bytes[..length], TAKE_LIMIT).await;
        }
        self.give_back_to(stream, service, label.caller).await
    }

    /// Callers are held, or the software does not listen there: what is kept must not be dialled again and again.
    fn nobody_listens(&self, port: u16) -> bool {
        let picture = self.traffic.picture();
        let child = picture.child.as_ref();
        let listens = child.is_some_and(|child| child.listening.iter().any(|at| at.port() == port));
        picture.hold || !listens
    }

    /// Gives a connection that cannot be held again to the software that has this service now, or resets it.
    pub(super) async fn give_back_to(
        self: &Arc<Self>,
        stream: TcpStream,
        service: Option<&str>,
        caller: Option<(SocketAddr, SocketAddr)>,
    ) -> io::Result<()> {
        let picture = self.traffic.picture();
        match service.and_then(|service| picture.upstream(service)) {
            Some(upstream) => self.give_back_now(stream, upstream, caller).await,
            None => self.reset(stream, ResetReason::SoftwareDown),
        }
    }

    /// Returns a connection to the software: the holder is given the socket under a one-time token, and a connection
    /// that shows the token takes its place in the software's accept queue. That is a task of its own: whoever waits for it may be
    /// dropped, as when the caller's version is retired, and half a way back would leave a caller whom nobody hears.
    /// A connection may show another caller to the software than its own end. Where it can be held again, and calls are, before it is
    /// taken, it comes back: what follows may be another version.
    pub(super) async fn give_back(
        self: &Arc<Self>,
        stream: TcpStream,
        upstream: Upstream,
        caller: Option<(SocketAddr, SocketAddr)>,
        can_be_held: bool,
    ) -> io::Result<Option<TcpStream>> {
        let relay = self.clone();
        let way = tokio::spawn(async move {
            let _returning = Returning::one_more(&relay.returning);
            relay.return_to(stream, upstream, caller, can_be_held).await
        });
        way.await.map_err(io::Error::other)?
    }

    /// The same for a connection that cannot be held again, or reaches the software although calls are.
    async fn give_back_now(
        self: &Arc<Self>,
        stream: TcpStream,
        upstream: Upstream,
        caller: Option<(SocketAddr, SocketAddr)>,
    ) -> io::Result<()> {
        match self.give_back(stream, upstream, caller, false).await? {
            Some(stream) => self.reset(stream, ResetReason::NotTaken),
            None => Ok(()),
        }
    }

    /// How many connections are on their way back to the software.
    pub(crate) fn returning(&self) -> usize {
        self.returning.load(Ordering::SeqCst)
    }

    async fn return_to(
        &self,
        mut stream: TcpStream,
        upstream: Upstream,
        caller: Option<(SocketAddr, SocketAddr)>,
        can_be_held: bool,
    ) -> io::Result<Option<TcpStream>> {
        let deadline = Instant::now() + TAKE_LIMIT;
        let mut pause = SHOW_PAUSE_MIN;
        loop {
            let limit = deadline.saturating_duration_since(Instant::now());
            let held = self.held_again(can_be_held);
            let (back, shown) = (self.return_once(stream, upstream, caller, limit, held)).await?;
            let Some(back) = back else {
                self.tally.count("given_back");
                return Ok(None);
            };
            if can_be_held && self.traffic.picture().hold {
                return Ok(Some(back));
            }
            // Software that listens no more is down; one that has closed one of its listeners, or whose callers are still being steered
            // to it, takes the next.
            let is_down =
                matches!(&shown, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused);
            if is_down || Instant::now() + pause >= deadline {
                self.reset(back, ResetReason::NotTaken)?;
                return shown.map(|()| None);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SHOW_PAUSE_MAX);
            stream = back;
        }
    }

    /// Resolves when calls are held, for what can be held.
    async fn held_again(&self, can_be_held: bool) {
        let mut pictures = self.traffic.watch();
        if !can_be_held || pictures.wait_for(|picture| picture.hold).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Offers a connection once; it comes back if nobody has taken it within the limit, or calls are held before.
    async fn return_once(
        &self,
        stream: TcpStream,
        upstream: Upstream,
        caller: Option<(SocketAddr, SocketAddr)>,
        limit: Duration,
        held: impl Future<Output = ()>,
    ) -> io::Result<(Option<TcpStream>, io::Result<()>)> {
        let picture = self.traffic.picture();
        let software = picture.beside(upstream, stream.local_addr()?.ip());
        let token: [u8; 16] = rand::random();
        let connection = OwnedFd::from(stream.into_std()?);
        let offered = self.holder.offer(token, OFFER_TTL, connection).await;
        offered.map_err(io::Error::other)?;
        let label = Label {
            system: self.identity.system,
            version: picture.standing.version.0,
            node: self.identity.node.0,
            caller,
            token: Some(token),
            agent_key: Some(self.identity.agent_key.value()),
            question: None,
            proof: None,
        };
        let mut bytes = [0; LABEL_BYTES_MAX];
        let length = label.encode(&mut bytes);
        let shown = tokio::select! {
            shown = show(&self.software_dial, software, &bytes[..length], limit) => shown,
            () = held => Ok(()),
        };
        // Whoever takes it does so before the token dial ends. What nobody has taken would stay open, and be heard by nobody.
        let back = match self.holder.withdraw(token).await {
            Ok(back) => Some(TcpStream::from_std(back.into())?),
            Err(_) => None,
        };
        Ok((back, shown))
    }
}

/// Dials the software with a token, and waits until its hook has closed the dial: until then it stays in the accept queue. A hook that is
/// faster than this task has closed it already, with the token unread.
async fn show(
    dial: &SoftwareDial,
    software: SocketAddr,
    token: &[u8],
    limit: Duration,
) -> io::Result<()> {
    let mut shown = dial.dial(software, token).await?;
    let mut end = [0; 1];
    let taken = tokio::io::AsyncReadExt::read(&mut shown, &mut end);
    let _ = tokio::time::timeout(limit, taken).await;
    Ok(())
}

/// A connection on its way back, until it is there or given up.
struct Returning<'r>(&'r AtomicUsize);

impl<'r> Returning<'r> {
    fn one_more(count: &'r AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Returning<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
