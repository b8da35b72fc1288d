//! A connection as it comes: who it is from is found out by what it says first.

use super::first_bytes::{self, FirstBytes};
use super::serving::RelayedCaller;
use super::{Relay, ResetReason};
use crate::dial;
use crate::label_keys::Judgement;
use intercept::decide;
use intercept::holder::HandOverReason;
use intercept::keyring::ProofVerdict;
use label::{LABEL_BYTES_MAX, Label};
use model::api::EventKind;
use model::bundle::Protocol;
use model::ids::Version;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A connection that nobody has looked at yet.
pub(crate) struct ArrivingConnection {
    /// The connection.
    pub(crate) connection: OwnedFd,
    /// Why the accept hook gave it away; none for one that the agent accepted itself.
    pub(crate) handed_over: Option<HandOverReason>,
    /// Where it leads.
    pub(crate) ends: ConnectionEnds,
}

/// The addresses of a connection's two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionEnds {
    /// This node's: the address that the caller dialled.
    pub(crate) local: SocketAddr,
    /// The caller's.
    pub(crate) peer: SocketAddr,
}

impl Relay {
    /// Serves a connection until it ends or is the software's.
    pub(super) async fn serve_arrival(
        self: &Arc<Self>,
        arrival: ArrivingConnection,
    ) -> io::Result<()> {
        let ArrivingConnection {
            connection,
            handed_over,
            ends,
        } = arrival;
        let stream = std::net::TcpStream::from(connection);
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream)?;
        let here = self.traffic.picture();
        // What the node itself has there: callers that say no version, and those of the agent's own, mean that.
        let own_service = here.service_at(ends.local.port(), None);
        let is_held = matches!(
            handed_over,
            Some(HandOverReason::Probing | HandOverReason::Held)
        );
        if is_held && self.commands.own(ends.peer, ends.local) {
            // A connection of the agent's own command reaches the software although calls are held.
            return self.give_back_to(stream, own_service, None).await;
        }
        let honoured = here.honours(ends.peer.ip());
        let callers_speak_first = own_service
            .and_then(|service| here.manner(service))
            .is_some_and(|(protocol, _)| matches!(protocol, Protocol::Http | Protocol::Resp));
        let first = self
            .first_bytes(&mut stream, handed_over, ends, callers_speak_first)
            .await?;
        let label = match first {
            FirstBytes::Label(label) if self.is_own(&label) => {
                return (self.take_back(stream, &label, handed_over, own_service)).await;
            }
            FirstBytes::Ended => return Ok(()),
            first => match self.believed(first, honoured, ends.local) {
                Ok(label) => label,
                Err(why) => return self.refuse(stream, why, ends.peer.ip()),
            },
        };
        let picture = self.traffic.picture();
        if let Some(label) = label.as_ref().filter(|label| label.question.is_some()) {
            let version = picture.standing.version;
            let asked_at = label.proof.map_or(ends.local, |proof| proof.destination);
            let question = (label.question, asked_at);
            return self.answer_question(stream, question, version).await;
        }
        let label = label.map(|label| Version(label.version));
        let Some(service) = picture.service_at(ends.local.port(), label) else {
            return self.reset(stream, ResetReason::NoSuchService);
        };
        let caller = RelayedCaller {
            stream,
            ends,
            service: service.into(),
            label,
        };
        // A connection may last: it keeps no picture.
        drop((here, picture));
        self.serve_caller(caller).await
    }

    /// The label of a connection that has one and is believed, or why the connection is reset.
    fn believed(
        &self,
        first: FirstBytes,
        honoured: bool,
        local: SocketAddr,
    ) -> Result<Option<Box<Label>>, ResetReason> {
        match first {
            _ if self.forgotten.load(Ordering::Relaxed) => Err(ResetReason::Forgotten),
            FirstBytes::Label(label) if label.system != self.identity.system => {
                Err(ResetReason::OtherSystem)
            }
            FirstBytes::Label(_) if !honoured => Err(ResetReason::LabelNotHonoured),
            FirstBytes::Label(label) => match self.identity.label_keys.judge(&label, local) {
                Judgement::Believed => Ok(Some(label)),
                Judgement::Unproved => {
                    self.tally.count("connection.unproved");
                    Ok(Some(label))
                }
                Judgement::Refused(verdict) => Err(refusal(verdict)),
            },
            FirstBytes::Unlabelled => Ok(None),
            FirstBytes::Damaged => Err(ResetReason::DamagedLabel),
            FirstBytes::Silent | FirstBytes::Ended => Err(ResetReason::Silent),
        }
    }

    /// Resets a connection for what it said first. If that was a label people are told: members' labels are whole, and their own.
    fn refuse(&self, stream: TcpStream, why: ResetReason, from: IpAddr) -> io::Result<()> {
        let is_for_its_label = matches!(
            why,
            ResetReason::DamagedLabel
                | ResetReason::OtherSystem
                | ResetReason::LabelNotHonoured
                | ResetReason::LabelElsewhere
                | ResetReason::LabelForged
                | ResetReason::LabelOfNoKey
                | ResetReason::LabelUnsigned
                | ResetReason::LabelUntimely
        );
        if is_for_its_label {
            let (counter, meaning) = (why.counter(), why.meaning());
            let text = format!("a connection from {from} was reset ({counter}): {meaning}");
            let now = std::time::Instant::now();
            let remarks = &self.tally.remarks;
            remarks.note(now, EventKind::LabelRefused, counter, text);
        }
        self.reset(stream, why)
    }

    /// Answers a member that asks whether one listens here, as the accept hook does for the software.
    async fn answer_question(
        &self,
        mut stream: TcpStream,
        (question, asked_at): (Option<[u8; 16]>, SocketAddr),
        version: Version,
    ) -> io::Result<()> {
        let answer = Label {
            question,
            ..Label::plain(self.identity.system, version.0, self.identity.node.0)
        };
        let answer = self.identity.label_keys.signed(answer, asked_at);
        let mut bytes = [0; LABEL_BYTES_MAX];
        let length = answer.encode(&mut bytes);
        self.tally.count("connection.asked");
        stream.write_all(&bytes[..length]).await
    }

    /// What a connection says first, as far as it has to be waited for.
    async fn first_bytes(
        &self,
        stream: &mut TcpStream,
        handed_over: Option<HandOverReason>,
        ends: ConnectionEnds,
        callers_speak_first: bool,
    ) -> io::Result<FirstBytes> {
        let prompt = handed_over == Some(HandOverReason::Held) && self.is_prompt(stream, ends);
        if handed_over == Some(HandOverReason::Public) || prompt && !first_bytes::has_come(stream) {
            return Ok(FirstBytes::Unlabelled);
        }
        first_bytes::read(stream, callers_speak_first).await
    }

    /// Whether a label, if there is one, has come by now: of an outsider, or on this host, with no packet lost. The same facts as
    /// those by which the accept hook decides.
    fn is_prompt(&self, stream: &TcpStream, ends: ConnectionEnds) -> bool {
        let ConnectionEnds { local, peer } = ends;
        let same_host = decide::is_same_host(local.ip(), peer.ip());
        if same_host && dial::was_repeated(stream) {
            return false;
        }
        let picture = self.traffic.picture();
        let settings = self.fast_open.now();
        let has_no_cookie = peer.ip().to_canonical().is_loopback() || !settings.takes;
        !picture.honours(peer.ip())
            || same_host
                && has_no_cookie
                && settings.always_sends
                && picture.sources.contains(&peer.ip().to_canonical())
    }

    fn is_own(&self, label: &Label) -> bool {
        label.agent_key == Some(self.identity.agent_key.value())
    }
}

/// Why a connection is reset whose label has not the proof that is demanded.
fn refusal(verdict: ProofVerdict) -> ResetReason {
    match verdict {
        ProofVerdict::Proved | ProofVerdict::Unsigned => ResetReason::LabelUnsigned,
        ProofVerdict::UnknownKey => ResetReason::LabelOfNoKey,
        ProofVerdict::Forged => ResetReason::LabelForged,
        ProofVerdict::Elsewhere => ResetReason::LabelElsewhere,
        ProofVerdict::Untimely => ResetReason::LabelUntimely,
    }
}
