//! From where a bundle is fetched: a real node that serves, behind a slow line where a test says so, and a small server of the test's own that
//! names it.

use super::*;
use crate::artifact_server::{ArtifactServer, listen};
use crate::fetch::{Fetcher, WantedFile};
use identity::{
    Authority, CertificateTerms, Credential, CredentialFolder, KeyRequest, PASS_LIFE_MS,
};
use model::api::{NodeSource, Principal};
use model::manifest::Digest;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What the slow line lets through: half of what a node must give.
const SLOW_BYTES: usize = 32 << 10;
const SLOW_PAUSE: Duration = Duration::from_millis(125);

/// What the server was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// From where, after these had failed.
    Source(Vec<String>),
    /// For the artifact, from this byte on.
    Artifact(u64),
}

/// An authority, a node that serves an artifact, and a server that names it to whoever it has not failed yet.
struct Scene {
    content: Vec<u8>,
    own: Credential,
    asked: Arc<parking_lot::Mutex<Vec<Asked>>>,
    url: String,
    folder: TempDir,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}

fn certified(authority: &Authority, name: &str) -> Credential {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = CredentialFolder::open(folder.path()).expect("made");
    let request = KeyRequest::read(&folder.request().expect("signed")).expect("a request");
    let terms = CertificateTerms {
        counter: 1,
        now_ms: now_ms(),
        expires_at_ms: now_ms() + 3_600_000,
    };
    let certificate = authority.certify(&request, &Principal::node(name), terms);
    (folder.keep(&certificate.expect("certified"))).expect("of its key")
}

fn showing(url: &str, credential: &Credential) -> Arc<Client> {
    let client = Client::new(&[url], Some("a-token".to_owned())).expect("a client");
    client.show(Some(credential.clone()));
    Arc::new(client)
}

impl Scene {
    /// With an artifact of this size; the node is reached by a slow line, or by none between. The server answers so many questions.
    async fn start(size: usize, is_slow: bool, answers: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::open(&folder.path().join("authority.pem")).expect("made");
        let (own, serving) = (
            certified(&authority, "own"),
            certified(&authority, "serving"),
        );
        let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let served = folder.path().join("served");
        std::fs::create_dir(&served).expect("made");
        std::fs::write(served.join(Digest::of(&content).to_string()), &content).expect("written");
        let listener = listen(([127, 0, 0, 1], 0).into()).await.expect("a port");
        let mut address = listener.local_addr().expect("an address");
        let nobody = showing("https://127.0.0.1:1", &serving);
        tokio::spawn(ArtifactServer::new(nobody, served).serve(listener));
        if is_slow {
            address = slow_line(address).await;
        }
        let pass = authority.pass(&own.says().key, now_ms() + PASS_LIFE_MS);
        let source = NodeSource {
            node: "serving".to_owned(),
            key: serving.says().key.clone(),
            address,
            pass: pass.expect("signed"),
            again_ms: AGAIN_MS,
        };
        let asked = Arc::default();
        let url = upgrade_server(content.clone(), source, Arc::clone(&asked), answers);
        Self {
            content,
            own,
            asked,
            url,
            folder,
        }
    }

    fn bundle() -> FetchedBundle {
        FetchedBundle {
            node: NodeId(1),
            manifest_sha256: "00".repeat(32),
        }
    }

    /// Fetches the artifact, and says what the server was asked.
    async fn fetched(&self) -> Vec<Asked> {
        let client = showing(&self.url, &self.own);
        let fetcher = Fetcher::new(client, self.folder.path().join("artifacts"));
        let fetcher = fetcher.for_bundle(Self::bundle());
        let wanted = WantedFile {
            digest: Digest::of(&self.content),
            size: self.content.len() as u64,
        };
        fetcher.fetch(&[wanted], |_, _| {}).await.expect("fetched");
        let found = std::fs::read(fetcher.path(wanted.digest)).expect("there");
        assert_eq!(found, self.content);
        self.asked.lock().clone()
    }
}

/// A line to this address that lets little through on the way back.
async fn slow_line(to: SocketAddr) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = tokio::net::TcpStream::connect(to).await.expect("connects");
            let (mut from_near, mut to_near) = near.into_split();
            let (mut from_far, mut to_far) = far.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_near, &mut to_far).await });
            tokio::spawn(async move {
                let mut some = vec![0; SLOW_BYTES];
                while let Ok(count) = from_far.read(&mut some).await {
                    if count == 0 || to_near.write_all(&some[..count]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(SLOW_PAUSE).await;
                }
            });
        }
    });
    address
}

/// A server that names a node, serves the artifact itself, and is gone after so many answers.
fn upgrade_server(
    content: Vec<u8>,
    source: NodeSource,
    asked: Arc<parking_lot::Mutex<Vec<Asked>>>,
    answers: usize,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().take(answers) {
            let stream = stream.expect("connects");
            let (question, is_done) = read(&stream);
            let (status, body) = match &question {
                Asked::Source(failed) => {
                    let answer = if is_done || failed.contains(&source.node) {
                        SourceAnswer::Server { again_ms: AGAIN_MS }
                    } else {
                        SourceAnswer::Node(Box::new(source.clone()))
                    };
                    (200, serde_json::to_vec(&answer).expect("text"))
                }
                Asked::Artifact(0) => (200, content.clone()),
                Asked::Artifact(first) => (206, content[*first as usize..].to_vec()),
            };
            if !is_done {
                asked.lock().push(question);
            }
            write(stream, status, &body);
        }
    });
    url
}

/// Reads a question, and whether it is only a word at the end.
fn read(stream: &TcpStream) -> (Asked, bool) {
    let mut reader = BufReader::new(stream);
    let (mut length, mut first, mut is_post) = (0, 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        let line = line.trim_end().to_ascii_lowercase();
        is_post |= line.starts_with("post ");
        if let Some(said) = line.strip_prefix("content-length: ") {
            length = said.parse().expect("a number");
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            first = range.trim_end_matches('-').parse().expect("a number");
        }
        if line.is_empty() {
            break;
        }
    }
    if !is_post {
        return (Asked::Artifact(first), false);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let request: SourceRequest = serde_json::from_slice(&body).expect("a question");
    (Asked::Source(request.failed), request.done)
}

fn write(mut stream: TcpStream, status: u16, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
}

fn name(source: &FetchSource) -> Option<&str> {
    match source {
        FetchSource::Server => None,
        FetchSource::Node(node) => Some(node.name()),
    }
}

#[tokio::test]
async fn what_the_server_names_gives_it_all() {
    let scene = Scene::start(2 << 20, false, 9).await;
    assert_eq!(scene.fetched().await, [Asked::Source(Vec::new())]);
}

/// To ask costs as much.
#[tokio::test]
async fn what_is_small_comes_from_the_server_which_is_not_asked_from_where() {
    let scene = Scene::start((1 << 20) - 1, false, 9).await;
    assert_eq!(scene.fetched().await, [Asked::Artifact(0)]);
}

#[tokio::test]
async fn a_node_that_is_slow_is_left_and_what_it_gave_is_gone_on_with() {
    let scene = Scene::start(4 << 20, true, 9).await;
    let asked = scene.fetched().await;
    let [first, second, Asked::Artifact(from)] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(first, &Asked::Source(Vec::new()));
    assert_eq!(second, &Asked::Source(vec!["serving".to_owned()]));
    assert!(*from > 0, "what it gave is here");
}

#[tokio::test]
async fn a_source_stays_while_the_server_does_not_answer() {
    let scene = Scene::start(2 << 20, false, 1).await;
    let client = showing(&scene.url, &scene.own);
    let sources = Sources::new(client, Some(Scene::bundle()));
    assert_eq!(name(&sources.now().await), Some("serving"));
    sources.renew(&Scene::bundle()).await;
    assert_eq!(scene.asked.lock().len(), 1, "the server is gone");
    let FetchSource::Node(node) = sources.now().await else {
        panic!("it stays where it was");
    };
    // When it lets this one in no more, there is only the server.
    sources.failed(&node.error("the pass has expired")).await;
    assert_eq!(name(&sources.now().await), None);
}
