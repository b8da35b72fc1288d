//! What the server would refuse, as far as that is known before anything is uploaded: large files take long, and stay there for nothing.

use super::unpublished;
use crate::connection::explain;
use crate::failure::refusal;
use client::{Client, PublisherKeys};
use model::api::SystemView;
use model::bundle::Upgrade;
use model::ids::Version;
use model::manifest::Manifest;

/// What to do about it.
const MEND: &str = "mend upgrade.toml and publish again; `upstart status` lists what is published";

/// Refuses what does not follow what is published, or what the keys here cannot sign.
pub(super) async fn foresee(
    client: &Client,
    keys: &PublisherKeys,
    (upgrade, manifest): (&Upgrade, &Manifest),
    revise: bool,
) -> anyhow::Result<()> {
    let system = client.fleet().await.map_err(explain)?.system;
    if let Some(why) = contradicts(&system, upgrade, revise) {
        return Err(refusal(why, MEND));
    }
    let rehearsed = client.rehearse_publication(keys, manifest, revise).await;
    rehearsed.map_err(unpublished)
}

/// Why an upgrade whose files are not those of a published one cannot be published now.
fn contradicts(system: &SystemView, upgrade: &Upgrade, revise: bool) -> Option<String> {
    let version = upgrade.version;
    if !system.system.is_empty() && system.system != upgrade.system {
        return Some(format!(
            "the upgrade is of system `{}`, and this server serves `{}`",
            upgrade.system, system.system
        ));
    }
    let there = system.upgrades.iter().find(|of| of.version == version);
    let newest = system.upgrades.iter().map(|of| of.version.0).max();
    let next = Version(newest.unwrap_or(0) + 1);
    match there {
        Some(there) if there.withdrawn => Some(format!(
            "version {version} was withdrawn, and its number is never used again: the next one is {next}"
        )),
        Some(_) if !revise => Some(format!(
            "version {version} is published with other contents: publish a revision of it (`--revise`), or the next version, {next}"
        )),
        Some(there) if there.from != upgrade.from => Some(format!(
            "version {version} starts from {}, and a revision keeps that: write `from = {}`",
            there.from, there.from
        )),
        Some(_) => None,
        None if revise => Some(format!(
            "version {version} is not published, so that there is nothing to revise"
        )),
        None if version != next => Some(format!(
            "the next version is {next}, and upgrade.toml says {version}: write `version = {next}`"
        )),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::contradicts;
    use model::api::{SystemView, UpgradeSummary};
    use model::bundle::{Upgrade, UpgradeFile};
    use model::ids::{Revision, Version};
    use std::collections::BTreeMap;

    fn upgrade(system: &str, version: u32) -> Upgrade {
        let from = match version {
            1 => String::new(),
            _ => format!("from = {}\n", version - 1),
        };
        let text = format!(
            "system = \"{system}\"\nversion = {version}\n{from}[class.a]\nsoftware = {{ command = [\"true\"] }}\nlifecycle.probe = {{ alive_ms = 1 }}\n"
        );
        let file = UpgradeFile::parse(&text).expect("reads");
        file.prove(&BTreeMap::new()).expect("proves")
    }

    fn published(version: u32, withdrawn: bool) -> UpgradeSummary {
        UpgradeSummary {
            version: Version(version),
            from: Version(version - 1),
            revision: Revision(1),
            manifest_sha256: String::new(),
            description: String::new(),
            withdrawn,
            published_at_ms: 0,
            author: String::new(),
        }
    }

    #[test]
    fn what_does_not_follow_is_said_and_what_does_is_not() {
        let nothing = SystemView::default();
        let system = SystemView {
            system: "store".to_owned(),
            upgrades: vec![published(1, false), published(2, false), published(3, true)],
            ..SystemView::default()
        };
        let told = |system: &SystemView, name: &str, version: u32, revise: bool| {
            contradicts(system, &upgrade(name, version), revise)
        };
        for (version, revise, words) in [
            (2, false, "`--revise`"),
            (3, false, "was withdrawn"),
            (3, true, "the next one is 4"),
            (5, false, "write `version = 4`"),
            (4, true, "nothing to revise"),
        ] {
            let why = told(&system, "store", version, revise).expect("refused");
            assert!(why.contains(words), "{version}: {why}");
        }
        let other = told(&system, "shop", 4, false).expect("refused");
        assert!(other.contains("serves `store`"), "{other}");
        assert!(told(&nothing, "store", 2, false).is_some());
        assert_eq!(told(&nothing, "store", 1, false), None);
        assert_eq!(told(&system, "store", 4, false), None);
        assert_eq!(told(&system, "store", 2, true), None);
    }
}
