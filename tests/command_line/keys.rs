//! The keys of a signed repository, and its way to a site without a network.

use crate::upstart::{Answer, Server, run, upstart};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with the keys and the repository of a system.
fn made() -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    keys(folder.path(), &["make", "--system", "shop"]).expect(0);
    folder
}

pub(crate) fn keys(folder: &Path, arguments: &[&str]) -> Answer {
    let mut command = upstart();
    command.current_dir(folder).env("UPSTART_KEYS", "keys");
    command.arg("keys").args(arguments);
    if !arguments.contains(&"--repository") {
        command.args(["--repository", "repository"]);
    }
    run(&mut command)
}

fn other(folder: &Path, arguments: &[&str]) -> Answer {
    let mut command = upstart();
    command.current_dir(folder).args(arguments);
    if arguments[0] == "export" {
        command.args(["--repository", "repository"]);
    }
    run(&mut command)
}

/// The number of a key, by its role and its place in it.
fn key(folder: &Path, role: usize, index: usize) -> String {
    let list = keys(folder, &["list", "--json"]).expect(0).json();
    let id = list["roles"][role]["keys"][index].as_str();
    id.expect("a number").to_owned()
}

#[test]
fn keys_are_made_once() {
    let folder = tempfile::tempdir().expect("a directory");
    let make = ["make", "--system", "shop", "--json"];
    let made = keys(folder.path(), &make).expect(0).json();
    assert_eq!(made["made"], true);
    assert_eq!(made["system"]["name"], "shop");
    let files = made["keys"].as_array().expect("keys");
    assert_eq!(files.len(), 5);
    for key in files {
        let path = folder.path().join(key["file"].as_str().expect("a file"));
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    let again = keys(folder.path(), &make).expect(0).json();
    assert_eq!(again["made"], false);
    assert_eq!(
        (&again["keys"], &again["system"]),
        (&made["keys"], &made["system"])
    );
    let told = keys(folder.path(), &make[..3]).expect(0).stdout();
    assert!(
        told.contains("Nothing has changed") && told.contains("offline"),
        "{told}"
    );
    let refused = keys(folder.path(), &["make", "--system", "stop"]).expect_advice(1);
    assert!(
        refused.stderr().contains("of system shop"),
        "{}",
        refused.stderr()
    );
    std::fs::remove_file(folder.path().join("repository/metadata/timestamp.json"))
        .expect("removed");
    let anew = keys(folder.path(), &make).expect(0).json();
    assert_eq!(anew["made"], true, "what was only begun is begun anew");
    assert_eq!(anew["keys"], made["keys"]);
}

#[test]
fn a_system_that_could_never_be_signed_for_is_not_made() {
    let folder = tempfile::tempdir().expect("a directory");
    for wrong in [
        &["--root-threshold", "4"][..],
        &["--publisher-threshold", "2"],
        &["--root-threshold", "0"],
    ] {
        let mut make = vec!["make", "--system", "shop"];
        make.extend(wrong);
        keys(folder.path(), &make).expect_advice(1);
    }
    keys(folder.path(), &["make", "--system", "a b"]).expect_advice(1);
    keys(
        folder.path(),
        &["make", "--system", "shop", "--root-keys", "0"],
    )
    .expect(2);
    keys(folder.path(), &["list"]).expect_advice(2);
}

#[test]
fn the_list_tells_who_must_sign_and_how_long_it_is_good() {
    let folder = made();
    let list = keys(folder.path(), &["list", "--json"]).expect(0).json();
    let roles = list["roles"].as_array().expect("roles");
    let told: Vec<_> = (roles.iter())
        .map(|role| {
            let keys = role["keys"].as_array().map_or(0, Vec::len);
            let days = role["days_left"].as_i64().expect("days");
            let usual = [30, 365]
                .into_iter()
                .find(|usual| (0..=1).contains(&(usual - days)));
            (
                role["role"].as_str(),
                role["threshold"].as_u64(),
                keys,
                usual,
            )
        })
        .collect();
    let expected = [
        (Some("root"), Some(2), 3, Some(365)),
        (Some("targets"), Some(1), 1, Some(365)),
        (Some("snapshot"), Some(1), 1, Some(30)),
        (Some("timestamp"), Some(1), 1, Some(30)),
    ];
    assert_eq!(told, expected);
    let table = keys(folder.path(), &["list"]).expect(0).stdout();
    assert!(
        table.contains("2 of 3") && table.contains(" days"),
        "{table}"
    );
}

#[test]
fn the_root_is_rotated_away_from_a_key_by_the_others() {
    let folder = made();
    let lost = key(folder.path(), 0, 0);
    let files: Vec<String> = (1..=3)
        .map(|number| format!("keys/root-{number}.pem"))
        .collect();
    let left: Vec<&String> = (files.iter())
        .filter(|file| {
            let public = repository_key(folder.path(), file);
            public != lost
        })
        .collect();
    let rotate = |keys_given: &[&str]| {
        let mut arguments = vec!["rotate", "--json", "--remove", &lost[..8]];
        arguments.extend(["--add", "root:new.pem"]);
        for key in keys_given {
            arguments.extend(["--key", key]);
        }
        keys(folder.path(), &arguments)
    };
    let refused = rotate(&[left[0]]).expect_advice(1);
    assert!(
        refused.stderr().contains("2 of these keys, and got 1"),
        "{}",
        refused.stderr()
    );
    let rotated = rotate(&[left[0], left[1]]).expect(0).json();
    assert_eq!(
        (&rotated["root"], &rotated["changed"]),
        (&2.into(), &true.into())
    );
    let again = rotate(&[]).expect(0).json();
    assert_eq!(
        (&again["root"], &again["changed"]),
        (&2.into(), &false.into())
    );
    assert!(
        folder
            .path()
            .join("repository/metadata/2.root.json")
            .exists()
    );
    assert!((0..3).all(|index| key(folder.path(), 0, index) != lost));
    keys(folder.path(), &["rotate", "--key", "keys"]).expect_advice(1);
    keys(folder.path(), &["rotate", "--add", "cook:a.pem"]).expect(2);
    keys(folder.path(), &["rotate", "--threshold", "root:many"]).expect(2);
    keys(
        folder.path(),
        &["rotate", "--remove", "nothing", "--key", "keys"],
    )
    .expect_advice(1);
}

/// The number of the key in a file: the one that signs with it alone.
pub(crate) fn repository_key(folder: &Path, file: &str) -> String {
    let make = keys(folder, &["make", "--system", "shop", "--json"])
        .expect(0)
        .json();
    let made = make["keys"].as_array().expect("keys").iter();
    let mut fitting = made.filter(|key| key["file"] == file);
    let id = fitting.next().and_then(|key| key["id"].as_str());
    id.expect("its number").to_owned()
}

#[test]
fn what_is_renewed_is_good_for_longer() {
    let folder = made();
    let renew = [
        "renew",
        "timestamp",
        "--days",
        "90",
        "--key",
        "keys/server.pem",
        "--json",
    ];
    keys(folder.path(), &renew).expect(0);
    let list = keys(folder.path(), &["list", "--json"]).expect(0).json();
    let days = |role: usize| list["roles"][role]["days_left"].as_i64().expect("days");
    assert!(days(3) >= 89 && days(2) <= 30, "{list}");
    let refused = keys(folder.path(), &["renew", "--key", "keys/server.pem"]).expect_advice(1);
    assert!(
        refused.stderr().contains("the root needs"),
        "{}",
        refused.stderr()
    );
    let told = keys(folder.path(), &["renew", "--key", "keys"])
        .expect(0)
        .stdout();
    assert!(told.starts_with("Renewed."), "{told}");
    let list = keys(folder.path(), &["list", "--json"]).expect(0).json();
    assert_eq!(list["roles"][0]["version"], 2);
    keys(folder.path(), &["renew", "--days", "0", "--key", "keys"]).expect(2);
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let folder = made();
    let path = folder.path().join("keys/server.pem");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("a mode");
    let refused = keys(folder.path(), &["renew", "timestamp", "--key", "keys"]).expect_advice(2);
    assert!(
        refused.stderr().contains("chmod 600"),
        "{}",
        refused.stderr()
    );
}

#[test]
fn the_drill_shows_which_keys_can_be_lost() {
    let folder = made();
    let drilled = keys(folder.path(), &["drill", "--key", "keys", "--json"])
        .expect(0)
        .json();
    let drilled = drilled.as_array().expect("keys");
    assert_eq!(drilled.len(), 3);
    assert!(drilled.iter().all(|key| key["can_be_lost"] == true));
    let two = ["--key", "keys/root-1.pem", "--key", "keys/root-2.pem"];
    let told = keys(folder.path(), &[&["drill"], &two[..]].concat())
        .expect(1)
        .stdout();
    assert!(
        told.contains("must not be lost") && told.contains("can be lost"),
        "{told}"
    );
    let server = key(folder.path(), 2, 0);
    keys(
        folder.path(),
        &["drill", "--key", "keys", "--lost", &server[..10]],
    )
    .expect(0);
    keys(
        folder.path(),
        &["drill", "--key", "keys", "--lost", "nothing"],
    )
    .expect_advice(1);
    assert!(
        !folder
            .path()
            .join("repository/metadata/2.root.json")
            .exists()
    );
}

#[test]
fn a_command_signs_in_the_place_of_a_file() {
    let folder = made();
    let renew = ["renew", "timestamp", "--sign-with"];
    let failing = keys(folder.path(), &[&renew[..], &["exit 3"]].concat()).expect_advice(2);
    assert!(failing.stderr().contains("exit 3"), "{}", failing.stderr());
    let wrong = keys(folder.path(), &[&renew[..], &["cat"]].concat()).expect_advice(1);
    assert!(wrong.stderr().contains("got 0"), "{}", wrong.stderr());
}

#[test]
fn a_repository_travels_to_a_site_without_a_network() {
    let folder = made();
    let at = folder.path();
    let import = ["import", "shop.tar", "--repository", "site"];
    let root = ["--root", "repository/metadata/1.root.json"];
    other(at, &import).expect_advice(2);
    other(at, &["export", "shop.tar"]).expect(0);
    let refused = other(at, &import).expect_advice(2);
    assert!(refused.stderr().contains("--root"), "{}", refused.stderr());
    let stranger = made();
    let wrong = stranger.path().join("repository/metadata/1.root.json");
    let wrong = wrong.display().to_string();
    let refused = other(at, &[&import[..], &["--root", &wrong]].concat()).expect_advice(1);
    let told = refused.stderr();
    assert!(told.contains("no key that may sign it"), "{told}");
    let first = other(at, &[&import[..], &root, &["--json"]].concat());
    assert_eq!(first.expect(0).json()["root"], 1);
    other(at, &import).expect(0);
    std::fs::copy(at.join("shop.tar"), at.join("old.tar")).expect("copied");
    keys(at, &["renew", "--key", "keys"]).expect(0);
    other(at, &["export", "shop.tar"]).expect(0);
    let second = other(at, &[&import[..], &["--json"]].concat());
    assert_eq!(second.expect(0).json()["root"], 2);
    let old = other(at, &["import", "old.tar", "--repository", "site"]).expect_advice(1);
    assert!(
        old.stderr().contains("was there before"),
        "{}",
        old.stderr()
    );
    keys(&at.join("site"), &["list", "--repository", "."]).expect(0);
    other(at, &["export", "folder"]).expect(0);
    other(at, &["export", "folder"]).expect(0);
    other(at, &["import", "folder", "--repository", "site"]).expect(0);
    other(stranger.path(), &["export", "shop.tar"]).expect(0);
    let strange = stranger.path().join("shop.tar").display().to_string();
    let refused = other(at, &["import", &strange, "--repository", "site"]).expect_advice(1);
    assert!(
        refused.stderr().contains("no key that may sign it"),
        "{}",
        refused.stderr()
    );
    let first = stranger.path().join("repository/metadata/1.root.json");
    let first = first.display().to_string();
    let pin = ["import", &strange, "--repository", "site", "--root", &first];
    let refused = other(at, &pin).expect_advice(1);
    assert!(
        refused.stderr().contains("not of system"),
        "{}",
        refused.stderr()
    );
}

/// What makes the keys of a shop for whose upgrades two of two publishers must sign.
pub(crate) const MAKE: [&str; 7] = [
    "make",
    "--system",
    "shop",
    "--publishers",
    "2",
    "--publisher-threshold",
    "2",
];

/// A server at which two of two publishers must sign, and version 1 of a shop as a folder.
pub(crate) fn shop() -> (Server, PathBuf) {
    let server = Server::start();
    let made = at(&server, &MAKE).expect(0);
    assert!(
        made.stdout().contains("server's repository"),
        "{}",
        made.stdout()
    );
    let bundle = server.folder().join("v1");
    std::fs::create_dir(&bundle).expect("a folder");
    std::fs::write(
        bundle.join("upgrade.toml"),
        "system = \"shop\"\nversion = 1\n[class.a]\nsoftware = { command = [\"true\"] }\nlifecycle.probe = { alive_ms = 1 }\n",
    )
    .expect("written");
    (server, bundle)
}

/// `upstart keys` for a server's repository.
pub(crate) fn at(server: &Server, arguments: &[&str]) -> Answer {
    run(server.upstart().arg("keys").args(arguments))
}

#[test]
fn a_servers_keys_are_made_once_and_as_many_must_sign_as_was_said() {
    let empty = Server::start();
    let told = at(&empty, &["list"]).expect_advice(1);
    assert!(
        told.stderr().contains("nothing is signed"),
        "{}",
        told.stderr()
    );
    let (server, bundle) = shop();
    let again = at(&server, &MAKE).expect(0);
    assert!(
        again.stdout().contains("Nothing has changed"),
        "{}",
        again.stdout()
    );
    at(&server, &["make", "--system", "other"]).expect_advice(1);
    let told = at(&server, &MAKE[..3]).expect_advice(1).stderr();
    assert!(told.contains("of 2 publishers 2"), "{told}");
    // One of the two publishers alone.
    let second = server.folder().join("keys/publisher-2.pem");
    let away = server.folder().join("publisher-2.pem");
    std::fs::rename(&second, &away).expect("moved");
    let alone = run(server.upstart().arg("publish").arg(&bundle)).expect_advice(1);
    assert!(
        alone.stderr().contains("signatures of 2"),
        "{}",
        alone.stderr()
    );
    std::fs::rename(&away, &second).expect("moved back");
    run(server.upstart().arg("publish").arg(&bundle)).expect(0);
}

#[test]
fn a_servers_keys_are_listed_renewed_rotated_and_drilled_where_they_are() {
    let (server, _) = shop();
    let keys = server.folder().join("keys");
    let renewed = at(&server, &["renew"]).expect(0).stdout();
    assert!(renewed.contains("root until"), "{renewed}");
    at(&server, &["renew", "timestamp"]).expect_advice(1);
    let lost = at(&server, &["list", "--json"]).expect(0).json()["roles"][0]["keys"][0].clone();
    let lost = lost.as_str().expect("a key");
    let fourth = format!("root:{}", keys.join("root-4.pem").display());
    let rotated = at(&server, &["rotate", "--remove", lost, "--add", &fourth]).expect(0);
    assert!(
        rotated.stdout().contains("Root 3 is written"),
        "{}",
        rotated.stdout()
    );
    let drilled = at(&server, &["drill"]).expect(0).stdout();
    assert_eq!(drilled.matches("can be lost").count(), 3, "{drilled}");
    let list = at(&server, &["list", "--json"]).expect(0).json();
    assert_eq!(list["roles"][0]["version"], 3);
    // The server's own key, by its name.
    let own = at(&server, &["rotate", "--add", "snapshot:server"])
        .expect(0)
        .stdout();
    assert!(own.contains("Nothing has changed"), "{own}");
}

#[test]
fn another_publisher_says_once_whom_he_trusts_and_all_of_it_travels() {
    let (server, bundle) = shop();
    run(server.upstart().arg("publish").arg(&bundle)).expect(0);
    let keys = server.folder().join("keys");
    // Another publisher, with the keys alone: whom he trusts he says once.
    let other = server.folder().join("other");
    std::fs::create_dir(&other).expect("a folder");
    for name in ["publisher-1.pem", "publisher-2.pem"] {
        std::fs::copy(keys.join(name), other.join(name)).expect("copied");
    }
    let publish = |more: &[&str]| {
        let mut command = server.upstart();
        command.arg("publish").arg(&bundle).args(more);
        run(command.env("UPSTART_KEYS", &other))
    };
    let told = publish(&[]).expect_advice(1);
    assert!(told.stderr().contains("--root FILE"), "{}", told.stderr());
    let root = keys.join("1.root.json");
    publish(&["--root", root.to_str().expect("text")]).expect(0);
    publish(&[]).expect(0);

    // All of it travels to a site without a network.
    let tar = server.folder().join("shop.tar");
    run(server.upstart().arg("export").arg(&tar)).expect(0);
    let mut import = upstart();
    import
        .current_dir(server.folder())
        .arg("import")
        .arg(&tar)
        .arg("--root")
        .arg(&root);
    let told = run(&mut import).expect(0).stdout();
    assert!(
        told.contains("1 upgrade or revision of system shop"),
        "{told}"
    );
}

#[test]
fn a_new_node_is_given_a_root_that_is_one() {
    let folder = tempfile::tempdir().expect("a directory");
    let root = folder.path().join("root.json");
    let agent = || {
        let mut command = upstart();
        command.args(["agent", "--name", "a", "--class", "c", "--data"]);
        command
            .arg(folder.path().join("a"))
            .arg("--root")
            .arg(&root);
        run(&mut command).expect_advice(2).stderr()
    };
    assert!(agent().contains("no root that a node can trust"));
    std::fs::write(&root, "{}").expect("written");
    assert!(agent().contains("1.root.json"));
}
