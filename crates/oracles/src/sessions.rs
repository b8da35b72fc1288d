//! The session engine against a reference that knows no pieces, no waiting and no order between the two directions: each message goes
//! through the chain by itself, and what comes out at either end must be a merging of what the two directions send there.

use super::framing as frames;
use super::wire::Memory;
use call::{
    AdapterFailed, Direction, EventAnswer, Limits, MessageHead, OutgoingMessage, Party, Pending,
    Reaction, Session, SessionCaller, SessionVerdict, Sessions,
};
use model::bundle::{ByteOrder, Counts, Cut, Framing, LengthField};
use serve::{SessionChain, SessionEnd, serve_session};
use std::sync::{Arc, Mutex};
use wire::framing::Codec;

/// What an adapter of the test does with a message, as its first byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Pass,
    ReplaceHead,
    Drop,
    Reverse,
    Answer,
    Twice,
}

fn deed(message: &[u8]) -> Deed {
    match message.first().map_or(0, |byte| byte % 8) {
        1 => Deed::ReplaceHead,
        2 => Deed::Drop,
        3 => Deed::Reverse,
        4 => Deed::Answer,
        5 => Deed::Twice,
        _ => Deed::Pass,
    }
}

/// The head that a head is replaced by: longer, and no such message again.
fn new_head(head: &[u8]) -> Vec<u8> {
    [b"0<", head].concat()
}

/// What is sent when a message was wanted whole.
fn sends(message: &[u8], sender: Party) -> Vec<OutgoingMessage> {
    let on = |message: Vec<u8>| OutgoingMessage {
        to: sender.other(),
        message,
    };
    let reversed: Vec<u8> = message.iter().rev().copied().collect();
    match deed(message) {
        Deed::Reverse => vec![on(reversed)],
        Deed::Answer => {
            let answer = OutgoingMessage {
                to: sender,
                message: b"0answered".to_vec(),
            };
            vec![answer, on([b"0:", message].concat())]
        }
        Deed::Twice => vec![on(b"0first".to_vec()), on(b"0second".to_vec())],
        _ => Vec::new(),
    }
}

/// The adapter; it counts its events in its memo.
struct Scripted {
    events: Mutex<u64>,
}

impl Scripted {
    /// The memo must be what the last event left.
    fn count(&self, session: Session<'_>) -> Vec<u8> {
        let mut events = self.events.lock().expect("no panic");
        assert_eq!(session.memo, memo(*events), "the memo of another event");
        *events += 1;
        memo(*events)
    }
}

fn memo(events: u64) -> Vec<u8> {
    match events {
        0 => Vec::new(),
        events => events.to_le_bytes().to_vec(),
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> EventAnswer<'a, T> {
    Box::pin(std::future::ready(Ok::<T, AdapterFailed>(value)))
}

impl Sessions for Scripted {
    fn open<'a>(&'a self, _: u64, _: &'a SessionCaller) -> EventAnswer<'a, Reaction> {
        ready(Reaction::default())
    }

    fn on_head<'a>(
        &'a self,
        _: Session<'a>,
        _: Party,
        head: MessageHead<'a>,
    ) -> EventAnswer<'a, SessionVerdict> {
        ready(match deed(head.bytes) {
            Deed::Pass => SessionVerdict::Pass,
            Deed::ReplaceHead => SessionVerdict::ReplaceHead(new_head(head.bytes)),
            Deed::Drop => SessionVerdict::Drop,
            Deed::Reverse | Deed::Answer | Deed::Twice => SessionVerdict::Whole,
        })
    }

    fn on_message<'a>(
        &'a self,
        session: Session<'a>,
        sender: Party,
        message: &'a [u8],
    ) -> EventAnswer<'a, Reaction> {
        ready(Reaction {
            send: sends(message, sender),
            memo: Some(self.count(session)),
            ..Reaction::default()
        })
    }

    fn on_timer<'a>(&'a self, _: Session<'a>) -> EventAnswer<'a, Reaction> {
        panic!("nobody asked for a timer")
    }

    fn closed<'a>(&'a self, session: Session<'a>) -> Pending<'a, ()> {
        self.count(session);
        Box::pin(std::future::ready(()))
    }
}

/// Framings in which every message of the script can be written.
fn framing(kind: u8, head_bytes: usize) -> Framing {
    let cut = match kind % 4 {
        0 => Cut::Delimiter(b"\n".to_vec()),
        1 => Cut::Netstring,
        _ => Cut::Length(LengthField {
            offset: 0,
            bytes: 2,
            order: ByteOrder::Big,
            counts: Counts::Rest,
            header_bytes: 2,
            checksum: None,
        }),
    };
    Framing {
        cut,
        // Enough for the script's first byte.
        head_bytes: head_bytes.max(1),
        message_bytes_max: 1 << 16,
    }
}

/// The first bytes choose framings, pieces and who says how much; the rest is said.
pub fn check(input: &[u8]) {
    let Some((setup, said)) = input.split_at_checked(8) else {
        return;
    };
    let length = usize::from(setup[0] % 3) + 1;
    let head_bytes = usize::from(setup[1] % 16);
    let links: Vec<Framing> = (0..=length)
        .map(|link| {
            framing(
                setup[if setup[2] & 1 == 0 { 3 } else { 3 + link }],
                head_bytes,
            )
        })
        .collect();
    let split = said.len() * usize::from(setup[7]) / 256;
    let (caller_says, software_says) = said.split_at(split);
    let piece = usize::from(setup[2] >> 1) + 1;
    let outcome = run(&links, caller_says, software_says, piece);
    let expected = reference(&links, caller_says, software_says);
    compare(&outcome, expected.as_ref(), &links);
}

/// What the engine did: how it ended, and what either side was told.
struct Outcome {
    end: SessionEnd,
    caller: Vec<u8>,
    software: Vec<u8>,
}

fn run(links: &[Framing], caller_says: &[u8], software_says: &[u8], piece: usize) -> Outcome {
    let mut codecs = links.iter().cloned().map(Codec::new).map(Arc::new);
    let first = codecs.next().expect("a link");
    let scripted = |link| {
        let adapter = Scripted {
            events: Mutex::default(),
        };
        (Arc::new(adapter) as Arc<dyn Sessions>, link)
    };
    let chain = Arc::new(SessionChain::new(
        Direction::Past,
        first,
        codecs.map(scripted).collect(),
    ));
    let (caller, caller_saw) = Memory::new(caller_says.to_vec(), piece);
    let (software, software_saw) = Memory::new(software_says.to_vec(), piece);
    let who = SessionCaller {
        version: 1,
        address: "192.0.2.1:1".parse().expect("an address"),
        service: "bus".into(),
    };
    let limits = Limits::default();
    let never = std::future::pending();
    let served = serve_session(caller, software, chain, &who, 7, &limits, never);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let end = runtime.block_on(served);
    let told = |saw: &Mutex<super::wire::Seen>| saw.lock().expect("no panic").written.clone();
    Outcome {
        end,
        caller: told(&caller_saw),
        software: told(&software_saw),
    }
}

/// What each direction's messages lead to, by whom they are told: `[from][to]`. None where a stream is no stream of messages.
type Expected = [[Vec<Vec<u8>>; 2]; 2];

fn reference(links: &[Framing], caller_says: &[u8], software_says: &[u8]) -> Option<Expected> {
    let mut expected = Expected::default();
    for (from, said) in [(Party::Caller, caller_says), (Party::Next, software_says)] {
        let at = if from == Party::Caller {
            0
        } else {
            links.len() - 1
        };
        let (messages, error) = frames::reference(&links[at], said);
        if error.is_some() {
            return None;
        }
        for (_, message) in messages {
            let told = &mut expected[from as usize];
            travel(links, at, from.other(), message, told);
        }
    }
    Some(expected)
}

/// One message to its end, whatever follows from it included, in the order in which it is sent.
fn travel(
    links: &[Framing],
    link: usize,
    to: Party,
    message: Vec<u8>,
    told: &mut [Vec<Vec<u8>>; 2],
) {
    let mut open = std::collections::VecDeque::from([(link, to, message)]);
    while let Some((link, to, message)) = open.pop_front() {
        let at = match to {
            Party::Caller if link == 0 => {
                told[0].push(message);
                continue;
            }
            Party::Next if link + 1 == links.len() => {
                told[1].push(message);
                continue;
            }
            Party::Caller => link - 1,
            Party::Next => link,
        };
        let behind = if to == Party::Next { at + 1 } else { at };
        match deed(&message) {
            Deed::Pass => open.push_back((behind, to, message)),
            Deed::ReplaceHead => {
                let head = message.len().min(links[link].head_bytes);
                let message = [new_head(&message[..head]), message[head..].to_vec()].concat();
                open.push_back((behind, to, message));
            }
            Deed::Drop => {}
            Deed::Reverse | Deed::Answer | Deed::Twice => {
                for outgoing in sends(&message, to.other()) {
                    let link = if outgoing.to == Party::Next {
                        at + 1
                    } else {
                        at
                    };
                    open.push_back((link, outgoing.to, outgoing.message));
                }
            }
        }
    }
}

fn compare(outcome: &Outcome, expected: Option<&Expected>, links: &[Framing]) {
    let Some(expected) = expected else {
        assert!(
            matches!(outcome.end, SessionEnd::Reset(_)),
            "{:?}",
            outcome.end
        );
        return;
    };
    let sealable = |told: &Vec<Vec<u8>>, framing: &Framing| {
        let codec = Codec::new(framing.clone());
        told.iter()
            .all(|message| codec.seal(message.clone()).is_ok())
    };
    if let SessionEnd::Reset(serve::SessionError::Framing(_)) = outcome.end {
        // A message for one framing may not be one for the next: then some message must be so.
        let last = links.len() - 1;
        let all = (0..2).all(|from| {
            sealable(&expected[from][0], &links[0]) && sealable(&expected[from][1], &links[last])
        });
        assert!(!all || links.iter().any(|link| *link != links[0]));
        return;
    }
    assert!(
        matches!(outcome.end, SessionEnd::Finished),
        "{:?}",
        outcome.end
    );
    for (to, told) in [(0, &outcome.caller), (1, &outcome.software)] {
        let framing = &links[if to == 0 { 0 } else { links.len() - 1 }];
        let (messages, error) = frames::reference(framing, told);
        assert_eq!(error, None);
        let messages: Vec<Vec<u8>> = messages.into_iter().map(|(_, message)| message).collect();
        // What a side is answered is lost once the other has ended: nobody speaks to it any more then.
        let (from_other, answers) = (&expected[1 - to][to], &expected[to][to]);
        let answered = messages.len().checked_sub(from_other.len());
        let answered = answered.and_then(|number| answers.get(..number));
        assert!(
            answered.is_some_and(|answered| is_merging(&messages, from_other, answered)),
            "{messages:?} is no merging of {expected:?}"
        );
    }
}

/// Whether a sequence has exactly these two in it, each in its order.
fn is_merging(all: &[Vec<u8>], first: &[Vec<u8>], second: &[Vec<u8>]) -> bool {
    if all.len() != first.len() + second.len() {
        return false;
    }
    // How many of the first may have been met, after so many of all.
    let mut reached = vec![true];
    for (at, message) in all.iter().enumerate() {
        let mut next = vec![false; at + 2];
        for of_first in 0..=at {
            if reached[of_first] {
                if first.get(of_first) == Some(message) {
                    next[of_first + 1] = true;
                }
                if second.get(at - of_first) == Some(message) {
                    next[of_first] = true;
                }
            }
        }
        reached = next;
    }
    reached.get(first.len()).copied().unwrap_or(false)
}
