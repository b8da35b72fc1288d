//! One packet on a `SOCK_SEQPACKET` Unix socket, with at most one descriptor. Never blocks.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A received packet: its length in the buffer, and the descriptor that came with it.
pub(crate) struct Packet {
    pub(crate) length: usize,
    pub(crate) descriptor: Option<OwnedFd>,
}

/// Sends one packet; `WouldBlock` when the peer has not read enough of the former ones.
pub(crate) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            // Too many descriptors of this user are on their way: the same as a full queue.
            Err(rustix::io::Errno::TOOMANYREFS | rustix::io::Errno::NOBUFS) => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one packet; `None` at the end of the connection. A packet that is longer than the buffer is an error.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<Packet>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        let mut slices = [IoSliceMut::new(&mut *buffer)];
        match recvmsg(&socket, &mut slices, &mut control, flags) {
            Ok(received) => break received,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let descriptor = first_descriptor(&mut control);
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a packet is too long",
        ));
    }
    Ok(Some(Packet {
        length: received.bytes,
        descriptor,
    }))
}

/// The first descriptor; what else came is closed.
fn first_descriptor(control: &mut RecvAncillaryBuffer<'_>) -> Option<OwnedFd> {
    let mut first = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            for descriptor in descriptors {
                first.get_or_insert(descriptor);
            }
        }
    }
    first
}

/// Makes room for packets of `bytes` in the socket's send queue, as far as the system allows.
pub(crate) fn make_room(socket: impl AsFd, bytes: usize) {
    // The kernel doubles the figure for its own bookkeeping; a smaller queue only makes long packets fail.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(socket, bytes);
}

#[cfg(test)]
mod tests {
    use super::{receive, send};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::io::ErrorKind;
    use std::os::fd::AsFd;

    fn pair() -> (std::os::fd::OwnedFd, std::os::fd::OwnedFd) {
        socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a pair of sockets")
    }

    #[test]
    fn a_packet_and_its_descriptor_arrive_together() {
        let (left, right) = pair();
        let file = tempfile::tempfile().expect("a file");
        send(&left, b"hello", Some(file.as_fd())).expect("room");
        let mut buffer = [0; 16];
        let packet = receive(&right, &mut buffer)
            .expect("received")
            .expect("one");
        assert_eq!(&buffer[..packet.length], b"hello");
        assert!(packet.descriptor.is_some());
    }

    #[test]
    fn an_empty_queue_a_long_packet_and_the_end_are_told_apart() {
        let (left, right) = pair();
        let mut buffer = [0; 4];
        let empty = receive(&right, &mut buffer).map(|_| ()).expect_err("empty");
        assert_eq!(empty.kind(), ErrorKind::WouldBlock);
        send(&left, b"longer", None).expect("room");
        let long = receive(&right, &mut buffer).map(|_| ()).expect_err("long");
        assert_eq!(long.kind(), ErrorKind::InvalidData);
        drop(left);
        assert!(receive(&right, &mut buffer).expect("the end").is_none());
    }
}
