//! The suite over a folder and over a real server that speaks S3, and what only the latter can do to a server.

use super::address::AwsSurroundings;
pub(in crate::repository) use super::registry::tests::open as open_registry;
use super::{ArtifactStore, ArtifactsError, FolderArtifacts, ObjectArtifacts, suite};
use harness::{BUCKET, ObjectStore, until};
use std::path::Path;
use std::time::Duration;

#[tokio::test]
async fn a_folder_passes_the_suite_of_every_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderArtifacts::open(folder.path()).await.expect("opens");
    suite::run(&store).await;
    suite::the_later_takes_the_place_of_the_earlier(&store).await;
    assert!(is_empty(&folder.path().join("uploads")), "dropped is gone");
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("reads").next().is_none()
}

fn surroundings(store: &ObjectStore) -> AwsSurroundings {
    AwsSurroundings {
        variables: store.environment().into(),
        usual_file: None,
    }
}

/// The artifacts in the bucket below a prefix, for a server with this folder for its notes.
pub(in crate::repository) async fn open(
    store: &ObjectStore,
    prefix: &str,
    notes: &Path,
) -> ObjectArtifacts {
    let address = format!("s3://{BUCKET}/{prefix}");
    let opened = ObjectArtifacts::open_in(&address, notes.to_owned(), surroundings(store));
    opened.await.expect("opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_passes_the_suite_of_every_place() {
    let Some(s3) = ObjectStore::start("a_bucket_passes_the_suite_of_every_place") else {
        return;
    };
    let notes = tempfile::tempdir().expect("a folder");
    let store = open(&s3, "a/b", notes.path()).await;
    suite::run(&store).await;
    suite::the_later_takes_the_place_of_the_earlier(&store).await;
    tokio::task::block_in_place(|| {
        until("what was dropped to be given up", || {
            (s3.uploads() == 0 && is_empty(notes.path())).then_some(())
        });
    });
    // The whole bucket, too.
    let store = open(&s3, "", notes.path()).await;
    let (digest, bytes) = suite::content(10);
    suite::put(&store, digest, &bytes).await;
    assert_eq!(store.size(digest).await.expect("answers"), Some(10));
}

/// A server that is killed in the middle of an upload leaves parts, which nobody sees, and a note; its next start removes both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_server_has_begun_is_given_up_at_its_next_start() {
    let test = "what_a_killed_server_has_begun_is_given_up_at_its_next_start";
    let Some(s3) = ObjectStore::start(test) else {
        return;
    };
    let notes = tempfile::tempdir().expect("a folder");
    let store = open(&s3, "a", notes.path()).await;
    let (digest, bytes) = suite::content(9 << 20);
    let mut upload = store.begin(digest).await.expect("begins");
    upload.add(bytes).await.expect("added");
    assert_eq!(s3.uploads(), 1);
    // Nobody tidies up after the killed.
    std::mem::forget(upload);
    assert!(!is_empty(notes.path()));
    // Nor may the next one stumble over half a note.
    std::fs::write(notes.path().join("half.upload"), "").expect("written");
    let store = open(&s3, "a", notes.path()).await;
    tokio::task::block_in_place(|| {
        until("the upload to be given up", || {
            (s3.uploads() == 0 && is_empty(notes.path())).then_some(())
        });
    });
    assert_eq!(store.size(digest).await.expect("answers"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_not_there_is_told_and_one_that_is_away_is_waited_for() {
    let test = "a_bucket_that_is_not_there_is_told_and_one_that_is_away_is_waited_for";
    let Some(s3) = ObjectStore::start(test) else {
        return;
    };
    let notes = tempfile::tempdir().expect("a folder");
    let notes = notes.path();
    let gone = ObjectArtifacts::open_in("s3://elsewhere", notes.to_owned(), surroundings(&s3));
    let told = gone.await.expect_err("not there");
    assert!(matches!(told, ArtifactsError::NoBucket(_)), "{told}");
    let mut nobody = surroundings(&s3);
    let endpoint = "AWS_ENDPOINT_URL".to_owned();
    // Nobody listens at this port.
    let nowhere = "http://127.0.0.1:9".to_owned();
    nobody.variables.insert(endpoint, nowhere);
    let away = ObjectArtifacts::open_in("s3://shop/a", notes.to_owned(), nobody);
    let away = away.await.expect("a server starts all the same");
    let (digest, bytes) = suite::content(10);
    let told = away.size(digest).await.expect_err("nobody answers");
    assert!(told.to_string().contains("s3://shop/a"), "{told}");
    let mut upload = away.begin(digest).await.expect("begins");
    upload.add(bytes.clone()).await.expect("added");
    upload.finish().await.expect_err("nobody takes it");
    // The same, once somebody does.
    let back = open(&s3, "a", notes).await;
    suite::put(&back, digest, &bytes).await;
    assert_eq!(back.size(digest).await.expect("answers"), Some(10));
}

/// A store that is stopped in the middle of what it sends, and goes on, costs nothing but time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stands_still_for_a_moment_costs_time_only() {
    let test = "a_store_that_stands_still_for_a_moment_costs_time_only";
    let Some(s3) = ObjectStore::start(test) else {
        return;
    };
    let notes = tempfile::tempdir().expect("a folder");
    let store = open(&s3, "a", notes.path()).await;
    let (digest, bytes) = suite::content(1_000);
    let frozen = s3.freeze();
    let putting = suite::put(&store, digest, &bytes);
    let mut putting = std::pin::pin!(putting);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut putting).await;
    assert!(early.is_err(), "nobody answers yet");
    drop(frozen);
    putting.await;
    assert_eq!(store.size(digest).await.expect("answers"), Some(1_000));
}
