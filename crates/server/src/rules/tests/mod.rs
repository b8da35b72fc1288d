//! The rules, without a server: a small world whose clock stands still until it is moved.

mod clock;
mod labels;
mod members;
mod nodes;
mod once;
mod permits;
mod publish;
mod retire;
mod set_back;
mod verdicts;
mod webhooks;

use super::{ClassMeasurements, DecisionContext, Order, Publication, decide};
use crate::problem::RequestRefusal;
use crate::state::SystemState;
use crate::udb::Change;
use model::api::{
    ChildState, EnrolRequest, Enrolled, NodeFact, NodeIdentity, NodeReport, NodeStatus, Phase,
    SyncNumber, SyncRequest, SystemView, VerdictAnswer, VerdictRequest,
};
use model::bundle::{BundleFiles, FileInfo};
use model::ids::{NodeId, PermitId, Place, Revision, Version};
use model::manifest::{Digest, Mode};
use model::release::check;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A state, and the context in which its next command is decided.
pub(super) struct World {
    pub(super) state: SystemState,
    pub(super) context: DecisionContext,
}

pub(super) const STORAGE: &str =
    "[class.storage]\nRUN\nservice.data = { port = 1, protocol = \"http\" }\n";

pub(super) const STORAGE_CHANGED: &str = "[class.storage]\nRUN\nservice.data = { port = 2, protocol = \"http\", interface = \"changed\", adapter = \"lens.toml\" }\n";

impl World {
    pub(super) fn new() -> Self {
        Self {
            state: SystemState::default(),
            context: DecisionContext {
                now_ms: 1_000_000,
                author: "tester".to_owned(),
                proven: None,
                reachable_ms: 15_000,
                permit_ttl_ms: 60_000,
                certificate_ms: 1_000_000,
                random: 0xfeed_beef,
                measured: ClassMeasurements::default(),
            },
        }
    }

    /// A world with these versions published, each on the one before.
    pub(super) fn with(parts: &[&str]) -> Self {
        let mut world = Self::new();
        for (at, part) in parts.iter().enumerate() {
            let version = u32::try_from(at + 1).expect("few");
            world
                .publish(version, version - 1, part)
                .expect("published");
        }
        world
    }

    /// Decides a command and takes its changes.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, command: Order) -> Result<T, RequestRefusal> {
        let (draft, reply) = decide(&self.state, &self.context, &command)?;
        let (changes, foreseen) = (draft.changes.clone(), draft.view());
        self.state.apply(&changes);
        assert_eq!(foreseen, self.view(), "what a draft foresees happens");
        Ok(serde_json::from_value(reply).expect("the reply reads"))
    }

    pub(super) fn refused(&mut self, command: Order) -> RequestRefusal {
        match self.ask::<serde_json::Value>(command) {
            Err(refusal) => refusal,
            Ok(reply) => panic!("not refused: {reply}"),
        }
    }

    pub(super) fn publish(
        &mut self,
        version: u32,
        from: u32,
        part: &str,
    ) -> Result<(), RequestRefusal> {
        let publication = publication(version, from, part, false);
        self.ask::<serde_json::Value>(Order::Publish(Box::new(publication)))
            .map(|_| ())
    }

    pub(super) fn view(&self) -> SystemView {
        self.state.system_view(self.context.now_ms)
    }

    /// Enrols a storage node and lets it settle.
    pub(super) fn settled(&mut self, name: &str, version: u32) -> NodeId {
        let enrolled: Enrolled = self
            .ask(Order::Enrol(enrol(name, "storage")))
            .expect("enrolled");
        self.report(enrolled.node, report(version));
        enrolled.node
    }

    /// A node asks whether it may go to a place.
    pub(super) fn judge(&mut self, node: NodeId, version: u32, revision: u32) -> VerdictAnswer {
        self.ask(question(node, version, revision)).expect("judged")
    }

    /// The permit of a node that may go to version 2.
    pub(super) fn go(&mut self, node: NodeId) -> PermitId {
        match self.judge(node, 2, 1) {
            VerdictAnswer::Go { permit, .. } => permit,
            waits => panic!("{waits:?}"),
        }
    }

    /// Why a node may not go to version 2, by code, and in words.
    pub(super) fn waits(&mut self, node: NodeId) -> (Vec<String>, String) {
        match self.judge(node, 2, 1) {
            VerdictAnswer::Wait { reasons, .. } => {
                let codes = reasons.iter().map(|cause| cause.code.clone()).collect();
                let texts: Vec<String> = reasons.into_iter().map(|cause| cause.text).collect();
                (codes, texts.join("; "))
            }
            goes => panic!("{goes:?}"),
        }
    }

    pub(super) fn report(&mut self, node: NodeId, report: NodeReport) {
        let request = SyncRequest {
            identity: None,
            number: None,
            seen_view: None,
            report: Some(report),
            events: Vec::new(),
            ..SyncRequest::default()
        };
        let () = self
            .ask(Order::Sync(node, Box::new(request)))
            .expect("synced");
    }
}

/// Whether a node may go to a place ahead.
pub(super) fn question(node: NodeId, version: u32, revision: u32) -> Order {
    let place = Place {
        version: Version(version),
        revision: Revision(revision),
    };
    Order::Judge(
        node,
        VerdictRequest {
            ahead: vec![place],
            coming: None,
            mends: false,
            role: None,
            moment: None,
        },
    )
}

pub(super) fn enrol(name: &str, class: &str) -> EnrolRequest {
    EnrolRequest {
        system_id: None,
        name: name.to_owned(),
        class: class.to_owned(),
        attributes: [].into(),
        host: "host".to_owned(),
        data_directory: format!("/data/{name}"),
        ..EnrolRequest::default()
    }
}

/// The report of a healthy node that is settled at a version.
pub(super) fn report(version: u32) -> NodeReport {
    NodeReport {
        status: NodeStatus {
            version: Version(version),
            staged: Version(version),
            phase: Phase::Settled,
            child: ChildState::Running,
            ..NodeStatus::default()
        },
        ..NodeReport::default()
    }
}

/// The same of one that has staged the next version too.
pub(super) fn staged(version: u32) -> NodeReport {
    let mut staged = report(version);
    staged.status.staged = Version(version + 1);
    staged.status.phase = Phase::Staged;
    staged
}

/// A second version of storage, with this schedule.
pub(super) fn scheduled(schedule: &str) -> String {
    let class = format!("[class.storage]\nschedule = {{ {schedule} }}\n");
    STORAGE_CHANGED.replace("[class.storage]\n", &class)
}

/// A proved upgrade whose digest is that of its text.
pub(super) fn publication(version: u32, from: u32, part: &str, revise: bool) -> Publication {
    let info = FileInfo {
        mode: Mode::Plain,
        size: 1,
        sha256: Digest::of(b""),
    };
    let files: BundleFiles = ["upgrade.toml", "lens.toml"]
        .into_iter()
        .map(|path| (path.to_owned(), info))
        .collect();
    let from = match from {
        0 => String::new(),
        from => format!("from = {from}\n"),
    };
    let text = format!("system = \"store\"\nversion = {version}\n{from}{part}").replace(
        "RUN",
        "software = { command = [\"true\"] }\nlifecycle.probe = { alive_ms = 1 }",
    );
    let checked = check(&text, &files).unwrap_or_else(|errors| panic!("{text}\n{errors:?}"));
    Publication {
        manifest_sha256: Digest::of(text.as_bytes()).to_string(),
        upgrade: Arc::new(checked.upgrade),
        texts: Vec::new(),
        revise,
        is_withdrawn: false,
        system_id: 0xfeed_beef,
    }
}
