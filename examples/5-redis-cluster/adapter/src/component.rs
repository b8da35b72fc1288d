//! The component: sees every message's head, lets long bodies pass, and has the others translated whole.

#![expect(unsafe_code, reason = "wit-bindgen writes the exported functions")]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "what wit-bindgen writes is documented in wit/"
)]

use crate::bus::{self, Translated};
use exports::upstart::adapter::sessions::{
    Guest, Head, Outgoing, Reaction, Session, Side, Verdict,
};
use upstart::adapter::types::{Caller, Start};

wit_bindgen::generate!({ path: "../../../wit", world: "sessions-adapter" });
export!(Adapter);

struct Adapter;

impl Guest for Adapter {
    fn init(_: Start) -> Result<(), String> {
        Ok(())
    }

    fn open(_: u64, _: Caller) -> Reaction {
        nothing()
    }

    fn on_head(_: Session, _: Side, head: Head) -> Verdict {
        if !bus::body_stays(&head.bytes) {
            return Verdict::Whole;
        }
        match bus::translate(&head.bytes) {
            Ok(Translated::Message(head)) => Verdict::ReplaceHead(head),
            Ok(Translated::Nothing) => Verdict::Drop,
            Err(error) => Verdict::Close(error.to_string()),
        }
    }

    fn on_message(_: Session, sender: Side, message: Vec<u8>) -> Reaction {
        let to = match sender {
            Side::Caller => Side::Next,
            Side::Next => Side::Caller,
        };
        match bus::translate(&message) {
            Ok(Translated::Message(message)) => Reaction {
                send: vec![Outgoing { to, message }],
                ..nothing()
            },
            Ok(Translated::Nothing) => nothing(),
            Err(error) => Reaction {
                close: Some(error.to_string()),
                ..nothing()
            },
        }
    }

    fn on_timer(_: Session) -> Reaction {
        nothing()
    }

    fn closed(_: Session) {}
}

fn nothing() -> Reaction {
    Reaction {
        send: Vec::new(),
        timer: None,
        memo: None,
        close: None,
    }
}
