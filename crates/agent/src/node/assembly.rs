//! A node is put together: each owner is given those that it needs.

use super::Node;
use super::adapters::NodeAdapters;
use super::agent_error::{AgentError, at};
use super::bundles::Bundles;
use super::catalog_updates::CatalogUpdate;
use super::child::ChildKeeper;
use super::clock::NodeClock;
use super::doubting::Doubting;
use super::held_calls::HeldCalls;
use super::held_listeners::HeldListeners;
use super::hook_table::HookTable;
use super::inspection::Inspection;
use super::labelling::Labelling;
use super::membership::Membership;
use super::rendering::Rendering;
use super::state_directory::StateDirectory;
use super::surroundings::{ShownProgress, Surroundings};
use crate::agent_key::AgentKey;
use crate::birth::Birth;
use crate::config::Config;
use crate::dial::FastOpen;
use crate::holder;
use crate::holder_client::HolderClient;
use crate::household::Household;
use crate::label_keys::LabelKeys;
use crate::layout::Layout;
use crate::relay::{LabelIdentity, LiveTraffic, Picture, Relay, Tally, Workers};
use crate::shared::Shared;
use crate::sync::ServerLink;
use crate::{kernel, library};
use client::Client;
use intercept::holder::HolderState;
use intercept::stats::StatsFile;
use intercept::table::TableError;
use model::api::Enrolled;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// What an agent needs of this host.
pub(super) struct HostTools {
    /// This program, started again for the holder, the launcher and the transform runner.
    pub(super) binary: PathBuf,
    /// The copy of the preloaded library that new children get.
    pub(super) library: PathBuf,
    pub(super) fast_open: FastOpen,
}

impl HostTools {
    /// Installs what is to be installed.
    pub(super) fn install(layout: &Layout) -> Result<Self, AgentError> {
        let settings = Path::new("/proc/sys/net/ipv4");
        let fast_open = FastOpen::of_this_host().map_err(at(settings))?;
        if !fast_open.sends {
            return Err(AgentError::NoHandshakeData);
        }
        Ok(Self {
            library: library::install(&layout.library()).map_err(AgentError::Library)?,
            binary: PathBuf::from(kernel::OWN_PROGRAM),
            fast_open,
        })
    }
}

/// What a node is put together from.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) layout: Layout,
    pub(super) tools: HostTools,
    pub(super) holder: HolderClient,
    pub(super) enrolled: Enrolled,
    pub(super) client: Arc<Client>,
    pub(super) link: ServerLink,
    pub(super) catalog_updates: watch::Receiver<Option<Arc<CatalogUpdate>>>,
    pub(super) variables_kept: Option<String>,
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

    /// Puts it together, and takes over what the holder has.
    pub(super) fn assemble(self) -> Result<Arc<Node>, AgentError> {
        let agent_key = self.layout.agent_key();
        let identity = LabelIdentity {
            system: self.enrolled.system_id,
            node: self.enrolled.node,
            agent_key: AgentKey::open(agent_key.clone()).map_err(at(&agent_key))?,
            label_keys: LabelKeys::none(),
        };
        let hook_socket = hook_socket(&self.layout)?;
        let state = self.holder.state().clone();
        let household = Household::new(self.holder.process(), state.group.as_deref());
        let shared = self.shared(&household)?;
        let table = shared.table()?;
        let stats = shared.stats().map_err(at(self.layout.root()))?;
        let relay = Relay::new(
            identity.clone(),
            LiveTraffic::new(Picture::first(), self.link.wake.clone()),
            self.holder.clone(),
            Arc::new(Tally::default()),
            Workers::start(self.config.call_threads).map_err(AgentError::Workers)?,
            self.tools.fast_open,
        );
        let home = Birth::at(self.layout.root());
        let surroundings = Arc::new(Surroundings {
            config: self.config,
            layout: self.layout,
            binary: self.tools.binary,
            identity,
            join_version: self.enrolled.join_version,
            clock: NodeClock::new(),
            client: self.client,
            holder: self.holder,
            link: self.link,
            catalog_updates: self.catalog_updates,
            progress: ShownProgress::default(),
            artifacts_at: Mutex::default(),
            variables_kept: self.variables_kept,
            home,
        });
        let hook_table = HookTable::new(&surroundings, &relay, table);
        let child = ChildKeeper::new(&surroundings, &relay.traffic, household);
        let labelling = Labelling::load(&surroundings, &relay, &hook_table, &child);
        let membership = Membership::load(&surroundings, &relay.traffic, &hook_table, &labelling);
        let owners = Owners {
            surroundings,
            relay,
            hook_table,
            labelling,
            membership,
            child,
        };
        let node = owners.into_node(stats, self.tools.library, shared, hook_socket);
        node.adapters.observed.recall();
        adopt(&node, state);
        Ok(Arc::new(node))
    }
}

/// The owners that need few others.
struct Owners {
    surroundings: Arc<Surroundings>,
    relay: Arc<Relay>,
    hook_table: Arc<HookTable>,
    labelling: Arc<Labelling>,
    membership: Arc<Membership>,
    child: Arc<ChildKeeper>,
}

impl Owners {
    /// Adds those that need them.
    fn into_node(
        self,
        stats: StatsFile,
        library: PathBuf,
        shared: Shared,
        hook_socket: String,
    ) -> Node {
        let Self {
            surroundings,
            relay,
            hook_table,
            labelling,
            membership,
            child,
        } = self;
        let doubting = Doubting::new(&surroundings, &relay, &hook_table, &membership, &child);
        let traffic = &relay.traffic;
        let inspection = Inspection::new(&surroundings, &relay, &child, &membership, stats);
        let listeners =
            HeldListeners::new(&surroundings, &relay, &hook_table, &membership, &inspection);
        let bundles = Bundles::new(&surroundings, traffic);
        let adapters = NodeAdapters::new(&surroundings, &relay, &child, &bundles);
        Node {
            rendering: Rendering::new(
                &surroundings,
                traffic,
                &bundles,
                library,
                shared,
                hook_socket,
            ),
            state: StateDirectory::new(&surroundings, traffic, &bundles),
            held_calls: HeldCalls::new(
                &surroundings,
                &relay,
                &hook_table,
                &listeners,
                &child,
                &adapters.loader,
            ),
            adapters,
            surroundings,
            relay,
            hook_table,
            labelling,
            membership,
            doubting,
            child,
            inspection,
            listeners,
            bundles,
        }
    }
}

/// Takes over what the holder has.
fn adopt(node: &Node, state: HolderState) {
    node.child.adopt(state.child, state.listening);
    // Software may have been killed while no agent ran.
    let killed = state.last_exit.filter(|_| node.child.present().is_none());
    if let Some(exit) = killed {
        node.child.note_killed(&exit);
    }
    node.listeners.adopt(state.kept);
}

/// The name of the socket at which the holder listens for hooks.
fn hook_socket(layout: &Layout) -> Result<String, AgentError> {
    let path = holder::name_path(layout.root());
    let name = std::fs::read_to_string(&path).map_err(at(&path))?;
    Ok(name.trim().to_owned())
}
