//! How an agent starts: it takes the node's lock, adopts what runs, and goes on where the journal ends.

use super::catalog_updates::{self, CatalogUpdate};
use super::child::{self, Running, Start, StopManner};
use super::clock::Clock;
use super::fault::Fault;
use super::known::{self, FIRST_LIST_LIMIT, Members};
use super::listeners::Listeners;
use super::main_loop::{Ended, MainLoop};
use super::revisions::Revisions;
use super::room::Room;
use super::{Flags, Node};
use crate::agent_key::AgentKey;
use crate::config::Config;
use crate::contact::{Answer, Contact};
use crate::dial::FastOpen;
use crate::error_chain::chain;
use crate::holder::{self, Original, Owner};
use crate::holder_client::{self, HolderClient, Notices};
use crate::household::Household;
use crate::journal::{Journal, JournalError};
use crate::layout::Layout;
use crate::node_catalog::NodeCatalog;
use crate::relay::{Identity, LiveTraffic, Picture, Relay, Tally, Workers};
use crate::repository::Repository;
use crate::shared::Shared;
use crate::trust::{self, Distrust};
use crate::vital::{Broken, Vital};
use crate::{environment, library, sync};
use client::{Client, ClientError};
use intercept::holder::{ChildExit, HolderState, RunningChild};
use intercept::table::TableError;
use model::api::Enrolled;
use model::ids::{NodeId, Version};
use model::machine::{NodeMachine, Plan, RecoverError};
use model::names;
use model::routing::Standing;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};

/// How long an agent that was never enrolled waits before it asks the server again.
const ENROL_PAUSE: Duration = Duration::from_secs(1);

/// How long an agent whose software does not run waits for the server's first view.
const FIRST_VIEW_LIMIT: Duration = Duration::from_secs(2);

/// How long [`stop`] waits for what was killed, and for the holder.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How often the holder is asked whether it answers, when nothing else is asked of it.
const HOLDER_LOOK: Duration = Duration::from_secs(2);

/// How often [`stop`] looks whether the holder has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file or directory of the node cannot be used.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No node can have that name.
    #[error("`{0}` is no node's name: one {1}")]
    Name(String, &'static str),
    /// Others than the agent's user can change what it runs.
    #[error("the data directory is not safe")]
    Distrust(#[from] Distrust),
    /// The kernel's settings do not allow labels in the handshake.
    #[error(
        "this host's kernel sends no data with the TCP handshake, which labels need; run `sysctl -w net.ipv4.tcp_fastopen=1` and start the agent again"
    )]
    NoHandshakeData,
    /// The preloaded library is missing.
    #[error("the interception library cannot be used")]
    Library(#[source] io::Error),
    /// The threads that serve calls cannot be started.
    #[error(
        "the threads that serve calls; give a lower --call-threads, or raise the limit of tasks"
    )]
    Workers(#[source] io::Error),
    /// The journal cannot be read or written; another agent may own the node.
    #[error("the node's journal")]
    Journal(#[from] JournalError),
    /// The journal's records make no sense.
    #[error(
        "the node's journal {path} cannot be followed; keep it and ask for help, the software was not touched"
    )]
    Recover {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: RecoverError,
    },
    /// The holder cannot be reached.
    #[error("the node's holder")]
    Holder(#[from] holder_client::ClientError),
    /// Processes of the software that could not be ended.
    #[error("processes of the software are left: {}", numbers(.0))]
    LeftBehind(Vec<i32>),
    /// The directory's original is not out of use.
    #[error("the node that it is a copy of runs here still: process {} is its holder or its software{}", .0.process, place(.0))]
    OriginalLives(Original),
    /// The holder has gone while the agent ran.
    #[error("the node's holder has gone, or a newer agent has taken the node over")]
    HolderGone,
    /// A task without which it cannot go on has broken.
    #[error("the {task} has broken down ({why}); the software runs on")]
    Broken {
        /// Which.
        task: &'static str,
        /// Why.
        why: String,
    },
    /// The server refuses the node, or its address is wrong.
    #[error("the upgrade server does not take this node")]
    Server(#[from] ClientError),
    /// The member table cannot be used.
    #[error("the member table")]
    Table(#[from] TableError),
}

fn place(original: &Original) -> String {
    let data = original.data.as_ref();
    data.map_or_else(String::new, |data| format!(", in {}", data.display()))
}

fn numbers(processes: &[i32]) -> String {
    let numbers: Vec<String> = processes.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

/// Runs the agent of one node until it is asked to go; the software runs on under its holder.
///
/// # Errors
/// [`AgentError`] says what is in the way.
pub async fn run(mut config: Config, stop: watch::Receiver<bool>) -> Result<(), AgentError> {
    environment::conceal();
    if let Some(why) = names::fault(&config.name) {
        return Err(AgentError::Name(config.name, why));
    }
    config.data = prepare_directory(&config.data)?;
    let layout = Layout::new(&config.data);
    let (mut journal, records) = Journal::open(&layout.journal())?;
    let settings = Path::new("/proc/sys/net/ipv4");
    let fast_open = FastOpen::of_this_host().map_err(at(settings))?;
    if !fast_open.sends {
        return Err(AgentError::NoHandshakeData);
    }
    let library = library::install(&layout.library()).map_err(AgentError::Library)?;
    let binary = std::env::current_exe().map_err(at(Path::new("/proc/self/exe")))?;
    let client = Arc::new(
        Client::new(&config.servers, config.token.clone())?
            .believing(config.token_owner)
            .with_author(config.name.clone()),
    );
    let (holder, notices) = HolderClient::attach_or_spawn(&binary, &config.data).await?;
    let claimed = journal.is_claimed();
    let enrolled = match enrol(&client, &config, &layout, claimed, stop.clone()).await {
        Ok(enrolled) => enrolled,
        Err(refused) => {
            leave_nothing(&holder).await;
            return Err(refused);
        }
    };
    let Some((enrolled, answered)) = enrolled else {
        leave_nothing(&holder).await;
        return Ok(());
    };
    let compared = answered.then(|| journal.compare(enrolled.records));
    let behind = match compared.transpose() {
        Ok(behind) => behind.flatten(),
        Err(set_back) => {
            leave_nothing(&holder).await;
            return Err(set_back.into());
        }
    };
    let (vital, mut watch_of_vital) = Vital::new();
    let (report, reports) = watch::channel(None);
    let poll = Duration::from_millis(config.poll_ms);
    let mut link = sync::start(
        client.clone(),
        enrolled.node,
        poll,
        &layout,
        reports,
        &vital,
    );
    if answered && holder.state().child.is_none() {
        // Nothing runs that could serve meanwhile: what is started should be what is wanted now, not when it was cached.
        let _ = tokio::time::timeout(FIRST_VIEW_LIMIT, link.view.changed()).await;
    }

    let mut repository = Repository::new(client.clone(), layout.cache().join("repository"));
    let cached = link.view.borrow().clone();
    let first = match cached {
        Some(view) => catalog_updates::update_of(&mut repository, view, &config)
            .await
            .inspect_err(|problem| tracing::warn!(problem, "the cached view cannot be used yet"))
            .ok()
            .map(Arc::new),
        None => None,
    };
    let (update_sender, updates) = watch::channel(None);
    let views = link.view.clone();
    let learning = catalog_updates::follow(repository, config.clone(), views, update_sender);
    vital.spawn("learning of upgrades", learning);

    let parts = Parts {
        config,
        layout,
        binary,
        library,
        holder,
        enrolled,
        client,
        link,
        catalog_updates: updates.clone(),
        fast_open,
    };
    let node = parts.assemble()?;
    if let Some(behind) = behind {
        node.tally.remarks.note(
            Instant::now(),
            "node.set_back",
            "journal",
            format!(
                "goes on from an older state, which was claimed: {behind} records that the server has heard of are not in its journal, and what was acknowledged since may be lost"
            ),
        );
    }
    node.show_members();
    vital.spawn("following of members", known::follow(Arc::downgrade(&node)));
    if answered && node.child().is_none() {
        // The software that is started should know every member from its first connect on.
        let _ = tokio::time::timeout(FIRST_LIST_LIMIT, node.members.heard()).await;
    }
    if let Some(first) = &first {
        node.take_in(first);
    }
    let plan =
        first.map(|first| Plan::of(&first.view, node.identity.node, Some(node.join_version())));
    let child_runs = node.child().is_some();
    let (machine, outputs) = NodeMachine::recover(node.clock.now_ms(), &records, plan, child_runs)
        .map_err(|source| AgentError::Recover {
            path: node.layout.journal(),
            source,
        })?;
    node.note_state(machine.state_in_force());
    if let Err(problem) = node.check_current() {
        // The software that runs has its files open; the next start of it says so again, and is refused.
        tracing::warn!(problem, "the software's path does not lead to its state");
    }
    let holder = node.holder.clone();
    vital.spawn("look at the holder", async move {
        loop {
            tokio::time::sleep(HOLDER_LOOK).await;
            if let Err(error) = holder.look().await {
                tracing::debug!(error = %chain(&error), "the holder does not answer");
            }
        }
    });
    vital.spawn("control socket", crate::control::serve(node.clone()));
    let relay = node.relay.clone();
    let main_loop = MainLoop {
        clock: node.clock,
        node,
        machine,
        journal,
        report,
        fault: Fault::from_environment(),
        suspected: None,
        action: None,
        staging: None,
    };
    let ended = tokio::select! {
        biased;
        broken = watch_of_vital.broken() => Err(broken),
        ended = main_loop.run(outputs, notices, updates, stop) => Ok(ended),
    };
    relay.workers.end();
    match ended {
        Err(Broken { task, why }) => Err(AgentError::Broken { task, why }),
        Ok(ended) => ended.into_result(),
    }
}

impl Ended {
    fn into_result(self) -> Result<(), AgentError> {
        match self {
            Ended::Asked => Ok(()),
            Ended::HolderGone => Err(AgentError::HolderGone),
            Ended::Journal(error) => Err(error.into()),
        }
    }
}

/// Makes the data directory and says its absolute path: the software is told paths in it. The software's user passes through it, and
/// nobody else sees what is the agent's alone.
fn prepare_directory(data: &Path) -> Result<PathBuf, AgentError> {
    if let Some(parent) = data.parent() {
        std::fs::create_dir_all(parent).map_err(at(parent))?;
    }
    make_folder(data, 0o711).map_err(at(data))?;
    let data = std::fs::canonicalize(data).map_err(at(data))?;
    trust::check(&data)?;
    for (name, mode) in [
        ("versions", 0o711),
        ("lib", 0o711),
        ("cache", 0o700),
        ("artifacts", 0o700),
        ("adapters", 0o700),
    ] {
        let folder = data.join(name);
        make_folder(&folder, mode)
            .and_then(|()| narrow(&folder, mode))
            .map_err(at(&folder))?;
    }
    Ok(data)
}

/// Makes a folder with this mode, whatever the umask; one that is there stays as it is.
fn make_folder(folder: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => std::fs::set_permissions(folder, Permissions::from_mode(mode)),
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes away what a folder's mode has beyond this one.
fn narrow(folder: &Path, mode: u32) -> io::Result<()> {
    let present = std::fs::metadata(folder)?.permissions().mode() & 0o7777;
    match present & !mode {
        0 => Ok(()),
        _ => std::fs::set_permissions(folder, Permissions::from_mode(present & mode)),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> AgentError {
    let path = path.to_owned();
    move |source| AgentError::File {
        path: path.clone(),
        source,
    }
}

/// Enrols, waiting for the server if it must; `None` when the agent is asked to go before.
async fn enrol(
    client: &Client,
    config: &Config,
    layout: &Layout,
    claimed: bool,
    mut stop: watch::Receiver<bool>,
) -> Result<Option<(Enrolled, bool)>, AgentError> {
    let mut contact = Contact::default();
    loop {
        match sync::enrol(client, config, layout, claimed).await {
            Ok(enrolled) => return Ok(Some(enrolled)),
            Err(ClientError::Problem(problem))
                // Under a name that is heard elsewhere a directory that was just claimed waits: the other may have ended.
                if matches!(problem.status, 400 | 401 | 403 | 422)
                    || problem.status == 409 && !claimed =>
            {
                return Err(ClientError::Problem(problem).into());
            }
            Err(error @ (ClientError::Token(_) | ClientError::Author(_))) => {
                return Err(error.into());
            }
            Err(error) => {
                let said = contact.note(Instant::now(), Answer::of(&error));
                if let Some(said) = said {
                    tracing::warn!("not enrolled yet: {said}");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(ENROL_PAUSE) => {}
            _ = stop.changed() => return Ok(None),
        }
    }
}

/// A node that is refused, or never enrolled, leaves no holder behind, unless software runs under it from before.
async fn leave_nothing(holder: &HolderClient) {
    if holder.state().child.is_none()
        && let Err(error) = holder.exit().await
    {
        tracing::debug!(error = %chain(&error), "the holder stays");
    }
}

/// What a node is put together from.
struct Parts {
    config: Config,
    layout: Layout,
    binary: PathBuf,
    library: PathBuf,
    holder: HolderClient,
    enrolled: Enrolled,
    client: Arc<Client>,
    link: sync::Link,
    catalog_updates: watch::Receiver<Option<Arc<CatalogUpdate>>>,
    fast_open: FastOpen,
}

impl Parts {
    /// What is shared with the software; what a lost holder has left is ended before anything is started.
    fn shared(&self, household: &Household) -> Result<Shared, TableError> {
        let child = self.holder.state().child.as_ref();
        let in_use = child.is_some_and(|child| child.generation != 0);
        let software = in_use.then(|| household.members()).transpose();
        let software = software.map_err(|source| TableError::File {
            path: PathBuf::from("/proc"),
            source,
        })?;
        Shared::open(self.layout.root(), software.as_deref())
    }

    fn assemble(self) -> Result<Arc<Node>, AgentError> {
        let identity = Identity {
            system: self.enrolled.system_id,
            node: self.enrolled.node,
            agent_key: AgentKey::open(self.layout.agent_key())
                .map_err(at(&self.layout.agent_key()))?,
        };
        let hook_socket = hook_socket(&self.layout)?;
        let state = self.holder.state().clone();
        let household = Household::new(self.holder.process(), state.group.as_deref());
        let shared = self.shared(&household)?;
        let table = shared.table()?;
        let stats = shared.stats().map_err(at(self.layout.root()))?;
        let traffic = LiveTraffic::new(first_picture(), self.link.wake.clone());
        let tally = Arc::new(Tally::default());
        let relay = Relay::new(
            identity.clone(),
            traffic.clone(),
            self.holder.clone(),
            tally.clone(),
            Workers::start(self.config.call_threads).map_err(AgentError::Workers)?,
            self.fast_open,
        );
        let members = Members::load(&self.layout.members(), self.enrolled.node);
        let adapters = super::adapters::Loader::new(&self.layout, &self.binary);
        let node = Arc::new(Node {
            adapters,
            revisions: Revisions::default(),
            config: self.config,
            layout: self.layout,
            binary: self.binary,
            library: self.library,
            hook_socket,
            identity,
            join_version: AtomicU32::new(self.enrolled.join_version.0),
            client: self.client,
            holder: self.holder,
            traffic,
            relay,
            tally,
            link: self.link,
            clock: Clock::new(),
            stats,
            shared,
            table: Mutex::new(table),
            members,
            flags: Mutex::new(Flags::default()),
            progress: Mutex::new(None),
            child: watch::Sender::new(None),
            household,
            hindered: Mutex::default(),
            unfit: watch::Sender::new(None),
            killed: Mutex::default(),
            state_in_force: Mutex::default(),
            room: Room::default(),
            connections_look: Mutex::default(),
            fast_open: Mutex::default(),
            looked: crate::fetch::Looked::default(),
            listeners: Mutex::new(Listeners::default()),
            opened: AtomicU32::new(0),
            announcing: AtomicBool::new(false),
            align_wanted: Notify::new(),
            listening: AsyncMutex::new(()),
            catalog_updates: self.catalog_updates,
        });
        node.recall_observed();
        node.adopt(state);
        Ok(node)
    }
}

impl Node {
    /// Takes over what the holder has.
    fn adopt(&self, state: HolderState) {
        self.adopt_child(state.child, state.listening);
        // Software may have been killed while no agent ran.
        let killed = state.last_exit.filter(|_| self.child().is_none());
        if let Some(exit) = killed {
            self.note_killed(&exit);
        }
        self.adopt_kept(state.kept);
    }

    /// Takes over what runs under the holder.
    fn adopt_child(&self, running: Option<RunningChild>, listening: Vec<std::net::SocketAddr>) {
        let Some(running) = running else {
            return;
        };
        let start = self
            .last_start()
            .filter(|start| start.generation == running.generation)
            .unwrap_or_else(|| super::child::Start::unknown(running.generation));
        if running.generation == 0 {
            tracing::info!(
                "ends what a lost holder has left of the software, before it is started"
            );
        } else {
            tracing::info!(version = %start.serving.version, bundle = %start.serving.bundle, pid = running.pid, "adopts the running software");
        }
        self.adopted(Running {
            start,
            listening,
            interception: running.interception,
            process: running.pid,
        });
    }
}

/// The name of the socket at which the holder listens for hooks.
fn hook_socket(layout: &Layout) -> Result<String, AgentError> {
    let path = holder::name_path(layout.root());
    let name = std::fs::read_to_string(&path).map_err(at(&path))?;
    Ok(name.trim().to_owned())
}

/// Before anything is known, calls wait.
fn first_picture() -> Picture {
    Picture {
        catalog: Arc::new(NodeCatalog::default()),
        standing: Standing {
            version: Version(0),
            staged: Version(0),
            retired_through: Version(0),
        },
        adapters: Arc::default(),
        hold: true,
        given_up: false,
        child: None,
        observed: Arc::new(BTreeMap::new()),
        public: Arc::new(BTreeMap::new()),
        sources: Arc::new(BTreeSet::new()),
        unsure: Arc::new(BTreeMap::new()),
        hold_limit: Duration::from_secs(30),
        held_calls_max: 4_096,
        calls: model::bundle::CallSettings::default(),
    }
}

/// Stops a node's software and its holder, for good: nothing of the node runs afterwards. No agent may run.
///
/// Whatever has become of the node's holder: where none answers, another one finds by the kernel what was left.
///
/// # Errors
/// An agent runs, or something of the software is left, or may be.
pub async fn stop(data: &Path) -> Result<(), AgentError> {
    let layout = Layout::new(std::fs::canonicalize(data).map_err(at(data))?);
    let _lock = Journal::open(&layout.journal())?;
    let binary = std::env::current_exe().map_err(at(Path::new("/proc/self/exe")))?;
    let (holder, mut notices) = HolderClient::attach_or_spawn(&binary, layout.root()).await?;
    if holder.state().child.is_some() {
        end_child(&holder, &mut notices, &last_manner(&layout)).await;
    }
    holder.exit().await?;
    // It answers before it has tidied the directory, which may be deleted as soon as this returns.
    let gone = async {
        while matches!(holder::owner(layout.root()), Some(Owner::Holder(_))) {
            tokio::time::sleep(LOOK).await;
        }
    };
    // One that does not end is seen by what it leaves.
    let _ = tokio::time::timeout(STOP_GRACE, gone).await;
    match holder::left_behind(layout.root()).map_err(at(Path::new("/proc")))? {
        left if left.is_empty() => Ok(()),
        left => Err(AgentError::LeftBehind(left)),
    }
}

/// Who runs a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runner {
    /// Its process; 0 where it cannot be seen, as in another container.
    pub process: i32,
    /// Somebody has stopped it (SIGSTOP), so that it does nothing until it is let go on.
    pub stands_still: bool,
}

/// The agent, or a command such as [`stop`], that has the node in a data directory just now.
pub fn runner(data: &Path) -> Option<Runner> {
    let lock = Layout::new(data).journal().with_extension("lock");
    let process = holder::locker_of(&lock)?;
    Some(Runner {
        process,
        stands_still: crate::kernel::stands_still(process),
    })
}

/// A directory that has become a node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// How many records its journal has ever had.
    pub records: u64,
    /// The node's number at its server, where it has one.
    pub node: Option<NodeId>,
}

/// Makes a copied, moved or restored data directory the node's own; the next agent starts in it, under a holder of its own. No agent may
/// run there, and nothing of the original's on this machine.
///
/// # Errors
/// It is no node's directory, an agent runs there, something of the original runs, or what is in it is damaged.
pub fn claim(data: &Path) -> Result<Claimed, AgentError> {
    let layout = Layout::new(std::fs::canonicalize(data).map_err(at(data))?);
    let is_held = holder::is_its_own(layout.root());
    if !is_held && let Some(original) = holder::original(layout.root()) {
        return Err(AgentError::OriginalLives(original));
    }
    // What holds this very directory goes on doing so.
    let forget = || match is_held {
        true => Ok(()),
        false => holder::forget(layout.root()),
    };
    let records = Journal::claim(&layout.journal(), forget)?;
    let node = sync::enrolled(&layout).map(|enrolled| enrolled.node);
    Ok(Claimed { records, node })
}

/// How the software that runs is to be stopped, as the agent noted when it started it.
fn last_manner(layout: &Layout) -> StopManner {
    let last: Option<Start> = sync::load(&layout.start());
    last.map(|start| start.stop).unwrap_or_default()
}

async fn end_child(holder: &HolderClient, notices: &mut Notices, manner: &StopManner) {
    // A child that has just ended by itself is told below as well.
    let asked = holder.stop(manner.signal, manner.to_all, manner.grace());
    if let Err(error) = asked.await {
        tracing::debug!(%error, "cannot stop the software");
    }
    // What cannot be killed is told by the holder, which then refuses to end.
    let limit = manner.grace().saturating_add(STOP_GRACE);
    let ended = tokio::time::timeout(limit, exited(notices)).await;
    if let Ok(Some(killed)) = ended.map(|exit| exit.and_then(|exit| exit.killed)) {
        tracing::warn!("{}", child::killed_text(&killed));
    }
}

async fn exited(notices: &mut Notices) -> Option<ChildExit> {
    loop {
        if let holder_client::Notice::ChildExited(exit) = notices.recv().await? {
            return Some(exit);
        }
    }
}
