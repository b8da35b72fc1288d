//! A holder of a few lines: remembers what hooks say, gives what it was told to give.

use intercept::holder::HandOverReason;
use intercept::hook_protocol::{HookMessage, HookReply, MESSAGE_BYTES_MAX};
use kit::wait_for;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind,
    listen, recvmsg, sendmsg, socket_with, sockopt,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// A connection that a hook gave away.
#[derive(Debug)]
pub(crate) struct HandedOver {
    pub(crate) reason: HandOverReason,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) stream: TcpStream,
}

#[derive(Default)]
struct Heard {
    stopped: bool,
    handed_over: Vec<HandedOver>,
    listening: Vec<SocketAddr>,
    others: Vec<HookMessage>,
    kept: Vec<(SocketAddr, OwnedFd)>,
    offers: Vec<([u8; 16], OwnedFd)>,
}

/// The holder; its thread ends with the test's process.
pub(crate) struct Holder {
    name: String,
    heard: Arc<Mutex<Heard>>,
}

impl Holder {
    /// Listens under a name of its own.
    pub(crate) fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("upstart-test-{}-{number}", std::process::id());
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        );
        let socket = socket.expect("a socket");
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).expect("a name");
        bind(&socket, &address).expect("bound");
        listen(&socket, 4096).expect("listening");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        std::thread::spawn(move || {
            while let Ok(line) = accept_with(&socket, SocketFlags::CLOEXEC) {
                if shared.lock().expect("lock").stopped {
                    return;
                }
                hear(&line, &shared);
            }
        });
        Self { name, heard }
    }

    /// Ends it: its name is gone.
    pub(crate) fn stop(&self) {
        self.heard.lock().expect("lock").stopped = true;
        let address = SocketAddrUnix::new_abstract_name(self.name.as_bytes()).expect("a name");
        wait_for("the holder's end", || {
            let line = socket_with(
                AddressFamily::UNIX,
                SocketType::SEQPACKET,
                SocketFlags::CLOEXEC,
                None,
            );
            rustix::net::connect(line.expect("a socket"), &address).is_err()
        });
    }

    /// Its abstract name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until this many connections were handed over in all, and takes them.
    pub(crate) fn wait_handed_over(&self, count: usize) -> Vec<HandedOver> {
        wait_for("connections handed over", || {
            self.heard.lock().expect("lock").handed_over.len() >= count
        });
        std::mem::take(&mut self.heard.lock().expect("lock").handed_over)
    }

    /// Takes the connections that were handed over by now.
    pub(crate) fn take_handed_over(&self) -> Vec<HandedOver> {
        std::mem::take(&mut self.heard.lock().expect("lock").handed_over)
    }

    /// How many wait to be taken.
    pub(crate) fn handed_over(&self) -> usize {
        self.heard.lock().expect("lock").handed_over.len()
    }

    /// Waits until a hook has reported a listener at this port.
    pub(crate) fn wait_listening(&self, port: u16) {
        wait_for("a listener reported", || self.has_listening(port));
    }

    pub(crate) fn has_listening(&self, port: u16) -> bool {
        self.heard
            .lock()
            .expect("lock")
            .listening
            .iter()
            .any(|address| address.port() == port)
    }

    /// What else hooks said.
    pub(crate) fn others(&self) -> Vec<HookMessage> {
        self.heard.lock().expect("lock").others.clone()
    }

    /// Keeps this listener beside whoever binds this address.
    pub(crate) fn keep(&self, address: SocketAddr, listener: impl Into<OwnedFd>) {
        self.heard
            .lock()
            .expect("lock")
            .kept
            .push((address, listener.into()));
    }

    /// Keeps nothing any more.
    pub(crate) fn forget_kept(&self) {
        self.heard.lock().expect("lock").kept.clear();
    }

    /// Gives this connection to the accept hook that shows this token.
    pub(crate) fn offer(&self, token: [u8; 16], stream: impl Into<OwnedFd>) {
        self.heard
            .lock()
            .expect("lock")
            .offers
            .push((token, stream.into()));
    }
}

fn hear(line: &OwnedFd, heard: &Mutex<Heard>) {
    let mut bytes = [0; MESSAGE_BYTES_MAX];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let Ok(got) = recvmsg(
        line,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        flags,
    ) else {
        return;
    };
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    let Ok(message) = HookMessage::decode(&bytes[..got.bytes]) else {
        return;
    };
    let mut heard = heard.lock().expect("lock");
    match message {
        HookMessage::HandOver {
            reason,
            local,
            peer,
        } => {
            let stream = TcpStream::from(descriptor.expect("a descriptor"));
            stream.set_nonblocking(false).expect("blocking");
            heard.handed_over.push(HandedOver {
                reason,
                local,
                peer,
                stream,
            });
        }
        HookMessage::Listening { local } => heard.listening.push(local),
        HookMessage::Bind { local } => {
            let bound = descriptor.expect("a descriptor");
            let kept = heard.kept.iter().find(|(address, _)| *address == local);
            if let Some((_, kept)) = kept {
                sockopt::set_socket_reuseport(kept, true).expect("allowed");
                sockopt::set_socket_reuseport(&bound, true).expect("allowed");
            }
            answer(line, kept.is_some());
        }
        HookMessage::Take { token } => {
            let at = heard
                .offers
                .iter()
                .position(|(offered, _)| *offered == token);
            let found = at.map(|at| heard.offers.remove(at).1);
            reply(line, found);
        }
        HookMessage::Connect { to } => {
            let kept = heard.kept.iter().any(|(address, _)| *address == to);
            answer(line, kept);
        }
        HookMessage::Own { .. } => answer(line, false),
        HookMessage::Lent { .. } => answer(line, !heard.kept.is_empty()),
        HookMessage::Keyring => reply(line, None),
        other @ HookMessage::Hello { .. } => heard.others.push(other),
    }
}

fn answer(line: &OwnedFd, found: bool) {
    let bytes = HookReply { found }.encode();
    let _ = rustix::net::send(line, &bytes, SendFlags::NOSIGNAL);
}

fn reply(line: &OwnedFd, found: Option<OwnedFd>) {
    let bytes = HookReply {
        found: found.is_some(),
    }
    .encode();
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    let descriptors: Vec<_> = found.iter().map(AsFd::as_fd).collect();
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    let _ = sendmsg(
        line,
        &[IoSlice::new(&bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    );
}
