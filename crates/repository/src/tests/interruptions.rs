//! Changes and keys that were interrupted, at every step.

use super::{Site, noon};
use crate::{RepositoryWriter, RoleType, RootChange, SignError, make_key};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// What lies in the metadata's folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        (name.into_owned(), std::fs::read(&path).expect("read"))
    };
    entries.map(file).collect()
}

fn lay(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    std::fs::remove_dir_all(folder).expect("emptied");
    std::fs::create_dir(folder).expect("made");
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).expect("written");
    }
}

/// Gives the server and a publisher other keys, so that nothing that was signed before is vouched for any more.
fn change(site: &Site) -> RootChange {
    let key = make_key(&site.key("next")).expect("a key");
    let root = &site.writer.trust().root.content.signed;
    let old = |role| crate::sign::keys_of(root, role)[0].id.clone();
    let roles = [RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp];
    RootChange {
        add: roles.map(|role| (role, key.clone())).into(),
        remove: vec![old(RoleType::Targets), old(RoleType::Timestamp)],
        thresholds: Vec::new(),
    }
}

/// Whose keys sign it.
const SIGNERS: [&str; 6] = ["root-1", "root-2", "alice", "bob", "server", "next"];

#[tokio::test]
async fn a_rotation_that_was_interrupted_is_ended_or_never_was() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let mut client = site.client().await;
    let metadata = site.path("metadata");
    let before = contents(&metadata);
    let change = change(&site);
    let signers = site.signers(&SIGNERS);
    let rotated = site.writer.rotate(&change, &signers, noon()).await;
    rotated.expect("rotated");
    let after = contents(&metadata);
    let changed = |name: &&String| before.get(*name) != after.get(*name);
    let names: Vec<String> = after.keys().filter(changed).cloned().collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let fresh = |name: &String| format!("{name}.new");
    // Killed while it wrote what is not in its place yet: so many files, and half of the next.
    for written in 0..names.len() {
        let mut there = before.clone();
        for (index, name) in names.iter().enumerate().take(written + 1) {
            let bytes = &after[name];
            let length = if index == written {
                bytes.len() / 2
            } else {
                bytes.len()
            };
            there.insert(fresh(name), bytes[..length].to_vec());
        }
        lay(&metadata, &there);
        let writer = RepositoryWriter::open(site.writer.path()).await;
        let mut writer = writer.expect("as before");
        assert!(!writer.has_ended_a_change());
        let again = writer.rotate(&change, &signers, noon()).await;
        again.expect("rotated");
        let there: Vec<String> = contents(&metadata).into_keys().collect();
        assert_eq!(there, after.keys().cloned().collect::<Vec<_>>());
    }
    // Killed while it put them into their places.
    for placed in 0..=names.len() {
        let mut there = before.clone();
        for (index, name) in names.iter().enumerate() {
            let is_placed = index < placed;
            let now = if is_placed { name.clone() } else { fresh(name) };
            there.insert(now, after[name].clone());
        }
        let mark = serde_json::to_vec(&names).expect("names");
        there.insert("replacing.json".to_owned(), mark);
        lay(&metadata, &there);
        let writer = RepositoryWriter::open(site.writer.path()).await;
        assert!(writer.expect("ended").has_ended_a_change());
        assert_eq!(contents(&metadata), after);
    }
    let followed = client.refresh(&site, noon()).await;
    followed.expect("a client follows");
    assert_eq!(client.verifier.root_version().get(), 2);
}

#[tokio::test]
async fn a_change_that_cannot_be_written_whole_changes_nothing() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let metadata = site.path("metadata");
    let before = contents(&metadata);
    let change = change(&site);
    let signers = site.signers(&SIGNERS);
    // The last document has no place to be written to.
    let obstacle = metadata.join("timestamp.json.new");
    std::fs::create_dir(&obstacle).expect("in the way");
    let refused = site.writer.rotate(&change, &signers, noon()).await;
    assert!(
        matches!(refused, Err(SignError::Disk { .. })),
        "{refused:?}"
    );
    std::fs::remove_dir(&obstacle).expect("out of the way");
    assert_eq!(contents(&metadata), before);
    let writer = RepositoryWriter::open(site.writer.path()).await;
    let mut writer = writer.expect("as before");
    let again = writer.rotate(&change, &signers, noon()).await;
    again.expect("rotated");
}

#[test]
fn half_a_key_is_removed_and_one_that_is_being_made_is_not() {
    let folder = tempfile::tempdir().expect("a directory");
    let at = |name: &str| folder.path().join(name);
    for name in [".a.pem.left.new", ".a.pem.busy.new", ".b.pem.left.new"] {
        std::fs::write(at(name), "half").expect("written");
    }
    let busy = File::open(at(".a.pem.busy.new")).expect("opened");
    busy.lock().expect("locked");
    make_key(&at("a.pem")).expect("a key");
    assert!(!at(".a.pem.left.new").exists());
    assert!(at(".a.pem.busy.new").exists() && at(".b.pem.left.new").exists());
    drop(busy);
    make_key(&at("a.pem")).expect("the same");
    assert!(!at(".a.pem.busy.new").exists());
    let left = std::fs::read_dir(folder.path()).expect("listed");
    assert_eq!(left.count(), 2);
}
