//! Connections that the accept hook gave away, and those of listeners that the agent serves: read what they say first,
//! then serve them through adapters, or give them back to the software as they are.

mod commands;
mod first_bytes;
mod gate;
#[cfg(test)]
mod reasons;
mod record;
mod remarks;
mod sessions;
mod tally;
mod tap;
mod traffic;
mod workers;

use crate::unpoisoned::Unpoisoned as _;
pub(crate) use commands::Commands;
pub(crate) use record::{Recorder, Recorders};
use sessions::Caller;
pub(crate) use sessions::LoadedSessions;
pub(crate) use tally::Tally;
pub(crate) use traffic::{Child, Loaded, Observed, Picture, Traffic};
pub(crate) use workers::Workers;

use crate::agent_key::AgentKey;
use crate::dial::{self, FastOpen, FastOpenSeen, Way};
use crate::holder_client::HolderClient;
use adapter::{Dial, Form, HeldBytes, Limits, MessageNode, MessageProtocol, Served, Upstream};
use first_bytes::FirstBytes;
use gate::{Admission, CallGate, LabelledDial};
use intercept::decide;
use intercept::holder::HandOverReason;
use label::{LABEL_BYTES_MAX, Label};
use model::bundle::{Connections, Protocol};
use model::ids::{NodeId, Version};
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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

/// Who the node is, as labels say it.
#[derive(Clone)]
pub(crate) struct Identity {
    /// The system's number.
    pub(crate) system: u64,
    /// The node's number.
    pub(crate) node: NodeId,
    /// The key by which the software's hooks know the agent's own connections.
    pub(crate) agent_key: AgentKey,
}

/// Everything that serving connections needs.
pub(crate) struct Relay {
    /// Who the node is.
    pub(crate) identity: Identity,
    /// How calls are treated now.
    pub(crate) traffic: Arc<Traffic>,
    /// The holder, to give connections back through.
    pub(crate) holder: HolderClient,
    /// How the software is reached.
    pub(crate) way: Arc<Way>,
    /// What is counted.
    pub(crate) tally: Arc<Tally>,
    /// Commands whose connections are the agent's own.
    pub(crate) commands: Arc<Commands>,
    /// What connections are served by.
    pub(crate) workers: Workers,
    /// Whoever records what passes.
    pub(crate) recorders: Recorders,
    /// What the kernel does with data in handshakes.
    pub(crate) fast_open: FastOpenSeen,
    /// Nobody can tell in whose words callers speak: they are reset.
    pub(crate) forgotten: AtomicBool,
    /// Open connections by the address that they come from.
    open: Mutex<Open>,
    /// Connections on their way back to the software.
    returning: AtomicUsize,
    /// What all calls hold together.
    held: Arc<HeldBytes>,
}

impl Relay {
    /// A relay that has no connections yet.
    pub(crate) fn new(
        identity: Identity,
        traffic: Arc<Traffic>,
        holder: HolderClient,
        tally: Arc<Tally>,
        workers: Workers,
        fast_open: FastOpen,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity,
            way: Arc::new(Way::new(holder.clone(), traffic.clone())),
            traffic,
            holder,
            tally,
            commands: Arc::new(Commands::default()),
            workers,
            fast_open: FastOpenSeen::new(fast_open),
            forgotten: AtomicBool::new(false),
            recorders: Recorders::default(),
            open: Mutex::default(),
            returning: AtomicUsize::new(0),
            held: Limits::default().held,
        })
    }

    /// What a connection may cost, by the version that the node runs now.
    fn limits(&self) -> Arc<Limits> {
        let picture = self.traffic.picture();
        let calls = &picture.calls;
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        self.held.set_most(size(calls.held_bytes_max));
        Arc::new(Limits {
            head_bytes_max: calls.head_bytes_max as usize,
            headers_max: calls.head_fields_max as usize,
            head_timeout: Duration::from_millis(calls.head_ms),
            idle_timeout: Duration::from_millis(calls.idle_ms),
            body_bytes_max: calls.body_bytes_max as usize,
            body_rate_min: calls.body_bytes_per_second_min as usize,
            held: self.held.clone(),
            ..Limits::default()
        })
    }

    /// A place for one more connection from an address; the error is how it is counted that there is none.
    fn place(self: &Arc<Self>, from: IpAddr) -> Result<OpenPlace, &'static str> {
        let picture = self.traffic.picture();
        let calls = &picture.calls;
        let mut open = self.open.lock().unpoisoned();
        if open.all >= calls.connections_max as usize {
            return Err("reset.too_many_connections");
        }
        let from = from.to_canonical();
        let of_address = open.by_address.entry(from).or_default();
        if *of_address >= calls.connections_per_address_max as usize {
            return Err("reset.too_many_from_one_address");
        }
        *of_address += 1;
        open.all += 1;
        Ok(OpenPlace(self.clone(), from))
    }

    /// Takes a connection over; it is served by a task of its own.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        connection: OwnedFd,
        reason: Option<HandOverReason>,
        local: SocketAddr,
        peer: SocketAddr,
    ) {
        let stream = std::net::TcpStream::from(connection);
        let place = match self.place(peer.ip()) {
            Ok(place) => place,
            Err(why) => {
                self.tally.count(why);
                reset_std(stream);
                return;
            }
        };
        let relay = self.clone();
        self.workers.spawn(async move {
            let _place = place;
            if let Err(error) = relay.serve(stream, reason, local, peer).await {
                tracing::debug!(%peer, %error, "a connection failed");
                relay.tally.count("connection.failed");
            }
        });
    }

    async fn serve(
        self: &Arc<Self>,
        stream: std::net::TcpStream,
        reason: Option<HandOverReason>,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream)?;
        let is_held = matches!(reason, Some(HandOverReason::Probing | HandOverReason::Held));
        if is_held && self.commands.own(peer, local) {
            return self.let_through(stream, local).await;
        }
        let picture = self.traffic.picture();
        let honoured = picture.honours(peer.ip());
        let prompt = reason == Some(HandOverReason::Held) && self.is_prompt(&stream, local, peer);
        let first = if reason == Some(HandOverReason::Public)
            || prompt && !first_bytes::has_come(&stream)
        {
            FirstBytes::Unlabelled
        } else {
            let speaks_first = picture
                .service_at(local.port(), None)
                .and_then(|service| picture.manner(service))
                .is_some_and(|(protocol, _)| matches!(protocol, Protocol::Http | Protocol::Resp));
            first_bytes::read(&mut stream, speaks_first).await?
        };
        let label = match first {
            FirstBytes::Label(label) if self.is_own(&label) => {
                return self.take_back(stream, &label, reason).await;
            }
            _ if self.forgotten.load(Ordering::Relaxed) => {
                return self.reset(stream, "reset.forgotten");
            }
            FirstBytes::Label(label) if label.system != self.identity.system => {
                return self.reset(stream, "reset.other_system");
            }
            FirstBytes::Label(_) if !honoured => {
                return self.reset(stream, "reset.label_not_honoured");
            }
            FirstBytes::Label(label) => Some(Version(label.version)),
            FirstBytes::Unlabelled => None,
            FirstBytes::Damaged => return self.reset(stream, "reset.damaged_label"),
            FirstBytes::Silent => return self.reset(stream, "reset.silent"),
            FirstBytes::Ended => return Ok(()),
        };
        self.serve_from(stream, label, local, peer).await
    }

    /// Serves a connection whose label, if it has one, is known.
    async fn serve_from(
        self: &Arc<Self>,
        stream: TcpStream,
        label: Option<Version>,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> io::Result<()> {
        let picture = self.traffic.picture();
        let Some(service) = picture.service_at(local.port(), label) else {
            return self.reset(stream, "reset.no_such_service");
        };
        let service: Arc<str> = service.into();
        if label.is_none() && picture.may_be_mistaken(&service, local.port(), peer.ip()) {
            return self.reset(stream, "reset.maybe_a_member");
        }
        let recorder = self.recorders.of(&service);
        let gate = Arc::new(CallGate::new(
            self.traffic.clone(),
            self.tally.clone(),
            service.clone(),
            label,
            recorder.clone(),
        ));
        let Some(arrived) = gate.version() else {
            return self.reset(stream, "reset.no_public_version");
        };
        let open = self.tally.connection(arrived);
        let admission = tokio::select! {
            admission = gate.admit() => admission,
            // Without a label its version is not known before it is served.
            () = self.retired(arrived), if label.is_some() => Admission::Closed("reset.retired"),
        };
        let version = gate.version().unwrap_or(arrived);
        let _open = match version == arrived {
            true => open,
            false => self.tally.connection(version),
        };
        let caller = Caller {
            stream,
            service,
            version,
            local,
            peer,
        };
        let held_again = tokio::select! {
            served = self.serve_at(caller, admission, gate, recorder) => served?,
            () = self.retired(version) => {
                self.tally.count("reset.retired");
                None
            }
        };
        match held_again {
            Some(stream) => Box::pin(self.serve_from(stream, label, local, peer)).await,
            None => Ok(()),
        }
    }

    /// Whether a label, if there is one, has come by now: of an outsider, or on this host, with no packet lost. The same facts as
    /// those by which the accept hook decides.
    fn is_prompt(&self, stream: &TcpStream, local: SocketAddr, peer: SocketAddr) -> bool {
        let same_host = decide::is_same_host(local.ip(), peer.ip());
        if same_host && dial::was_repeated(stream) {
            return false;
        }
        let picture = self.traffic.picture();
        let settings = self.fast_open.now();
        let has_no_cookie = peer.ip().to_canonical().is_loopback() || !settings.takes;
        !picture.honours(peer.ip())
            || same_host
                && has_no_cookie
                && settings.always_sends
                && picture.sources.contains(&peer.ip().to_canonical())
    }

    /// Callers are held, or the software does not listen there: what is kept must not be dialled again and again.
    fn nobody_listens(&self, port: u16) -> bool {
        let picture = self.traffic.picture();
        let child = picture.child.as_ref();
        let listens = child.is_some_and(|child| child.listening.iter().any(|at| at.port() == port));
        picture.hold || !listens
    }

    fn is_own(&self, label: &Label) -> bool {
        label.agent_key == Some(self.identity.agent_key.value())
    }

    /// A connection of the agent's own came back to it: its label was late, so it is to reach the software after all; or nobody of the
    /// software listens there, and what is kept for it has taken it.
    async fn take_back(
        self: &Arc<Self>,
        stream: TcpStream,
        label: &Label,
        reason: Option<HandOverReason>,
    ) -> io::Result<()> {
        let software = stream.local_addr()?;
        let was_kept = reason == Some(HandOverReason::Held);
        if was_kept && label.token.is_some() {
            // Whoever shows the token tries again.
            reset_std(stream.into_std()?);
            return Ok(());
        }
        if was_kept && self.nobody_listens(software.port()) {
            return self.reset(stream, "reset.nobody_listens");
        }
        if label.token.is_some() {
            let mut bytes = [0; LABEL_BYTES_MAX];
            let length = label.encode(&mut bytes);
            return show(&self.way, software, &bytes[..length], TAKE_LIMIT).await;
        }
        let upstream = {
            let picture = self.traffic.picture();
            let service = picture.service_at(software.port(), None);
            service.and_then(|service| picture.upstream(service))
        };
        match upstream {
            Some(upstream) => self.give_back_now(stream, upstream, label.caller).await,
            None => self.reset(stream, "reset.software_down"),
        }
    }

    /// A connection of the agent's own command reaches the software although calls are held.
    async fn let_through(self: &Arc<Self>, stream: TcpStream, local: SocketAddr) -> io::Result<()> {
        let picture = self.traffic.picture();
        let service = picture.service_at(local.port(), None);
        match service.and_then(|service| picture.upstream(service)) {
            Some(upstream) => self.give_back_now(stream, upstream, None).await,
            None => self.reset(stream, "reset.software_down"),
        }
    }

    /// Waits until a version is retired, or being retired.
    async fn retired(&self, version: Version) {
        let mut pictures = self.traffic.watch();
        let retired = pictures.wait_for(|picture| picture.standing.retired_through >= version);
        if retired.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Serves a connection that was admitted until it ends or is the software's.
    async fn serve_at(
        self: &Arc<Self>,
        caller: Caller,
        admission: Admission,
        gate: Arc<CallGate>,
        recorder: Option<Arc<Recorder>>,
    ) -> io::Result<Option<TcpStream>> {
        let served = match admission {
            Admission::Direct(upstream) => match recorder.filter(|recorder| recorder.is_on()) {
                Some(recorder) => self.tap(caller, upstream, recorder).await,
                None => return self.give_back(caller.stream, upstream, None, true).await,
            },
            Admission::Closed(why) => self.reset(caller.stream, why),
            Admission::Session(chain, upstream) => self.session(caller, chain, upstream).await,
            Admission::Translate => self.serve_translated(caller, gate).await,
        };
        served.map(|()| None)
    }

    /// Serves a connection whose version has another interface than the software's.
    async fn serve_translated(
        self: &Arc<Self>,
        caller: Caller,
        gate: Arc<CallGate>,
    ) -> io::Result<()> {
        let picture = self.traffic.picture();
        let manner = picture.manner(&caller.service);
        let carried = matches!(manner, Some((_, Connections::Stateless)));
        let form = match manner {
            None | Some((Protocol::Http, _)) => Form::Http,
            Some((Protocol::Resp, _)) => Form::Resp,
            Some(_) => Form::Message,
        };
        gate.carry(carried);
        if form == Form::Http {
            return self.translate(caller, gate).await;
        }
        let Some(codec) = picture.codec(&caller.service, caller.version) else {
            return self.reset(caller.stream, "reset.protocol_without_adapter");
        };
        let protocol = MessageProtocol {
            form,
            codec,
            carried,
        };
        self.converse(caller, gate, protocol).await
    }

    /// Passes a direct connection through while it is recorded. It stays with the agent until it ends: what the software keeps
    /// with its own connection could not follow it.
    async fn tap(
        &self,
        caller: Caller,
        upstream: Upstream,
        recorder: Arc<Recorder>,
    ) -> io::Result<()> {
        let Caller {
            stream: mut caller,
            version,
            local,
            peer,
            ..
        } = caller;
        let dial = self.dial(local);
        let mut software = match dial.dial(upstream, peer).await {
            Ok(software) => software,
            Err(error) => {
                reset_std(caller.into_std()?);
                return Err(error);
            }
        };
        for stream in [&caller, &software] {
            // What passes is complete as it is; waiting would only delay.
            let _ = stream.set_nodelay(true);
        }
        self.tally.count("recorded.direct");
        let node = self.traffic.picture().standing.version;
        let passed = tap::pass(&mut caller, &mut software, recorder, version, node).await;
        if passed.is_err() {
            reset_std(caller.into_std()?);
            reset_std(software.into_std()?);
        }
        passed
    }

    async fn translate(self: &Arc<Self>, caller: Caller, gate: Arc<CallGate>) -> io::Result<()> {
        let dial = self.dial(caller.local);
        let (limits, observer) = (self.limits(), self.tally.clone());
        let served =
            adapter::serve_http(caller.stream, caller.peer, gate, dial, limits, observer).await;
        self.served(served, caller.local, caller.peer).await
    }

    /// Serves calls that are messages.
    async fn converse(
        self: &Arc<Self>,
        caller: Caller,
        gate: Arc<CallGate>,
        protocol: MessageProtocol,
    ) -> io::Result<()> {
        let node = MessageNode {
            gate,
            dial: self.dial(caller.local),
            limits: self.limits(),
            observer: self.tally.clone(),
        };
        // Away from this task's own state: thousands of them wait.
        let served = Box::pin(adapter::serve_messages(
            caller.stream,
            caller.peer,
            protocol,
            node,
        ));
        self.served(served.await, caller.local, caller.peer).await
    }

    fn dial(&self, local: SocketAddr) -> Arc<LabelledDial> {
        let (identity, traffic) = (self.identity.clone(), self.traffic.clone());
        Arc::new(LabelledDial::new(
            identity,
            traffic,
            self.way.clone(),
            local,
        ))
    }

    /// What follows when a connection's calls have been served.
    async fn served(
        self: &Arc<Self>,
        served: Served,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> io::Result<()> {
        match served {
            Served::Closed => Ok(()),
            Served::Reset(cause) => {
                tracing::debug!(%peer, ?cause, "a connection was reset");
                self.tally.count("connection.reset");
                Ok(())
            }
            Served::GiveBack(stream) => {
                let picture = self.traffic.picture();
                match picture
                    .service_at(local.port(), None)
                    .and_then(|service| picture.upstream(service))
                {
                    Some(upstream) => self.give_back_now(stream, upstream, None).await,
                    None => self.reset(stream, "reset.software_down"),
                }
            }
        }
    }

    /// Returns a connection to the software: the holder is given the socket under a one-time token, and a connection
    /// that shows the token takes its place in the software's accept queue. That is a task of its own: whoever waits for it may be
    /// dropped, as when the caller's version is retired, and half a way back would leave a caller whom nobody hears.
    /// A connection may show another caller to the software than its own end. Where it can be held again, and calls are, before it is
    /// taken, it comes back: what follows may be another version.
    async fn give_back(
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
            Some(stream) => self.reset(stream, "reset.not_taken"),
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
                self.reset(back, "reset.not_taken")?;
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
        };
        let mut bytes = [0; LABEL_BYTES_MAX];
        let length = label.encode(&mut bytes);
        let shown = tokio::select! {
            shown = show(&self.way, software, &bytes[..length], limit) => shown,
            () = held => Ok(()),
        };
        // Whoever takes it does so before the token dial ends. What nobody has taken would stay open, and be heard by nobody.
        let back = match self.holder.withdraw(token).await {
            Ok(back) => Some(TcpStream::from_std(back.into())?),
            Err(_) => None,
        };
        Ok((back, shown))
    }

    fn reset(&self, stream: TcpStream, why: &'static str) -> io::Result<()> {
        self.tally.count(why);
        reset_std(stream.into_std()?);
        Ok(())
    }
}

/// Dials the software with a token, and waits until its hook has closed the dial: until then it stays in the accept queue. A hook that is
/// faster than this task has closed it already, with the token unread.
async fn show(way: &Way, software: SocketAddr, token: &[u8], limit: Duration) -> io::Result<()> {
    let mut dial = way.dial(software, token).await?;
    let mut end = [0; 1];
    let taken = tokio::io::AsyncReadExt::read(&mut dial, &mut end);
    let _ = tokio::time::timeout(limit, taken).await;
    Ok(())
}

/// How many connections are open.
#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// An open connection's place, until it is dropped.
struct OpenPlace(Arc<Relay>, IpAddr);

impl Drop for OpenPlace {
    fn drop(&mut self) {
        let mut open = self.0.open.lock().unpoisoned();
        open.all -= 1;
        if let Some(of_address) = open.by_address.get_mut(&self.1) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.1);
            }
        }
    }
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

/// Ends a connection as a dead process does.
fn reset_std(stream: std::net::TcpStream) {
    // Without it the peer sees an orderly end instead; it is gone either way.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
