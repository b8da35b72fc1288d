//! The kernel's socket diagnosis (sock_diag(7)): one socket by its ends, or all in one state. It does not format what nobody asked
//! for, so a host with many connections, living or ended, is as cheap as one with few.

use crate::{Socket, SocketState};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use std::io;
use std::net::SocketAddr;

/// `INET_DIAG_NOCOOKIE`: the socket is named by its ends alone.
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// Room for what the kernel sends at once (netlink(7)).
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// All sockets in this state.
pub(crate) fn sockets(state: SocketState) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    for (family, socket_id) in [
        (AF_INET, SocketId::new_v4()),
        (AF_INET6, SocketId::new_v6()),
    ] {
        let states = StateFlags::from_bits_retain(1 << state as u32);
        let request = request(family, states, socket_id);
        let answers = ask(request, NLM_F_REQUEST | NLM_F_DUMP)?;
        found.extend(answers.iter().filter_map(socket_of));
    }
    Ok(found)
}

/// The socket with these ends; a listener where there is no such connection.
pub(crate) fn socket(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Socket>> {
    let (source, destination) = (local.ip().to_canonical(), remote.ip().to_canonical());
    let id = SocketId {
        source_port: local.port(),
        destination_port: remote.port(),
        source_address: source,
        destination_address: destination,
        interface_id: 0,
        cookie: NO_COOKIE,
    };
    let family = if source.is_ipv4() { AF_INET } else { AF_INET6 };
    match ask(request(family, StateFlags::all(), id), NLM_F_REQUEST) {
        Ok(answers) => Ok(answers.iter().find_map(socket_of)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn request(family: u8, states: StateFlags, socket_id: SocketId) -> InetRequest {
    InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id,
    }
}

fn ask(request: InetRequest, flags: u16) -> io::Result<Vec<InetResponse>> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let mut socket = netlink_sys::Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let is_list = flags & NLM_F_DUMP == NLM_F_DUMP;
    let mut answers = Vec::new();
    let mut room = Vec::with_capacity(ANSWER_BYTES_MAX);
    loop {
        room.clear();
        socket.recv(&mut room, 0)?;
        if read(&room, &mut answers)? || !is_list {
            return Ok(answers);
        }
    }
}

/// Reads the messages of one answer; says whether it was the last.
fn read(mut bytes: &[u8], answers: &mut Vec<InetResponse>) -> io::Result<bool> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes);
        let message = message.map_err(io::Error::other)?;
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(answer)) => {
                answers.push(*answer);
            }
            _ => {}
        }
        // Messages begin at multiples of four bytes.
        let length = (message.header.length as usize).next_multiple_of(4).max(4);
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(false)
}

fn socket_of(answer: &InetResponse) -> Option<Socket> {
    let state = [
        SocketState::Established,
        SocketState::HalfOpen,
        SocketState::Listen,
    ]
    .into_iter()
    .find(|state| *state as u8 == answer.header.state)?;
    let id = &answer.header.socket_id;
    Some(Socket {
        local: SocketAddr::new(id.source_address.to_canonical(), id.source_port),
        remote: SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
        state,
        inode: u64::from(answer.header.inode),
        user: answer.header.uid,
    })
}
