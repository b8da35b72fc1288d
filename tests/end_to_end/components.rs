//! A node whose upgrade has a component for an adapter: it remembers, is recovered from a killed agent, and goes through the
//! upgrade with its transform.

use crate::harness::{Boxes, Bundle, Caller, Node, System, until};
use assemble::{DELEGATE, HANDLE, component};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// The declaration: calls about one box have one key.
pub(crate) const DECLARATION: &str = r#"
component = "guest.wasm"

[[operation]]
call = "* /boxes/{id}"
conflict_key = "path.id"

[[operation]]
call = "GET /remembered/boxes/{id}"
conflict_key = "path.id"
delegates = 0

[[operation]]
call = "GET /remembered/{id}"
conflict_key = "'none'"
delegates = 0
"#;

/// Carries what the future adapter remembers over to the past one, and adds an entry.
pub(crate) const CARRY: &str = r#"
import json, os
lines = open(os.path.join(os.environ["UPSTART_ADAPTER_STATE_IN"], "entries.jsonl")).readlines()
with open(os.path.join(os.environ["UPSTART_ADAPTER_STATE_OUT"], "entries.jsonl"), "w") as out:
    out.writelines(lines)
    out.write(json.dumps({"key": "carried", "value": json.dumps(len(lines))}) + "\n")
"#;

/// A component that remembers the body of every `PUT` by its path and hands all calls on; `GET /remembered/PATH` answers what is
/// remembered, or null. The body of a call that it recovers from is remembered under `recovered`.
/// `more` are further functions of its.
pub(crate) fn guest(more: &str) -> Vec<u8> {
    component(&format!(
        r#"{more}
(data (i32.const 56) "null")
(func (export "upstart:adapter/calls@0.1.0#init") (param i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
(func (export "upstart:adapter/calls@0.1.0#on-recover")
  (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
  (call $set (i32.const 16) (i32.const 9) (local.get 7) (local.get 8) (i32.const 96))
  (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
{HANDLE}
  (if (i32.eq (i32.load8_u (i32.add (local.get $target) (i32.const 1))) (i32.const 114))
    (then
      (call $get (i32.add (local.get $target) (i32.const 12)) (i32.sub (local.get $target_length) (i32.const 12)) (i32.const 96))
      (if (i32.eqz (i32.load8_u (i32.const 96)))
        (then (i32.store (i32.const 100) (i32.const 56)) (i32.store (i32.const 104) (i32.const 4))))
      (i32.store (i32.const 128) (i32.const 0))
      (i32.store (i32.const 132) (i32.const 0))
      (i32.store (i32.const 136) (i32.const 200))
      (i32.store (i32.const 140) (i32.const 0))
      (i32.store (i32.const 144) (i32.const 0))
      (i32.store (i32.const 148) (i32.load (i32.const 100)))
      (i32.store (i32.const 152) (i32.load (i32.const 104)))
      (return (i32.const 128))))
  (if (i32.eq (i32.load8_u (local.get $method)) (i32.const 80))
    (then
      (call $set (i32.add (local.get $target) (i32.const 1)) (i32.sub (local.get $target_length) (i32.const 1))
        (local.get $body) (local.get $body_length) (i32.const 96))))
  {DELEGATE}
  (i32.const 128))"#
    ))
}

/// The upgrade to 2: the same software, called through the component.
fn second() -> Bundle {
    Boxes::version(2)
        .same(1)
        .schedule("approval = true")
        .bundle()
        .replaced(
            "interface = \"same\"\n",
            "interface = \"changed\"\nadapter = \"adapters/guest.toml\"\n\n[class.box.state]\ntransform = { command = [\"python3\", \"${bundle}/carry.py\"] }\n",
        )
        .file("adapters/guest.toml", DECLARATION)
        .file("adapters/guest.wasm", guest(""))
        .file("carry.py", CARRY)
}

pub(crate) fn remembered(caller: &mut Caller, path: &str) -> Value {
    let answer = caller.call("GET", &format!("/remembered/{path}"), None);
    let answer = answer.expect("answered");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// A caller at version 2, when the next agent answers it.
pub(crate) fn answered_anew(system: &System, port: u16) -> Caller {
    until("the next agent to answer", || {
        let mut caller = Caller::labelled_as(port, system.view().system_id, 2, 1).ok()?;
        caller.call("GET", "/remembered/other", None).ok()?;
        Some(caller)
    })
}

/// A node that has staged the second version. Its software asks the listener in the middle of every `PUT`.
pub(crate) fn staged_asking(second: &Bundle) -> (TcpListener, System, Node) {
    let asked = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let peer = asked.local_addr().expect("an address").port().to_string();
    let first = Boxes::version(1).arguments(&["--peer", &peer]).bundle();
    let (system, node) = System::staged(&first, second);
    (asked, system, node)
}

/// Answers a box's question about a box.
pub(crate) fn reply(mut asking: TcpStream) {
    let mut request = [0; 4096];
    let _ = asking.read(&mut request).expect("a question");
    let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    asking.write_all(answer.as_bytes()).expect("answered");
}

#[test]
fn a_component_remembers_through_an_upgrade_and_is_recovered_from_a_killed_agent() {
    let (asked, system, mut node) = staged_asking(&second());
    let port = system.port(1);
    let new = || Caller::labelled_as(port, system.view().system_id, 2, 1).expect("connected");

    let answering = std::thread::spawn({
        let asked = asked.try_clone().expect("shared");
        move || reply(asked.accept().expect("a question").0)
    });
    let mut caller = new();
    caller.put("apples", 7).expect("answered");
    answering.join().expect("asked");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
    assert_eq!(
        remembered(&mut caller, "boxes/apples"),
        json!({ "count": 7 })
    );
    assert_eq!(remembered(&mut caller, "recovered"), Value::Null);

    // The software is in the middle of the delegated call when the agent dies, and ends it without anybody listening.
    caller
        .send("PUT", "/boxes/apples", Some(&json!({ "count": 8 })))
        .expect("sent");
    let (asking, _) = asked.accept().expect("a question");
    node.kill_agent();
    reply(asking);
    until("the software to have stored it", || {
        Caller::unlabelled(port, 1)
            .ok()?
            .get("apples")
            .ok()?
            .filter(|number| *number == 8)
    });
    node.start_agent();
    let mut caller = answered_anew(&system, port);
    assert_eq!(
        remembered(&mut caller, "recovered"),
        Value::Null,
        "another key"
    );
    assert_eq!(
        remembered(&mut caller, "boxes/apples"),
        json!({ "count": 7 })
    );
    assert_eq!(remembered(&mut caller, "recovered"), json!({ "count": 8 }));

    system.approve(2, None);
    system.until_settled(&node, 2);
    let mut old = system.member(port, 1).expect("connected");
    assert_eq!(old.get("apples").expect("answered"), Some(8));
    assert_eq!(remembered(&mut old, "boxes/apples"), json!({ "count": 7 }));
    assert_eq!(remembered(&mut old, "carried"), json!(2));
    old.put("pears", 1).expect("answered");
    assert_eq!(remembered(&mut old, "boxes/pears"), json!({ "count": 1 }));
    let counters = system.fact("a").report.counters;
    assert_eq!(counters["refused"], 0, "{counters:?}");
}
