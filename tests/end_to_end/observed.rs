//! Observed dispatch at a real node: it begins when no connection is the software's alone, and nothing that is called escapes the
//! adapter afterwards, whatever becomes of the agent.

use crate::components::{
    CARRY, DECLARATION, answered_anew, guest, remembered, reply, staged_asking,
};
use crate::harness::{Boxes, Bundle, Caller, System, is_crash, until};
use model::api::{PublicRequest, RetireRequest};
use model::ids::Version;
use serde_json::{Value, json};

/// Remembers the body of a `PUT` at the next version by its path, as of one of its own.
const OBSERVE: &str = r#"
(func (export "upstart:adapter/calls@0.1.0#observe")
  (param $direction i32) (param $case i32) (param $method i32) (param $method_length i32) (param $target i32) (param $target_length i32)
  (param $headers i32) (param $headers_length i32) (param $body i32) (param $body_length i32)
  (param i32 i32 i32 i32 i32 i32) (result i32)
  (if (i32.eq (i32.load8_u (local.get $method)) (i32.const 80))
    (then
      (call $set (i32.add (local.get $target) (i32.const 1)) (i32.sub (local.get $target_length) (i32.const 1))
        (local.get $body) (local.get $body_length) (i32.const 96))))
  (i32.store (i32.const 64) (i32.const 0))
  (i32.store (i32.const 72) (i32.const 0))
  (i32.const 64))
"#;

/// The upgrade to 2: the same software, all of whose calls the component is told.
fn second() -> Bundle {
    Boxes::version(2)
        .same(1)
        .schedule("approval = true")
        .bundle()
        .replaced(
            "interface = \"same\"\n",
            "interface = \"changed\"\nadapter = \"adapters/guest.toml\"\ndispatch = \"observed\"\n\n[class.box.state]\ntransform = { command = [\"python3\", \"${bundle}/carry.py\"] }\n",
        )
        .file("adapters/guest.toml", DECLARATION)
        .file("adapters/guest.wasm", guest(OBSERVE))
        .file("carry.py", CARRY)
}

#[test]
fn every_call_is_observed_from_staging_on_through_crashes_and_the_upgrade() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    let labelled = |version| Caller::labelled_as(port, system.view().system_id, version, 1);
    let member = |version| labelled(version).expect("connected");
    let mut direct = member(1);
    direct.put("apples", 1).expect("answered");

    system.publish(&second());
    system.until_staged(&node, 2);
    let error = direct.put("apples", 2).expect_err("nobody would be told");
    assert!(is_crash(&error), "{error}");
    let mut own = member(1);
    own.put("apples", 3).expect("answered");
    assert_eq!(
        remembered(&mut member(2), "boxes/apples"),
        json!({ "count": 3 })
    );
    assert!(system.counter("a", "reset.observed") >= 1);

    // What comes while no agent runs waits for the next one.
    node.kill_agent();
    let mut waiting = member(1);
    waiting
        .send("PUT", "/boxes/apples", Some(&json!({ "count": 4 })))
        .expect("sent");
    node.start_agent();
    assert_eq!(waiting.receive().expect("answered").status, 200);
    assert_eq!(
        remembered(&mut member(2), "boxes/apples"),
        json!({ "count": 4 })
    );

    system.approve(2, None);
    system.until_settled(&node, 2);
    let mut own = member(2);
    own.put("pears", 5).expect("answered");
    let mut old = member(1);
    assert_eq!(old.get("apples").expect("answered"), Some(4));
    assert_eq!(remembered(&mut old, "boxes/apples"), json!({ "count": 4 }));
    assert_eq!(remembered(&mut old, "boxes/pears"), json!({ "count": 5 }));

    // When nobody is left whom the adapter serves, calls are the software's alone again.
    drop(old);
    let version = Version(1);
    let public = PublicRequest {
        service: None,
        version: Version(2),
    };
    system.ask(system.client.set_public(&public));
    until("version 1 to be retired", || {
        let request = RetireRequest {
            version,
            close: true,
        };
        let _ = system.try_ask(system.client.retire(&request));
        (system.view().retired_through == version).then_some(())
    });
    own.put("pears", 6).expect("answered");
    let given_back = until("a connection to be given back", || {
        own.get("pears").expect("answered");
        Some(system.counter("a", "given_back")).filter(|number| *number > 0)
    });
    assert!(given_back >= 1);
}

#[test]
fn a_call_whose_end_nobody_saw_is_recovered_from_before_the_adapter_answers() {
    let (asked, system, mut node) = staged_asking(&second());
    let port = system.port(1);
    let mut own = system.member(port, 1).expect("connected");
    own.send("PUT", "/boxes/apples", Some(&json!({ "count": 8 })))
        .expect("sent");
    let (asking, _) = asked.accept().expect("a question");
    node.kill_agent();
    reply(asking);
    node.start_agent();
    let mut new = answered_anew(&system, port);
    assert_eq!(
        remembered(&mut new, "recovered"),
        Value::Null,
        "another key"
    );
    assert_eq!(remembered(&mut new, "boxes/apples"), Value::Null);
    assert_eq!(remembered(&mut new, "recovered"), json!({ "count": 8 }));
}
