//! Serving a caller of whom it is known what it wants: it gets leave, then the way that its version has to the software.

use super::gate::{Admission, CallGate};
use super::pairs::PairObserver;
use super::software_dial::LabelledDial;
use super::{ConnectionEnds, Recorder, Relay, ResetReason, reset_std, tap};
use call::{Dial, MessageForm, Upstream};
use model::bundle::{Connections, Protocol};
use model::ids::Version;
use serve::{MessageNode, MessageProtocol, Served};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;

/// A connection that has said who it is from.
pub(super) struct RelayedCaller {
    pub(super) stream: TcpStream,
    pub(super) ends: ConnectionEnds,
    /// What it has called: decided once, by the port that it dialled, as its version or else the node knows it.
    pub(super) service: Arc<str>,
    /// None of an outsider, who is served at the public version.
    pub(super) label: Option<Version>,
}

/// A caller who has got leave.
pub(super) struct AdmittedCaller {
    pub(super) stream: TcpStream,
    pub(super) ends: ConnectionEnds,
    pub(super) service: Arc<str>,
    /// Its label, or the version that was public when it was first served.
    pub(super) version: Version,
    /// Leave for each of its calls.
    pub(super) gate: Arc<CallGate>,
}

impl Relay {
    /// Serves a caller until its connection ends or is the software's. Where calls are held before the software has taken it, it waits
    /// for leave again: what follows may be another version.
    pub(super) async fn serve_caller(self: &Arc<Self>, caller: RelayedCaller) -> io::Result<()> {
        let mut next = Some(caller);
        while let Some(caller) = next {
            next = self.serve_once(caller).await?;
        }
        Ok(())
    }

    async fn serve_once(
        self: &Arc<Self>,
        caller: RelayedCaller,
    ) -> io::Result<Option<RelayedCaller>> {
        let RelayedCaller {
            stream,
            ends,
            service,
            label,
        } = caller;
        let picture = self.traffic.picture();
        if label.is_none() && picture.may_be_mistaken(&service, ends.local.port(), ends.peer.ip()) {
            return self.reset(stream, ResetReason::MaybeAMember).map(|()| None);
        }
        drop(picture);
        let gate = Arc::new(CallGate::new(
            self.traffic.clone(),
            self.tally.clone(),
            service.clone(),
            label,
            self.recorders.of(&service),
        ));
        let Some(arrived) = gate.version() else {
            return self
                .reset(stream, ResetReason::NoPublicVersion)
                .map(|()| None);
        };
        let open = self.tally.connection(arrived);
        let admission = tokio::select! {
            admission = gate.admit() => admission,
            // Without a label its version is not known before it is served.
            () = self.retired(arrived), if label.is_some() => Admission::Closed(ResetReason::Retired),
        };
        let version = gate.version().unwrap_or(arrived);
        let _open = if version == arrived {
            open
        } else {
            self.tally.connection(version)
        };
        let admitted = AdmittedCaller {
            stream,
            ends,
            service: service.clone(),
            version,
            gate,
        };
        let held_again = tokio::select! {
            served = self.serve_admitted(admitted, admission) => served?,
            () = self.retired(version) => {
                self.tally.reset(ResetReason::Retired);
                None
            }
        };
        Ok(held_again.map(|stream| RelayedCaller {
            stream,
            ends,
            service,
            label,
        }))
    }

    /// Serves a caller that was admitted; its connection comes back when calls are held before the software has it.
    async fn serve_admitted(
        self: &Arc<Self>,
        caller: AdmittedCaller,
        admission: Admission,
    ) -> io::Result<Option<TcpStream>> {
        let served = match admission {
            Admission::Direct(upstream) => match caller.gate.recorder() {
                Some(recorder) => self.tap(caller, upstream, recorder).await,
                None => return self.give_back(caller.stream, upstream, None, true).await,
            },
            Admission::Closed(why) => self.reset(caller.stream, why),
            Admission::Session(chain, upstream) => self.session(caller, chain, upstream).await,
            Admission::Translate => self.serve_translated(caller).await,
        };
        served.map(|()| None)
    }

    /// Serves a connection whose version has another interface than the software's.
    async fn serve_translated(self: &Arc<Self>, caller: AdmittedCaller) -> io::Result<()> {
        let picture = self.traffic.picture();
        let manner = picture.manner(&caller.service);
        let carried = matches!(manner, Some((_, Connections::Stateless)));
        let form = match manner {
            None | Some((Protocol::Http, _)) => None,
            Some((Protocol::Resp, _)) => Some(MessageForm::Resp),
            Some(_) => Some(MessageForm::Framed),
        };
        caller.gate.carry(carried);
        let Some(form) = form else {
            return self.translate(caller).await;
        };
        let Some(codec) = picture.codec(&caller.service, caller.version) else {
            return self.reset(caller.stream, ResetReason::ProtocolWithoutAdapter);
        };
        let protocol = MessageProtocol {
            form,
            codec,
            carried,
        };
        self.converse(caller, protocol).await
    }

    /// Passes a direct connection through while it is recorded. It stays with the agent until it ends: what the software keeps
    /// with its own connection could not follow it.
    async fn tap(
        &self,
        caller: AdmittedCaller,
        upstream: Upstream,
        recorder: Arc<Recorder>,
    ) -> io::Result<()> {
        let dial = self.labelled_dial(caller.ends);
        let (version, mut caller, peer) = (caller.version, caller.stream, caller.ends.peer);
        let mut software = match dial.dial(upstream, peer).await {
            Ok(software) => software,
            Err(error) => {
                reset_std(caller.into_std()?);
                return Err(error);
            }
        };
        for stream in [&caller, &software] {
            // What passes is complete as it is; waiting would only delay.
            let _ = stream.set_nodelay(true);
        }
        self.tally.count("recorded.direct");
        let node = self.traffic.picture().standing.version;
        let passed = tap::pass(&mut caller, &mut software, recorder, version, node).await;
        if passed.is_err() {
            reset_std(caller.into_std()?);
            reset_std(software.into_std()?);
        }
        passed
    }

    async fn translate(self: &Arc<Self>, caller: AdmittedCaller) -> io::Result<()> {
        let dial = self.labelled_dial(caller.ends);
        let observer = PairObserver::new(&self.tally, &self.traffic, caller.version);
        let limits = self.limits();
        let peer = caller.ends.peer;
        let served =
            serve::serve_http(caller.stream, peer, caller.gate, dial, limits, observer).await;
        self.served(served, &caller.service, caller.ends).await
    }

    /// Serves calls that are messages.
    async fn converse(
        self: &Arc<Self>,
        caller: AdmittedCaller,
        protocol: MessageProtocol,
    ) -> io::Result<()> {
        let node = MessageNode {
            gate: caller.gate,
            dial: self.labelled_dial(caller.ends),
            limits: self.limits(),
            observer: PairObserver::new(&self.tally, &self.traffic, caller.version),
        };
        // Away from this task's own state: thousands of them wait.
        let served = Box::pin(serve::serve_messages(
            caller.stream,
            caller.ends.peer,
            protocol,
            node,
        ));
        (self.served(served.await, &caller.service, caller.ends)).await
    }

    /// Connects to the software for a caller.
    pub(super) fn labelled_dial(&self, ends: ConnectionEnds) -> Arc<LabelledDial> {
        let (identity, traffic) = (self.identity.clone(), self.traffic.clone());
        let dial = self.software_dial.clone();
        Arc::new(LabelledDial::new(identity, traffic, dial, ends.local))
    }

    /// What follows when a connection's calls have been served.
    async fn served(
        self: &Arc<Self>,
        served: Served,
        service: &str,
        ends: ConnectionEnds,
    ) -> io::Result<()> {
        match served {
            Served::Closed => Ok(()),
            Served::Reset(cause) => {
                tracing::debug!(peer = %ends.peer, ?cause, "a connection was reset");
                self.tally.count("connection.reset");
                Ok(())
            }
            Served::GiveBack(stream) => self.give_back_to(stream, Some(service), None).await,
        }
    }
}
