//! Between sessions as the engine has them and sessions as the contract has them.

use crate::bindings::upstart::adapter::types;
use crate::session_bindings::exports::upstart::adapter::sessions as wit;
use call::{
    Direction, MessageHead, OutgoingMessage, Party, Reaction, Session, SessionCaller,
    SessionVerdict,
};

pub(super) fn session(session: Session<'_>) -> wit::Session {
    wit::Session {
        id: session.id,
        memo: session.memo.to_vec(),
    }
}

pub(super) fn side(party: Party) -> wit::Side {
    match party {
        Party::Caller => wit::Side::Caller,
        Party::Next => wit::Side::Next,
    }
}

pub(super) fn head(head: MessageHead<'_>) -> wit::Head {
    wit::Head {
        bytes: head.bytes.to_vec(),
        length: head.length,
    }
}

pub(super) fn caller(caller: &SessionCaller, direction: Direction) -> types::Caller {
    types::Caller {
        direction: way(direction),
        version: caller.version,
        address: caller.address.to_string(),
        service: caller.service.to_string(),
    }
}

pub(super) fn way(direction: Direction) -> types::Direction {
    match direction {
        Direction::Past => types::Direction::Past,
        Direction::Future => types::Direction::Future,
    }
}

pub(super) fn verdict(verdict: wit::Verdict) -> SessionVerdict {
    match verdict {
        wit::Verdict::Pass => SessionVerdict::Pass,
        wit::Verdict::ReplaceHead(head) => SessionVerdict::ReplaceHead(head),
        wit::Verdict::Whole => SessionVerdict::Whole,
        wit::Verdict::Drop => SessionVerdict::Drop,
        wit::Verdict::Close(reason) => SessionVerdict::Close(reason),
    }
}

pub(super) fn reaction(reaction: wit::Reaction) -> Reaction {
    let outgoing = |outgoing: wit::Outgoing| OutgoingMessage {
        to: match outgoing.to {
            wit::Side::Caller => Party::Caller,
            wit::Side::Next => Party::Next,
        },
        message: outgoing.message,
    };
    Reaction {
        send: reaction.send.into_iter().map(outgoing).collect(),
        timer_ms: reaction.timer,
        memo: reaction.memo,
        close: reaction.close,
    }
}
