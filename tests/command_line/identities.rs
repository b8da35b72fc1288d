//! Invitations, logging in, and what the commands make of keys and certificates that are there.

use crate::upstart::{Server, run, upstart};
use kit::wait_for;
use model::api::EventKind;
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Invites somebody as an admin; gives the file with the token.
fn invited(server: &Server, name: &str) -> PathBuf {
    let file = server.folder().join(format!("token-of-{name}"));
    let mut invite = server.upstart();
    invite.args(["invite", "operator", name, "--role", "admin", "--to"]);
    run(invite.arg(&file)).expect(0);
    file
}

/// A command of somebody who has this folder for a key, and no token.
fn owner(server: &Server, folder: &Path) -> Command {
    let mut command = upstart();
    command
        .env("UPSTART_SERVER", server.url())
        .env("UPSTART_IDENTITY", folder);
    command
}

fn log_in(server: &Server, folder: &Path, token: &Path) -> crate::upstart::Answer {
    let mut login = owner(server, folder);
    run(login.args(["login", "--token-file"]).arg(token))
}

fn known(server: &Server) -> Value {
    run(server.upstart().args(["identities", "--json"]))
        .expect(0)
        .json()
}

/// The admin would look for the token that was made, and it would be good for an hour.
#[test]
fn an_invitation_whose_token_cannot_be_written_is_not_made() {
    let server = Server::start();
    let file = invited(&server, "ann");
    let before = std::fs::read_to_string(&file).expect("a token");
    let mut invite = server.upstart();
    invite.args(["invite", "operator", "bob", "--role", "viewer", "--to"]);
    let said = run(invite.arg(&file)).expect_advice(2).stderr();
    assert!(said.contains("place for a new file"), "{said}");
    let invitations = known(&server)["invitations"].clone();
    let invited: Vec<&Value> = invitations.as_array().into_iter().flatten().collect();
    assert_eq!(invited.len(), 1, "{invitations}");
    assert_eq!(invited[0]["principal"], "operator:ann");
    let after = std::fs::read_to_string(&file).expect("a token");
    assert_eq!(before, after);
}

#[test]
fn a_token_that_is_used_up_is_told_from_the_servers() {
    let server = Server::start();
    let token = invited(&server, "ann");
    let folder = server.folder();
    log_in(&server, &folder.join("ann"), &token).expect(0);
    let again = log_in(&server, &folder.join("thief"), &token).expect_advice(2);
    let said = again.stderr();
    assert!(said.contains("cannot be used"), "{said}");
    assert!(said.contains("`upstart invite operator"), "{said}");
    assert!(!said.contains("data directory"), "{said}");
}

/// What is there of one system is not lost by logging in at another.
#[test]
fn one_folder_is_logged_in_at_one_system() {
    let (one, other) = (Server::start(), Server::start());
    let folder = one.folder().join("own");
    log_in(&one, &folder, &invited(&one, "ann")).expect(0);
    let refused = log_in(&other, &folder, &invited(&other, "ann")).expect_advice(2);
    assert!(refused.stderr().contains("--identity DIR"));
    run(owner(&one, &folder).arg("status")).expect(0);
    let apart = one.folder().join("apart");
    let token = other.folder().join("token-of-ann");
    log_in(&other, &apart, &token).expect(0);
    run(owner(&other, &apart).arg("status")).expect(0);
}

/// Whoever names a folder wants to be known by it, also as the server's own user on its host.
#[test]
fn a_folder_that_is_named_wins_over_the_token_that_the_server_tells() {
    let server = Server::start();
    let own = server.folder().join("own");
    let said = |folder: &Path| {
        let answer = run(owner(&server, folder).args(["pause", "x"]));
        answer.expect_advice(2).stderr()
    };
    let none = said(&own);
    assert!(none.contains("has no key and certificate"), "{none}");
    let token = server.folder().join("token-of-vic");
    let mut invite = server.upstart();
    invite.args(["invite", "operator", "vic", "--role", "viewer", "--to"]);
    run(invite.arg(&token)).expect(0);
    log_in(&server, &own, &token).expect(0);
    let refused = said(&own);
    assert!(refused.contains("vic is viewer"), "{refused}");
}

/// A certificate is no secret; a key is.
/// Part of a token says no more whose it is: what is logged in there already stays.
#[test]
fn a_token_without_its_pin_replaces_no_login() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("own");
    log_in(&server, &own, &invited(&server, "alice")).expect(0);
    let kept = std::fs::read(own.join("certificate.pem")).expect("a certificate");
    let token = invited(&server, "bob");
    let text = std::fs::read_to_string(&token).expect("a token");
    let (secret, _) = text.rsplit_once('.').expect("a pin");
    std::fs::write(&token, secret).expect("written");
    let refused = log_in(&server, &own, &token).expect_advice(2);
    let said = refused.stderr();
    assert!(
        said.contains("does not say which system it is for"),
        "{said}"
    );
    let now = std::fs::read(own.join("certificate.pem")).expect("a certificate");
    assert_eq!(now, kept);
}

#[test]
fn a_key_that_others_can_read_is_refused_and_a_certificate_is_not() {
    let server = Server::start();
    let folder = server.folder().join("own");
    log_in(&server, &folder, &invited(&server, "ann")).expect(0);
    let open = |file: &str, mode: u32| {
        let file = folder.join(file);
        std::fs::set_permissions(file, Permissions::from_mode(mode)).expect("set");
    };
    open("certificate.pem", 0o644);
    run(owner(&server, &folder).arg("status")).expect(0);
    open("key.pem", 0o640);
    let refused = run(owner(&server, &folder).arg("status")).expect_advice(2);
    assert!(
        refused.stderr().contains("holds a key"),
        "{}",
        refused.stderr()
    );
}

/// Scripts run several commands at once: together they renew one certificate, and do not look like copies of the key.
#[test]
fn commands_that_run_at_once_renew_together() {
    // A certificate is due two seconds after it was made, and good for two more: long enough for a command on a busy machine.
    let server = Server::start_with(&["--certificate-ms", "4000"]);
    let folder = server.folder().join("own");
    log_in(&server, &folder, &invited(&server, "ann")).expect(0);
    let counter = || known(&server)["identities"][0]["counter"].as_u64();
    wait_for("two renewals", || {
        let together: Vec<_> = (0..4)
            .map(|_| {
                let mut command = owner(&server, &folder);
                std::thread::spawn(move || run(command.arg("status")))
            })
            .collect();
        for one in together {
            one.join().expect("no panic").expect(0);
        }
        counter() >= Some(3)
    });
    let history = run(server.upstart().args(["events", "--json"])).expect(0);
    let cloned = EventKind::IdentityCloned.name();
    let told = history.json_lines();
    assert!(told.iter().all(|event| event["kind"] != cloned), "{told:?}");
}

/// Nobody is kept from revoking the last one, whose key may be stolen; but it is said.
#[test]
fn who_revokes_the_last_admin_is_told_who_can_let_others_in() {
    let server = Server::start();
    let mut folders = Vec::new();
    for name in ["ann", "bob"] {
        let folder = server.folder().join(name);
        log_in(&server, &folder, &invited(&server, name)).expect(0);
        folders.push(folder);
    }
    let revoke = |name: &str| {
        let mut revoke = server.upstart();
        revoke.args(["revoke", &format!("operator:{name}")]);
        run(&mut revoke).expect(0).stderr()
    };
    let first = revoke("ann");
    assert!(!first.contains("no admin"), "{first}");
    let last = revoke("bob");
    assert!(last.contains("no admin has a key any more"), "{last}");
    assert!(last.contains("--role admin"), "{last}");
    // Once more is nothing new.
    let again = revoke("bob");
    assert!(!again.contains("no admin"), "{again}");
}
