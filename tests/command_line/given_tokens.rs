//! Tokens and configurations that are given: whose they are, and whether they can be sent.

use crate::tokens::*;
use crate::upstart::{Server, free_port, run, upstart};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

/// It says what is run, with or without a token in it.
#[test]
fn a_configuration_that_others_may_write_is_refused() {
    let test = "a_configuration_that_others_may_write_is_refused";
    if !can_be_nobody(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let (own, open) = (folder.path().join("own"), folder.path().join("open"));
    for folder in [&own, &open] {
        std::fs::create_dir(folder).expect("made");
    }
    let text = "data = 'd'\nname = 'a'\nclass = 'box'\nservers = ['http://127.0.0.1:1']\n";
    let refused = |file: &Path, problem: &str| {
        let mut agent = upstart();
        let said = run(agent.args(["agent", "--config"]).arg(file)).expect_advice(2);
        assert!(said.stderr().contains(problem), "{}", said.stderr());
        assert!(!folder.path().join("d").exists());
    };
    let file = own.join("agent.toml");
    std::fs::write(&file, text).expect("written");
    std::fs::set_permissions(&file, Permissions::from_mode(0o646)).expect("opened");
    refused(&file, "can be written by everybody");
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("closed");
    chown(&file, Some(NOBODY), None).expect("given away");
    refused(&file, "belongs to user 65534");
    chown(&file, Some(0), None).expect("taken back");
    // Whoever may write into the folder puts another file or link there.
    std::fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("opened");
    let (within, link) = (open.join("agent.toml"), open.join("link.toml"));
    std::fs::write(&within, text).expect("written");
    std::os::unix::fs::symlink(&file, &link).expect("made");
    refused(&within, "can be written by everybody");
    refused(&link, "can be written by everybody");
}

/// Whoever has a folder above the data can rename that, and give the server data of yesterday.
#[test]
fn a_server_has_no_data_in_a_folder_of_somebody_elses() {
    let test = "a_server_has_no_data_in_a_folder_of_somebody_elses";
    if !can_be_nobody(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let theirs = folder.path().join("theirs");
    std::fs::create_dir(&theirs).expect("made");
    chown(&theirs, Some(NOBODY), None).expect("given away");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(theirs.join("data"), &link).expect("made");
    let refused = |data: &Path| {
        let mut server = upstart();
        server.args(["server", "--listen", "127.0.0.1:0", "--data"]);
        let said = run(server.arg(data)).expect_advice(2).stderr();
        assert!(said.contains("theirs belongs to user 65534"), "{said}");
        assert!(said.contains("/var/lib/upstart/server"), "{said}");
    };
    refused(&theirs.join("data"));
    refused(&theirs.join("deeper/data"));
    assert_eq!(std::fs::read_dir(&theirs).expect("there").count(), 0);
    std::fs::create_dir(theirs.join("data")).expect("made");
    refused(&theirs.join("data"));
    refused(&link);
}

#[test]
fn a_token_that_others_can_read_is_refused_with_what_to_do() {
    let server = Server::start();
    let open = server.folder().join("open");
    std::fs::write(&open, crate::upstart::TOKEN).expect("written");
    let refused = |command: &mut Command| {
        let said = run(command).expect_advice(2).stderr();
        let advice = format!("chmod 600 {}", open.display());
        assert!(said.contains(&advice) && said.contains("640"), "{said}");
        assert!(said.contains("0644"), "{said}");
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

/// What the caller's own surroundings have wrong is not blamed on a server.
#[test]
fn what_cannot_be_sent_is_refused_with_its_own_name() {
    let server = Server::start();
    let command = |words: &[&str]| {
        let mut command = server.upstart();
        command.args(words);
        command
    };
    let mut odd_token = command(&["status"]);
    odd_token
        .env_remove("UPSTART_TOKEN_FILE")
        .env("UPSTART_TOKEN", "a\r\nX-Y: z");
    let mut odd_author = command(&["pause", "x"]);
    odd_author
        .env_remove("SUDO_USER")
        .env("USER", "x\x1b[2J\ny");
    let data = server.folder().join("agent");
    let mut odd_name = command(&["agent", "--name", "a\nb", "--class", "c", "--data"]);
    odd_name.arg(&data);
    let mut dots = command(&["agent", "--name", "..", "--class", "c", "--data"]);
    dots.arg(&data);
    let server_of_agent = "http://u:p@127.0.0.1:9";
    let mut password_of_agent = command(&["agent", "--name", "a", "--class", "c", "--server"]);
    password_of_agent
        .args([server_of_agent, "--data"])
        .arg(&data);
    let mut password = command(&["status", "--server", "http://u:p@127.0.0.1:9"]);
    for (command, told) in [
        (&mut odd_token, "UPSTART_TOKEN holds no token"),
        (&mut odd_author, "author's name"),
        (&mut odd_name, "no node's name"),
        (&mut dots, "no node's name"),
        (&mut password, "a name or a password"),
        (&mut password_of_agent, "a name or a password"),
    ] {
        let said = run(command).expect_advice(2).stderr();
        assert!(said.contains(told), "{said}");
        assert!(!said.contains("no upgrade server answers"), "{said}");
    }
    assert!(processes_of(&data).is_empty(), "a holder is left");
}

#[test]
fn a_token_that_is_short_or_no_file_is_refused() {
    let folder = tempfile::tempdir().expect("a directory");
    let short = folder.path().join("short");
    std::fs::write(&short, "hello\n").expect("written");
    std::fs::set_permissions(&short, Permissions::from_mode(0o600)).expect("set");
    let mut server = upstart();
    server.args(["server", "--listen", "127.0.0.1:0", "--data"]);
    server.arg(folder.path().join("data"));
    let said = run(server.arg("--token-file").arg(&short)).expect_advice(2);
    assert!(said.stderr().contains("5 bytes"), "{}", said.stderr());
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("it runs").success());
    for words in [&["status", "--token-file"][..], &["agent", "--config"]] {
        let said = run(upstart().args(words).arg(&pipe)).expect_advice(2);
        assert!(
            said.stderr().contains("no regular file"),
            "{}",
            said.stderr()
        );
    }
}
