//! One node: it reports, stages what is published, asks whether it may go, is away for a while, and settles.

use crate::line::{Line, WayThere};
use crate::{Crowd, now_ms};
use http::Method;
use model::api::{
    ChildState, Endpoint, Enrolled, EventKind, HeldUpgrade, Moment, NewEvent, NodeIdentity,
    NodeReport, NodeStatus, NodeView, PermitFact, Phase, SyncNumber, SyncRequest, SyncResponse,
    VerdictAnswer, VerdictRequest,
};
use model::ids::{NodeId, PermitId, Place, Revision, Version};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsConnector;

/// How long what is published takes to stage.
const STAGING: Duration = Duration::from_millis(200);

/// A connection that is not needed for longer than this is closed.
const KEPT: Duration = Duration::from_secs(6);

/// After this a node that was not answered asks again, as agents do.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A port of the node's service.
const PORT: u16 = 7000;

/// One node.
pub(crate) struct CrowdNode {
    crowd: Arc<Crowd>,
    tls: TlsConnector,
    way: WayThere,
    node: NodeId,
    identity: NodeIdentity,
    sent: SyncNumber,
    moment: Option<Moment>,
    /// The number of the view that it holds.
    view: Option<u64>,
    runs: Place,
    /// What it has staged, and the digest of that.
    staged: Option<HeldUpgrade>,
    holds: HeldUpgrade,
    phase: Phase,
    child: ChildState,
    reason: Option<String>,
    permit: Option<PermitId>,
    events: Vec<NewEvent>,
    /// How many records its journal would have.
    records: u64,
    line: Option<Line>,
    report_at: Instant,
    /// When it asks whether it may go; none while there is nowhere to go.
    ask_at: Option<Instant>,
}

fn no_upgrade(version: Version) -> HeldUpgrade {
    HeldUpgrade {
        version,
        revision: Revision(1),
        manifest_sha256: String::new(),
        in_use: true,
    }
}

impl CrowdNode {
    pub(crate) fn new(
        crowd: Arc<Crowd>,
        name: String,
        enrolled: &Enrolled,
        (tls, way): (TlsConnector, WayThere),
    ) -> Self {
        let holds = no_upgrade(enrolled.join_version);
        Self {
            crowd,
            tls,
            way,
            node: enrolled.node,
            identity: NodeIdentity {
                system_id: enrolled.system_id,
                name,
            },
            sent: SyncNumber {
                life: rand::random::<u64>() >> 11,
                number: 0,
            },
            moment: enrolled.moment,
            view: None,
            runs: place(&holds),
            staged: None,
            holds,
            phase: Phase::Settled,
            child: ChildState::Running,
            reason: None,
            permit: None,
            events: Vec::new(),
            records: 1,
            line: None,
            report_at: Instant::now(),
            ask_at: None,
        }
    }

    /// Lives until the process ends. Nodes come one after the other within the time of one report.
    pub(crate) async fn live(mut self) {
        let every = Duration::from_millis(self.crowd.options.report_ms);
        let mut due = Instant::now() + every.mul_f64(rand::random());
        self.report_at = due;
        let mut is_first = true;
        loop {
            sleep_until(due).await;
            self.crowd.tally.late.note(due.elapsed());
            due = match self.turn().await {
                Ok(next) => next,
                Err(error) => {
                    self.crowd.tally.failed("node", &error);
                    self.line = None;
                    Instant::now() + RETRY_PAUSE
                }
            };
            if is_first && self.view.is_some() {
                is_first = false;
                self.crowd.came();
            }
            let others_wait = self.crowd.places.available_permits() == 0;
            if others_wait || due.saturating_duration_since(Instant::now()) > KEPT {
                self.line = None;
            }
        }
    }

    /// Does what it is time for; says when it is time again.
    async fn turn(&mut self) -> anyhow::Result<Instant> {
        if self.ask_at.is_some_and(|at| at <= Instant::now()) {
            self.ask().await?;
        }
        if self.report_at <= Instant::now() {
            self.report().await?;
        }
        let ask_at = self.ask_at.unwrap_or(self.report_at);
        Ok(ask_at.min(self.report_at))
    }

    async fn line(&mut self) -> anyhow::Result<&mut Line> {
        if !self.line.as_ref().is_some_and(Line::is_open) {
            self.line = None;
            let place = Arc::clone(&self.crowd.places).acquire_owned().await?;
            let opened = Line::open(&self.tls, &self.way, Some(place)).await?;
            self.crowd.tally.opened.fetch_add(1, Ordering::Relaxed);
            self.line = Some(opened);
        }
        self.line
            .as_mut()
            .ok_or_else(|| anyhow::anyhow!("it was opened"))
    }

    /// Reports, and stages what is new.
    async fn report(&mut self) -> anyhow::Result<()> {
        let told = self.sync().await?;
        let newest = told.and_then(|view| newest(&view));
        if let Some(newest) = newest.filter(|newest| newest.version > self.standing().version) {
            self.crowd.was_told(newest.version);
            sleep(STAGING).await;
            self.phase = Phase::Staged;
            self.tell(EventKind::NodeStaged, newest.version);
            self.staged = Some(newest);
            self.sync().await?;
            self.ask_at = Some(Instant::now());
        }
        Ok(())
    }

    /// The newest that it has.
    fn standing(&self) -> Place {
        self.staged.as_ref().map_or(self.runs, place)
    }

    async fn sync(&mut self) -> anyhow::Result<Option<NodeView>> {
        self.sent.number += 1;
        let request = SyncRequest {
            seen_view: self.view,
            report: Some(self.says()),
            identity: Some(self.identity.clone()),
            number: Some(self.sent),
            moment: self.moment,
            remembered: None,
            events: std::mem::take(&mut self.events),
        };
        let path = format!("/v1/nodes/{}/sync", self.node);
        let begun = Instant::now();
        let line = self.line().await?;
        let answer: SyncResponse = line.ask(Method::POST, &path, Some(&request)).await?;
        self.crowd.tally.reports.note(begun.elapsed());
        self.moment = answer.moment.or(self.moment);
        let every = Duration::from_millis(self.crowd.options.report_ms);
        // As agents do, so that those that began together do not stay together.
        self.report_at = Instant::now() + every.mul_f64(rand::random_range(0.8..1.2));
        if let Some(view) = &answer.view {
            self.view = Some(view.view);
            let mut upgrades = view.upgrades.iter();
            let own = upgrades.find(|upgrade| upgrade.version == self.holds.version);
            if let Some(own) = own {
                self.holds.manifest_sha256.clone_from(&own.manifest_sha256);
            }
        }
        Ok(answer.view)
    }

    /// Asks whether it may go, and goes.
    async fn ask(&mut self) -> anyhow::Result<()> {
        let Some(staged) = self.staged.clone() else {
            self.ask_at = None;
            return Ok(());
        };
        let request = VerdictRequest {
            ahead: vec![place(&staged)],
            coming: None,
            mends: false,
            role: None,
            moment: self.moment,
        };
        let path = format!("/v1/nodes/{}/verdict", self.node);
        let begun = Instant::now();
        let line = self.line().await?;
        let answer: VerdictAnswer = line.ask(Method::POST, &path, Some(&request)).await?;
        self.crowd.tally.verdicts.note(begun.elapsed());
        match answer {
            VerdictAnswer::Wait {
                reasons,
                ask_again_ms,
                ..
            } => {
                self.reason = reasons.into_iter().next().map(|reason| reason.text);
                self.ask_at = Some(Instant::now() + Duration::from_millis(ask_again_ms));
                Ok(())
            }
            VerdictAnswer::Go { permit, .. } => self.go(staged, permit).await,
        }
    }

    async fn go(&mut self, to: HeldUpgrade, permit: PermitId) -> anyhow::Result<()> {
        let begun = Instant::now();
        let confirm = format!("/v1/permits/{permit}/confirm");
        let line = self.line().await?;
        let _: PermitFact = line.ask(Method::POST, &confirm, None::<&()>).await?;
        self.crowd.tally.permits.note(begun.elapsed());
        (self.permit, self.reason) = (Some(permit), None);
        (self.phase, self.child) = (Phase::Stopping, ChildState::Stopped);
        self.tell(EventKind::NodeStopping, to.version);
        self.sync().await?;
        let away = Duration::from_millis(self.crowd.options.away_ms);
        sleep(away / 2).await;
        (self.phase, self.child) = (Phase::Probing, ChildState::Starting);
        self.sync().await?;
        sleep(away / 2).await;
        (self.phase, self.child) = (Phase::Settled, ChildState::Running);
        self.runs = place(&to);
        self.holds = HeldUpgrade { in_use: true, ..to };
        (self.staged, self.ask_at) = (None, None);
        let version = self.runs.version;
        self.tell(EventKind::NodeReleased, version);
        self.tell(EventKind::NodeSettled, version);
        let told = self.sync().await?;
        let begun = Instant::now();
        let line = self.line().await?;
        line.bytes(Method::DELETE, &format!("/v1/permits/{permit}"), None)
            .await?;
        self.crowd.tally.permits.note(begun.elapsed());
        self.permit = None;
        self.crowd.tally.upgraded.fetch_add(1, Ordering::Relaxed);
        self.crowd.has_settled(version);
        if told.is_some() {
            // Something was published meanwhile: the next report asks for it once more.
            (self.view, self.report_at) = (None, Instant::now());
        }
        Ok(())
    }

    fn tell(&mut self, kind: EventKind, version: Version) {
        self.records += 1;
        self.events.push(NewEvent {
            kind: kind.name().to_owned(),
            version: Some(version),
            message: format!("version {version}"),
            node_at_ms: now_ms(),
        });
    }

    /// Its whole report. Its counters differ from report to report: its software is called.
    fn says(&self) -> NodeReport {
        let number = self.sent.number;
        let counters = [
            "connect.labelled",
            "accept.same",
            "calls.past",
            "calls.future",
        ];
        let counters = counters.map(|name| (name.to_owned(), number));
        let endpoint = |version| Endpoint {
            version,
            service: "store".to_owned(),
            address: self.way.from,
            port: PORT,
        };
        let staged = self.staged.clone();
        // Which upgrade it joins with is told with the first view.
        let held = Some(self.holds.clone()).filter(|held| !held.manifest_sha256.is_empty());
        let held = held.into_iter();
        NodeReport {
            status: NodeStatus {
                version: self.runs.version,
                revision: self.runs.revision,
                bundle: Some(self.runs),
                staged: self.standing().version,
                phase: self.phase,
                target: staged.as_ref().map(|staged| staged.version),
                target_revision: staged.as_ref().map(|staged| staged.revision),
                reason: self.reason.clone(),
                until_ms: None,
                progress: None,
                child: self.child,
            },
            endpoints: vec![endpoint(self.runs.version)],
            poll_ms: self.crowd.options.report_ms,
            addresses: vec![self.way.from],
            counters: counters.into(),
            records: self.records,
            holds: held.chain(staged).collect(),
            permit: self.permit,
            ..NodeReport::default()
        }
    }
}

fn place(held: &HeldUpgrade) -> Place {
    Place {
        version: held.version,
        revision: held.revision,
    }
}

/// The newest upgrade that nodes go to.
fn newest(view: &NodeView) -> Option<HeldUpgrade> {
    let mut upgrades = view.upgrades.iter().rev();
    let newest = upgrades.find(|upgrade| !upgrade.withdrawn)?;
    Some(HeldUpgrade {
        version: newest.version,
        revision: newest.revision,
        manifest_sha256: newest.manifest_sha256.clone(),
        in_use: false,
    })
}
