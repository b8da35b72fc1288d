//! `upstart doctor` on this host, with a server and without one.

use crate::upstart::{Server, free_port, run, upstart};
use serde_json::Value;

/// What it found about something.
fn found<'a>(findings: &'a Value, about: &str) -> Vec<&'a Value> {
    let findings = findings.as_array().expect("a list");
    let of_it = findings.iter().filter(|finding| {
        finding["about"]
            .as_str()
            .expect("a word")
            .starts_with(about)
    });
    of_it.collect()
}

#[test]
fn a_host_its_disk_and_its_server_are_looked_at() {
    let server = Server::start();
    let data = server.folder().join("node");
    let mut command = server.upstart();
    command.args(["doctor", "--json", "--data"]).arg(&data);
    let findings = run(&mut command).expect(0).json();
    for about in [
        "kernel",
        "TCP Fast Open",
        "seccomp",
        "data",
        "room",
        "server",
    ] {
        let looked = found(&findings, about);
        assert!(!looked.is_empty(), "{about}: {findings}");
        for finding in looked {
            let is_good = finding["health"] == "good";
            assert!(is_good || finding["next"] != "", "{finding}");
            assert!(finding["health"] != "trouble", "{finding}");
        }
    }
    let clocks = found(&findings, "server");
    assert_eq!(clocks.len(), 2, "{findings}");
    assert!(
        clocks.iter().all(|clock| clock["health"] == "good"),
        "{findings}"
    );
    assert!(!data.exists(), "it makes nothing");
    let table = run(server.upstart().arg("doctor")).expect(0).stdout();
    assert!(table.contains("its clock agrees"), "{table}");
}

#[test]
fn a_server_that_does_not_answer_is_trouble_with_what_to_do() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let answer = run(upstart().args(["doctor", "--json", "--server", &url])).expect(1);
    let findings = answer.json();
    let server = found(&findings, "server");
    assert_eq!(server[0]["health"], "trouble", "{findings}");
    assert!(
        server[0]["next"]
            .as_str()
            .expect("advice")
            .contains("upstart server")
    );
    let offline = run(upstart().args(["doctor", "--json", "--offline", "--server", &url]));
    assert!(found(&offline.expect(0).json(), "server").is_empty());
    let file = run(upstart().args(["doctor", "--offline", "--data", "/proc/nowhere"])).expect(1);
    assert!(file.stdout().contains("TROUBLE"), "{}", file.stdout());
}
