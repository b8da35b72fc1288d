//! Asking whether members still are where they were: where no server can say so, whoever listens at a member's address shows it itself.
//!
//! The question is a label with a number; the accept hook of a member's software answers with its own label and the same number, so
//! that it needs no agent. Nothing of it is secret, and nobody is kept from answering: it tells members from whatever an address was
//! given to since, not from somebody who wants to be taken for one. Only where signed labels are demanded the answer shows that, too.

use super::child::ChildKeeper;
use super::hook_table::HookTable;
use super::membership::Membership;
use super::surroundings::Surroundings;
use crate::dial;
use crate::doubts::{Doubts, WhoListens};
use crate::label_keys::Judgement;
use crate::relay::Relay;
use label::{LABEL_BYTES_MAX, Label, Parsed};
use model::api::EventKind;
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long a member may take to answer: its software accepts the question, behind others that came before.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// How often it is looked what is to be asked while something is in doubt.
const LOOK: Duration = Duration::from_millis(500);

/// The same while nothing is: whether the server has been silent for too long.
const QUIET_LOOK: Duration = Duration::from_secs(10);

/// How long software that is about to start waits for the first answers.
const FIRST_ANSWERS_LIMIT: Duration = Duration::from_secs(3);

/// What is in doubt, and who asks.
pub(super) struct Doubting {
    surroundings: Arc<Surroundings>,
    relay: Arc<Relay>,
    hook_table: Arc<HookTable>,
    membership: Arc<Membership>,
    child: Arc<ChildKeeper>,
    doubts: Mutex<Doubts>,
    /// Rung with every answer.
    answered: Notify,
}

impl Doubting {
    pub(super) fn new(
        surroundings: &Arc<Surroundings>,
        relay: &Arc<Relay>,
        hook_table: &Arc<HookTable>,
        membership: &Arc<Membership>,
        child: &Arc<ChildKeeper>,
    ) -> Arc<Self> {
        Arc::new(Self {
            surroundings: surroundings.clone(),
            relay: relay.clone(),
            hook_table: hook_table.clone(),
            membership: membership.clone(),
            child: child.clone(),
            doubts: Mutex::default(),
            answered: Notify::new(),
        })
    }

    /// Asks once before any software starts: what an agent knows from before it may be long out of date.
    pub(super) async fn ask_first(self: &Arc<Self>) {
        let deadline = Instant::now() + FIRST_ANSWERS_LIMIT;
        while self.look() && !self.doubts.lock().all_were_asked() {
            let answered = tokio::time::timeout_at(deadline, self.answered.notified());
            if answered.await.is_err() {
                break;
            }
        }
        self.look();
    }

    /// Asks what is to be asked, and tells the hooks what was found; says whether anything is in doubt.
    fn look(self: &Arc<Self>) -> bool {
        let now_ms = interpose::kernel::now_asleep_too_ms();
        let in_doubt = self.membership.in_doubt(now_ms);
        let runs = self.child.present().is_some();
        let (due, refused, strangers) = {
            let mut doubts = self.doubts.lock();
            doubts.follow(now_ms, &in_doubt, runs);
            let refused = doubts.refused(now_ms);
            let strangers: Vec<_> = doubts.strangers(&refused).collect();
            (doubts.due(now_ms), refused, strangers)
        };
        self.tell(&strangers);
        if self.hook_table.set_doubtful(refused) {
            self.hook_table.publish();
        }
        for at in due {
            let asking = self.clone();
            tokio::spawn(async move {
                let found = asking.ask(at).await;
                let now_ms = interpose::kernel::now_asleep_too_ms();
                tracing::debug!(%at, ?found, "asked who listens at a member's address");
                asking.doubts.lock().found(now_ms, at, found);
                asking.answered.notify_one();
            });
        }
        !in_doubt.is_empty()
    }

    fn tell(&self, strangers: &[SocketAddr]) {
        let Some(first) = strangers.first() else {
            return;
        };
        let more = match strangers.len() {
            1 => String::new(),
            number => format!(" and {} more", number - 1),
        };
        let text = format!(
            "what listens at {first}{more}, where a member was, does not answer as a member: the software's calls there are refused (connect.in_doubt). \
             If that member is gone for good, `upstart forget` it; if it lives, see that this node's address is one of its members'"
        );
        let kind = EventKind::MemberSupplanted;
        let now = std::time::Instant::now();
        self.relay.tally.remarks.note(now, kind, "", text);
    }

    /// Asks at one address.
    async fn ask(&self, at: SocketAddr) -> WhoListens {
        let number: [u8; 16] = rand::random();
        let identity = &self.surroundings.identity;
        let version = self.relay.traffic.picture().standing.version.0;
        let question = Label {
            question: Some(number),
            ..Label::plain(identity.system, version, identity.node.0)
        };
        let question = identity.label_keys.signed(question, at);
        let mut bytes = [0; LABEL_BYTES_MAX];
        let length = question.encode(&mut bytes);
        let stream = match timeout(CONNECT_LIMIT, connect(at, &bytes[..length])).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return WhoListens::Nobody,
            // Where connections queue up the kernel takes no more.
            Err(_) => return WhoListens::Silent,
        };
        match timeout(ANSWER_LIMIT, answer(stream)).await {
            Err(_) => WhoListens::Silent,
            Ok(Some(answer))
                if (answer.system, answer.question) == (identity.system, Some(number))
                    && !matches!(
                        identity.label_keys.judge(&answer, at),
                        Judgement::Refused(_)
                    ) =>
            {
                WhoListens::Member
            }
            _ => WhoListens::Stranger,
        }
    }
}

/// Connects with the question as the first bytes, as hooks connect with a label.
async fn connect(at: SocketAddr, question: &[u8]) -> io::Result<TcpStream> {
    match dial::dial(at, question).await {
        // An operator has just forbidden data in handshakes.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            let mut stream = TcpStream::connect(at).await?;
            stream.write_all(question).await?;
            Ok(stream)
        }
        dialled => dialled,
    }
}

/// The label that comes back, if one does.
async fn answer(mut stream: TcpStream) -> Option<Label> {
    let (mut bytes, mut count) = ([0; LABEL_BYTES_MAX], 0);
    loop {
        match stream.read(&mut bytes[count..]).await {
            Ok(more @ 1..) => count += more,
            Ok(0) | Err(_) => return None,
        }
        match label::parse(&bytes[..count]) {
            Parsed::Label { label, .. } => return Some(label),
            Parsed::Partial => {}
            Parsed::NotALabel | Parsed::Damaged => return None,
        }
    }
}

/// Asks for as long as the node lives.
pub(super) async fn go_on(doubting: Weak<Doubting>) {
    loop {
        let Some(here) = doubting.upgrade() else {
            return;
        };
        // Before the look: what the server says meanwhile is looked at next.
        let mut news = here.membership.news();
        let pause = if here.look() { LOOK } else { QUIET_LOOK };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = here.answered.notified() => {}
            // What the server says counts at once.
            _ = news.changed() => {}
        }
    }
}
