//! The packets of the connection, and the task that reads them.

use super::{
    GREETING_MS_MAX, HAND_OVERS_WAITING_MAX, HolderClientError, HolderNotice, WaitingAnswers,
    unexpected,
};
use crate::{holder, packet};
use intercept::holder::{
    FromHolder, HolderEvent, HolderReply, HolderRequest, HolderState, PACKET_BYTES_MAX, PROTOCOL,
    PROTOCOL_MIN, ReplyBody, RequestBody,
};
use parking_lot::Mutex;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;

/// Tokio has no type for `SOCK_SEQPACKET`; its datagram socket waits for readiness all the same.
pub(super) fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    packet::make_room(&socket, PACKET_BYTES_MAX);
    let (address, _directory) = holder::socket_address(path)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// The process at the other end; `None` where it lies outside this one's process namespace.
#[expect(
    unsafe_code,
    reason = "rustix's type for it has no value for a process outside"
)]
pub(super) fn peer_process(socket: &UnixDatagram) -> Option<i32> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = libc::socklen_t::try_from(size_of_val(&peer)).ok()?;
    // SAFETY: the descriptor is open for the call's duration, and the pointers are to a ucred and to its length.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    (answer == 0 && peer.pid > 0).then_some(peer.pid)
}

pub(super) async fn greet(socket: &UnixDatagram) -> Result<(u16, HolderState), HolderClientError> {
    let body = RequestBody::Hello {
        protocol: PROTOCOL,
        protocol_min: PROTOCOL_MIN,
    };
    send(socket, &HolderRequest { id: 0, body }, None).await?;
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    let answer = tokio::time::timeout(
        Duration::from_millis(GREETING_MS_MAX),
        receive(socket, &mut buffer),
    );
    let silent = |_| HolderClientError::Silent {
        process: peer_process(socket).unwrap_or(0),
    };
    match answer.await.map_err(silent)?? {
        (FromHolder::Reply(HolderReply { body, .. }), _) => {
            match body.map_err(HolderClientError::Refused)? {
                ReplyBody::Hello { protocol, state } => Ok((protocol, state)),
                other => Err(unexpected(&other)),
            }
        }
        (FromHolder::Event(event), _) => Err(HolderClientError::Garbled(format!("{event:?}"))),
    }
}

pub(super) async fn send(
    socket: &UnixDatagram,
    request: &HolderRequest,
    descriptor: Option<OwnedFd>,
) -> Result<(), HolderClientError> {
    let bytes = serde_json::to_vec(request)
        .map_err(|error| HolderClientError::Garbled(error.to_string()))?;
    if bytes.len() > PACKET_BYTES_MAX {
        return Err(HolderClientError::Refused(format!(
            "a message of {} bytes is longer than {PACKET_BYTES_MAX}",
            bytes.len()
        )));
    }
    let sent = socket
        .async_io(Interest::WRITABLE, || {
            packet::send(socket, &bytes, descriptor.as_ref().map(AsFd::as_fd))
        })
        .await;
    match sent {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::NotConnected
            ) =>
        {
            Err(HolderClientError::Gone)
        }
        other => Ok(other?),
    }
}

async fn receive(
    socket: &UnixDatagram,
    buffer: &mut [u8],
) -> Result<(FromHolder, Option<OwnedFd>), HolderClientError> {
    let packet = socket
        .async_io(Interest::READABLE, || packet::receive(socket, &mut *buffer))
        .await?
        .ok_or(HolderClientError::Gone)?;
    let message = serde_json::from_slice(&buffer[..packet.length])
        .map_err(|error| HolderClientError::Garbled(error.to_string()))?;
    Ok((message, packet.descriptor))
}

/// Reads until the connection ends; then every asker hears of it, because their senders are dropped.
pub(super) async fn read_all(
    socket: Arc<UnixDatagram>,
    waiting: Arc<Mutex<Option<WaitingAnswers>>>,
    news: mpsc::UnboundedSender<HolderNotice>,
    piled: Arc<AtomicUsize>,
    silent: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        let received = receive(&socket, &mut buffer).await;
        if received.is_ok() && silent.swap(false, Ordering::Relaxed) {
            tracing::info!("the holder answers again");
        }
        match received {
            Ok((FromHolder::Reply(reply), descriptor)) => {
                let asker = waiting
                    .lock()
                    .as_mut()
                    .and_then(|waiting| waiting.remove(&reply.id));
                if let Some(asker) = asker {
                    // The asker may have given up: then the answer is nobody's.
                    let _ = asker.send((reply.body, descriptor));
                }
            }
            Ok((FromHolder::Event(event), descriptor)) => {
                if let Some(notice) = notice(event, descriptor, &piled)
                    && news.send(notice).is_err()
                {
                    tracing::debug!("nobody listens to the holder's news");
                }
            }
            Err(HolderClientError::Garbled(what)) => {
                tracing::warn!(what, "a message of the holder is not understood");
            }
            Err(error) => {
                tracing::debug!(%error, "the connection to the holder has ended");
                break;
            }
        }
    }
    *waiting.lock() = None;
}

fn notice(
    event: HolderEvent,
    descriptor: Option<OwnedFd>,
    piled: &AtomicUsize,
) -> Option<HolderNotice> {
    match event {
        HolderEvent::Listening { address } => Some(HolderNotice::Listening(address)),
        HolderEvent::Kept(kept) => Some(HolderNotice::Kept(kept)),
        HolderEvent::ChildExited(exit) => Some(HolderNotice::ChildExited(exit)),
        HolderEvent::HandedOver {
            reason,
            local,
            peer,
        } => {
            let Some(connection) = descriptor else {
                return Some(HolderNotice::Lost { peer });
            };
            if piled.fetch_add(1, Ordering::Relaxed) >= HAND_OVERS_WAITING_MAX {
                piled.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(%peer, "too many handed-over connections wait: one is closed");
                return None;
            }
            Some(HolderNotice::HandedOver {
                reason,
                local,
                peer,
                connection,
            })
        }
    }
}
