//! Bundles that change while they are published, and users who may not read or write: what people are told.

use crate::bundles::{FIRST, write};
use crate::upstart::{Server, run, upstart};
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Nobody's number on Debian and its kin.
const NOBODY: u32 = 65_534;

/// A port that leads to the server; when the first connection comes, something is done before anything passes.
fn gateway(server: &Server, before: impl FnOnce() + Send + 'static) -> u16 {
    let to = server.url().trim_start_matches("https://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let mut before = Some(before);
        for from in listener.incoming() {
            if let Some(before) = before.take() {
                before();
            }
            let (from, to) = (from.expect("a connection"), TcpStream::connect(&to));
            let to = to.expect("the server listens");
            let (back_from, back_to) = (
                to.try_clone().expect("a handle"),
                from.try_clone().expect("a handle"),
            );
            std::thread::spawn(move || pass(from, to));
            std::thread::spawn(move || pass(back_from, back_to));
        }
    });
    port
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // Either side may end as it likes.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// Publishes a bundle whose file is replaced by `later` after it has been read.
fn publish_changing(later: Option<&'static str>) -> String {
    let server = Server::start();
    let bundle = server.folder().join("v1");
    write(&bundle, FIRST);
    let path = bundle.join("notes.txt");
    std::fs::write(&path, "as it was read").expect("written");
    let port = gateway(&server, move || {
        match later {
            Some(text) => std::fs::write(&path, text),
            None => std::fs::remove_file(&path),
        }
        .expect("changed");
    });
    let mut command = server.upstart();
    command
        .env("UPSTART_SERVER", format!("https://127.0.0.1:{port}"))
        .arg("publish")
        .arg(&bundle);
    let answer = run(&mut command).expect_advice(1);
    let status = run(server.upstart().args(["status", "--json"]))
        .expect(0)
        .json();
    assert_eq!(
        status["upgrades"],
        serde_json::json!([]),
        "something was published"
    );
    answer.stderr()
}

#[test]
fn a_bundle_that_changes_while_it_is_published_is_not_published() {
    for later in [
        Some("as it is now!!"),
        Some("shorter"),
        Some("longer than it was before"),
        None,
    ] {
        let said = publish_changing(later);
        assert!(
            said.contains("notes.txt changed while it was published"),
            "{later:?}: {said}"
        );
    }
}

#[test]
fn who_may_not_read_or_write_is_told_so() {
    let folder = tempfile::tempdir().expect("a directory");
    let bundle = folder.path().join("v1");
    write(&bundle, FIRST);
    write(&bundle.join("secret"), "x");
    let shut = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).expect("a mode");
    };
    shut(&bundle.join("secret"));
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("a mode");
    let mut as_nobody = upstart();
    as_nobody.arg("check").arg(&bundle).uid(NOBODY).gid(NOBODY);
    if as_nobody.output().is_err() {
        println!(
            "SKIPPED: who_may_not_read_or_write_is_told_so: needs root, and a program that everybody may run"
        );
        return;
    }
    let said = run(&mut as_nobody).expect_advice(2).stderr();
    assert!(said.contains("secret: Permission denied"), "{said}");
    let mut agent = upstart();
    agent.args(["agent", "--name", "a", "--class", "echo", "--data"]);
    agent.arg(bundle.join("data")).uid(NOBODY).gid(NOBODY);
    let said = run(&mut agent).expect_advice(2).stderr();
    assert!(
        said.contains("data: Permission denied") && said.contains("--data"),
        "{said}"
    );
    let mut server = upstart();
    server.args(["server", "--listen", "127.0.0.1:0", "--data"]);
    server.arg(bundle.join("server")).uid(NOBODY).gid(NOBODY);
    let said = run(&mut server).expect_advice(2).stderr();
    assert!(said.contains("server: Permission denied"), "{said}");
}

/// What takes long to upload is not uploaded for nothing.
#[test]
fn what_the_server_would_refuse_is_refused_before_anything_is_uploaded() {
    let server = Server::start();
    let bundle = server.folder().join("bundle");
    write(&bundle, FIRST);
    run(server.upstart().arg("publish").arg(&bundle)).expect(0);
    let artifacts = || {
        let folder = server.folder().join("data/repository/artifacts");
        let found = std::fs::read_dir(folder).expect("artifacts");
        found
            .map(|entry| entry.expect("read").file_name())
            .collect::<Vec<_>>()
    };
    let before = artifacts();
    let refused = |text: &str, arguments: &[&str]| {
        write(&bundle, text);
        std::fs::write(bundle.join("large.bin"), vec![7; 100_000]).expect("written");
        let mut command = server.upstart();
        command.arg("publish").arg(&bundle).args(arguments);
        let said = run(&mut command).expect_advice(1).stderr();
        assert_eq!(artifacts(), before, "{said}");
        said
    };
    assert!(refused(FIRST, &[]).contains("`--revise`"));
    let fifth = FIRST.replace("version = 1", "version = 5\nfrom = 1");
    assert!(refused(&fifth, &[]).contains("write `version = 2`"));
    let elsewhere = server.folder().join("no-keys");
    std::fs::create_dir(&elsewhere).expect("made");
    let keys = elsewhere.to_str().expect("text");
    refused(FIRST, &["--revise", "--keys", keys]);
    // With the keys that are there it goes.
    run(server.upstart().args(["publish", "--revise"]).arg(&bundle)).expect(0);
    assert!(artifacts().len() > before.len());
}
