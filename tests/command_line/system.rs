//! The operators' commands against a real server.

use crate::bundles::{FIRST, SECOND, write};
use crate::upstart::{Server, free_port, run, upstart};
use std::path::PathBuf;

/// A server at which the first version is published.
fn server_with_first() -> (Server, PathBuf) {
    let server = Server::start();
    let bundle = server.folder().join("v1");
    write(&bundle, FIRST);
    run(server.upstart().arg("publish").arg(&bundle)).expect(0);
    (server, bundle)
}

#[test]
fn no_server_is_an_error_that_says_how_to_start_one() {
    let url = format!("http://127.0.0.1:{}", free_port());
    for command in [
        &["status"][..],
        &["nodes"],
        &["events"],
        &["pause"],
        &["retire", "1"],
        &["watch"],
    ] {
        let answer = run(upstart().args(command).args(["--server", &url])).expect_advice(2);
        assert!(
            answer.stderr().contains("upstart server"),
            "{}",
            answer.stderr()
        );
        assert!(answer.stdout().is_empty(), "{}", answer.stdout());
    }
    let answer = run(upstart().args(["status", "--json", "--server", &url])).expect_advice(2);
    assert_eq!(answer.json()["refused"], false);
}

#[test]
fn a_wrong_or_missing_token_is_an_error_that_names_the_option() {
    let server = Server::start();
    let mut command = upstart();
    command
        .args(["status", "--server", server.url()])
        .env("UPSTART_TOKEN", "another");
    let said = run(&mut command).expect_advice(2).stderr();
    assert!(said.contains("--token-file"), "{said}");
    let missing = server.folder().join("no-such-token");
    run(upstart().args(["status", "--token-file"]).arg(missing)).expect_advice(2);
}

#[test]
fn an_empty_system_says_what_to_do() {
    let server = Server::start();
    let text = run(server.upstart().arg("status")).expect(0).stdout();
    assert!(text.contains("upstart publish"), "{text}");
    let json = run(server.upstart().args(["status", "--json"]))
        .expect(0)
        .json();
    assert_eq!(json["upgrades"], serde_json::json!([]));
    assert_eq!(
        run(server.upstart().args(["nodes", "--json"]))
            .expect(0)
            .json(),
        serde_json::json!([])
    );
}

#[test]
fn publishing_uploads_publishes_and_can_be_repeated() {
    let (server, bundle) = server_with_first();
    let json = run(server.upstart().args(["publish", "--json"]).arg(&bundle))
        .expect(0)
        .json();
    assert_eq!(json["version"], 1);
    assert_eq!(json["revision"], 1);
    let second = server.folder().join("v2");
    write(&second, SECOND);
    let said = run(server.upstart().arg("publish").arg(&second)).expect(0);
    let last = said.stderr().lines().last().map(str::to_owned);
    assert!(last.is_some_and(|line| line.ends_with("files, 100%")));
    let status = run(server.upstart().arg("status")).expect(0).stdout();
    assert!(
        status.contains("System echo") && status.contains("The second version"),
        "{status}"
    );
    let json = run(server.upstart().args(["status", "--json"]))
        .expect(0)
        .json();
    assert_eq!(json["upgrades"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_version_that_does_not_follow_is_refused() {
    let (server, _) = server_with_first();
    let third = server.folder().join("v3");
    write(
        &third,
        &SECOND
            .replace("version = 2", "version = 3")
            .replace("from = 1", "from = 2"),
    );
    let answer = run(server.upstart().args(["publish", "--json"]).arg(&third)).expect_advice(1);
    assert_eq!(answer.json()["refused"], true);
}

#[test]
fn an_upgrade_is_revised_and_withdrawn_and_its_number_is_not_used_again() {
    let (server, _) = server_with_first();
    let second = server.folder().join("v2");
    write(&second, SECOND);
    run(server.upstart().arg("publish").arg(&second)).expect(0);
    write(&second, &SECOND.replace("\"-u\"", "\"-v\""));
    run(server.upstart().arg("publish").arg(&second)).expect_advice(1);
    let json = run(server
        .upstart()
        .args(["publish", "--revise", "--json"])
        .arg(&second))
    .expect(0)
    .json();
    assert_eq!(json["revision"], 2);
    let text = run(server.upstart().args(["withdraw", "2"]))
        .expect(0)
        .stdout();
    assert!(
        text.contains("version 3") && text.contains("from = 1"),
        "{text}"
    );
    run(server.upstart().arg("publish").arg(&second)).expect_advice(1);
    run(server.upstart().args(["withdraw", "7"])).expect_advice(1);
}

#[test]
fn a_pause_shows_its_reason_until_it_is_ended() {
    let (server, _) = server_with_first();
    run(server.upstart().args(["pause", "the audit"])).expect(0);
    let status = run(server.upstart().arg("status")).expect(0).stdout();
    assert!(status.contains("the audit"), "{status}");
    run(server.upstart().arg("resume")).expect(0);
    let json = run(server.upstart().args(["status", "--json"]))
        .expect(0)
        .json();
    assert!(json["paused"].is_null(), "{json}");
}

#[test]
fn approvals_public_versions_and_permits_answer() {
    let (server, _) = server_with_first();
    let json = run(server
        .upstart()
        .args(["approve", "1", "--class", "echo", "--json"]))
    .expect(0)
    .json();
    assert_eq!(json["class"], "echo");
    run(server.upstart().args(["approve", "9"])).expect_advice(1);
    let json = run(server
        .upstart()
        .args(["public", "1", "--service", "echo/talk", "--json"]))
    .expect(0)
    .json();
    assert_eq!(json["echo/talk"], 1);
    run(server.upstart().args(["public", "9"])).expect_advice(1);
    assert_eq!(
        run(server.upstart().args(["permit", "list", "--json"]))
            .expect(0)
            .json(),
        serde_json::json!([])
    );
    run(server.upstart().args(["permit", "break", "3"])).expect_advice(1);
}

#[test]
fn unknown_nodes_are_a_negative_answer() {
    let (server, _) = server_with_first();
    for command in [
        ["nodes", "nobody"],
        ["retry", "nobody"],
        ["forget", "nobody"],
        ["logs", "nobody"],
    ] {
        run(server.upstart().args(command)).expect_advice(1);
    }
}

#[test]
fn the_newest_version_cannot_be_retired() {
    let (server, _) = server_with_first();
    run(server.upstart().args(["retire", "1"])).expect_advice(1);
}

#[test]
fn the_history_names_its_authors_and_can_be_filtered() {
    let (server, _) = server_with_first();
    run(server
        .upstart()
        .args(["pause", "lunch"])
        .env("USER", "ada")
        .env_remove("SUDO_USER"))
    .expect(0);
    let events = run(server.upstart().args(["events", "--json"]))
        .expect(0)
        .json_lines();
    let kinds: Vec<&str> = events
        .iter()
        .filter_map(|event| event["kind"].as_str())
        .collect();
    assert!(kinds.contains(&"upgrade.published"), "{kinds:?}");
    let pause = events
        .iter()
        .find(|event| event["message"].to_string().contains("lunch"));
    let author = pause.expect("the pause is in the history")["author"].to_string();
    assert!(author.contains("ada@"), "{author}");
    let first = events[0]["sequence"].as_u64().expect("a number");
    let later = run(server
        .upstart()
        .args(["events", "--json", "--after", &first.to_string()]))
    .expect(0);
    assert_eq!(later.json_lines().len(), events.len() - 1);
    let published = run(server.upstart().args(["events", "--kind", "upgrade."]))
        .expect(0)
        .stdout();
    assert!(
        published.lines().count() >= 1 && !published.contains("lunch"),
        "{published}"
    );
}

#[test]
fn watching_until_a_version_gives_up_when_time_is_up() {
    let (server, _) = server_with_first();
    run(server
        .upstart()
        .args(["watch", "--until", "1", "--timeout", "1"]))
    .expect(1);
}

#[test]
fn an_agents_configuration_file_refuses_unknown_keys() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("agent.toml");
    std::fs::write(
        &file,
        "data = \"d\"\nname = \"n\"\nclass = \"c\"\nservers = []\ncolour = 1\n",
    )
    .expect("written");
    let answer = run(upstart().arg("agent").arg("--config").arg(&file)).expect_advice(2);
    assert!(answer.stderr().contains("colour"), "{}", answer.stderr());
    run(upstart().args(["agent", "--data", "d", "--name", "n"])).expect(2);
    run(upstart().args([
        "agent", "--data", "d", "--name", "n", "--class", "c", "--var", "x",
    ]))
    .expect(2);
}
