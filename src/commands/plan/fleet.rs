//! The fleet as a plan needs it: asked of the server, written to a file, read from it.

use super::measured::{self, Measurements};
use crate::connection::{connect, explain, wait_for};
use crate::describe::now_ms;
use crate::failure::{Advise, failure};
use crate::globals::Globals;
use client::{Client, ClientError};
use model::api::{Approval, Event, NodeFact, Pause, UpgradeSummary};
use model::ids::Version;
use model::manifest::{Digest, Manifest, UPGRADE_FILE};
use serde::{Deserialize, Serialize};
use simulate::PlannedNode;
use std::collections::BTreeMap;
use std::path::Path;

/// The newest events, so many pages of them at most, tell how long nodes are unavailable.
const EVENT_PAGES_MAX: usize = 20;

/// As many nodes or events as a server gives at once.
const PAGE: u32 = 1_000;

/// A longer upgrade file is none that a publisher has written.
const UPGRADE_FILE_BYTES_MAX: u64 = 1 << 20;

/// What is needed of a fleet to plan for it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedFleet {
    /// When it was looked at.
    #[serde(default)]
    pub(super) taken_at_ms: u64,
    /// What is published.
    #[serde(default)]
    pub(super) upgrades: Vec<SavedUpgrade>,
    #[serde(default)]
    pub(super) approvals: Vec<Approval>,
    #[serde(default)]
    pub(super) paused: Option<Pause>,
    #[serde(default)]
    pub(super) retired_through: Version,
    /// How long nodes were unavailable, by class at enrolment.
    #[serde(default)]
    pub(super) unavailable_ms: BTreeMap<String, Vec<u64>>,
    /// How long nodes took to stage the last version.
    #[serde(default)]
    pub(super) staging_ms: Vec<u64>,
    pub(super) nodes: Vec<PlannedNode>,
}

/// An upgrade that is published.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedUpgrade {
    pub(super) summary: UpgradeSummary,
    /// Its upgrade file and its manifest; absent where it was withdrawn.
    pub(super) published: Option<SavedBundle>,
}

/// What is needed of a bundle to know its schedules.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedBundle {
    pub(super) upgrade_toml: String,
    pub(super) manifest: Manifest,
}

impl SavedFleet {
    /// Reads a file that `--save` has written, or somebody by hand.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let bytes = std::fs::read(file).advise(
            format!("{shown} cannot be read"),
            "name a file that `upstart plan --save FILE` has written",
        )?;
        serde_json::from_slice(&bytes).advise(
            format!("{shown} is no saved fleet"),
            "write it anew with `upstart plan --save FILE`",
        )
    }

    /// Writes it.
    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string(self)?;
        let what = format!("{} cannot be written", file.display());
        std::fs::write(file, text + "\n").advise(what, "name a file that you may write")
    }

    /// The fleet as the server sees it now.
    pub(super) fn ask(globals: &Globals) -> anyhow::Result<Self> {
        let client = connect(globals)?;
        wait_for(asked(&client))
    }
}

async fn asked(client: &Client) -> anyhow::Result<SavedFleet> {
    let system = client.fleet().await.map_err(explain)?.system;
    let mut upgrades = Vec::new();
    for summary in system.upgrades {
        let published = if summary.withdrawn {
            None
        } else {
            Some(bundle(client, &summary).await?)
        };
        upgrades.push(SavedUpgrade { summary, published });
    }
    let facts = nodes(client).await.map_err(explain)?;
    let Measurements {
        unavailable_ms,
        staging_ms,
    } = measured::of(&events(client).await.map_err(explain)?, &facts);
    Ok(SavedFleet {
        taken_at_ms: now_ms(),
        upgrades,
        approvals: system.approvals,
        paused: system.paused,
        retired_through: system.retired_through,
        unavailable_ms,
        staging_ms,
        nodes: facts.iter().filter_map(PlannedNode::of).collect(),
    })
}

async fn nodes(client: &Client) -> Result<Vec<NodeFact>, ClientError> {
    let (mut nodes, mut after) = (Vec::new(), None);
    loop {
        let page = client.nodes(after.as_deref(), Some(PAGE)).await?;
        nodes.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(nodes),
        }
    }
}

/// The newest events, oldest first.
async fn events(client: &Client) -> Result<Vec<Event>, ClientError> {
    let (mut events, mut before) = (Vec::new(), None);
    for _ in 0..EVENT_PAGES_MAX {
        let page = client.events_before(before.as_deref(), Some(PAGE)).await?;
        events.extend(page.items);
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    events.reverse();
    Ok(events)
}

/// The upgrade file of a published version, as its manifest names it.
async fn bundle(client: &Client, summary: &UpgradeSummary) -> anyhow::Result<SavedBundle> {
    let text = client.manifest(summary.version, summary.revision).await;
    let text = text.map_err(explain)?;
    let unfit = |why: &str| {
        failure(
            format!("version {} cannot be planned with: {why}", summary.version),
            "look at the server's repository: `upstart status`",
        )
    };
    let manifest = Manifest::parse(&text).map_err(|error| unfit(&error.to_string()))?;
    let file = manifest.file(UPGRADE_FILE);
    let file = file.filter(|file| file.size <= UPGRADE_FILE_BYTES_MAX);
    let digest = file.map(|file| file.sha256);
    let digest = digest.ok_or_else(|| unfit("its manifest has no upgrade file"))?;
    let mut body = client
        .artifact(&digest.to_string(), 0)
        .await
        .map_err(explain)?;
    let mut bytes = Vec::new();
    while let Some(more) = body.chunk().await.map_err(explain)? {
        bytes.extend_from_slice(&more);
        if bytes.len() as u64 > UPGRADE_FILE_BYTES_MAX {
            break;
        }
    }
    if Digest::of(&bytes) != digest {
        return Err(unfit("its upgrade file is damaged"));
    }
    let upgrade_toml =
        String::from_utf8(bytes).map_err(|_| unfit("its upgrade file is no text"))?;
    Ok(SavedBundle {
        upgrade_toml,
        manifest,
    })
}
