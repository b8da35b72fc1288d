//! What the node says about itself.

use super::Node;
use intercept::holder::Interception;
use intercept::stats::Counter;
use model::api::{NodeReport, NodeStatus, REPORT_ENTRIES_MAX, told};
use model::ids::Version;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Node {
    /// The node's report, but for what the journal knows; the machine says where it stands, and which `retry` it has acted on.
    pub(super) fn report(&self, mut status: NodeStatus, retry_acknowledged: u64) -> NodeReport {
        let picture = self.traffic.picture();
        // A version counts as staged for others only when its ports are open and its adapters loaded.
        let opened = Version(self.opened.load(Ordering::Relaxed));
        let answered = opened.max(status.version);
        status.staged = status.staged.min(answered);
        status.reason = status.reason.as_deref().map(told);
        let connections = self.tally.connections();
        let retiring = picture.standing.retired_through;
        let still_open = connections.keys().any(|version| *version <= retiring);
        let counters = self.counters();
        NodeReport {
            endpoints: picture
                .knowledge
                .endpoints(&picture.knowledge.live_versions(picture.standing)),
            poll_ms: self.config.poll_ms,
            addresses: self.config.addresses.clone(),
            retired_acknowledged: if still_open { Version(0) } else { retiring },
            retry_acknowledged,
            connections,
            records: 0,
            remarks: self.remarks(&counters),
            counters,
            status,
        }
    }

    /// What people should know of the node's calls.
    fn remarks(&self, counters: &BTreeMap<String, u64>) -> Vec<String> {
        if let Some(times) = counters.get(Counter::ConnectLikeAMember.name()) {
            self.tally.bypassed(*times);
        }
        let recent = self.tally.remarks.recent(Instant::now());
        recent.iter().map(|remark| told(remark)).collect()
    }

    /// The agent's counters and the hooks', by name.
    fn counters(&self) -> BTreeMap<String, u64> {
        let mut all = self.tally.read();
        if let Ok(stats) = self.stats.read() {
            all.extend(stats.named().map(|(name, count)| (name.to_owned(), count)));
        }
        if let Some(child) = self.child() {
            let Interception {
                net,
                no_new_privileges,
                ..
            } = child.interception;
            all.insert("net.in_force".to_owned(), net.into());
            all.insert("net.no_new_privileges".to_owned(), no_new_privileges.into());
        }
        // Rules of lenses that refuse are counted one by one; their sum is there whatever is left out.
        while all.len() > REPORT_ENTRIES_MAX {
            let rules = all.iter().filter(|(name, _)| name.starts_with("refused."));
            let Some(rarest) = rules.min_by_key(|(_, count)| **count) else {
                break;
            };
            let rarest = rarest.0.clone();
            all.remove(&rarest);
        }
        all
    }
}
