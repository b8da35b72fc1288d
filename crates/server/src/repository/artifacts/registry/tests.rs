//! The suite over Debian's docker-registry, and what only a registry can do to a server.

use super::super::{ArtifactStore, DocumentStore, suite};
use super::login::LoginSurroundings;
use super::{RegistryArtifacts, tag_of};
use axum::body::Body;
use harness::OciRegistry;
use http_body_util::BodyExt;
use model::manifest::Digest;
use oci_client::client::SizedStream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The artifacts in this registry, asked without a login.
pub(in crate::repository) async fn open(registry: &OciRegistry) -> RegistryArtifacts {
    opened(&registry.address(), &LoginSurroundings::default()).await
}

async fn opened(address: &str, surroundings: &LoginSurroundings) -> RegistryArtifacts {
    let opened = RegistryArtifacts::open_in(address, surroundings).await;
    opened.expect("opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_passes_the_suite_of_every_place() {
    let test = "a_registry_passes_the_suite_of_every_place";
    let Some(mut registry) = OciRegistry::start(test) else {
        return;
    };
    let store = open(&registry).await;
    suite::run(&store).await;
    let (digest, bytes) = suite::content(1_000);
    let mut upload = store.begin(digest).await.expect("begins");
    upload.add(bytes.slice(1..)).await.expect("added");
    let told = upload.finish().await.expect_err("another digest");
    assert!(told.to_string().contains("digest"), "{told}");
    assert_eq!(store.size(digest).await.expect("answers"), None);
    // The four of the suite, held by their tags and by nothing that refers to them.
    let mut held = suite::SIZES.map(|size| tag_of(suite::content(size).0));
    held.sort();
    let mut tags = registry.tags();
    tags.sort();
    assert_eq!(tags, held);
    tokio::task::block_in_place(|| registry.collect_garbage());
    for size in suite::SIZES {
        let (digest, bytes) = suite::content(size);
        let whole = store.whole(digest).await.expect("answers");
        assert!(whole.expect("there") == bytes, "{size} bytes are others");
    }
    assert_eq!(registry.blobs(), 2 * suite::SIZES.len() + 1, "and no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_replaced_as_one_and_old_contents_are_garbage() {
    let test = "documents_are_replaced_as_one_and_old_contents_are_garbage";
    let Some(mut registry) = OciRegistry::start(test) else {
        return;
    };
    let store = open(&registry).await;
    assert_eq!(store.document("a.json").await.expect("answers"), None);
    let replaced = |pairs: &[(&str, Option<&str>)]| {
        let owned = |(name, text): &(&str, Option<&str>)| {
            (
                (*name).to_owned(),
                text.map(|text| text.as_bytes().to_vec()),
            )
        };
        let documents = pairs.iter().map(owned).collect();
        let store = store.clone();
        async move { store.replace(documents, &[]).await.expect("replaced") }
    };
    let first = replaced(&[("a.json", Some("1")), ("b.json", Some("2"))]).await;
    assert_eq!(store.documents().await.expect("answers"), first);
    let second = replaced(&[("a.json", None), ("c.json", Some("3"))]).await;
    let there = store.documents().await.expect("answers");
    let tag = |of: &std::collections::BTreeMap<String, Option<String>>, name| of[name].clone();
    assert_eq!(tag(&there, "a.json"), tag(&first, "a.json"));
    assert_eq!(tag(&there, "c.json"), tag(&second, "c.json"));
    assert_eq!(there.len(), 2, "{there:?}");
    let kept = store.document("a.json").await.expect("answers");
    let kept = kept.expect("there");
    assert_eq!(
        (kept.bytes.as_slice(), kept.tag),
        (b"1".as_slice(), tag(&there, "a.json"))
    );
    let old = registry.blob(Digest::of(b"2"));
    assert!(old.exists());
    tokio::task::block_in_place(|| registry.collect_garbage());
    assert!(!old.exists());
    assert_eq!(store.documents().await.expect("answers"), there);
    assert_eq!(registry.tags(), ["metadata"]);
}

/// A registry that is away is told with what to do, and costs nothing once it is back; one that stands still costs time only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_away_is_waited_for() {
    let Some(mut registry) = OciRegistry::start("a_registry_that_is_away_is_waited_for") else {
        return;
    };
    let (digest, bytes) = suite::content(1_000);
    suite::put(&open(&registry).await, digest, &bytes).await;
    registry.kill();
    let store = open(&registry).await;
    let told = store.size(digest).await.expect_err("away").to_string();
    assert!(told.contains(&registry.address()), "{told}");
    assert!(told.contains("see that the registry runs"), "{told}");
    let (other, more) = suite::content(9 << 20);
    let mut upload = store.begin(other).await.expect("begins");
    let added = upload.add(more.clone()).await;
    assert!(added.is_err() || upload.finish().await.is_err());
    tokio::task::block_in_place(|| registry.resume());
    assert_eq!(store.size(digest).await.expect("answers"), Some(1_000));
    assert_eq!(store.size(other).await.expect("answers"), None);
    let frozen = registry.freeze();
    let putting = suite::put(&store, other, &more);
    let mut putting = std::pin::pin!(putting);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut putting).await;
    assert!(early.is_err(), "nobody answers yet");
    drop(frozen);
    putting.await;
    assert_eq!(store.size(other).await.expect("answers"), Some(9 << 20));
}

/// Passes on what is said to a registry, and resets so many connections, each when the next question comes over it.
async fn passing_on(registry: String, to_reset: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("has an address");
    tokio::spawn(async move {
        loop {
            let (caller, _) = listener.accept().await.expect("a caller");
            let registry = TcpStream::connect(&registry).await.expect("connected");
            tokio::spawn(pass_on(caller, registry, Arc::clone(&to_reset)));
        }
    });
    address
}

async fn pass_on(
    mut caller: TcpStream,
    mut registry: TcpStream,
    to_reset: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            count = caller.read(&mut asked) => {
                let one_less = |left: usize| left.checked_sub(1);
                if to_reset.fetch_update(SeqCst, SeqCst, one_less).is_ok() {
                    return caller.set_zero_linger();
                }
                match count? {
                    0 => return Ok(()),
                    count => registry.write_all(&asked[..count]).await?,
                }
            }
            count = registry.read(&mut answered) => match count? {
                0 => return Ok(()),
                count => caller.write_all(&answered[..count]).await?,
            },
        }
    }
}

/// A registry that was restarted, or a balancer before it, leaves connections behind that are reset at the next question.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_off_before_an_answer_is_asked_again() {
    let test = "what_breaks_off_before_an_answer_is_asked_again";
    let Some(registry) = OciRegistry::start(test) else {
        return;
    };
    let address = registry.address();
    let (host, name) = address["oci://".len()..].split_once('/').expect("a name");
    let to_reset = Arc::new(AtomicUsize::new(0));
    let between = passing_on(host.to_owned(), Arc::clone(&to_reset)).await;
    let between = format!("oci://{between}/{name}");
    let store = opened(&between, &LoginSurroundings::default()).await;
    let reset_one = || to_reset.store(1, SeqCst);
    let (digest, bytes) = suite::content(1_000);
    reset_one();
    suite::put(&store, digest, &bytes).await;
    reset_one();
    assert_eq!(store.size(digest).await.expect("answers"), Some(1_000));
    reset_one();
    let whole = store.whole(digest).await.expect("answers");
    assert!(whole.expect("there") == bytes);
    reset_one();
    let part = store.read(digest, 1, 2).await.expect("answers");
    let part = part.expect("there").collect().await.expect("comes");
    assert!(part.to_bytes() == bytes[1..3]);
    reset_one();
    let documents = vec![("a.json".to_owned(), Some(b"1".to_vec()))];
    store.replace(documents, &[]).await.expect("replaced");
    reset_one();
    let document = store.document("a.json").await.expect("answers");
    assert_eq!(document.expect("there").bytes, b"1");
    assert_eq!(
        to_reset.load(SeqCst),
        0,
        "each question was broken off once"
    );
    // Whatever breaks off each time is told.
    to_reset.store(usize::MAX, SeqCst);
    let told = store.whole(digest).await.expect_err("never answers");
    assert!(told.to_string().contains("does not answer"), "{told}");
}

/// What a registry keeps may be damaged under it; what it has lost is put back by uploading it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_ends_early_or_is_gone_is_noticed() {
    let test = "a_blob_that_ends_early_or_is_gone_is_noticed";
    let Some(mut registry) = OciRegistry::start(test) else {
        return;
    };
    let store = open(&registry).await;
    let (digest, bytes) = suite::content(1_000);
    suite::put(&store, digest, &bytes).await;
    std::fs::write(registry.blob(digest), &bytes[..900]).expect("written");
    // It remembers sizes.
    tokio::task::block_in_place(|| registry.kill());
    tokio::task::block_in_place(|| registry.resume());
    let told = store.read(digest, 0, 1_000).await.expect_err("damaged");
    assert!(told.to_string().contains("100 bytes early"), "{told}");
    std::fs::remove_file(registry.blob(digest)).expect("removed");
    tokio::task::block_in_place(|| registry.kill());
    tokio::task::block_in_place(|| registry.resume());
    assert_eq!(store.size(digest).await.expect("answers"), None);
    suite::put(&store, digest, &bytes).await;
    let whole = store.whole(digest).await.expect("answers");
    assert!(whole.expect("there") == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_is_asked_with_the_login_of_a_file() {
    let test = "a_registry_is_asked_with_the_login_of_a_file";
    let Some(registry) = OciRegistry::start_with_login(test) else {
        return;
    };
    let (digest, bytes) = suite::content(1_000);
    let told = open(&registry).await.size(digest).await;
    let told = told.expect_err("nobody").to_string();
    assert!(told.contains("REGISTRY_AUTH_FILE"), "{told}");
    let surroundings = LoginSurroundings {
        named: Some(registry.login_file()),
        usual: Vec::new(),
    };
    let store = opened(&registry.address(), &surroundings).await;
    suite::put(&store, digest, &bytes).await;
    assert_eq!(store.size(digest).await.expect("answers"), Some(1_000));
}

/// A registry may answer a question for a part with the whole.
#[tokio::test]
async fn a_part_is_cut_out_of_a_whole() {
    let (_, bytes) = suite::content(1_000);
    for piece in [1, 7, 400, 1_000] {
        for (first, count) in [
            (0, 1_000),
            (0, 1),
            (999, 1),
            (395, 10),
            (400, 400),
            (500, 0),
        ] {
            let pieces: Vec<_> = bytes
                .chunks(piece)
                .map(bytes::Bytes::copy_from_slice)
                .collect();
            let whole = SizedStream {
                content_length: Some(1_000),
                digest_header_value: None,
                stream: Box::pin(futures_util::stream::iter(pieces.into_iter().map(Ok))),
            };
            let cut: Body = super::part(whole, first as u64, count as u64);
            let cut = cut.collect().await.expect("comes").to_bytes();
            assert!(
                cut == bytes[first..first + count],
                "{first} {count} by {piece}"
            );
        }
    }
}
