//! The agent's side of the connection to its holder.
//!
//! One task reads what the holder says: answers go to whoever asked, news into a channel. A client may be cloned and
//! used by many tasks at once. When the holder's connection ends, every request fails with [`HolderClientError::Gone`] and
//! the channel of news closes.

mod error;
mod wire;

pub use error::HolderClientError;

use crate::holder::{self, LockOwner};
use intercept::holder::{
    ChildExit, ChildSpec, HandOverReason, HolderRequest, HolderState, Interception, KeptListener,
    PROTOCOL_KEYRING, ReplyBody, RequestBody,
};
use intercept::keyring::Keyring;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, oneshot};

/// How many handed-over connections may wait for the agent to look at them; more are closed, as a full backlog would.
pub const HAND_OVERS_WAITING_MAX: usize = 4096;

/// How long a holder that lives may take to make its socket anew, and how often it is looked.
const WAY_IN_LIMIT: Duration = Duration::from_secs(8);
const WAY_IN_LOOK: Duration = Duration::from_millis(200);

/// A holder that has not answered for so long is told of, in the log and in the node's status.
const SILENCE_UNSAID: Duration = Duration::from_secs(3);

/// How long the holder may take to answer: it does nothing that waits, except for the start of a program.
const ANSWER_MS_MAX: u64 = 30_000;

/// How long a holder may take to greet: it does nothing that waits, on however busy a machine.
const GREETING_MS_MAX: u64 = 10_000;

/// News from the holder.
#[derive(Debug)]
pub enum HolderNotice {
    /// A connection for the agent; nothing of its stream has been consumed.
    HandedOver {
        /// Why the accept hook gave it away.
        reason: HandOverReason,
        /// The software's address on it.
        local: SocketAddr,
        /// The peer's address on it.
        peer: SocketAddr,
        /// The connected TCP socket (blocking or not as the software's listener had it).
        connection: OwnedFd,
    },
    /// A connection that was handed over did not arrive, for want of a descriptor: its caller is reset.
    Lost {
        /// Who that was.
        peer: SocketAddr,
    },
    /// The hooks saw the child listen.
    Listening(SocketAddr),
    /// What the holder keeps has changed.
    Kept(Vec<KeptListener>),
    /// The child's main process ended and nothing of it is left.
    ChildExited(ChildExit),
}

/// The channel of news. Unbounded because the holder's answers come on the same connection: waiting for its reader here
/// could wait for ever. What can pile up is bounded by [`HAND_OVERS_WAITING_MAX`].
#[derive(Debug)]
pub struct HolderNotices {
    receiver: mpsc::UnboundedReceiver<HolderNotice>,
    waiting: Arc<AtomicUsize>,
}

impl HolderNotices {
    /// The next news; `None` when the connection to the holder has ended.
    pub async fn recv(&mut self) -> Option<HolderNotice> {
        let notice = self.receiver.recv().await?;
        if matches!(notice, HolderNotice::HandedOver { .. }) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Some(notice)
    }
}

/// Connection to the holder of one node.
#[derive(Clone, Debug)]
pub struct HolderClient {
    shared: Arc<ClientShared>,
}

type WaitingAnswers = BTreeMap<u64, oneshot::Sender<HolderAnswer>>;

type HolderAnswer = (Result<ReplyBody, String>, Option<OwnedFd>);

#[derive(Debug)]
struct ClientShared {
    socket: Arc<UnixDatagram>,
    /// Who waits for which answer; `None` once the connection has ended.
    waiting: Arc<Mutex<Option<WaitingAnswers>>>,
    next_id: AtomicU64,
    /// A question has waited for long, and nothing has been heard since.
    silent: Arc<AtomicBool>,
    state: HolderState,
    /// The protocol that both speak.
    protocol: u16,
    /// The holder's process.
    process: Option<i32>,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for ClientShared {
    fn drop(&mut self) {
        self.reader.abort();
        // The reader's own handle lives until it is scheduled again; the holder must not send to it meanwhile.
        let _ = rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Both);
    }
}

impl HolderClient {
    /// Attaches to the holder of a data directory, in the place of any other agent.
    ///
    /// # Errors
    /// [`HolderClientError::Unreachable`] when no holder listens there.
    pub async fn attach(data: &Path) -> Result<(Self, HolderNotices), HolderClientError> {
        let path = holder::socket_path(data);
        let socket = wire::connect(&path)
            .map_err(|source| HolderClientError::Unreachable { path, source })?;
        let socket = Arc::new(UnixDatagram::from_std(socket.into())?);
        let (protocol, state) = wire::greet(&socket).await?;
        let process = wire::peer_process(&socket);
        let waiting = Arc::new(Mutex::new(Some(WaitingAnswers::new())));
        let (sender, receiver) = mpsc::unbounded_channel();
        let piled = Arc::new(AtomicUsize::new(0));
        let silent = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn(wire::read_all(
            Arc::clone(&socket),
            Arc::clone(&waiting),
            sender,
            Arc::clone(&piled),
            Arc::clone(&silent),
        ));
        let shared = ClientShared {
            socket,
            waiting,
            next_id: AtomicU64::new(1),
            silent,
            state,
            protocol,
            process,
            reader,
        };
        let notices = HolderNotices {
            receiver,
            waiting: piled,
        };
        Ok((
            Self {
                shared: Arc::new(shared),
            },
            notices,
        ))
    }

    /// Attaches to the holder of a data directory; starts one first when none is there. One whose socket is gone makes it anew.
    ///
    /// # Errors
    /// As [`attach`](Self::attach), and when it cannot be started.
    pub async fn attach_or_spawn(
        upstart_binary: &Path,
        data: &Path,
    ) -> Result<(Self, HolderNotices), HolderClientError> {
        let began = Instant::now();
        loop {
            match Self::attach(data).await {
                Err(HolderClientError::Unreachable { .. } | HolderClientError::Gone) => {}
                answer => return answer,
            }
            let (binary, directory) = (upstart_binary.to_owned(), data.to_owned());
            let spawned = tokio::task::spawn_blocking(move || holder::spawn(&binary, &directory))
                .await
                .map_err(io::Error::other)?;
            let is_late = began.elapsed() >= WAY_IN_LIMIT;
            match (spawned, holder::owner(data)) {
                (Ok(()), _) => return Self::attach(data).await,
                (Err(_), Some(owner)) if is_late => return Err(in_the_way(owner, data)),
                (Err(_), Some(_)) => tokio::time::sleep(WAY_IN_LOOK).await,
                (Err(error), None) => return Err(error.into()),
            }
        }
    }

    /// What the holder had when this client attached.
    pub fn state(&self) -> &HolderState {
        &self.shared.state
    }

    /// The holder's process: all of the software's processes descend from it.
    pub fn process(&self) -> Option<i32> {
        self.shared.process
    }

    /// Starts a child; its main process.
    ///
    /// # Errors
    /// As [`start_told`](Self::start_told).
    pub async fn start(&self, spec: ChildSpec) -> Result<i32, HolderClientError> {
        Ok(self.start_told(spec).await?.0)
    }

    /// Starts the software; answered when the program has been executed. Gives its process.
    ///
    /// # Errors
    /// Refused while a former child lives, or when the program cannot be executed (with the reason).
    pub async fn start_told(
        &self,
        spec: ChildSpec,
    ) -> Result<(i32, Interception), HolderClientError> {
        match self.ask(RequestBody::Start(spec), None).await?.0 {
            ReplyBody::Started { pid, interception } => Ok((pid, interception)),
            other => Err(unexpected(&other)),
        }
    }

    /// Begins to stop the software: a signal to its main process (or to all at once), then to what that leaves behind; what has not
    /// ended within `grace` is killed. [`HolderNotice::ChildExited`] says when nothing is left.
    ///
    /// # Errors
    /// Refused when no child runs.
    pub async fn stop(
        &self,
        signal: i32,
        to_all: bool,
        grace: Duration,
    ) -> Result<(), HolderClientError> {
        let body = RequestBody::Stop {
            signal,
            to_all,
            grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
        };
        self.ask(body, None).await?;
        Ok(())
    }

    /// Kills all that is left of the child; [`HolderNotice::ChildExited`] says when nothing is.
    ///
    /// # Errors
    /// When the holder is gone.
    pub async fn kill(&self) -> Result<(), HolderClientError> {
        self.ask(RequestBody::Kill, None).await?;
        Ok(())
    }

    /// Keeps duplicates of the child's listeners at these ports. Gives everything that is kept now.
    ///
    /// # Errors
    /// When the holder may not look at the child's descriptors.
    pub async fn keep(&self, ports: Vec<u16>) -> Result<Vec<KeptListener>, HolderClientError> {
        self.kept(RequestBody::Keep { ports }).await
    }

    /// Opens a listener of the holder's own. Gives everything that is kept now.
    ///
    /// # Errors
    /// When the address is in use or not ours.
    pub async fn listen(
        &self,
        address: SocketAddr,
    ) -> Result<Vec<KeptListener>, HolderClientError> {
        self.kept(RequestBody::Listen { address }).await
    }

    /// Lets the software have its callers itself at these ports, as soon as it listens there, and when `limit` is over at the latest.
    /// Gives everything that is kept now.
    ///
    /// # Errors
    /// When the holder may not look at the child's descriptors.
    pub async fn let_go(
        &self,
        ports: Vec<u16>,
        limit: Duration,
    ) -> Result<Vec<KeptListener>, HolderClientError> {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.kept(RequestBody::LetGo { ports, limit_ms }).await
    }

    /// A connection of ours from this local port is to reach the software though callers are held.
    ///
    /// # Errors
    /// When the kernel does not take the program that steers callers.
    pub async fn let_through(&self, port: u16) -> Result<(), HolderClientError> {
        self.ask(RequestBody::LetThrough { port }, None).await?;
        Ok(())
    }

    /// Closes a kept listener.
    ///
    /// # Errors
    /// When there is no such listener.
    pub async fn drop_listener(&self, listener: u64) -> Result<(), HolderClientError> {
        self.ask(RequestBody::Drop { listener }, None).await?;
        Ok(())
    }

    /// A duplicate of a kept listener, to accept from.
    ///
    /// # Errors
    /// When there is no such listener.
    pub async fn fetch(&self, listener: u64) -> Result<OwnedFd, HolderClientError> {
        match self.ask(RequestBody::Fetch { listener }, None).await? {
            (ReplyBody::Listener, Some(descriptor)) => Ok(descriptor),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Leaves a connection for the accept hook that shows this token within `ttl`.
    ///
    /// # Errors
    /// When too many are offered already.
    pub async fn offer(
        &self,
        token: [u8; 16],
        ttl: Duration,
        connection: OwnedFd,
    ) -> Result<(), HolderClientError> {
        let body = RequestBody::Offer {
            token: hex::encode(token),
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        };
        self.ask(body, Some(connection)).await?;
        Ok(())
    }

    /// Takes a connection back that is still offered: nobody else takes it any more.
    ///
    /// # Errors
    /// When it is not offered (any more).
    pub async fn withdraw(&self, token: [u8; 16]) -> Result<OwnedFd, HolderClientError> {
        let token = hex::encode(token);
        match self.ask(RequestBody::Withdraw { token }, None).await? {
            (ReplyBody::Listener, Some(connection)) => Ok(connection),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Gives the holder the keys for labels, in the place of those before.
    ///
    /// # Errors
    /// When the holder is of a build that knows of none, or has no memory for them.
    pub async fn give_keyring(&self, keyring: Keyring) -> Result<(), HolderClientError> {
        if self.shared.protocol < PROTOCOL_KEYRING {
            return Err(HolderClientError::Refused(
                "the holder is of an earlier build".to_owned(),
            ));
        }
        self.ask(RequestBody::Keyring(keyring), None).await?;
        Ok(())
    }

    /// Ends the holder.
    ///
    /// # Errors
    /// Refused while anything of the child is left.
    pub async fn exit(&self) -> Result<(), HolderClientError> {
        self.ask(RequestBody::Exit, None).await?;
        Ok(())
    }

    async fn kept(&self, body: RequestBody) -> Result<Vec<KeptListener>, HolderClientError> {
        match self.ask(body, None).await?.0 {
            ReplyBody::Kept(kept) => Ok(kept),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(
        &self,
        body: RequestBody,
        descriptor: Option<OwnedFd>,
    ) -> Result<(ReplyBody, Option<OwnedFd>), HolderClientError> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting()
            .as_mut()
            .ok_or(HolderClientError::Gone)?
            .insert(id, sender);
        let ticket = Ticket { client: self, id };
        wire::send(&self.shared.socket, &HolderRequest { id, body }, descriptor).await?;
        let answer = self.wait(receiver).await;
        drop(ticket);
        let (body, descriptor) = answer
            .map_err(|_| self.silent())?
            .map_err(|_| HolderClientError::Gone)?;
        Ok((body.map_err(HolderClientError::Refused)?, descriptor))
    }

    /// Waits for an answer, and says in the log when it does not come.
    async fn wait(
        &self,
        mut answer: oneshot::Receiver<HolderAnswer>,
    ) -> Result<Result<HolderAnswer, oneshot::error::RecvError>, tokio::time::error::Elapsed> {
        if let Ok(answer) = tokio::time::timeout(SILENCE_UNSAID, &mut answer).await {
            return Ok(answer);
        }
        if !self.shared.silent.swap(true, Ordering::Relaxed) {
            let process = self.process().unwrap_or(0);
            tracing::warn!(process, "the holder does not answer; what needs it waits");
        }
        let limit = Duration::from_millis(ANSWER_MS_MAX).saturating_sub(SILENCE_UNSAID);
        tokio::time::timeout(limit, answer).await
    }

    /// The holder's process, when it has not answered for long and has said nothing since.
    pub(crate) fn is_silent(&self) -> Option<i32> {
        let silent = self.shared.silent.load(Ordering::Relaxed);
        silent.then(|| self.process().unwrap_or(0))
    }

    /// Asks something that changes nothing, so that a holder that answers nothing is noticed.
    pub(crate) async fn look(&self) -> Result<(), HolderClientError> {
        // Nobody has offered anything under this token.
        match self.withdraw([0; 16]).await {
            Ok(_) | Err(HolderClientError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn silent(&self) -> HolderClientError {
        HolderClientError::Silent {
            process: self.process().unwrap_or(0),
        }
    }

    fn waiting(&self) -> parking_lot::MutexGuard<'_, Option<WaitingAnswers>> {
        self.shared.waiting.lock()
    }
}

/// Forgets the question when its asker went away.
struct Ticket<'a> {
    client: &'a HolderClient,
    id: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.client.waiting().as_mut() {
            waiting.remove(&self.id);
        }
    }
}

fn in_the_way(owner: LockOwner, data: &Path) -> HolderClientError {
    match owner {
        LockOwner::Holder(process) => HolderClientError::Silent { process },
        LockOwner::Stranger {
            process,
            user,
            program,
        } => HolderClientError::Locked {
            path: holder::lock_path(data),
            process,
            user,
            program,
        },
    }
}

fn unexpected(body: &ReplyBody) -> HolderClientError {
    HolderClientError::Garbled(format!("{body:?}"))
}
