//! What every place for artifacts must do: run for each of them.

use super::ArtifactStore;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use model::manifest::Digest;

/// More than two parts, and no whole number of them.
const LARGE_BYTES: usize = (17 << 20) + 5;

/// The sizes of what every store has after the suite.
pub(super) const SIZES: [usize; 4] = [0, 1, 70_000, LARGE_BYTES];

/// How much is added at once.
const PIECE_BYTES: usize = 100_000;

/// Runs the suite over a new store.
pub(super) async fn run(store: &dyn ArtifactStore) {
    what_is_not_there_is_told(store).await;
    for size in SIZES {
        comes_back(store, size).await;
    }
    what_is_dropped_was_never_there(store).await;
}

/// Bytes that tell where they are.
pub(super) fn content(size: usize) -> (Digest, Bytes) {
    let bytes: Vec<u8> = (0..size).map(|at| (at * 7 + at / 251) as u8).collect();
    (Digest::of(&bytes), bytes.into())
}

/// Uploads this, as many bytes at once as usual.
pub(super) async fn put(store: &dyn ArtifactStore, digest: Digest, bytes: &Bytes) {
    let mut upload = store.begin(digest).await.expect("begins");
    for piece in bytes.chunks(PIECE_BYTES) {
        let piece = Bytes::copy_from_slice(piece);
        upload.add(piece).await.expect("added");
    }
    upload.finish().await.expect("finished");
}

async fn what_is_not_there_is_told(store: &dyn ArtifactStore) {
    let (digest, _) = content(3);
    assert_eq!(store.size(digest).await.expect("answers"), None);
    assert_eq!(store.whole(digest).await.expect("answers"), None);
    assert!(store.read(digest, 0, 3).await.expect("answers").is_none());
    assert!(store.read(digest, 0, 0).await.expect("answers").is_none());
    let place = store.place(digest);
    assert!(place.ends_with(&digest.to_string()), "{place}");
}

async fn comes_back(store: &dyn ArtifactStore, size: usize) {
    let (digest, bytes) = content(size);
    put(store, digest, &bytes).await;
    let count = u64::try_from(size).expect("small");
    assert_eq!(store.size(digest).await.expect("answers"), Some(count));
    let whole = store.whole(digest).await.expect("answers").expect("there");
    assert!(whole == bytes, "{size} bytes are others");
    for (first, last) in [(0, size), (0, 1), (size / 3, size / 2), (size / 2, size)] {
        let last = last.min(size).max(first);
        let found = store.read(digest, first as u64, (last - first) as u64);
        let found = all(found.await.expect("answers").expect("there")).await;
        assert!(found == bytes[first..last], "{first} to {last} of {size}");
    }
}

async fn all(body: Body) -> Bytes {
    body.collect().await.expect("comes").to_bytes()
}

/// Neither a small one nor one of which parts are there already.
async fn what_is_dropped_was_never_there(store: &dyn ArtifactStore) {
    for size in [10, LARGE_BYTES + 1] {
        let (digest, bytes) = content(size);
        let mut upload = store.begin(digest).await.expect("begins");
        upload.add(bytes).await.expect("added");
        assert_eq!(store.size(digest).await.expect("answers"), None);
        drop(upload);
        assert_eq!(store.size(digest).await.expect("answers"), None);
    }
}

/// One that is damaged is put back by uploading it again; where the store itself does not refuse what has another digest.
pub(super) async fn the_later_takes_the_place_of_the_earlier(store: &dyn ArtifactStore) {
    let (digest, bytes) = content(1_000);
    put(store, digest, &bytes.slice(1..)).await;
    assert_eq!(store.size(digest).await.expect("answers"), Some(999));
    put(store, digest, &bytes).await;
    let whole = store.whole(digest).await.expect("answers").expect("there");
    assert!(whole == bytes);
}
