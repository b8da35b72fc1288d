//! Signed labels: calls go on while they begin to be signed, are demanded signed, get another key and are signed no longer; and whoever has
//! not the system's key, or has a label that was made for somebody else, is refused, counted and told of.

use crate::harness::{Boxes, Caller, Node, NodeOptions, System, dial_from, until};
use crate::joining::FRONT;
use intercept::keyring::{HeldKeyring, Keyring, LabelKey};
use label::{LABEL_BYTES_MAX, Label, Parsed, SIGNATURE};
use model::api::{LabelMode, LabelOrder, LabelsAction, LabelsRequest, LabelsView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Where the balancer's connections come from; a declared network has it.
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 33);
const BALANCERS: &str = "127.0.0.32/28";

/// The test's port at which the balancer listens.
const BALANCED: u16 = 10;

const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A front, a box that is called through a balancer, and one that is called directly.
struct Members {
    system: System,
    balanced: Node,
    _direct: Node,
    _front: Node,
}

impl Members {
    fn settled() -> Self {
        let front = FRONT.replace("DIALECT", "1").replace("PATH", "/ready");
        let front = front.replace("INTERFACE", "");
        let plain = "connections = \"stateless\"\n";
        let dialled = format!("{plain}advertise = [\"${{vars.dialled}}\"]\n");
        let bundle = Boxes::version(1).and(&front).bundle();
        let system = System::with(&bundle.replaced(plain, &dialled));
        let node = |name: &str, port: u16, dialled: u16| {
            let dialled = format!("127.0.0.1:{}", system.port(dialled));
            let options = NodeOptions::new(name, system.port(port)).network(BALANCERS);
            system.node(options.variable("dialled", dialled))
        };
        let balanced = node("balanced", 1, BALANCED);
        let direct = node("direct", 2, 2);
        for node in [&balanced, &direct] {
            system.until_settled(node, 1);
        }
        let options = NodeOptions::new("front", system.port(3)).class("front");
        let front = system.node(options);
        system.until_settled(&front, 1);
        Self {
            system,
            balanced,
            _direct: direct,
            _front: front,
        }
    }

    fn labels(&self) -> LabelsView {
        self.system.ask(self.system.client.labels())
    }

    fn change(&self, action: LabelsAction) {
        let request = LabelsRequest { action };
        self.system.ask(self.system.client.change_labels(&request));
    }

    /// Waits until every node does what is wanted, with one key or none.
    fn until_done(&self, mode: LabelMode, generations: &[u32]) {
        until("every node to do so", || {
            let view = self.labels();
            let done = view.awaited.is_empty()
                && (view.mode, &view.generations[..]) == (mode, generations);
            done.then_some(())
        });
    }

    /// From no signed labels to demanded ones.
    fn demand(&self) {
        self.change(LabelsAction::Sign);
        self.until_done(LabelMode::Sign, &[1]);
        self.change(LabelsAction::Demand);
        self.until_done(LabelMode::Demand, &[1]);
    }

    /// What the front gets when it stores at this port.
    fn relayed(&self, port: u16) -> io::Result<Value> {
        relayed(self.system.port(3), self.system.port(port))
    }

    /// The keys that a node has.
    fn order(&self) -> LabelOrder {
        let file = self.balanced.data.join("labels.key");
        let mode = std::fs::metadata(&file)
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read(&file).expect("the keys");
        serde_json::from_slice(&text).expect("an order")
    }
}

fn relayed(front: u16, port: u16) -> io::Result<Value> {
    let mut caller = Caller::unlabelled(front, 1)?;
    let path = format!("/relay/{port}/apples");
    let answer = caller.call("PUT", &path, Some(&json!({ "count": 7 })))?;
    Ok(answer.body)
}

fn stored() -> Value {
    json!({ "stored": 200, "status": 200, "count": 7 })
}

fn key_of(order: &LabelOrder) -> [u8; 32] {
    let mut key = [0; 32];
    for (byte, digits) in key.iter_mut().zip(order.keys[0].key.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).expect("hex");
        *byte = u8::from_str_radix(digits, 16).expect("hex");
    }
    key
}

/// Signs with the first of an order's keys, at another time if wanted.
fn signed(order: &LabelOrder, label: Label, to: u16, age_s: u64) -> Label {
    let key = key_of(order);
    let generation = order.keys[0].generation;
    let held = HeldKeyring::private();
    held.publish(&Keyring {
        signing: Some(generation),
        keys: vec![LabelKey { generation, key }],
        ..Keyring::default()
    });
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_s = now.expect("after 1970").as_secs();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, to));
    held.view().sign(label, to, now_s - age_s)
}

fn encoded(label: &Label) -> Vec<u8> {
    let mut bytes = [0; LABEL_BYTES_MAX];
    let length = label.encode(&mut bytes);
    bytes[..length].to_vec()
}

/// Sends these bytes with the handshake, and a request; what comes back.
fn answer(port: u16, first: &[u8]) -> io::Result<String> {
    const REQUEST: &[u8] = b"GET /boxes/apples HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n";
    let mut stream = match dial_from(Ipv4Addr::LOCALHOST, port, first) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(String::new()),
        dialled => dialled?,
    };
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    // It may be reset by now.
    let _ = stream.write_all(REQUEST);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(String::from_utf8_lossy(&answer).into_owned()),
    }
}

/// Somebody in the middle: passes on what he is sent, and takes down the labels.
struct Balancer {
    captured: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Balancer {
    fn between(port: u16, backend: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let captured = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = Arc::clone(&captured);
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || pass_on(caller, backend, &kept));
            }
        });
        Self { captured }
    }

    fn label(&self) -> Vec<u8> {
        let captured = self.captured.lock().expect("no panic");
        captured.last().cloned().expect("a label")
    }
}

fn pass_on(mut caller: TcpStream, backend: u16, kept: &Mutex<Vec<Vec<u8>>>) -> io::Result<()> {
    let mut first = vec![0; 4096];
    let count = caller.read(&mut first)?;
    first.truncate(count);
    if first.starts_with(&SIGNATURE) {
        let Parsed::Label { length, .. } = label::parse(&first) else {
            panic!("a member sent half a label");
        };
        kept.lock()
            .expect("no panic")
            .push(first[..length].to_vec());
    }
    let backend = dial_from(BALANCER, backend, &first)?;
    let (mut up, mut down) = (caller.try_clone()?, backend.try_clone()?);
    let upwards = std::thread::spawn(move || {
        let mut backend = backend;
        let _ = io::copy(&mut up, &mut backend);
        let _ = backend.shutdown(std::net::Shutdown::Write);
    });
    io::copy(&mut down, &mut caller)?;
    caller.shutdown(std::net::Shutdown::Write)?;
    upwards.join().map_err(|_| io::Error::other("panicked"))
}

#[test]
fn calls_go_on_while_labels_are_signed_demanded_and_signed_no_longer() {
    let mut members = Members::settled();
    let _balancer = Balancer::between(members.system.port(BALANCED), members.system.port(1));
    let (over, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let front = members.system.port(3);
    let ports = [members.system.port(2), members.system.port(BALANCED)];
    std::thread::scope(|scope| {
        let over_at_end = kit::OverAtEnd(&over);
        let callers = ports.map(|port| {
            let (over, calls) = (&over, &calls);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(relayed(front, port).expect("answered"), stored(), "{port}");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let until_called = |what: &str| {
            let before = calls.load(Ordering::Relaxed);
            until(what, || {
                let failed = callers
                    .iter()
                    .any(std::thread::ScopedJoinHandle::is_finished);
                assert!(!failed, "a call failed: {what}");
                (calls.load(Ordering::Relaxed) > before + 20).then_some(())
            });
        };
        until_called("calls without signatures");
        members.change(LabelsAction::Sign);
        members.until_done(LabelMode::Sign, &[1]);
        until_called("signed calls");
        members.change(LabelsAction::Demand);
        members.until_done(LabelMode::Demand, &[1]);
        let counted = |counter: &str| members.system.counter("direct", counter);
        let before = (counted("accept.labelled"), counted("hand_over.undecided"));
        until_called("calls whose labels must be signed");
        // The hooks deliver them, and ask no agent.
        until("such calls to be counted", || {
            (counted("accept.labelled") > before.0 + 5).then_some(())
        });
        assert_eq!(counted("hand_over.undecided"), before.1);
        members.balanced.kill_agent();
        until_called("calls without an agent");
        members.balanced.start_agent();
        until_called("calls while an agent starts");
        members.change(LabelsAction::Rotate);
        members.until_done(LabelMode::Demand, &[2]);
        until_called("calls with another key");
        members.change(LabelsAction::Off);
        members.until_done(LabelMode::Off, &[]);
        until_called("calls without signatures again");
        drop(over_at_end);
        for caller in callers {
            caller.join().expect("no call failed");
        }
    });
    let told = members.system.events();
    let told = told.iter().filter(|event| event.kind == "labels.changed");
    // Signed, demanded, a key for all, signed with it, the old one ended, not demanded, not signed.
    assert_eq!(told.count(), 7);
    let mut events = members.system.events().into_iter();
    assert_eq!(events.find(|event| event.kind == "label.refused"), None);
}

/// An attack: its name, the port that is dialled, the bytes, and the counter that goes up by one.
type Attack = (&'static str, u16, Vec<u8>, &'static str);

/// What somebody sends who has not the key, or has captured a label.
fn attacks(members: &Members, order: &LabelOrder, captured: &[u8]) -> Vec<Attack> {
    let (here, elsewhere) = (members.system.port(1), members.system.port(2));
    let label = Label::plain(members.system.view().system_id, 1, 3);
    let question = Label {
        question: Some([5; 16]),
        ..label
    };
    let mut another_key = order.clone();
    another_key.keys[0].key = "07".repeat(32);
    let Parsed::Label { label: taken, .. } = label::parse(captured) else {
        panic!("captured: {captured:?}");
    };
    let of_another_node = Label {
        node: taken.node + 1,
        ..taken
    };
    let at_another_version = Label {
        version: 2,
        ..taken
    };
    let by_another_key = signed(&another_key, label, here, 3);
    let old = signed(order, label, here, 3600);
    let here = |name, label: &Label, counter| (name, here, encoded(label), counter);
    vec![
        here("made up", &label, "reset.label_unsigned"),
        here("a question", &question, "reset.label_unsigned"),
        here("another key", &by_another_key, "reset.label_forged"),
        here("another node", &of_another_node, "reset.label_forged"),
        here("a version", &at_another_version, "reset.label_forged"),
        here("captured an hour ago", &old, "reset.label_untimely"),
        (
            "captured, sent elsewhere",
            elsewhere,
            captured.to_vec(),
            "reset.label_elsewhere",
        ),
    ]
}

/// Waits until a node has refused so many connections for a reason, not more, and has told people of it.
fn until_counted_and_told(system: &System, node: &str, counter: &str, times: u64) {
    until(counter, || {
        let now = system.counter(node, counter);
        assert!(now <= times, "{counter}: {now} of {times}");
        (now == times).then_some(())
    });
    let reason = counter.trim_start_matches("reset.");
    until("people to be told", || {
        let told = system.events();
        let is_told = told.iter().any(|event| {
            let of = event.node.as_deref() == Some(node);
            of && event.kind == "label.refused" && event.message.contains(reason)
        });
        is_told.then_some(())
    });
}

#[test]
fn a_label_that_no_member_has_signed_for_this_node_now_is_refused_counted_and_told() {
    let members = Members::settled();
    let system = &members.system;
    let balancer = Balancer::between(system.port(BALANCED), system.port(1));
    members.demand();
    assert_eq!(members.relayed(BALANCED).expect("answered"), stored());
    let captured = balancer.label();
    let first = members.order();
    let here = system.port(1);
    // Who has the key, and signs for this address, is answered: what is refused below is refused for its signature.
    let label = Label::plain(system.view().system_id, 1, 3);
    let good = encoded(&signed(&first, label, here, 3));
    assert!(answer(here, &good).expect("sent").starts_with("HTTP/1"));
    let mut counted = BTreeMap::<(&str, &str), u64>::new();
    let mut refused = |(name, port, bytes, counter): Attack| {
        let answer = answer(port, &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(answer, "", "{name}");
        let node = if port == here { "balanced" } else { "direct" };
        *counted.entry((counter, node)).or_default() += 1;
    };
    for attack in attacks(&members, &first, &captured) {
        refused(attack);
    }
    members.change(LabelsAction::Rotate);
    members.until_done(LabelMode::Demand, &[2]);
    assert_ne!(members.order().keys[0], first.keys[0]);
    refused(("by an ended key", here, good, "reset.label_of_no_key"));
    for ((counter, node), times) in counted {
        until_counted_and_told(system, node, counter, times);
    }
    // Members call on, and one that joins now has the key before it is called or calls.
    assert_eq!(members.relayed(BALANCED).expect("answered"), stored());
    let dialled = format!("127.0.0.1:{}", system.port(4));
    let options = NodeOptions::new("late", system.port(4)).variable("dialled", dialled);
    let late = system.node(options);
    system.until_settled(&late, 1);
    assert_eq!(members.relayed(4).expect("answered"), stored());
    assert_eq!(system.counter("late", "reset.label_unsigned"), 0);
}

#[test]
fn an_agent_that_starts_without_the_server_goes_on_with_the_keys() {
    let mut members = Members::settled();
    members.demand();
    let here = members.system.port(1);
    let label = Label::plain(members.system.view().system_id, 1, 3);
    let order = members.order();
    let table = agent::shared::published(&members.balanced.data).expect("the table");
    let table: Vec<u8> = table.iter().flat_map(|word| word.to_ne_bytes()).collect();
    for half in key_of(&order).chunks(8) {
        let found = table.windows(half.len()).any(|bytes| bytes == half);
        assert!(!found, "everybody on the machine can read the key");
    }
    members.system.server.kill();
    members.balanced.kill_agent();
    // The software's hooks have the keys; what they do not believe waits for an agent.
    let good = || {
        let signed = encoded(&signed(&order, label, here, 3));
        answer(here, &signed).expect("sent")
    };
    assert!(good().starts_with("HTTP/1"));
    members.balanced.start_agent();
    assert_eq!(answer(here, &encoded(&label)).expect("sent"), "");
    assert!(good().starts_with("HTTP/1"));
}
