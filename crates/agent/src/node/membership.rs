//! Being known before serving: the members' list is followed by a long poll of its own, put in force, acknowledged; and
//! no address is served before every reachable member has acknowledged the list that has it.

use super::hook_table::{HookTable, MemberAddresses};
use super::labelling::Labelling;
use super::surroundings::Surroundings;
use crate::cached;
use crate::members::{Address, MemberList};
use crate::relay::LiveTraffic;
use client::ClientError;
use model::api::{Disagreement, EventKind, MembersRequest, MembersResponse};
use model::ids::NodeId;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Two questions for the list are at least so far apart: many nodes that join at once are answered together.
const QUESTION_GAP: Duration = Duration::from_millis(50);

/// How long the server keeps a question open for news.
const QUESTION_WAIT: Duration = Duration::from_secs(10);

/// A question that is not answered by then met a network that swallows packets: it is asked on another connection.
const QUESTION_LIMIT: Duration = Duration::from_secs(15);

/// A question that failed is asked again after this.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long a node waits to be known at most. A member that has not acknowledged by then counts as reachable only because
/// it polls rarely; its calls without a label are not served where versions differ (see [`MemberList::unsure`]).
const KNOWN_LIMIT: Duration = Duration::from_secs(30);

/// How long members are known on whom a server that was set back may not know yet: they enrol anew within their poll interval.
const FORMER_LIMIT: Duration = Duration::from_secs(60);

/// A server that has not been heard for so long vouches for no member any more: it is asked every few seconds.
const UNHEARD_LIMIT_MS: u64 = 60_000;

/// How long an agent that has just started waits for the server before it goes on with what it knows.
pub(super) const FIRST_LIST_LIMIT: Duration = Duration::from_secs(2);

/// What this node knows of the members, and which of its own addresses they know.
pub(super) struct Membership {
    surroundings: Arc<Surroundings>,
    traffic: Arc<LiveTraffic>,
    hook_table: Arc<HookTable>,
    labelling: Arc<Labelling>,
    known: Mutex<KnownMembers>,
    /// Counts the answers: whoever waits to be known looks again.
    answers: watch::Sender<u64>,
    /// The node waits in the background until it is known.
    announcing: AtomicBool,
    /// Rung when the node is known at more addresses than when ports were aligned last.
    pub(super) align_wanted: Notify,
}

struct KnownMembers {
    list: MemberList,
    addresses: MemberAddresses,
    /// Since when the list has addresses of a lost history.
    former_since: Option<Instant>,
    /// Own addresses that have been waited for: the others know them.
    announced: BTreeSet<Address>,
    /// When the server answered last ([`interpose::kernel::now_asleep_too_ms`]).
    heard_ms: Option<u64>,
}

fn addresses(list: &MemberList) -> MemberAddresses {
    MemberAddresses {
        at: list.at,
        endpoints: Arc::new(list.endpoints()),
        sources: Arc::new(list.sources()),
    }
}

impl Membership {
    /// What an earlier agent knew.
    pub(super) fn load(
        surroundings: &Arc<Surroundings>,
        traffic: &Arc<LiveTraffic>,
        hook_table: &Arc<HookTable>,
        labelling: &Arc<Labelling>,
    ) -> Arc<Self> {
        let list: MemberList = cached::load(&surroundings.layout.members()).unwrap_or_default();
        let known = KnownMembers {
            announced: list.of(surroundings.identity.node),
            addresses: addresses(&list),
            former_since: list.has_former().then(Instant::now),
            heard_ms: None,
            list,
        };
        hook_table.set_members(known.addresses.clone());
        Arc::new(Self {
            surroundings: surroundings.clone(),
            traffic: traffic.clone(),
            hook_table: hook_table.clone(),
            labelling: labelling.clone(),
            known: Mutex::new(known),
            answers: watch::Sender::new(0),
            announcing: AtomicBool::new(false),
            align_wanted: Notify::new(),
        })
    }

    fn known(&self) -> MutexGuard<'_, KnownMembers> {
        self.known.lock()
    }

    fn me(&self) -> NodeId {
        self.surroundings.identity.node
    }

    /// Whether a member listens there.
    pub(super) fn listens(&self, address: &SocketAddr) -> bool {
        self.known().addresses.endpoints.contains(address)
    }

    /// Waits until the server has answered once since the agent started.
    pub(super) async fn heard(&self) {
        // The sender lives as long as the node.
        let _ = self.answers.subscribe().wait_for(|count| *count > 0).await;
    }

    /// Rung with every answer of the server.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.answers.subscribe()
    }

    /// The members' endpoints of which nobody says now that members are still there.
    pub(super) fn in_doubt(&self, now_ms: u64) -> BTreeSet<SocketAddr> {
        let in_doubt = {
            let known = self.known();
            let heard_ms = known.heard_ms;
            if heard_ms.is_some_and(|at| now_ms < at + UNHEARD_LIMIT_MS) {
                known.list.unconfirmed_endpoints()
            } else {
                known.list.endpoints()
            }
        };
        if in_doubt.is_empty() {
            return in_doubt;
        }
        // Of itself a node knows where it is.
        let own = self.own_addresses().into_iter();
        let own = own.filter_map(|(address, port)| Some(SocketAddr::new(address, port?)));
        &in_doubt - &own.collect()
    }

    fn has_announced(&self, wanted: &BTreeSet<Address>) -> bool {
        wanted.is_subset(&self.known().announced)
    }

    /// Says who is not served while the list cannot be had, if that may be anybody.
    fn tells_whom_it_resets(&self, error: &ClientError) -> bool {
        let known = self.known();
        let names = known.list.unsure_names(self.me());
        if names.is_empty() {
            return false;
        }
        let names: Vec<&str> = names.into_iter().collect();
        tracing::warn!(
            "nobody can say whether {} knows this node's addresses by now ({error}): calls without a label from its address are reset where versions differ, until the upgrade server answers",
            names.join(", ")
        );
        true
    }

    /// Whether the server has other contents under a number that this node runs: its members are not those that the node speaks with,
    /// which are known from before.
    fn speaks_otherwise(&self) -> bool {
        let found = self.surroundings.link.disagreement.borrow();
        found.as_ref().is_some_and(Disagreement::differs)
    }

    async fn take_members(&self, mut answer: MembersResponse) {
        self.labelling.take(answer.labels.take()).await;
        let before = self.known().list.clone();
        let list = self.without_what_is_over(before.with(answer));
        if list.must_be_kept(&before, self.me()) {
            self.keep_list(list.clone()).await;
        }
        let changed = !list.says_as(&before);
        {
            let mut known = self.known();
            known.addresses = addresses(&list);
            known.list = list;
            known.heard_ms = Some(interpose::kernel::now_asleep_too_ms());
            self.hook_table.set_members(known.addresses.clone());
        }
        if changed {
            self.show_members();
            self.hook_table.publish();
        }
        self.answers.send_modify(|count| *count += 1);
    }

    /// The list without addresses that only a lost history has named, once everybody has had time to enrol anew.
    fn without_what_is_over(&self, list: MemberList) -> MemberList {
        let mut known = self.known();
        if !list.has_former() {
            return list;
        }
        let since = *known.former_since.get_or_insert_with(Instant::now);
        if since.elapsed() < FORMER_LIMIT {
            return list;
        }
        known.former_since = None;
        list.without_former()
    }

    /// On disk before it is in force and acknowledged: the next agent must not go back behind it, and judges callers as this one does,
    /// though it hears nothing of the server. Beside the runtime, which a slow disk must not hold up.
    async fn keep_list(&self, list: MemberList) {
        let file = self.surroundings.layout.members();
        let kept = tokio::task::spawn_blocking(move || cached::save_durably(&file, &list)).await;
        match kept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the members' list cannot be kept"),
            Err(error) => tracing::warn!(%error, "the members' list was not kept"),
        }
    }

    /// Lets connections be judged by the present list.
    pub(super) fn show_members(&self) {
        let (sources, unsure) = {
            let known = self.known();
            let unsure = known.list.unsure(self.me());
            (known.addresses.sources.clone(), Arc::new(unsure))
        };
        self.traffic.change(|picture| {
            picture.sources = sources;
            picture.unsure = unsure;
        });
    }

    /// Every address at which the node answers, or will, and those that its own connections come from.
    fn own_addresses(&self) -> BTreeSet<Address> {
        let picture = self.traffic.picture();
        let live = picture.catalog.live_versions(picture.standing);
        let endpoints = picture.catalog.endpoints(&live).into_iter();
        endpoints
            .map(|endpoint| (endpoint.address, Some(endpoint.port)))
            .chain(
                self.surroundings
                    .config
                    .addresses
                    .iter()
                    .map(|address| (*address, None)),
            )
            .collect()
    }

    /// Whether every reachable member has been given the time to learn all addresses of this node.
    pub(super) fn is_known(&self) -> bool {
        self.has_announced(&self.own_addresses())
    }

    /// Waits until every reachable member's hooks know the addresses of this node, with a limit.
    pub(super) async fn until_known(&self) {
        let wanted = self.own_addresses();
        if self.has_announced(&wanted) {
            return;
        }
        let mut answers = self.answers.subscribe();
        let heard = self.heard();
        let mut missing = Vec::new();
        if tokio::time::timeout(FIRST_LIST_LIMIT, heard).await.is_ok() {
            let deadline = Instant::now() + KNOWN_LIMIT;
            while let Some(names) = self.ignorant(&wanted) {
                self.show_wait(&names);
                missing = names;
                let answered = tokio::time::timeout_at(deadline, answers.changed()).await;
                if !matches!(answered, Ok(Ok(()))) {
                    break;
                }
                missing.clear();
            }
            self.surroundings.progress.clear();
        }
        if !missing.is_empty() {
            self.complain(&missing);
        }
        self.known().announced.extend(wanted);
    }

    /// Who does not know these addresses yet (nobody by name while the server itself has not listed them); `None` when
    /// all do, this node's own hooks included.
    fn ignorant(&self, wanted: &BTreeSet<Address>) -> Option<Vec<String>> {
        let ignorant = (self.known().list).ignorant(self.me(), wanted);
        let Some(ignorant) = ignorant else {
            return Some(Vec::new());
        };
        let own_hooks = *self.hook_table.members_in_force().borrow() >= ignorant.needed;
        let known = own_hooks && ignorant.awaited.is_empty();
        (!known).then_some(ignorant.awaited)
    }

    fn show_wait(&self, names: &[String]) {
        let what = match names {
            [] => "make itself known".to_owned(),
            [name] => format!("make itself known to {name}"),
            [name, others @ ..] => format!("make itself known to {name} and {} more", others.len()),
        };
        self.surroundings.progress.show(what);
    }

    fn complain(&self, missing: &[String]) {
        let message = format!(
            "serves although {} may not know its addresses yet: calls from there without a label are reset where versions differ",
            missing.join(", ")
        );
        tracing::warn!("{message}");
        (self.surroundings).tell(EventKind::NodeUnknownToSome, None, message);
    }

    /// Waits in the background until the node is known, then has what is served aligned again.
    pub(super) fn align_when_known(self: &Arc<Self>) {
        if self.announcing.swap(true, Ordering::AcqRel) {
            return;
        }
        let membership = self.clone();
        tokio::spawn(async move {
            membership.until_known().await;
            membership.announcing.store(false, Ordering::Release);
            membership.align_wanted.notify_one();
        });
    }
}

/// Follows the list for as long as the node lives.
pub(super) async fn follow(membership: Weak<Membership>) {
    let mut has_warned = false;
    loop {
        let Some(here) = membership.upgrade() else {
            return;
        };
        let mut in_force = here.hook_table.members_in_force();
        let mut labels = here.hook_table.labels_in_force();
        labels.mark_unchanged();
        let question = MembersRequest {
            labels: here.labelling.held(),
            ..(here.known().list).question(*in_force.borrow_and_update())
        };
        let client = here.surroundings.client.clone();
        let me = here.me();
        drop(here);
        let asking = client.members(me, &question, Some(QUESTION_WAIT));
        let answer = tokio::select! {
            answer = tokio::time::timeout(QUESTION_LIMIT, asking) => answer,
            // What is in force now is told at once: others wait for it.
            _ = in_force.changed() => continue,
            _ = labels.changed() => continue,
        };
        let pause = match (answer, membership.upgrade()) {
            (_, None) => return,
            (Ok(Ok(answer)), Some(here)) => {
                has_warned = false;
                if here.speaks_otherwise() {
                    RETRY_PAUSE
                } else {
                    here.take_members(answer).await;
                    QUESTION_GAP
                }
            }
            (Ok(Err(error)), Some(here)) => {
                tracing::debug!(%error, "the members' list cannot be had");
                has_warned = has_warned || here.tells_whom_it_resets(&error);
                RETRY_PAUSE
            }
            (Err(_), Some(_)) => QUESTION_GAP,
        };
        tokio::time::sleep(pause).await;
    }
}
