//! Folders of keys that are not as they should be: open to others, made before in other numbers, left half-made, full.

use crate::bundles::{FIRST, write};
use crate::keys::{at, keys, repository_key};
use crate::upstart::{Server, run};
use harness::Disk;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn keys_that_others_can_change_are_refused() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("keys");
    let set_mode = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
    };
    std::fs::create_dir(&path).expect("made");
    set_mode(&path, 0o777);
    let refused = |arguments: &[&str]| {
        let refused = keys(folder.path(), arguments).expect_advice(2).stderr();
        let told = "keys: can be written by everybody: whoever that is would decide who signs";
        assert!(
            refused.contains(told) && refused.contains("chmod go-w"),
            "{refused}"
        );
    };
    let make = ["make", "--system", "shop"];
    refused(&make);
    assert_eq!(std::fs::read_dir(&path).expect("there").count(), 0);
    set_mode(&path, 0o700);
    keys(folder.path(), &make).expect(0);
    set_mode(&path, 0o777);
    refused(&make);
    refused(&["renew", "--key", "keys"]);
    refused(&["drill", "--key", "keys/root-1.pem"]);
    refused(&["rotate", "--key", "keys", "--add", "root:keys/root-4.pem"]);
    assert!(!path.join("root-4.pem").exists());
    set_mode(&path, 0o700);
    let public = path.join("root-4.pem");
    std::fs::write(&public, repository_key(folder.path(), "keys/root-1.pem")).expect("written");
    set_mode(&public, 0o666);
    let rotate = [
        "rotate",
        "--key",
        "keys/root-1.pem",
        "--add",
        "root:keys/root-4.pem",
    ];
    let refused = keys(folder.path(), &rotate).expect_advice(2).stderr();
    assert!(
        refused.contains("root-4.pem: can be written by everybody"),
        "{refused}"
    );
}

#[test]
fn keys_are_not_made_again_in_other_numbers() {
    let folder = tempfile::tempdir().expect("a directory");
    let make = |numbers: &[&str]| {
        let mut make = vec!["make", "--system", "shop"];
        make.extend(numbers);
        keys(folder.path(), &make)
    };
    let two = ["--publishers", "2", "--publisher-threshold", "2"];
    make(&two).expect(0);
    make(&two).expect(0);
    for other in [
        &[][..],
        &["--publishers", "3", "--publisher-threshold", "2"],
        &["--publishers", "2"],
        &[
            "--publishers",
            "2",
            "--publisher-threshold",
            "2",
            "--root-keys",
            "4",
        ],
        &[
            "--publishers",
            "2",
            "--publisher-threshold",
            "2",
            "--root-threshold",
            "3",
        ],
    ] {
        let told = make(other).expect_advice(1).stderr();
        let there = "of 3 root keys 2 must sign, of 2 publishers 2";
        assert!(
            told.contains(there) && told.contains("upstart keys rotate"),
            "{told}"
        );
    }
    assert!(!folder.path().join("keys/publisher-3.pem").exists());
    make(&two).expect(0);
    // Keys of a repository that never began.
    std::fs::remove_dir_all(folder.path().join("repository")).expect("removed");
    let told = make(&[]).expect_advice(1).stderr();
    assert!(
        told.contains("publisher-2.pem already, and 1 are asked for"),
        "{told}"
    );
    std::fs::remove_file(folder.path().join("keys/publisher-2.pem")).expect("removed");
    make(&two).expect(0);
}

#[test]
fn a_rotation_that_failed_is_gone_on_with() {
    let folder = tempfile::tempdir().expect("a directory");
    keys(folder.path(), &["make", "--system", "shop"]).expect(0);
    let rotate = |key: &str| {
        let add = ["rotate", "--key", key, "--add", "root:root-4.pem"];
        keys(folder.path(), &add)
    };
    let told = rotate("keys/root-1.pem").expect_advice(1).stderr();
    let stays = "root-4.pem stays: the same command again goes on with it";
    assert!(
        told.contains("signatures of 2") && told.contains(stays),
        "{told}"
    );
    let made = std::fs::read(folder.path().join("root-4.pem")).expect("it stays");
    let told = rotate("keys").expect(0).stdout();
    assert!(told.contains("Root 2 is written"), "{told}");
    assert!(told.contains("root-4.pem was there already"), "{told}");
    let there = std::fs::read(folder.path().join("root-4.pem")).expect("there");
    assert_eq!(there, made);
    // Killed before its last step.
    let mark = folder.path().join("repository/metadata/replacing.json");
    std::fs::write(&mark, "[\"timestamp.json\"]").expect("written");
    let told = rotate("keys").expect(0);
    assert!(told.stderr().contains("was interrupted, and is ended now"));
    assert!(
        told.stdout().contains("Nothing has changed"),
        "{}",
        told.stdout()
    );
    assert!(!mark.exists());
}

/// What lies in a folder, but what its file system and this test have made.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.expect("an entry").file_name();
        name.to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.retain(|name| name != "lost+found" && name != "ballast");
    names.sort();
    names
}

#[test]
fn a_folder_of_keys_on_a_full_disk_is_told_at_once_and_nothing_is_half_written() {
    let server = Server::start();
    let place = server.folder().join("keys");
    let Some(disk) = Disk::mount("key_folders::full", "ext4", 8, &place) else {
        return;
    };
    let full = |arguments: &[&str]| {
        let before = files(&place);
        let told = at(&server, arguments).expect_advice(2).stderr();
        assert!(told.contains("No space left"), "{arguments:?}: {told}");
        assert_eq!(files(&place), before, "{arguments:?}");
        told
    };
    disk.fill("ballast");
    full(&["make", "--system", "echo"]);
    at(&server, &["list"]).expect_advice(1);
    disk.remove("ballast");
    at(&server, &["make", "--system", "echo"]).expect(0);
    let bundle = server.folder().join("v1");
    write(&bundle, FIRST);
    disk.fill("ballast");
    let published = run(server.upstart().arg("publish").arg(&bundle)).expect(0);
    let told = published.stdout();
    assert!(
        told.contains("could not be noted beside the keys"),
        "{told}"
    );
    assert!(told.contains("No space left"), "{told}");
    full(&["list"]);
    let fourth = format!("root:{}", place.join("root-4.pem").display());
    full(&["rotate", "--add", &fourth]);
    disk.remove("ballast");
    let list = at(&server, &["list", "--json"]).expect(0).json();
    assert_eq!(list["roles"][0]["version"], 1);
    at(&server, &["rotate", "--add", &fourth]).expect(0);
}

#[test]
fn a_list_of_keys_says_whose_they_are() {
    let server = Server::start();
    at(&server, &["make", "--system", "echo"]).expect(0);
    let table = at(&server, &["list"]).expect(0).stdout();
    assert!(table.contains("root-1.pem"), "{table}");
    assert!(table.contains("the server's"), "{table}");
    assert!(!table.contains("somebody else's"), "{table}");
    assert!(table.contains("`upstart identities`"), "{table}");
    let list = at(&server, &["list", "--json"]).expect(0).json();
    let timestamp = list["roles"][3]["keys"][0].as_str().expect("a key");
    assert_eq!(list["whose"][timestamp], "the server's");
    // A key that lies elsewhere is somebody else's.
    let folder = server.folder().join("keys");
    std::fs::rename(folder.join("root-1.pem"), server.folder().join("away.pem")).expect("moved");
    let table = at(&server, &["list"]).expect(0).stdout();
    assert!(table.contains("somebody else's"), "{table}");
}
