//! Who is believed, and who is told the token.

use crate::upstart::{Server, free_port, run, upstart};
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// An ordinary user who owns nothing.
const NOBODY: u32 = 65_534;

fn as_nobody(mut command: Command) -> Command {
    command.uid(NOBODY).gid(NOBODY);
    command
}

/// Whether this test may become somebody else, and that one may run the binary; says so where not.
fn can_be_nobody(test: &str) -> bool {
    let can = as_nobody(upstart()).arg("--version").output().is_ok();
    if !can {
        println!("SKIPPED: {test}: needs root, and a program that everybody may run");
    }
    can
}

#[test]
fn a_server_makes_its_token_and_commands_of_its_user_find_it() {
    let server = Server::start_with_its_own_token();
    let file = server.folder().join("data/token");
    let mode = std::fs::metadata(&file).expect("made").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    for url in [
        server.url().to_owned(),
        server.url().replace("127.0.0.1", "localhost"),
    ] {
        run(upstart().args(["status", "--server", &url])).expect(0);
    }
    let mut given = upstart();
    given.args(["status", "--server", server.url(), "--token-file"]);
    run(given.arg(&file)).expect(0);
}

#[test]
fn other_users_are_not_told_the_token_and_can_do_nothing() {
    let test = "other_users_are_not_told_the_token_and_can_do_nothing";
    if !can_be_nobody(test) {
        return;
    }
    let server = Server::start_with_its_own_token();
    for words in [&["status"][..], &["pause"], &["retire", "1"]] {
        let mut command = as_nobody(upstart());
        command.args(words).args(["--server", server.url()]);
        let said = run(&mut command).expect_advice(2).stderr();
        assert!(said.contains("--token-file"), "{said}");
    }
    let file = server.folder().join("data/token");
    let mut stolen = as_nobody(upstart());
    stolen.args(["status", "--server", server.url(), "--token-file"]);
    run(stolen.arg(file)).expect_advice(2);
}

#[test]
fn a_server_that_somebody_else_runs_is_not_believed_without_its_token() {
    let test = "a_server_that_somebody_else_runs_is_not_believed_without_its_token";
    if !can_be_nobody(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("given away");
    let url = format!("http://127.0.0.1:{}", free_port());
    let mut server = as_nobody(upstart());
    server
        .args(["server", "--listen", &url["http://".len()..], "--data"])
        .arg(folder.path().join("data"));
    let mut server = server.spawn().expect("starts");
    let token = folder.path().join("data/token");
    let status = || {
        let mut command = upstart();
        command.args(["status", "--server", &url, "--token-file"]);
        run(command.arg(&token))
    };
    // With the token it is our own business whom we believe.
    while status().code() != Some(0) {
        assert!(server.try_wait().expect("waits").is_none());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let without = run(upstart().args(["status", "--server", &url]));
    server.kill().expect("killed");
    server.wait().expect("reaped");
    let said = without.expect_advice(2).stderr();
    assert!(said.contains(&format!("run by user {NOBODY}")), "{said}");
}

/// What listens at a loopback address and tells no token is asked nothing: it could say anything.
#[test]
fn a_program_that_only_has_the_port_is_asked_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let said = run(upstart().args(["status", "--server", &url]))
        .expect_advice(2)
        .stderr();
    assert!(said.contains("nobody listens there"), "{said}");
    let called = listener.accept();
    assert_eq!(
        called.expect_err("nobody").kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[test]
fn a_token_that_others_can_read_is_refused_with_what_to_do() {
    let server = Server::start();
    let open = server.folder().join("open");
    std::fs::write(&open, crate::upstart::TOKEN).expect("written");
    let refused = |command: &mut Command| {
        let said = run(command).expect_advice(2).stderr();
        let advice = format!("chmod 600 {}", open.display());
        assert!(said.contains(&advice) && said.contains("0644"), "{said}");
    };
    std::fs::set_permissions(&open, Permissions::from_mode(0o644)).expect("set");
    let data = server.folder().join("other");
    let listen = format!("127.0.0.1:{}", free_port());
    refused(upstart().args(["status", "--token-file"]).arg(&open));
    refused(upstart().arg("status").env("UPSTART_TOKEN_FILE", &open));
    let mut another = upstart();
    another
        .args(["server", "--listen", &listen, "--data"])
        .arg(&data);
    refused(another.arg("--token-file").arg(&open));
    refused(&mut agent_with_token(&open, &data));
    // With a mode that says who may, it is the token.
    std::fs::set_permissions(&open, Permissions::from_mode(0o640)).expect("set");
    let mut status = upstart();
    status.args(["status", "--server", server.url(), "--token-file"]);
    run(status.arg(&open)).expect(0);
}

/// An agent whose configuration, this very file, holds the token.
fn agent_with_token(file: &Path, data: &Path) -> Command {
    let text = format!(
        "data = '{}'\nname = 'a'\nclass = 'c'\nservers = ['http://127.0.0.1:9']\ntoken = 't'\n",
        data.display()
    );
    let mode = std::fs::metadata(file).expect("there").permissions();
    let config = file.with_extension("toml");
    std::fs::write(&config, text).expect("written");
    std::fs::set_permissions(&config, mode).expect("set");
    let mut agent = upstart();
    agent.args(["agent", "--config"]).arg(config);
    agent
}

#[test]
fn no_proxy_is_ever_given_the_token() {
    let server = Server::start();
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("set");
    let url = format!("http://{}", proxy.local_addr().expect("an address"));
    let mut command = server.upstart();
    command
        .arg("status")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTPS_PROXY",
    ] {
        command.env(name, &url);
    }
    run(&mut command).expect(0);
    let called = proxy.accept();
    assert_eq!(
        called.expect_err("nobody").kind(),
        std::io::ErrorKind::WouldBlock
    );
}
