//! Bundles on disk: what is read, what is refused, and that documentation and examples are good bundles.

use model::bundle::{BundleFiles, FileInfo, read_directory};
use model::ids::Version;
use model::manifest::{Digest, Mode};
use model::release::{History, check};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An empty folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("model-folders")
        .join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a folder for the test");
    path
}

fn write(folder: &Path, path: &str, text: &str, mode: u32) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
}

fn told(folder: &Path) -> String {
    match read_directory(folder) {
        Ok(_) => "nothing".to_owned(),
        Err(error) => error
            .to_string()
            .replace(&format!("{}", folder.display()), "DIR"),
    }
}

#[test]
fn a_folder_is_read_with_digests_and_executable_bits() {
    let bundle = folder("good");
    write(&bundle, "upgrade.toml", "x = 1", 0o640);
    write(&bundle, "software/run", "#!/bin/sh\n", 0o700);
    write(&bundle, "software/a/b", "", 0o600);
    fs::create_dir_all(bundle.join("empty")).expect("a folder");
    let read = read_directory(&bundle).expect("readable");
    assert_eq!(read.upgrade_toml, "x = 1");
    let found: Vec<_> = read
        .files
        .iter()
        .map(|(path, info)| (path.as_str(), info.mode, info.size))
        .collect();
    let expected = [
        ("software/a/b", Mode::Plain, 0),
        ("software/run", Mode::Executable, 10),
        ("upgrade.toml", Mode::Plain, 5),
    ];
    assert_eq!(found, expected);
    assert_eq!(read.files["upgrade.toml"].sha256, Digest::of(b"x = 1"));
}

#[test]
fn what_cannot_be_published_is_refused() {
    let bundle = folder("bad");
    assert_eq!(
        told(&bundle),
        "DIR has no upgrade.toml; a bundle is a folder with `upgrade.toml` in it"
    );
    assert_eq!(
        told(&bundle.join("nothing")),
        "DIR does not exist; a bundle is a folder with `upgrade.toml` in it"
    );
    write(&bundle, "upgrade.toml", "", 0o644);
    assert_eq!(told(&bundle), "nothing");
    symlink("upgrade.toml", bundle.join("link")).expect("a link");
    assert_eq!(
        told(&bundle),
        "link: is a symbolic link; put the file itself there, or pack the folder into an archive"
    );
    fs::remove_file(bundle.join("link")).expect("there");
    let _listener = std::os::unix::net::UnixListener::bind(bundle.join("s")).expect("a socket");
    assert_eq!(
        told(&bundle),
        "s: is a socket, neither a file nor a folder; remove it"
    );
    fs::remove_file(bundle.join("s")).expect("there");
    write(&bundle, "a\nb", "", 0o644);
    assert_eq!(
        told(&bundle),
        "a\\nb: its name contains a backslash or a control character; rename it"
    );
    fs::remove_file(bundle.join("a\nb")).expect("there");
    fs::write(bundle.join("upgrade.toml"), [0xff]).expect("written");
    assert_eq!(
        told(&bundle),
        "upgrade.toml:1:1: is not UTF-8 from here on; save it as UTF-8"
    );
    fs::remove_file(bundle.join("upgrade.toml")).expect("there");
    symlink("/etc/passwd", bundle.join("upgrade.toml")).expect("a link");
    assert!(told(&bundle).contains("is a symbolic link"));
}

/// The repository's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_upgrade_files_in_the_documentation_are_good_and_follow_on_each_other() {
    let text =
        fs::read_to_string(root().join("docs/reference/upgrade-file.md")).expect("the reference");
    let info = FileInfo {
        mode: Mode::Plain,
        size: 1,
        sha256: Digest::of(b""),
    };
    let paths = [
        "upgrade.toml",
        "software/storage.py",
        "software.tar.gz",
        "lens/data.toml",
        "transform.py",
    ];
    let files: BundleFiles = paths
        .into_iter()
        .map(|path| (path.to_owned(), info))
        .collect();
    let blocks = text
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let mut upgrades = Vec::new();
    for block in blocks.filter(|block| block.starts_with("system")) {
        match check(block, &files) {
            Ok(checked) => upgrades.push(Arc::new(checked.upgrade)),
            Err(errors) => panic!("{block}\n{errors:#?}"),
        }
    }
    assert!(
        upgrades.len() >= 3,
        "only {} upgrade files are shown",
        upgrades.len()
    );
    let history =
        History::new(upgrades, &BTreeSet::new()).unwrap_or_else(|error| panic!("{error}"));
    assert!(history.newest() >= Version(3));
}

#[test]
fn the_store_is_a_good_history() {
    let mut upgrades = Vec::new();
    for version in ["v1", "v2", "v3"] {
        let folder = root().join("examples/1-store").join(version);
        let read = read_directory(&folder).unwrap_or_else(|error| panic!("{error}"));
        match check(&read.upgrade_toml, &read.files) {
            Ok(checked) => upgrades.push(Arc::new(checked.upgrade)),
            Err(errors) => panic!("{}: {errors:#?}", folder.display()),
        }
    }
    let history =
        History::new(upgrades, &BTreeSet::new()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(history.newest(), Version(3));
}
