//! Who is served and who is believed between nodes, over real connections.

use super::{ArtifactServer, STRANGER_LIMIT, STRANGERS_MAX, listen};
use client::{Client, NodeClient};
use identity::{
    Authority, CertificateTerms, Credential, CredentialFolder, KeyRequest, PASS_LIFE_MS,
    client_config,
};
use model::api::{NodeSource, Principal};
use model::manifest::Digest;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How long anything that must happen may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

const CONTENT: &[u8] = b"what an upgrade consists of";

/// A system's authority, and a node that serves.
struct Scene {
    authority: Authority,
    serving: Credential,
    address: SocketAddr,
    _folder: TempDir,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}

fn authority() -> Authority {
    let folder = tempfile::tempdir().expect("a folder");
    Authority::open(&folder.path().join("authority.pem")).expect("made")
}

fn certified(authority: &Authority, principal: &Principal) -> Credential {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = CredentialFolder::open(folder.path()).expect("made");
    let request = KeyRequest::read(&folder.request().expect("signed")).expect("a request");
    let terms = CertificateTerms {
        counter: 1,
        now_ms: now_ms(),
        expires_at_ms: now_ms() + 3_600_000,
    };
    let certificate = authority.certify(&request, principal, terms);
    (folder.keep(&certificate.expect("certified"))).expect("of its key")
}

/// Who shows this certificate; the upgrade server is not asked.
fn showing(credential: &Credential) -> Arc<Client> {
    let client = Client::new(&["https://127.0.0.1:1"], None).expect("a client");
    client.show(Some(credential.clone()));
    Arc::new(client)
}

impl Scene {
    async fn start() -> Self {
        let authority = authority();
        let serving = certified(&authority, &Principal::node("serving"));
        let folder = tempfile::tempdir().expect("a folder");
        let name = Digest::of(CONTENT).to_string();
        std::fs::write(folder.path().join(name), CONTENT).expect("written");
        let listener = listen(([127, 0, 0, 1], 0).into()).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let artifacts = folder.path().to_owned();
        let server = ArtifactServer::new(showing(&serving), artifacts);
        tokio::spawn(server.serve(listener));
        Self {
            authority,
            serving,
            address,
            _folder: folder,
        }
    }

    fn pass(&self, credential: &Credential) -> String {
        let until_ms = now_ms() + PASS_LIFE_MS;
        let pass = self.authority.pass(&credential.says().key, until_ms);
        pass.expect("signed")
    }

    /// The serving node, asked by somebody with this certificate and this pass.
    fn asked_by(&self, credential: &Credential, pass: String) -> NodeClient {
        self.asked(credential, &self.serving.says().key, pass)
    }

    fn asked(&self, credential: &Credential, key: &str, pass: String) -> NodeClient {
        let source = NodeSource {
            node: "serving".to_owned(),
            key: key.to_owned(),
            address: self.address,
            pass,
            again_ms: 0,
        };
        let asked = showing(credential).node_source(source);
        asked.expect("set up").expect("a certificate is shown")
    }
}

/// What comes, or why nothing does.
async fn fetched(
    node: &NodeClient,
    name: &str,
    first: u64,
    count: Option<u64>,
) -> Result<Vec<u8>, String> {
    let body = node.artifact(name, first, count).await;
    let mut body = body.map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    while let Some(chunk) = body.chunk().await.map_err(|error| error.to_string())? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

fn content() -> String {
    Digest::of(CONTENT).to_string()
}

#[tokio::test]
async fn a_node_with_a_pass_gets_artifacts_and_parts_of_them() {
    let scene = Scene::start().await;
    let own = certified(&scene.authority, &Principal::node("own"));
    let node = scene.asked_by(&own, scene.pass(&own));
    assert_eq!(
        fetched(&node, &content(), 0, None).await.as_deref(),
        Ok(CONTENT)
    );
    let rest = fetched(&node, &content(), 5, None).await;
    assert_eq!(rest.as_deref(), Ok(&CONTENT[5..]));
    let part = fetched(&node, &content(), 5, Some(3)).await;
    assert_eq!(part.as_deref(), Ok(&CONTENT[5..8]));
    let other = Digest::of(b"something else").to_string();
    let missing = node.artifact(&other, 0, None).await.expect_err("not there");
    assert!(missing.is_missing, "{missing}");
}

#[tokio::test]
async fn nobody_is_served_without_a_pass_of_ones_own() {
    let scene = Scene::start().await;
    let own = certified(&scene.authority, &Principal::node("own"));
    let other = certified(&scene.authority, &Principal::node("other"));
    let person = certified(&scene.authority, &Principal::operator("eve"));
    let expired = scene.authority.pass(&own.says().key, now_ms() - 1);
    let forged = authority().pass(&own.says().key, now_ms() + PASS_LIFE_MS);
    let cases = [
        (&own, String::new(), "is no pass"),
        (&own, scene.pass(&other), "is not for this caller's key"),
        (
            &own,
            forged.expect("signed"),
            "is not for this caller's key",
        ),
        (&own, expired.expect("signed"), "has expired"),
        (&person, scene.pass(&person), "is not a node's"),
    ];
    for (credential, pass, why) in cases {
        let node = scene.asked_by(credential, pass);
        let refused = fetched(&node, &content(), 0, None).await;
        let refused = refused.expect_err("refused");
        assert!(refused.contains(why), "{refused}");
    }
}

#[tokio::test]
async fn who_shows_no_certificate_of_the_system_gets_no_connection() {
    let scene = Scene::start().await;
    let stranger = certified(&authority(), &Principal::node("own"));
    let node = scene.asked_by(&stranger, scene.pass(&stranger));
    assert!(fetched(&node, &content(), 0, None).await.is_err());
    let tls = client_config(None, None).expect("set up");
    let nobody = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .build()
        .expect("set up");
    let url = format!("https://{}/v1/artifacts/{}", scene.address, content());
    assert!(nobody.get(url).send().await.is_err());
    // Those who belong here are served as before.
    let own = certified(&scene.authority, &Principal::node("own"));
    let node = scene.asked_by(&own, scene.pass(&own));
    assert!(fetched(&node, &content(), 0, None).await.is_ok());
}

#[tokio::test]
async fn only_the_node_that_was_named_is_believed() {
    let scene = Scene::start().await;
    let own = certified(&scene.authority, &Principal::node("own"));
    let node = scene.asked(&own, &own.says().key, scene.pass(&own));
    let refused = fetched(&node, &content(), 0, None)
        .await
        .expect_err("another");
    assert!(refused.contains("with another key"), "{refused}");
}

/// Those who say nothing have few places, and not for long.
#[tokio::test]
async fn a_crowd_of_strangers_is_turned_away_and_keeps_nobody_out_for_long() {
    let scene = Scene::start().await;
    let own = certified(&scene.authority, &Principal::node("own"));
    let node = scene.asked_by(&own, scene.pass(&own));
    let mut silent = Vec::new();
    for _ in 0..STRANGERS_MAX {
        silent.push(TcpStream::connect(scene.address).await.expect("connects"));
    }
    let mut late = TcpStream::connect(scene.address).await.expect("connects");
    let told = tokio::time::timeout(STRANGER_LIMIT / 2, late.read(&mut [0])).await;
    let told = told.expect("turned away at once");
    assert!(matches!(told, Ok(0) | Err(_)), "{told:?}");
    assert!(fetched(&node, &content(), 0, None).await.is_err());
    // The first is asked to go when its time is over, and its place is another's.
    let gone = tokio::time::timeout(2 * STRANGER_LIMIT, silent[0].read(&mut [0])).await;
    let gone = gone.expect("its time is over");
    assert!(matches!(gone, Ok(0) | Err(_)), "{gone:?}");
    let end = Instant::now() + LIMIT;
    while let Err(error) = fetched(&node, &content(), 0, None).await {
        assert!(Instant::now() < end, "{error}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_but_artifacts_is_served() {
    let scene = Scene::start().await;
    let own = certified(&scene.authority, &Principal::node("own"));
    let node = scene.asked_by(&own, scene.pass(&own));
    for name in ["..%2f..%2fidentity%2fkey.pem", "../1", "x.part", "", "%00"] {
        let refused = fetched(&node, name, 0, None).await;
        assert!(refused.is_err(), "{name}: {refused:?}");
    }
}
