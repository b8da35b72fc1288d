//! `upstart webhooks`, `upstart audit` and `upstart events --from newest` against a real server.

use crate::upstart::{Server, run};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

/// A receiver that takes everything; its address.
fn receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut read = [0; 65_536];
            // Whoever goes has got no answer.
            let _ = stream.read(&mut read);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine",
            );
        }
    });
    address.to_string()
}

#[test]
fn a_webhook_is_added_tried_listed_and_removed() {
    let server = Server::start();
    let webhooks = |arguments: &[&str]| {
        let mut command = server.upstart();
        command.arg("webhooks").args(arguments);
        command
    };
    let empty = run(&mut webhooks(&[])).expect(0).stdout();
    assert!(empty.contains("upstart webhooks add"), "{empty}");
    let secret = server.folder().join("secret");
    let shown = secret.display().to_string();
    let url = format!("http://{}/hidden", receiver());
    let added = run(&mut webhooks(&[
        "add",
        "ops",
        "--to",
        &url,
        "--secret-file",
        &shown,
        "--severity",
        "warning",
    ]));
    assert!(added.expect(0).stderr().contains("a new secret is in"));
    let mode = std::fs::metadata(&secret)
        .expect("made")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let tried = run(&mut webhooks(&["test", "ops"])).expect(0).stdout();
    assert!(
        tried.contains("has taken a test event: 200 OK: fine"),
        "{tried}"
    );
    let listed = run(&mut webhooks(&["list"])).expect(0).stdout();
    assert!(
        listed.contains("cloudevents") && !listed.contains("hidden"),
        "{listed}"
    );
    let json = run(&mut webhooks(&["list", "--json"])).expect(0).json();
    assert_eq!(json["webhooks"][0]["filter"]["severity"], "warning");
    assert!(!json.to_string().contains("whsec_"), "{json}");
    // One that does not answer is a negative answer.
    let nobody = "http://127.0.0.1:9/";
    run(&mut webhooks(&["add", "ops", "--to", nobody])).expect(0);
    let refused = run(&mut webhooks(&["test", "ops"])).expect(1).stdout();
    assert!(
        refused.contains("has not taken a test event") && refused.contains("refused"),
        "{refused}"
    );
    run(&mut webhooks(&["remove", "ops"])).expect(0);
    run(&mut webhooks(&["test", "ops"])).expect_advice(1);
}

#[test]
fn what_is_wrong_with_a_webhook_is_named_and_a_secret_that_others_can_read_is_none() {
    let server = Server::start();
    let webhooks = |arguments: &[&str]| {
        let mut command = server.upstart();
        command.arg("webhooks").args(arguments);
        command
    };
    let secret = server.folder().join("secret");
    let shown = secret.display().to_string();
    let url = "http://127.0.0.1:9/";
    let odd = run(&mut webhooks(&[
        "add",
        "x",
        "--to",
        url,
        "--secret-file",
        &shown,
        "--kind",
        "nod.x",
    ]));
    let said = odd.expect_advice(1).stderr();
    assert!(
        said.contains("filter.kinds") && said.contains("nod.x"),
        "{said}"
    );
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).expect("set");
    let open = run(&mut webhooks(&[
        "add",
        "x",
        "--to",
        url,
        "--secret-file",
        &shown,
    ]));
    assert!(open.expect_advice(2).stderr().contains("chmod 600"));
}

#[test]
fn an_audit_has_every_event_with_its_proven_author_and_goes_on_where_it_was() {
    let server = Server::start();
    let pause = |reason: &str| run(server.upstart().args(["pause", reason])).expect(0);
    (0..3).for_each(|number| drop(pause(&format!("reason, {number}"))));
    let file = server.folder().join("audit");
    let append = || {
        run(server.upstart().args(["audit", "--to"]).arg(&file))
            .expect(0)
            .stdout()
    };
    append();
    let first = std::fs::read_to_string(&file).expect("written");
    pause("later");
    append();
    let text = std::fs::read_to_string(&file).expect("written");
    assert!(
        text.starts_with(&first) && text.len() > first.len(),
        "it was appended to"
    );
    let printed = run(server.upstart().arg("audit")).expect(0).stdout();
    assert_eq!(printed, text, "the same at once");
    let events = run(server.upstart().args(["events", "--json"]))
        .expect(0)
        .stdout();
    assert_eq!(events.lines().count(), text.lines().count(), "each of them");
    for (event, record) in events.lines().zip(text.lines()) {
        let event: serde_json::Value = serde_json::from_str(event).expect("JSON");
        let record: serde_json::Value = serde_json::from_str(record).expect("JSON");
        assert_eq!(record["event"], event);
        // Whoever has the server's own token says who he is: that is no proof.
        if event["kind"] == "system.paused" {
            assert!(event["proven"].is_null(), "{event}");
        }
    }
    let whole = run(server.upstart().args(["audit", "--check"]).arg(&file))
        .expect(0)
        .stdout();
    assert!(whole.contains("each after the one before"), "{whole}");
    std::fs::write(&file, text.replace("reason, 1", "reason, 9")).expect("changed");
    let changed = run(server.upstart().args(["audit", "--check"]).arg(&file)).expect_advice(1);
    assert!(changed.stderr().contains("line "), "{}", changed.stderr());
    run(server.upstart().args(["audit", "--to"]).arg(&file)).expect_advice(2);
    let csv = run(server.upstart().args(["audit", "--csv"]))
        .expect(0)
        .stdout();
    assert!(
        csv.contains(",\"reason, 1\"") || csv.contains("reason, 1\""),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), text.lines().count() + 1);
}

#[test]
fn events_from_the_newest_begin_with_what_happens_from_now_on() {
    let server = Server::start();
    run(server.upstart().args(["pause", "before"])).expect(0);
    let mut command = server.upstart();
    command
        .args(["events", "--from", "newest", "--json"])
        .stdout(Stdio::piped());
    let mut following = command.spawn().expect("it runs");
    let lines = BufReader::new(following.stdout.take().expect("piped")).lines();
    // Whether it has begun cannot be seen: things happen until it says one of them.
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .for_each(|line| drop(said.send(line)))
    });
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let first = loop {
        run(server.upstart().args(["pause", "after"])).expect(0);
        if let Ok(line) = heard.recv_timeout(std::time::Duration::from_millis(50)) {
            break line;
        }
        assert!(std::time::Instant::now() < end, "nothing is said");
    };
    // Ended is ended.
    let _ = following.kill();
    let _ = following.wait();
    assert!(
        first.contains("after") && !first.contains("before"),
        "{first}"
    );
}
