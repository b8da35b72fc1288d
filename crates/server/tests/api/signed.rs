//! What a thief of the token, or of the publisher's network, cannot have published.

use crate::support::{Running, Site, bundle, kind};
use client::PublisherKeys;
use model::api::{
    BeginRepositoryRequest, PublishRequest, SealedRequest, SignRequest, WithdrawRequest,
};
use model::ids::{Place, Revision, Version};
use model::manifest::Manifest;
use repository::{
    PublicKey, RepositoryWriter, RoleRule, RoleType, Signer, SystemIdentity, Verifier, make_key,
    sign_first, sign_upgrade,
};
use reqwest::Method;
use std::path::Path;

/// A site with version 1 published.
struct Shop {
    site: Site,
    server: Running,
}

impl Shop {
    async fn open() -> Self {
        let site = Site::new();
        let server = site.start().await;
        server
            .publish(&bundle(1, "first"), false)
            .await
            .expect("published");
        Self { site, server }
    }

    fn keys(&self) -> PublisherKeys {
        PublisherKeys {
            folder: self.site.data.path().join("keys"),
            commands: Vec::new(),
            root: None,
        }
    }

    fn repository(&self) -> std::path::PathBuf {
        self.site.data.path().join("server/repository")
    }

    /// What the publisher trusts of the server.
    async fn verifier(&self) -> Verifier {
        let system = self
            .server
            .client
            .repository()
            .await
            .expect("answers")
            .system;
        let (keys, system) = (self.keys(), system.expect("begun"));
        let trusted = self.server.client.trusted(&keys, &system);
        trusted.await.expect("trusted")
    }

    async fn manifest(&self) -> Manifest {
        let text = self.server.client.manifest(Version(1), Revision(1)).await;
        Manifest::parse(&text.expect("there")).expect("a manifest")
    }

    /// The manifest of a version 2 whose artifacts are uploaded.
    async fn second(&self) -> Manifest {
        self.server.prepared(&bundle(2, "second")).await
    }

    /// Asks for a publication, and gives the kind of the refusal.
    async fn refusal(&self, manifest: &Manifest, targets: Option<Vec<u8>>) -> String {
        let request = PublishRequest {
            manifest: manifest.text(),
            revise: false,
            targets: targets.map(|targets| String::from_utf8(targets).expect("text")),
        };
        let refused = kind(self.server.client.publish(&request).await);
        // Nothing of it is left.
        assert!(!self.repository().join("metadata/pending.json").exists());
        assert!(self.server.client.upgrade(Version(2)).await.is_err());
        refused
    }
}

fn signers(folder: &Path, names: &[&str]) -> Vec<Signer> {
    let read = |name: &&str| Signer::read(&folder.join(format!("{name}.pem"))).expect("a key");
    names.iter().flat_map(read).collect()
}

/// Targets with a version 2 in them, signed by these.
async fn signed(shop: &Shop, manifest: &Manifest, signers: &[Signer]) -> Vec<u8> {
    let verifier = shop.verifier().await;
    let now = jiff::Timestamp::now();
    let signed = sign_upgrade(verifier.trust(), manifest, false, signers, now).await;
    signed.expect("signed").1.expect("new")
}

/// A root and first targets of a stranger for this system, sealed with the server's key or another one.
async fn strange(
    folder: &Path,
    system: &SystemIdentity,
    server: PublicKey,
) -> BeginRepositoryRequest {
    let own = make_key(&folder.join("stranger.pem")).expect("a key");
    let rule = |role, key: &PublicKey| RoleRule {
        role,
        keys: vec![key.clone()],
        threshold: 1,
    };
    let rules = [
        rule(RoleType::Root, &own),
        rule(RoleType::Targets, &own),
        rule(RoleType::Snapshot, &server),
        rule(RoleType::Timestamp, &server),
    ];
    let now = jiff::Timestamp::now();
    let first = sign_first(system, &rules, &signers(folder, &["stranger"]), now).await;
    let first = first.expect("signed");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    BeginRepositoryRequest {
        root: text(first.root),
        targets: text(first.targets),
    }
}

#[tokio::test]
async fn nothing_is_published_that_the_publishers_have_not_signed() {
    let shop = Shop::open().await;
    let second = shop.second().await;
    assert_eq!(shop.refusal(&second, None).await, "/problems/unsigned");
    for garbage in ["", "{}", "[1, 2]", "not JSON"] {
        let garbage = Some(garbage.as_bytes().to_vec());
        assert_eq!(shop.refusal(&second, garbage).await, "/problems/unsigned");
    }
    let publisher = signers(&shop.keys().folder, &["publisher-1"]);
    let good = signed(&shop, &second, &publisher).await;
    // Somebody has written into it.
    let altered = String::from_utf8(good.clone()).expect("text");
    let altered = altered.replace("\"from\": 1", "\"from\": 2");
    assert_eq!(
        shop.refusal(&second, Some(altered.into_bytes())).await,
        "/problems/unsigned"
    );
    // Another upgrade than the one that was signed.
    let other = shop.server.prepared(&bundle(2, "another one")).await;
    assert_eq!(
        shop.refusal(&other, Some(good.clone())).await,
        "/problems/unsigned"
    );
    // The first targets once more.
    let old = std::fs::read(shop.repository().join("metadata/2.targets.json")).expect("there");
    assert_eq!(
        shop.refusal(&second, Some(old)).await,
        "/problems/signed-meanwhile"
    );
    // The server's own key signs nothing but what is its own.
    let thief = signers(&shop.site.data.path().join("server"), &["server"]);
    let verifier = shop.verifier().await;
    let now = jiff::Timestamp::now();
    sign_upgrade(verifier.trust(), &second, false, &thief, now)
        .await
        .expect_err("no publisher's key");
    // And what is good is taken.
    let request = PublishRequest {
        manifest: second.text(),
        revise: false,
        targets: Some(String::from_utf8(good).expect("text")),
    };
    shop.server
        .client
        .publish(&request)
        .await
        .expect("published");
    let place = Place {
        version: Version(2),
        revision: Revision(1),
    };
    assert!(shop.verifier().await.catalogue().manifest(place).is_some());
    let unsigned = WithdrawRequest::default();
    let withdrawn = shop.server.client.withdraw(Version(2), &unsigned);
    assert_eq!(kind(withdrawn.await), "/problems/unsigned");
    shop.server.withdraw(Version(2)).await.expect("withdrawn");
    assert!(shop.verifier().await.catalogue().upgrades[&Version(2)].withdrawn);
    shop.server.stop().await;
}

#[tokio::test]
async fn nobody_begins_a_repository_anew_or_in_the_servers_name() {
    let shop = Shop::open().await;
    let verifier = shop.verifier().await;
    let folder = tempfile::tempdir().expect("a folder");
    let server = PublicKey::parse(
        &shop
            .server
            .client
            .repository()
            .await
            .expect("answers")
            .server_key,
    );
    let server = server.expect("a key");
    let request = strange(folder.path(), verifier.system(), server.clone()).await;
    let begin = async |running: &Running, request: &BeginRepositoryRequest| {
        let asked = running
            .request(Method::POST, "/v1/repository")
            .json(request);
        asked.send().await.expect("answered").status().as_u16()
    };
    assert_eq!(begin(&shop.server, &request).await, 422, "another root");
    // At a server that nobody has begun with yet.
    let fresh = Site::new();
    let running = fresh.start().await;
    assert_eq!(begin(&running, &request).await, 422, "another server's key");
    let own = PublicKey::parse(
        &running
            .client
            .repository()
            .await
            .expect("answers")
            .server_key,
    );
    let mut request = strange(folder.path(), verifier.system(), own.expect("a key")).await;
    assert_eq!(begin(&running, &request).await, 200, "its own");
    assert_eq!(begin(&running, &request).await, 200, "once more");
    request.root = "{}".to_owned();
    assert_eq!(begin(&running, &request).await, 422, "no root");
    running.stop().await;
    shop.server.stop().await;
}

#[tokio::test]
async fn a_root_needs_its_own_keys_and_changes_no_upgrade() {
    let shop = Shop::open().await;
    let folder = shop.keys().folder;
    let writer = RepositoryWriter::open(&shop.repository())
        .await
        .expect("there");
    let now = jiff::Timestamp::now();
    let all = signers(&folder, &["root-1", "root-2", "publisher-1"]);
    let roles = [RoleType::Root, RoleType::Targets];
    let good = writer
        .sign_renewal(&roles, None, &all, now)
        .await
        .expect("signed");
    let text = |bytes: &Option<Vec<u8>>| {
        bytes
            .clone()
            .map(|bytes| String::from_utf8(bytes).expect("text"))
    };
    let sign = async |request: SignRequest| {
        let asked = shop.server.request(Method::POST, "/v1/repository/metadata");
        let answer = asked.json(&request).send().await.expect("answered");
        answer.status().as_u16()
    };
    // One of the two signatures that a root needs is taken out.
    let mut root: serde_json::Value =
        serde_json::from_slice(good.root.as_deref().expect("a root")).expect("JSON");
    root["signatures"].as_array_mut().expect("some").pop();
    let one = SignRequest {
        root: Some(root.to_string()),
        targets: None,
    };
    assert_eq!(sign(one).await, 422);
    // Targets that add an upgrade go the way of upgrades only.
    let second = shop.second().await;
    let adding = signed(&shop, &second, &signers(&folder, &["publisher-1"])).await;
    let adding = SignRequest {
        root: None,
        targets: text(&Some(adding)),
    };
    assert_eq!(sign(adding).await, 422);
    let good = SignRequest {
        root: text(&good.root),
        targets: text(&good.targets),
    };
    assert_eq!(sign(good.clone()).await, 200);
    assert_eq!(sign(good).await, 409, "not twice");
    assert_eq!(shop.verifier().await.root_version().get(), 2);
    shop.server.stop().await;
}

#[tokio::test]
async fn only_metadata_is_served_as_metadata() {
    let shop = Shop::open().await;
    for name in [
        "..%2f..%2fserver.pem",
        "%2e%2e%2fserver.pem",
        "pending.json%00",
        ".new",
        "x",
    ] {
        let path = format!("/v1/repository/metadata/{name}");
        let answer = shop
            .server
            .request(Method::GET, &path)
            .send()
            .await
            .expect("answered");
        assert!(
            [400, 404].contains(&answer.status().as_u16()),
            "{name}: {}",
            answer.status()
        );
    }
    let path = "/v1/repository/metadata/1.root.json";
    let answer = shop
        .server
        .request(Method::GET, path)
        .send()
        .await
        .expect("answered");
    assert_eq!(answer.status(), 200);
    assert_eq!(shop.manifest().await.version, Version(1));
    shop.server.stop().await;
}

/// The server has died after its database had the upgrade, and before it was sealed; or before the database had it.
#[tokio::test]
async fn what_a_server_had_begun_is_sealed_or_forgotten_at_its_next_start() {
    let shop = Shop::open().await;
    let metadata = shop.repository().join("metadata");
    let before = std::fs::read(metadata.join("timestamp.json")).expect("there");
    // The publisher has not seen what was sealed either: it is sealed once more, perhaps in another second.
    let system = shop.server.client.repository().await.expect("answers");
    let number = system.system.expect("begun").system_id;
    let trusted = shop.keys().folder.join(format!("trusted-{number}.json"));
    let seen = std::fs::read(&trusted).expect("there");
    shop.server
        .publish(&bundle(2, "second"), false)
        .await
        .expect("published");
    std::fs::write(&trusted, seen).expect("written");
    let (site, server) = (shop.site, shop.server);
    server.stop().await;
    let targets = std::fs::read(metadata.join("3.targets.json")).expect("there");
    let unsealed = || {
        std::fs::write(metadata.join("timestamp.json"), &before).expect("written");
        std::fs::write(metadata.join("pending.json"), &targets).expect("written");
    };
    unsealed();
    let running = site.start().await;
    let shop = Shop {
        site,
        server: running,
    };
    assert!(
        shop.verifier()
            .await
            .catalogue()
            .upgrades
            .contains_key(&Version(2))
    );
    assert!(!metadata.join("pending.json").exists());
    let Shop { site, server } = shop;
    server.stop().await;
    unsealed();
    site.lose_database();
    let server = site.start().await;
    let shop = Shop { site, server };
    assert!(!metadata.join("pending.json").exists());
    let catalogue = RepositoryWriter::open(&shop.repository())
        .await
        .expect("there");
    assert!(
        !catalogue
            .trust()
            .catalogue()
            .upgrades
            .contains_key(&Version(2))
    );
    shop.server.stop().await;
}

#[tokio::test]
async fn what_a_publish_that_was_killed_has_left_is_removed_at_the_next() {
    let shop = Shop::open().await;
    let (metadata, manifests) = (
        shop.repository().join("metadata"),
        shop.repository().join("targets/upgrades"),
    );
    let left = metadata.join("pending.0123456789abcdef.new");
    let (old, new) = (manifests.join("a.1.1.old.new"), manifests.join("a.1.1.new"));
    for file in [&left, &old, &new] {
        std::fs::write(file, "{\"signed\":").expect("written");
    }
    let hours = std::time::Duration::from_secs(2 * 60 * 60);
    let file = std::fs::File::options().append(true).open(&old);
    let aged = file.and_then(|file| file.set_modified(std::time::SystemTime::now() - hours));
    aged.expect("aged");
    let published = shop.server.publish(&bundle(2, "second"), false).await;
    published.expect("published");
    assert!(!left.exists() && !old.exists());
    assert!(new.exists(), "another server may be writing it");
    shop.server.stop().await;
}

/// Whoever publishes again what a server has lost gets the numbers that were signed.
#[tokio::test]
async fn what_is_lost_is_published_again_revision_by_revision() {
    let shop = Shop::open().await;
    shop.server
        .publish(&bundle(1, "mended"), true)
        .await
        .expect("revised");
    let (site, server) = (shop.site, shop.server);
    server.stop().await;
    site.lose_database();
    let server = site.start().await;
    let early = server.publish(&bundle(1, "mended"), false).await;
    assert_eq!(
        kind(early),
        "/problems/publish-refused",
        "revision 2 before 1"
    );
    let first = server
        .publish(&bundle(1, "first"), false)
        .await
        .expect("published");
    let second = server
        .publish(&bundle(1, "mended"), true)
        .await
        .expect("revised");
    assert_eq!((first.revision.0, second.revision.0), (1, 2));
    // And going back is a new one.
    let third = server
        .publish(&bundle(1, "first"), true)
        .await
        .expect("revised");
    assert_eq!(third.revision.0, 3);
    server.stop().await;
}

/// A repository that has lost its timestamp is not taken for one that nobody has begun.
#[tokio::test]
async fn a_lost_timestamp_is_named_and_not_begun_anew() {
    let shop = Shop::open().await;
    let timestamp = shop.repository().join("metadata/timestamp.json");
    let kept = std::fs::read(&timestamp).expect("there");
    std::fs::remove_file(&timestamp).expect("removed");
    let refused = shop.server.publish(&bundle(2, "second"), false).await;
    let told = format!("{refused:?}");
    assert!(
        told.contains("has lost") && told.contains("timestamp.json"),
        "{told}"
    );
    std::fs::write(&timestamp, kept).expect("put back");
    shop.server
        .publish(&bundle(2, "second"), false)
        .await
        .expect("published");
    shop.server.stop().await;
}

/// Only what follows on what is there is brought back: neither what is older, nor what somebody has written into.
#[tokio::test]
async fn nothing_old_or_altered_is_brought_back() {
    let shop = Shop::open().await;
    let old = shop.verifier().await.sealed().expect("whole");
    shop.server
        .publish(&bundle(2, "second"), false)
        .await
        .expect("published");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let request = SealedRequest {
        root: text(old.root),
        targets: text(old.targets),
        snapshot: text(old.snapshot),
        timestamp: text(old.timestamp),
    };
    let altered = SealedRequest {
        timestamp: request
            .timestamp
            .replace("\"version\": 2", "\"version\": 9"),
        ..request.clone()
    };
    assert_ne!(altered, request);
    for sealed in [request, altered] {
        let asked = shop.server.request(Method::POST, "/v1/repository/sealed");
        let answer = asked.json(&sealed).send().await.expect("answered");
        assert_eq!(answer.status(), 422);
    }
    let catalogue = shop.verifier().await.catalogue();
    assert!(catalogue.upgrades.contains_key(&Version(2)));
    shop.server.stop().await;
}
