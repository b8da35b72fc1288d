//! Being known before serving: the members' list is followed by a long poll of its own, put in force, acknowledged; and
//! no address is served before every reachable member has acknowledged the list that has it.

use super::Node;
use crate::members::{Address, MemberList};
use crate::sync;
use crate::unpoisoned::Unpoisoned as _;
use client::ClientError;
use model::api::{MembersResponse, NewEvent, Progress};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::sync::watch;
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

/// How long an agent that has just started waits for the server before it goes on with what it knows.
pub(super) const FIRST_LIST_LIMIT: Duration = Duration::from_secs(2);

/// The members as this node knows them.
pub(super) struct Members {
    held: Mutex<Held>,
    /// The number of the list in the hooks' table.
    in_force: watch::Sender<u64>,
    /// Counts the answers: whoever waits to be known looks again.
    answers: watch::Sender<u64>,
}

#[derive(Default)]
struct Held {
    list: MemberList,
    endpoints: BTreeSet<SocketAddr>,
    sources: BTreeSet<IpAddr>,
    /// Own addresses that have been waited for: the others know them.
    announced: BTreeSet<Address>,
}

impl Members {
    /// What an earlier agent knew.
    pub(super) fn load(file: &Path, node: model::ids::NodeId) -> Self {
        let list: MemberList = sync::load(file).unwrap_or_default();
        let announced = list.of(node);
        let held = Held {
            endpoints: list.endpoints(),
            sources: list.sources(),
            announced,
            list,
        };
        Self {
            held: Mutex::new(held),
            in_force: watch::Sender::new(0),
            answers: watch::Sender::new(0),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unpoisoned()
    }

    /// The list's number, where members listen, and where their connections come from.
    pub(super) fn addresses(&self) -> (u64, BTreeSet<SocketAddr>, BTreeSet<IpAddr>) {
        let held = self.held();
        (held.list.at, held.endpoints.clone(), held.sources.clone())
    }

    /// Whether a member listens there.
    pub(super) fn listens(&self, address: &SocketAddr) -> bool {
        self.held().endpoints.contains(address)
    }

    /// The hooks go by this list now.
    pub(super) fn put_in_force(&self, at: u64) {
        self.in_force
            .send_if_modified(|before| std::mem::replace(before, at) != at);
    }

    /// Waits until the server has answered once since the agent started.
    pub(super) async fn heard(&self) {
        // The sender lives as long as the node.
        let _ = self.answers.subscribe().wait_for(|count| *count > 0).await;
    }

    fn announced(&self, wanted: &BTreeSet<Address>) -> bool {
        wanted.is_subset(&self.held().announced)
    }

    fn take(&self, list: MemberList) {
        let mut held = self.held();
        held.endpoints = list.endpoints();
        held.sources = list.sources();
        held.list = list;
    }
}

/// Follows the list for as long as the node lives.
pub(super) async fn follow(node: Weak<Node>) {
    let mut told = false;
    loop {
        let Some(here) = node.upgrade() else { return };
        let mut in_force = here.members.in_force.subscribe();
        let question = here
            .members
            .held()
            .list
            .question(*in_force.borrow_and_update());
        let client = here.client.clone();
        let me = here.identity.node;
        drop(here);
        let asking = client.members(me, &question, Some(QUESTION_WAIT));
        let answer = tokio::select! {
            answer = tokio::time::timeout(QUESTION_LIMIT, asking) => answer,
            // What is in force now is told at once: others wait for it.
            _ = in_force.changed() => continue,
        };
        let pause = match (answer, node.upgrade()) {
            (_, None) => return,
            (Ok(Ok(answer)), Some(here)) => {
                here.take_members(answer).await;
                told = false;
                QUESTION_GAP
            }
            (Ok(Err(error)), Some(here)) => {
                tracing::debug!(%error, "the members' list cannot be had");
                told = told || here.tells_whom_it_resets(&error);
                RETRY_PAUSE
            }
            (Err(_), Some(_)) => QUESTION_GAP,
        };
        tokio::time::sleep(pause).await;
    }
}

impl Node {
    /// Says who is not served while the list cannot be had, if that may be anybody.
    fn tells_whom_it_resets(&self, error: &ClientError) -> bool {
        let held = self.members.held();
        let names = held.list.unsure_names(self.identity.node);
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

    async fn take_members(&self, answer: MembersResponse) {
        let before = self.members.held().list.clone();
        let list = before.with(answer);
        if list.must_be_kept(&before, self.identity.node) {
            self.keep_list(list.clone()).await;
        }
        let changed = !list.says_as(&before);
        self.members.take(list);
        if changed {
            self.show_members();
            self.publish_table();
        }
        self.members.answers.send_modify(|count| *count += 1);
    }

    /// On disk before it is in force and acknowledged: the next agent must not go back behind it, and judges callers as this one does,
    /// though it hears nothing of the server. Beside the runtime, which a
    /// slow disk must not hold up.
    async fn keep_list(&self, list: MemberList) {
        let file = self.layout.members();
        let kept = tokio::task::spawn_blocking(move || sync::save_durably(&file, &list)).await;
        match kept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the members' list cannot be kept"),
            Err(error) => tracing::warn!(%error, "the members' list was not kept"),
        }
    }

    /// Lets connections be judged by the present list.
    pub(super) fn show_members(&self) {
        let (sources, unsure) = {
            let held = self.members.held();
            let unsure = held.list.unsure(self.identity.node);
            (Arc::new(held.sources.clone()), Arc::new(unsure))
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
            .chain(self.config.addresses.iter().map(|address| (*address, None)))
            .collect()
    }

    /// Whether every reachable member has been given the time to learn all addresses of this node.
    pub(super) fn is_known(&self) -> bool {
        self.members.announced(&self.own_addresses())
    }

    /// Waits until every reachable member's hooks know the addresses of this node, with a limit.
    pub(super) async fn until_known(&self) {
        let wanted = self.own_addresses();
        if self.members.announced(&wanted) {
            return;
        }
        let mut answers = self.members.answers.subscribe();
        let heard = self.members.heard();
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
            self.set_progress(None);
        }
        if !missing.is_empty() {
            self.complain(&missing);
        }
        self.members.held().announced.extend(wanted);
    }

    /// Who does not know these addresses yet (nobody by name while the server itself has not listed them); `None` when
    /// all do, this node's own hooks included.
    fn ignorant(&self, wanted: &BTreeSet<Address>) -> Option<Vec<String>> {
        let ignorant = (self.members.held().list).ignorant(self.identity.node, wanted);
        let Some(ignorant) = ignorant else {
            return Some(Vec::new());
        };
        let own_hooks = *self.members.in_force.borrow() >= ignorant.needed;
        let known = own_hooks && ignorant.awaited.is_empty();
        (!known).then_some(ignorant.awaited)
    }

    fn show_wait(&self, names: &[String]) {
        let what = match names {
            [] => "make itself known".to_owned(),
            [name] => format!("make itself known to {name}"),
            [name, others @ ..] => format!("make itself known to {name} and {} more", others.len()),
        };
        self.set_progress(Some(Progress {
            what,
            done: 0,
            total: None,
            unit: String::new(),
        }));
    }

    fn complain(&self, missing: &[String]) {
        let message = format!(
            "serves although {} may not know its addresses yet: calls from there without a label are reset where versions differ",
            missing.join(", ")
        );
        tracing::warn!("{message}");
        self.link.tell(NewEvent {
            kind: "node.unknown_to_some".to_owned(),
            version: None,
            message,
            node_at_ms: self.clock.now_ms(),
        });
    }

    /// Waits in the background until the node is known, then has what is served aligned again.
    pub(super) fn align_when_known(self: &Arc<Self>) {
        if self.announcing.swap(true, Ordering::AcqRel) {
            return;
        }
        let node = self.clone();
        tokio::spawn(async move {
            node.until_known().await;
            node.announcing.store(false, Ordering::Release);
            node.align_wanted.notify_one();
        });
    }
}
