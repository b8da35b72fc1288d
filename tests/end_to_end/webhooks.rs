//! Servers that are killed while they deliver: what they did not come to note is delivered again, in order, by whoever goes on.

use crate::harness::{Postgres, System, until};
use model::api::{PauseRequest, WebhookFilter, WebhookRequest, WebhookSecret};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use webhook::SigningSecret;

/// How long a request may take to come: longer than another server believes that a dead one delivers.
const LIMIT: Duration = Duration::from_secs(60);

/// A request that waits for its answer.
struct HeldRequest {
    number: u64,
    /// The caller's port.
    port: u16,
    stream: TcpStream,
}

impl HeldRequest {
    /// Says that the receiver has it. The caller may have died.
    fn take(mut self) -> u64 {
        let _ = self
            .stream
            .write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        self.number
    }
}

/// A receiver that answers nothing by itself.
fn receiver() -> (String, Receiver<HeldRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let (send, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A caller that was killed in the middle has sent nothing.
            if let Some(request) = read(stream)
                && send.send(request).is_err()
            {
                return;
            }
        }
    });
    (url, requests)
}

fn read(mut stream: TcpStream) -> Option<HeldRequest> {
    let mut raw = Vec::new();
    let mut part = [0; 4_096];
    loop {
        let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
        raw.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&raw).into_owned();
        let Some((_, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        if let Ok(body) = serde_json::from_str::<serde_json::Value>(body) {
            return Some(HeldRequest {
                number: body["data"]["sequence"].as_u64()?,
                port: stream.peer_addr().ok()?.port(),
                stream,
            });
        }
    }
}

fn set_up(system: &System, url: String) {
    let request = WebhookRequest {
        to: WebhookSecret(url),
        secrets: vec![WebhookSecret(SigningSecret::written(&[7; 32]))],
        filter: WebhookFilter {
            kinds: vec!["system.paused".to_owned()],
            ..WebhookFilter::default()
        },
        ..WebhookRequest::default()
    };
    system.ask(system.client.set_webhook("ops", &request));
}

/// Makes something happen, and says the number of the event.
fn happen(system: &System, reason: &str) -> u64 {
    let reason = reason.to_owned();
    system.ask(system.client.pause(&PauseRequest { reason }));
    let newest = system.ask(system.client.events_before(None, Some(1)));
    newest.items[0].sequence
}

fn next(requests: &Receiver<HeldRequest>) -> HeldRequest {
    requests.recv_timeout(LIMIT).expect("a request comes")
}

#[test]
fn a_server_that_is_killed_before_it_notes_a_delivery_delivers_it_again() {
    let mut system = System::start_with_options(&["--webhook-retry-ms", "10,50"]);
    let (url, requests) = receiver();
    set_up(&system, url);
    let numbers: Vec<u64> = ["a", "b", "c"].map(|reason| happen(&system, reason)).into();
    let held = next(&requests);
    assert_eq!(held.number, numbers[0]);
    // The receiver has it, and the server never hears that.
    system.server.kill();
    held.take();
    system.server.resume();
    for number in &numbers {
        assert_eq!(next(&requests).take(), *number);
    }
    // It hears, and may not come to note it.
    let fourth = happen(&system, "d");
    assert_eq!(next(&requests).take(), fourth);
    system.server.restart();
    let fifth = happen(&system, "e");
    let mut came = next(&requests).take();
    if came == fourth {
        came = next(&requests).take();
    }
    assert_eq!(came, fifth);
    until("all to be noted", || {
        let view = system.ask(system.client.webhooks());
        (view.webhooks[0].delivered == Some(fifth)).then_some(())
    });
    assert!(
        requests.try_recv().is_err(),
        "nothing is sent that was noted"
    );
}

#[test]
fn when_the_server_that_delivers_dies_another_goes_on() {
    let test = "when_the_server_that_delivers_dies_another_goes_on";
    let Some(postgres) = Postgres::start(test) else {
        return;
    };
    let mut system = System::start_over(&postgres.url());
    let (url, requests) = receiver();
    set_up(&system, url);
    let numbers: Vec<u64> = ["a", "b"].map(|reason| happen(&system, reason)).into();
    for turn in 0..2 {
        let held = next(&requests);
        assert_eq!(held.number, numbers[0], "turn {turn}");
        let is_first = has_connection(system.server.pid(), held.port);
        let victim = if is_first {
            &mut system.server
        } else {
            &mut system.others[0]
        };
        assert!(
            has_connection(victim.pid(), held.port),
            "one of them has sent it"
        );
        victim.kill();
        victim.resume();
    }
    for number in numbers {
        assert_eq!(next(&requests).take(), number);
    }
}

/// Whether a process has a connection of this local port.
fn has_connection(pid: u32, port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let local = format!(":{port:04X}");
    let inodes = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields
            .get(1)?
            .ends_with(&local)
            .then(|| format!("socket:[{}]", fields[9]))
    });
    let inodes: Vec<String> = inodes.collect();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let mut files = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    files.any(|file| inodes.contains(&file.display().to_string()))
}
