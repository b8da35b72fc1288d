//! The model of the software against the real servers: the same calls get the same replies.

#[expect(
    dead_code,
    reason = "the parts of the property test that this one does not need"
)]
mod set;

use color_flavor_adapter::form::{Form, Operation, Reply, Request};
use set::Dice;
use set::software::Software;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(20);
const CALLS: u64 = 400;

/// A real server; it ends with this value.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(form: Form, state: &Path) -> Self {
        let script = match form {
            Form::Colours => "../v1/software/colours.py",
            Form::Flavours => "../v2/software/flavours.py",
        };
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
            .args(["--port", &port.to_string(), "--state"])
            .arg(state)
            .stdin(Stdio::null())
            .spawn()
            .expect("python3 runs");
        let server = Self { child, port };
        let end = Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "{script} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn ask(&self, request: &Request) -> Reply {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        write!(
            stream,
            "{} {} HTTP/1.1\r\nHost: set\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            request.method,
            request.target,
            request.body.len()
        )
        .expect("it reads");
        stream.write_all(&request.body).expect("it reads");
        read(BufReader::new(stream))
    }
}

fn read(mut stream: BufReader<TcpStream>) -> Reply {
    let mut line = String::new();
    stream.read_line(&mut line).expect("it answers");
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let mut etag = None;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("it answers");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("ETag: ") {
            etag = Some(value.trim().to_owned());
        }
    }
    let mut body = Vec::new();
    stream.read_to_end(&mut body).expect("it answers");
    Reply {
        status: status.expect("a status"),
        etag,
        body,
    }
}

/// JSON is compared as JSON.
fn comparable(reply: &Reply) -> (u16, Option<String>, serde_json::Value) {
    let body = serde_json::from_slice(&reply.body).unwrap_or_default();
    (reply.status, reply.etag.clone(), body)
}

fn operation(dice: &mut Dice, form: Form) -> Operation {
    let number = dice.below(5).cast_signed() - 2;
    let word = (*dice.one_of(form.words())).to_owned();
    match dice.below(6) {
        0 => Operation::List,
        1 => Operation::Get(number),
        2 => Operation::Insert(number, word),
        3 => Operation::Set(number, word),
        4 => Operation::Delete(number),
        _ => Operation::Health,
    }
}

#[test]
fn the_real_servers_answer_as_the_model_does() {
    for form in [Form::Colours, Form::Flavours] {
        let place = tempfile::tempdir().expect("a folder");
        let mut server = Server::start(form, place.path());
        let mut model = Software {
            form,
            ..Software::new()
        };
        let mut dice = Dice::new(1);
        for call in 0..CALLS {
            let request = form.request(&operation(&mut dice, form));
            let (real, modelled) = (server.ask(&request), model.answer(&request));
            assert_eq!(
                comparable(&real),
                comparable(&modelled),
                "call {call}: {request:?}"
            );
            // What was answered survives.
            if dice.once_in(100) {
                drop(server);
                server = Server::start(form, place.path());
            }
        }
    }
}

#[test]
fn what_is_no_call_is_answered_alike() {
    let colours = [
        ("GET", "/items", ""),
        ("GET", "/numbers/007", ""),
        ("PUT", "/numbers/7", "{}"),
        ("PUT", "/numbers/7", "no"),
        ("PUT", "/numbers/7/colour", r#"{"colour": "mauve"}"#),
        ("GET", "/numbers/7/colour", ""),
    ];
    let flavours = [
        ("GET", "/numbers", ""),
        ("GET", "/items/007", ""),
        ("POST", "/items", r#"{"item": "7", "flavour": "sweet"}"#),
        ("POST", "/items", "[]"),
        ("PATCH", "/items/7", r#"{"flavour": 5}"#),
        ("POST", "/items/7", r#"{"flavour": "sweet"}"#),
    ];
    for (form, calls) in [(Form::Colours, colours), (Form::Flavours, flavours)] {
        let place = tempfile::tempdir().expect("a folder");
        let server = Server::start(form, place.path());
        let mut model = Software {
            form,
            ..Software::new()
        };
        for (method, target, body) in calls {
            let request = Request {
                method: method.to_owned(),
                target: target.to_owned(),
                body: body.as_bytes().to_vec(),
            };
            let (real, modelled) = (server.ask(&request), model.answer(&request));
            // Words of errors are for people.
            assert_eq!(real.status, modelled.status, "{request:?}");
        }
    }
}
