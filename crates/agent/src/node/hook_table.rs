//! The member table: what the hooks go by, made from the picture whenever it changes.

use super::surroundings::Surroundings;
use crate::dial::FastOpen;
use crate::relay::{Picture, Relay};
use intercept::table::{ENDPOINTS_MAX, NETWORKS_MAX, Table, TableFile, TableService};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// The table that agent and hooks share, and what it says beside the picture.
pub(super) struct HookTable {
    surroundings: Arc<Surroundings>,
    relay: Arc<Relay>,
    file: Mutex<TableFile>,
    beside: Mutex<BesidePicture>,
    /// The kernel's settings that the published table goes by.
    fast_open: Mutex<Option<FastOpen>>,
    /// The number of the members' list that the hooks go by.
    members_in_force: watch::Sender<u64>,
    /// The order about labels that they go by; empty for none.
    labels_in_force: watch::Sender<String>,
}

/// What the hooks are told beside the picture's contents.
#[derive(Clone, Debug, Default)]
struct BesidePicture {
    /// The machine has said how traffic is treated; before, the table of the earlier agent stays in force.
    machine_has_spoken: bool,
    probing: bool,
    refuse_members: bool,
    /// The child is about to be stopped or being stopped.
    stopping_until_ms: u64,
    members: MemberAddresses,
    /// Endpoints at which the software is not connected, since no member has shown itself there.
    doubtful: BTreeSet<SocketAddr>,
    /// The ports that the holder keeps listeners for.
    kept_ports: BTreeSet<u16>,
    /// The order about labels that the holder has the keys of, by its id; empty for none.
    labels: String,
    /// Labels are signed by it.
    signs: bool,
}

/// Where the members are.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberAddresses {
    /// The number of the list that says so.
    pub(super) at: u64,
    /// Where they listen.
    pub(super) endpoints: Arc<BTreeSet<SocketAddr>>,
    /// Where their connections come from.
    pub(super) sources: Arc<BTreeSet<IpAddr>>,
}

impl HookTable {
    /// The table as an earlier agent has left it.
    pub(super) fn new(
        surroundings: &Arc<Surroundings>,
        relay: &Arc<Relay>,
        file: TableFile,
    ) -> Arc<Self> {
        Arc::new(Self {
            surroundings: surroundings.clone(),
            relay: relay.clone(),
            file: Mutex::new(file),
            beside: Mutex::default(),
            fast_open: Mutex::default(),
            members_in_force: watch::Sender::new(0),
            labels_in_force: watch::Sender::default(),
        })
    }

    /// Puts the present picture in force for the hooks.
    pub(super) fn publish(&self) {
        // Made under the lock: an older picture must not replace a newer one.
        let mut file = self.file.lock();
        if !self.beside.lock().machine_has_spoken {
            return;
        }
        let fast_open = self.relay.fast_open.now();
        *self.fast_open.lock() = Some(fast_open);
        let (members, table) = self.table(fast_open);
        match file.publish(&table) {
            Ok(()) => {
                let in_force = &self.members_in_force;
                in_force.send_if_modified(|before| std::mem::replace(before, members) != members);
                let labels = self.beside.lock().labels.clone();
                (self.labels_in_force).send_if_modified(|before| {
                    let differs = *before != labels;
                    *before = labels;
                    differs
                });
            }
            Err(error) => {
                tracing::error!(%error, endpoints_max = ENDPOINTS_MAX, "the member table cannot be published: hooks go by the last one");
            }
        }
    }

    /// The number of the members' list that the hooks go by.
    pub(super) fn members_in_force(&self) -> watch::Receiver<u64> {
        self.members_in_force.subscribe()
    }

    /// The order about labels that the hooks go by.
    pub(super) fn labels_in_force(&self) -> watch::Receiver<String> {
        self.labels_in_force.subscribe()
    }

    /// Takes in whether labels are signed, by which order. The next table that is published has it.
    pub(super) fn set_labels(&self, order: String, signs: bool) {
        let mut beside = self.beside.lock();
        beside.labels = order;
        beside.signs = signs;
    }

    /// Takes in where the members are. The next table that is published has it.
    pub(super) fn set_members(&self, members: MemberAddresses) {
        self.beside.lock().members = members;
    }

    /// Takes in where the software is not connected. Says whether the hooks must be told: the next table that is published has it.
    pub(super) fn set_doubtful(&self, doubtful: BTreeSet<SocketAddr>) -> bool {
        let before = &mut self.beside.lock().doubtful;
        let differs = *before != doubtful;
        *before = doubtful;
        differs
    }

    /// Takes in at which ports something is kept: the hooks ask for that at `bind`. The next table that is published has it.
    pub(super) fn set_kept_ports(&self, ports: BTreeSet<u16>) {
        self.beside.lock().kept_ports = ports;
    }

    /// Takes in what the machine wishes for connections that the hooks accept. The next table that is published has it.
    pub(super) fn set_wishes(&self, probing: bool, refuse_members: bool) {
        let mut beside = self.beside.lock();
        beside.machine_has_spoken = true;
        beside.probing = probing;
        beside.refuse_members = refuse_members;
    }

    /// The software is started to be probed, in an upgrade.
    pub(super) fn is_probing(&self) -> bool {
        self.beside.lock().probing
    }

    /// Tells the hooks that the software is being stopped, for so long at most; zero: that it is not.
    pub(super) fn set_stopping(&self, at_most: Duration) {
        let until_ms = match u64::try_from(at_most.as_millis()) {
            Ok(0) => 0,
            ms => interpose::kernel::now_ms().saturating_add(ms.unwrap_or(u64::MAX)),
        };
        self.beside.lock().stopping_until_ms = until_ms;
        self.publish();
    }

    /// Tells the hooks what an operator has set anew in the kernel: whether a label can be late depends on it.
    pub(super) fn follow_kernel_settings(&self) {
        let now = self.relay.fast_open.now();
        let known = *self.fast_open.lock();
        if let Some(known) = known
            && now != known
        {
            tracing::info!(?now, ?known, "net.ipv4.tcp_fastopen was set anew");
            self.publish();
        }
    }

    /// Closes the way to the software when the node was forgotten, and opens it when it is known again.
    pub(super) fn follow_forgetting(&self) {
        let forgotten = *self.surroundings.link.forgotten.borrow();
        if self.relay.forgotten.swap(forgotten, Ordering::Relaxed) != forgotten {
            self.publish();
        }
    }

    /// The number of the members' list, and the table made with it.
    fn table(&self, fast_open: FastOpen) -> (u64, Table) {
        let picture = self.relay.traffic.picture();
        let beside = self.beside.lock().clone();
        let identity = &self.surroundings.identity;
        let serving = picture.standing.version;
        let services = (picture.catalog.ports(serving).iter())
            .map(|(name, port)| self.service(&picture, &beside, name, *port))
            .collect();
        let table = Table {
            system: identity.system,
            node: identity.node.0,
            version: serving.0,
            agent_lock: identity.agent_key.lock(),
            // Of a forgotten node too no connection is the software's at once.
            probing: beside.probing || self.relay.forgotten.load(Ordering::Relaxed),
            refuse_members: beside.refuse_members,
            stopping_until_ms: beside.stopping_until_ms,
            local_labels_prompt: fast_open.always_sends,
            cookies: fast_open.takes,
            signs: beside.signs,
            services,
            endpoints: beside.members.endpoints.iter().copied().collect(),
            doubtful: beside.doubtful.iter().copied().collect(),
            sources: beside.members.sources.iter().copied().collect(),
            networks: networks(&picture),
        };
        (beside.members.at, table)
    }

    fn service(
        &self,
        picture: &Picture,
        beside: &BesidePicture,
        name: &str,
        port: u16,
    ) -> TableService {
        let versions = picture.catalog.same_interface(name, picture.standing);
        let public = picture.public_version(name);
        // Of a service that is recorded or observed no connection is the software's at once: the agent gets them all.
        let direct = !self.relay.recorders.has(name) && !picture.observes(name);
        TableService {
            port,
            kept: beside.kept_ports.contains(&port),
            unsure: picture.unsure.contains_key(&port),
            public_direct: direct && public.is_some_and(|version| versions.contains(&version)),
            callers_begin: picture
                .manner(name)
                .is_some_and(|(protocol, _)| protocol.callers_begin()),
            versions: versions
                .iter()
                .filter(|_| direct)
                .map(|version| version.0)
                .collect(),
        }
    }
}

/// The declared networks, as many as the table has room for.
fn networks(picture: &Picture) -> Vec<(IpAddr, u8)> {
    let mut all = picture.catalog.networks(picture.standing);
    if all.len() > NETWORKS_MAX {
        tracing::error!(
            declared = all.len(),
            NETWORKS_MAX,
            "too many networks: labels of the last ones are not honoured; declare wider ones"
        );
        all.truncate(NETWORKS_MAX);
    }
    all.iter()
        .map(|network| (network.address(), network.prefix()))
        .collect()
}
