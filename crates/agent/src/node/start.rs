//! How an agent starts: it takes the node's lock, adopts what runs, and goes on where the journal ends.

use super::Node;
use super::agent_error::AgentError;
use super::assembly::{HostTools, Parts};
use super::catalog_updates::{self, CatalogError, CatalogUpdate};
use super::child::{self, ChildStart};
use super::doubting;
use super::enrolment::Enrolling;
use super::held_upgrades::HeldUpgrades;
use super::labelling;
use super::main_loop::MainLoop;
use super::membership::{self, FIRST_LIST_LIMIT};
use super::stopping;
use crate::cached;
use crate::config::Config;
use crate::error_chain::chain;
use crate::holder;
use crate::holder_client::HolderClient;
use crate::journal::Journal;
use crate::layout::Layout;
use crate::own_credential::OwnCredential;
use crate::repository::Repository;
use crate::sync::ServerLink;
use crate::vital::{Vital, Watch};
use crate::{environment, sync};
use client::Client;
use model::api::{EventKind, HeldUpgrade, NodeReport, NodeView};
use model::machine::{NodeMachine, Output, Plan, Record};
use model::names;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long an agent whose software does not run waits for the server's first view.
const FIRST_VIEW_LIMIT: Duration = Duration::from_secs(2);

/// How often the holder is asked whether it answers, when nothing else is asked of it.
const HOLDER_LOOK: Duration = Duration::from_secs(2);

/// Runs the agent of one node until it is asked to go; the software runs on under its holder.
///
/// # Errors
/// [`AgentError`] says what is in the way.
pub async fn run(mut config: Config, stop: watch::Receiver<bool>) -> Result<(), AgentError> {
    environment::conceal();
    if let Some(why) = names::fault(&config.name) {
        return Err(AgentError::Name(config.name, why));
    }
    config.data = super::data_directory::prepare(&config.data)?;
    let layout = Layout::new(&config.data);
    let (mut journal, records) = locked(&layout)?;
    let tools = HostTools::install(&layout)?;
    let (client, credential) = client(&config, &layout).await?;
    end_what_was_left(&layout).await?;
    let (holder, notices) = HolderClient::attach_or_spawn(&tools.binary, &config.data).await?;
    let variables_kept = keep_variables(&mut config, &layout, &holder);
    let mut enrolling = Enrolling {
        client: &client,
        credential: credential.as_deref(),
        config: &config,
        layout: &layout,
        journal: &mut journal,
        holds: held(&layout, &records),
        holder: &holder,
    };
    let Some(enrolment) = enrolling.run(stop.clone()).await? else {
        return Ok(());
    };
    let (vital, mut watch_of_vital) = looked_after(credential.as_ref());
    let (report, reports) = watch::channel(None);
    let mut link = sync::start(
        (client.clone(), credential),
        &config,
        &enrolment.enrolled,
        &layout,
        enrolment.holds,
        reports,
        &vital,
    );
    if enrolment.answered && holder.state().child.is_none() {
        // Nothing runs that could serve meanwhile: what is started should be what is wanted now, not when it was cached.
        let _ = tokio::time::timeout(FIRST_VIEW_LIMIT, link.view.changed()).await;
    }
    let repository = Repository::new(client.clone(), &layout, config.root.clone());
    let (first, updates) = follow_catalog(repository, &config, &layout, &link, &vital).await;
    let node = Parts {
        config,
        layout,
        tools,
        holder,
        enrolled: enrolment.enrolled,
        client,
        link,
        catalog_updates: updates.clone(),
        variables_kept,
    }
    .assemble()?;
    node.begin(enrolment.behind, first.as_deref());
    node.look_after_members(&vital, enrolment.answered).await;
    let (machine, outputs) = node.recover(&records, first.as_deref())?;
    node.look_after_holder(&vital);
    node.serve(&vital, report.subscribe());
    let relay = node.relay.clone();
    let main_loop = MainLoop::new(node, machine, journal, report);
    let ended = tokio::select! {
        biased;
        broken = watch_of_vital.broken() => Err(broken),
        ended = main_loop.run(outputs, notices, updates, stop) => Ok(ended),
    };
    relay.workers.end();
    ended?.into_result()
}

/// The tasks without which an agent is none. The first renews the node's certificate, where it has one.
fn looked_after(credential: Option<&Arc<OwnCredential>>) -> (Vital, Watch) {
    let (vital, watch) = Vital::new();
    if let Some(credential) = credential {
        let renewing = Arc::clone(credential).look_after();
        vital.spawn("renewal of the certificate", renewing);
    }
    (vital, watch)
}

/// The journal, whose lock keeps other agents away, in a directory that is as this one has it.
fn locked(layout: &Layout) -> Result<(Journal, Vec<Record>), AgentError> {
    let opened = Journal::open(&layout.journal())?;
    super::data_directory::take_over(layout)?;
    Ok(opened)
}

/// What lies at the node, as far as its journal can be read.
fn held(layout: &Layout, records: &[Record]) -> Vec<HeldUpgrade> {
    let recovered = NodeMachine::recover(0, records, None, false);
    recovered.map_or_else(
        |_| Vec::new(),
        |(machine, _)| HeldUpgrades::default().of(layout, &machine),
    )
}

/// A directory that was renamed while its software ran: that finds nothing at its paths any more, or another node's files.
async fn end_what_was_left(layout: &Layout) -> Result<(), AgentError> {
    let Some(left) = ChildStart::left(layout) else {
        return Ok(());
    };
    if holder::owner(layout.root()).is_none() {
        return Ok(());
    }
    tracing::warn!(
        from = %left.display(),
        to = %layout.root().display(),
        "the data directory was moved while its software ran, whose paths lead there no more: it is ended, and started anew"
    );
    stopping::end_all(layout).await
}

/// Keeps the variables of what runs; says where the agent was given others.
fn keep_variables(config: &mut Config, layout: &Layout, holder: &HolderClient) -> Option<String> {
    let start = ChildStart::of(layout, holder.state().child.as_ref()?)?;
    let kept = child::kept_variables(&config.variables, start)?;
    let differing = child::differences(&kept, &config.variables);
    config.variables = kept;
    Some(format!(
        "the software keeps the variables that it was started with ({differing}): end the agent, `upstart stop --data {}`, and start the agent again, which gives it the new ones",
        layout.root().display()
    ))
}

/// How the server is asked, and as whom.
async fn client(
    config: &Config,
    layout: &Layout,
) -> Result<(Arc<Client>, Option<Arc<OwnCredential>>), AgentError> {
    let client = Client::new(&config.servers, config.token.clone())?
        .believing(config.token_owner)
        .with_author(config.name.clone())
        .holding_as(config.name.clone());
    let client = Arc::new(client);
    let credential = OwnCredential::open(layout, &client, config.token.as_deref()).await;
    Ok((client, credential.map(Arc::new)))
}

/// The catalog of the view that is there already, or of the last one that could be used; and what follows.
async fn follow_catalog(
    mut repository: Repository,
    config: &Config,
    layout: &Layout,
    link: &ServerLink,
    vital: &Vital,
) -> (
    Option<Arc<CatalogUpdate>>,
    watch::Receiver<Option<Arc<CatalogUpdate>>>,
) {
    let cached = link.view.borrow().clone();
    let mut first = match cached {
        Some(view) => usable(catalog_updates::update_of(&mut repository, view, config).await),
        None => None,
    };
    if first.is_none()
        && let Some(view) = cached::load::<NodeView>(&layout.used_view())
    {
        let used = Arc::new(view);
        let update = catalog_updates::update_of_checked(&mut repository, used, config).await;
        first = usable(update);
    }
    let (sender, updates) = watch::channel(None);
    let following = catalog_updates::follow(
        repository,
        config.clone(),
        layout.clone(),
        link.clone(),
        sender,
    );
    vital.spawn("learning of upgrades", following);
    (first, updates)
}

/// The catalog of a view, if it can be used now.
fn usable(update: Result<CatalogUpdate, CatalogError>) -> Option<Arc<CatalogUpdate>> {
    let update = update.inspect_err(|error| {
        let problem = chain(error);
        tracing::warn!(problem, "the cached view cannot be used yet");
    });
    update.ok().map(Arc::new)
}

impl Node {
    /// Answers people on this host, does what the server wants done once, gives other nodes what was fetched, and tells metrics of what is
    /// reported.
    fn serve(self: &Arc<Self>, vital: &Vital, report: watch::Receiver<Option<NodeReport>>) {
        vital.spawn("control socket", crate::control::serve(Arc::clone(self)));
        self.do_once(vital);
        self.serve_artifacts(vital);
        self.tell_metrics(report);
    }

    /// Takes in what the repository says first, and says what is not as it was when the node ran last: records that are missing, variables that are others.
    fn begin(&self, behind: Option<u64>, first: Option<&CatalogUpdate>) {
        if let Some(first) = first {
            self.take_in(first);
        }
        self.remark_set_back(behind);
        self.tell_kept_variables();
    }

    /// Says that the node goes on although so many records are missing, if any are.
    fn remark_set_back(&self, behind: Option<u64>) {
        let Some(behind) = behind else {
            return;
        };
        self.relay.tally.remarks.note(
            Instant::now(),
            EventKind::NodeSetBack,
            "journal",
            format!(
                "goes on from an older state, which was claimed: {behind} records that the server has heard of are not in its journal, and what was acknowledged since may be lost"
            ),
        );
    }

    /// Tells that the software keeps variables which are not those that the agent was given, if it does.
    fn tell_kept_variables(&self) {
        if let Some(text) = &self.surroundings.variables_kept {
            tracing::warn!("{text}");
            let kind = EventKind::NodeVariablesKept;
            self.surroundings.tell(kind, None, text.clone());
        }
    }

    /// Follows the members' list.
    async fn look_after_members(&self, vital: &Vital, answered: bool) {
        // By the node's own addresses, which are known by now. The table that is published next says that labels are signed, if they are.
        self.labelling.put_in_force().await;
        let following = labelling::follow(Arc::downgrade(&self.labelling));
        vital.spawn("signing of labels", following);
        self.membership.show_members();
        let following = membership::follow(Arc::downgrade(&self.membership));
        vital.spawn("following of members", following);
        if answered && self.child.present().is_none() {
            // The software that is started should know every member from its first connect on.
            let _ = tokio::time::timeout(FIRST_LIST_LIMIT, self.membership.heard()).await;
        }
        // Where the server could not be heard it is found out by asking who still is where it was.
        if self.child.present().is_none() {
            self.doubting.ask_first().await;
        }
        let asking = doubting::go_on(Arc::downgrade(&self.doubting));
        vital.spawn("asking members who are not heard", asking);
    }

    /// Goes on where the journal ends.
    fn recover(
        &self,
        records: &[Record],
        first: Option<&CatalogUpdate>,
    ) -> Result<(NodeMachine, Vec<Output>), AgentError> {
        let join_version = Some(self.surroundings.join_version);
        let plan = first.map(|first| Plan::of(&first.view, join_version));
        let child_runs = self.child.present().is_some();
        let now_ms = self.surroundings.clock.now_ms();
        let recovered = NodeMachine::recover(now_ms, records, plan, child_runs);
        let (machine, outputs) = recovered.map_err(|source| AgentError::Recover {
            path: self.surroundings.layout.journal(),
            source,
        })?;
        self.state.note_in_force(machine.state_in_force());
        if let Err(error) = self.state.check_current() {
            // The software that runs has its files open; the next start of it says so again, and is refused.
            let problem = chain(&error);
            tracing::warn!(problem, "the software's path does not lead to its state");
        }
        Ok((machine, outputs))
    }

    /// Does what is to be done once for the whole system.
    fn do_once(self: &Arc<Self>, vital: &Vital) {
        let following = super::once::follow(Arc::clone(self));
        vital.spawn("what is done once for the system", following);
    }

    /// Asks the holder now and then whether it answers.
    fn look_after_holder(&self, vital: &Vital) {
        let holder = self.surroundings.holder.clone();
        vital.spawn("look at the holder", async move {
            loop {
                tokio::time::sleep(HOLDER_LOOK).await;
                if let Err(error) = holder.look().await {
                    tracing::debug!(error = %chain(&error), "the holder does not answer");
                }
            }
        });
    }
}
