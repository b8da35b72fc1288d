//! `upstart plan`, with a saved fleet and with a server's.

use crate::bundles::{FIRST, SECOND, write};
use crate::upstart::{Answer, Server, TOKEN, run, upstart};
use client::Client;
use model::api::{ChildState, EnrolRequest, NodeReport, Phase, SyncRequest};
use model::ids::Version;
use std::path::Path;

/// A store of two groups and what comes after it, one node of them in trouble if that is wanted.
fn fleet(folder: &Path, crashed: &str) {
    let mut nodes: Vec<String> = ["a1", "a2", "a3", "b1", "b2", "b3"]
        .iter()
        .map(|name| {
            format!(
                r#"{{"name": "{name}", "class": "store", "version": 1, "attributes": {{"group": "{}"}}{crashed}}}"#,
                &name[..1]
            )
        })
        .collect();
    nodes.push(r#"{"name": "front", "class": "front", "version": 1}"#.to_owned());
    let text = format!(
        r#"{{"taken_at_ms": 1800000000000, "nodes": [{}]}}"#,
        nodes.join(", ")
    );
    std::fs::write(folder.join("fleet.json"), text).expect("written");
}

fn system(folder: &Path, store: &str, front: &str) {
    let software = "software = { command = [\"true\"] }\n";
    let first =
        format!("system = \"s\"\nversion = 1\n[class.store]\n{software}[class.front]\n{software}");
    let second = format!(
        "system = \"s\"\nversion = 2\nfrom = 1\n[class.store]\nschedule = {{ {store} }}\n{software}\
         [class.front]\nschedule = {{ {front} }}\n{software}"
    );
    write(&folder.join("v1"), &first);
    write(&folder.join("v2"), &second);
}

fn plan(folder: &Path, more: &[&str]) -> Answer {
    let mut command = upstart();
    command.current_dir(folder);
    command.args(["plan", "v2", "--after", "v1", "--fleet", "fleet.json"]);
    run(command.args(more))
}

#[test]
fn a_saved_fleet_is_planned_for_without_a_server() {
    let folder = tempfile::tempdir().expect("a directory");
    fleet(folder.path(), "");
    let store = "max_unavailable = 1, group_by = \"group\"";
    system(
        folder.path(),
        store,
        "after = [\"store\"], after_soak_ms = 60000",
    );
    let more = [
        "--unavailable",
        "10s",
        "--json",
        "--svg",
        "plan.svg",
        "--save",
        "again.json",
    ];
    let answer = plan(folder.path(), &more).expect(0).json();
    assert_eq!(
        (&answer["version"], &answer["nodes"]),
        (&2.into(), &7.into())
    );
    // Three after the other in each group, a minute, and the front: 30 s, 60 s and 10 s, and the seconds until they ask.
    let end_ms = answer["end_ms"]["p50_ms"].as_u64().expect("an end");
    assert!((100_000..104_000).contains(&end_ms), "{answer}");
    let classes = answer["classes"].as_array().expect("classes");
    let away = classes.iter().map(|class| &class["unavailable_max"]);
    assert_eq!(away.collect::<Vec<_>>(), [&2, &1]);
    let picture = std::fs::read_to_string(folder.path().join("plan.svg")).expect("a picture");
    assert!(
        picture.starts_with("<svg") && picture.contains("store (6)"),
        "{picture}"
    );
    // What was saved is read as it was.
    let again = |fleet: &str| {
        let mut command = upstart();
        command.current_dir(folder.path());
        command.args(["plan", "v2", "--after", "v1", "--fleet", fleet]);
        run(command.args(["--unavailable", "p50=2s,p90=8s", "--seed", "4"]))
            .expect(0)
            .stdout()
    };
    assert_eq!(again("fleet.json"), again("again.json"));
}

#[test]
fn what_can_never_happen_is_a_negative_answer_and_says_why() {
    let folder = tempfile::tempdir().expect("a directory");
    fleet(folder.path(), "");
    system(folder.path(), "approval = true", "after = [\"store\"]");
    let text = plan(folder.path(), &["--unavailable", "5s"])
        .expect(1)
        .stdout();
    let stuck = "7 nodes never get there. The first: a1 to version 2: waits for approval: `upstart approve 2`";
    assert!(text.contains(stuck), "{text}");
    plan(folder.path(), &["--unavailable", "5s", "--approve"]).expect(0);

    let window = "windows = [{ start = \"22:00\", length = \"10m\", zone = \"UTC\" }]";
    system(folder.path(), window, "");
    let answer = plan(folder.path(), &["--unavailable", "20m", "--json"])
        .expect(1)
        .json();
    let finding = answer["findings"][0].as_str().expect("a finding");
    assert!(
        finding.contains("class.store.schedule.windows") && finding.contains("10m 0s"),
        "{finding}"
    );
    plan(folder.path(), &["--unavailable", "5m"]).expect(0);
}

#[test]
fn a_node_that_is_away_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a directory");
    fleet(folder.path(), r#", "reachable": false"#);
    system(folder.path(), "max_unavailable = 1", "after = [\"store\"]");
    let text = plan(folder.path(), &["--unavailable", "5s"])
        .expect(1)
        .stdout();
    assert!(
        text.contains("a1 to version 2: is unreachable") && text.contains("`upstart forget`"),
        "{text}"
    );
}

#[test]
fn without_measurements_somebody_must_say_how_long_nodes_are_unavailable() {
    let folder = tempfile::tempdir().expect("a directory");
    fleet(folder.path(), "");
    system(folder.path(), "", "");
    let answer = plan(folder.path(), &[]).expect_advice(2);
    assert!(
        answer.stderr().contains("--unavailable 5s"),
        "{}",
        answer.stderr()
    );
    let measured = std::fs::read_to_string(folder.path().join("fleet.json")).expect("it is there");
    let measured = measured.replacen('{', r#"{"unavailable_ms": {"store": [4000, 6000]}, "#, 1);
    std::fs::write(folder.path().join("fleet.json"), measured).expect("written");
    plan(folder.path(), &[]).expect(0);
}

#[test]
fn two_schedules_are_compared() {
    let folder = tempfile::tempdir().expect("a directory");
    fleet(folder.path(), "");
    system(folder.path(), "max_unavailable = 1", "");
    let quicker =
        std::fs::read_to_string(folder.path().join("v2/upgrade.toml")).expect("it is there");
    let quicker = quicker.replace("max_unavailable = 1", "max_unavailable = 3");
    write(&folder.path().join("quicker"), &quicker);
    let more = ["--unavailable", "60s", "--compare", "quicker"];
    let text = plan(folder.path(), &more).expect(0).stdout();
    assert!(
        text.contains("\nquicker:\n")
            && text.contains("later (p50)")
            && text.contains("than quicker."),
        "{text}"
    );
    let answer = plan(folder.path(), &[&more[..], &["--json"]].concat())
        .expect(0)
        .json();
    let end = |plan: &serde_json::Value| plan["end_ms"]["p50_ms"].as_u64().expect("an end");
    assert!(end(&answer) > 2 * end(&answer["compared"]), "{answer}");
}

/// Two nodes that say that they have settled at version 1.
fn settle(server: &Server) {
    let client = Client::new(&[server.url()], Some(TOKEN.to_owned())).expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for name in ["a", "b"] {
        let enrolment = EnrolRequest {
            name: name.to_owned(),
            class: "echo".to_owned(),
            ..EnrolRequest::default()
        };
        let mut report = NodeReport::default();
        report.status.version = Version(1);
        report.status.staged = Version(1);
        report.status.phase = Phase::Settled;
        report.status.child = ChildState::Running;
        let request = SyncRequest {
            report: Some(report),
            ..SyncRequest::default()
        };
        runtime.block_on(async {
            let node = client.enrol(&enrolment).await.expect("enrolled").node;
            client.sync(node, &request, None).await.expect("reported");
        });
    }
}

#[test]
fn the_live_fleet_is_planned_for_and_saved() {
    let server = Server::start();
    let folder = server.folder().to_owned();
    write(&folder.join("v1"), FIRST);
    let limited = SECOND.replace(
        "[class.echo]\n",
        "[class.echo]\nschedule = { max_unavailable = 1 }\n",
    );
    write(&folder.join("v2"), &limited);
    run(server.upstart().arg("publish").arg(folder.join("v1"))).expect(0);
    settle(&server);
    let saved = folder.join("fleet.json");
    let mut command = server.upstart();
    let command = command.arg("plan").arg(folder.join("v2"));
    let command = command.args(["--unavailable", "30s", "--json"]);
    let live = run(command).expect(0).json();
    assert_eq!((&live["nodes"], &live["version"]), (&2.into(), &2.into()));
    let end_ms = live["end_ms"]["p50_ms"].as_u64().expect("an end");
    assert!((60_000..62_000).contains(&end_ms), "{live}");
    // The file has what a plan needs, the published upgrade included, and no server is asked.
    let mut command = server.upstart();
    run(command.args(["plan", "--save"]).arg(&saved)).expect(0);
    let mut command = upstart();
    command.env("UPSTART_SERVER", "https://127.0.0.1:1");
    let command = command.arg("plan").arg(folder.join("v2")).arg("--fleet");
    let command = command.arg(&saved).args(["--unavailable", "30s", "--json"]);
    let away = run(command).expect(0).json();
    assert_eq!(away["end_ms"], live["end_ms"]);
}
