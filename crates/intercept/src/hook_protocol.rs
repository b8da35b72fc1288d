//! What a hook says to the holder: one fixed binary message on a connection of its own, encoded without allocation.
//!
//! The holder listens on an abstract `SOCK_SEQPACKET` socket. A hook connects (at most [`REPLY_MS`], where strangers fill the queue), sends one message,
//! with one descriptor for `HandOver`, `Bind` and `Own`, reads one reply where one is due (at most [`REPLY_MS`]), and closes.
//!
//! ```text
//! version u8, kind u8, detail u8, 0, then by kind:
//!   1 HandOver   detail = reason; local address, peer address (+ descriptor)
//!   2 Listening  local address
//!   4 Take       token[16]            -> reply (+ descriptor when found)
//!   5 Hello      detail = 1 when the table could be mapped; library version u16
//!   6 Bind       local address (+ descriptor)  -> reply
//!   7 Connect    address              -> reply
//!   8 Lent       cookie u64           -> reply
//!   9 Own        address (+ descriptor)  -> reply
//!  10 Keyring                        -> reply (+ descriptor when found)
//! address: family u8 (4 or 6), 0, port u16, ip[16] (IPv4 in the first four)        numbers are big endian
//! reply:   version u8, found u8
//! ```

use crate::holder::HandOverReason;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The version that is written.
pub const VERSION: u8 = 1;
/// The oldest version that is still read: a running child keeps an old library.
pub const VERSION_MIN: u8 = 1;
/// The longest message.
pub const MESSAGE_BYTES_MAX: usize = 64;
/// The length of a reply.
pub const REPLY_BYTES: usize = 2;
/// How long a hook waits for its turn, and for a reply.
pub const REPLY_MS: u64 = 1000;

const HEAD_BYTES: usize = 4;
const ADDRESS_BYTES: usize = 20;

/// What a hook says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookMessage {
    /// A connection for the agent; its descriptor comes along. No reply.
    HandOver {
        /// Why.
        reason: HandOverReason,
        /// The software's address on it.
        local: SocketAddr,
        /// The peer's.
        peer: SocketAddr,
    },
    /// `listen` succeeded on a TCP socket. No reply.
    Listening {
        /// Where.
        local: SocketAddr,
    },
    /// The software binds this socket, whose descriptor comes along, to a port that the table calls kept. The reply says whether
    /// something is kept there, beside which the socket may now be bound.
    Bind {
        /// Where.
        local: SocketAddr,
    },
    /// The software connects to a port of its own that the table calls kept. The reply says whether nobody but the holder would accept.
    Connect {
        /// Where to.
        to: SocketAddr,
    },
    /// The software connects this socket, whose descriptor comes along, to a port of its own that the table calls kept. The reply says
    /// whether it listens there itself: then the connection reaches it, whoever else is held.
    Own {
        /// Where to.
        to: SocketAddr,
    },
    /// The software asks for `SO_REUSEPORT`. The reply says whether it was set for what is kept, and not by the software.
    Lent {
        /// The socket's `SO_COOKIE`.
        cookie: u64,
    },
    /// A token dial was accepted. The reply brings the connection that was offered under the token.
    Take {
        /// The token.
        token: [u8; 16],
    },
    /// The table says that labels are signed. The reply brings the memory that has the keys ([`crate::keyring`]), to be read only.
    Keyring,
    /// The library could not do its work here (the table is not mapped), or says its version. No reply.
    Hello {
        /// [`crate::environment::LIBRARY_VERSION`] of the sender.
        library: u16,
        /// The table is mapped.
        table: bool,
    },
}

/// What the holder answers; with `found` a descriptor comes along to `Take` and `Keyring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookReply {
    /// There was one.
    pub found: bool,
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookProtocolError {
    /// Another version than those that are read.
    #[error("hook message of version {0}; {VERSION_MIN} to {VERSION} are understood")]
    Version(u8),
    /// A kind or a detail without a meaning.
    #[error("hook message of unknown kind {0}")]
    Kind(u8),
    /// Too few bytes, or an address of no family.
    #[error("hook message with {0} bytes is too short or holds no address")]
    Malformed(usize),
}

impl HookMessage {
    /// Writes the message and returns its length.
    pub fn encode(&self, into: &mut [u8; MESSAGE_BYTES_MAX]) -> usize {
        let (kind, detail) = match self {
            Self::HandOver { reason, .. } => (1, reason_number(*reason)),
            Self::Listening { .. } => (2, 0),
            Self::Bind { .. } => (6, 0),
            Self::Connect { .. } => (7, 0),
            Self::Lent { .. } => (8, 0),
            Self::Own { .. } => (9, 0),
            Self::Keyring => (10, 0),
            Self::Take { .. } => (4, 0),
            Self::Hello { table, .. } => (5, u8::from(*table)),
        };
        into[..HEAD_BYTES].copy_from_slice(&[VERSION, kind, detail, 0]);
        let body = &mut into[HEAD_BYTES..];
        HEAD_BYTES
            + match self {
                Self::HandOver { local, peer, .. } => {
                    put_address(body, *local);
                    put_address(&mut body[ADDRESS_BYTES..], *peer);
                    2 * ADDRESS_BYTES
                }
                Self::Listening { local }
                | Self::Bind { local }
                | Self::Connect { to: local }
                | Self::Own { to: local } => {
                    put_address(body, *local);
                    ADDRESS_BYTES
                }
                Self::Take { token } => {
                    body[..16].copy_from_slice(token);
                    16
                }
                Self::Lent { cookie } => {
                    body[..8].copy_from_slice(&cookie.to_be_bytes());
                    8
                }
                Self::Keyring => 0,
                Self::Hello { library, .. } => {
                    body[..2].copy_from_slice(&library.to_be_bytes());
                    2
                }
            }
    }

    /// Reads a message; bytes after it are later versions' and are skipped.
    ///
    /// # Errors
    /// The bytes are cut off, or of a version or kind that is not known here.
    pub fn decode(bytes: &[u8]) -> Result<Self, HookProtocolError> {
        let malformed = HookProtocolError::Malformed(bytes.len());
        let (head, body) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(malformed)?;
        let [version, kind, detail, _] = *head;
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(HookProtocolError::Version(version));
        }
        let local = || address(body).ok_or(malformed);
        Ok(match kind {
            1 => Self::HandOver {
                reason: reason(detail).ok_or(HookProtocolError::Kind(detail))?,
                local: local()?,
                peer: body
                    .get(ADDRESS_BYTES..)
                    .and_then(address)
                    .ok_or(malformed)?,
            },
            2 => Self::Listening { local: local()? },
            6 => Self::Bind { local: local()? },
            7 => Self::Connect { to: local()? },
            9 => Self::Own { to: local()? },
            8 => Self::Lent {
                cookie: u64::from_be_bytes(*body.first_chunk().ok_or(malformed)?),
            },
            4 => Self::Take {
                token: *body.first_chunk().ok_or(malformed)?,
            },
            5 => Self::Hello {
                library: u16::from_be_bytes(*body.first_chunk().ok_or(malformed)?),
                table: detail != 0,
            },
            10 => Self::Keyring,
            other => return Err(HookProtocolError::Kind(other)),
        })
    }
}

impl HookReply {
    /// The reply as bytes.
    pub fn encode(self) -> [u8; REPLY_BYTES] {
        [VERSION, u8::from(self.found)]
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// The bytes are cut off, or of a version or kind that is not known here.
    pub fn decode(bytes: &[u8]) -> Result<Self, HookProtocolError> {
        match bytes {
            [version, _, ..] if !(VERSION_MIN..=VERSION).contains(version) => {
                Err(HookProtocolError::Version(*version))
            }
            [_, found, ..] => Ok(Self { found: *found != 0 }),
            _ => Err(HookProtocolError::Malformed(bytes.len())),
        }
    }
}

fn reason_number(reason: HandOverReason) -> u8 {
    match reason {
        HandOverReason::Foreign => 1,
        HandOverReason::Undecided => 2,
        HandOverReason::Public => 3,
        HandOverReason::Probing => 4,
        HandOverReason::Held => 5,
    }
}

fn reason(number: u8) -> Option<HandOverReason> {
    Some(match number {
        1 => HandOverReason::Foreign,
        2 => HandOverReason::Undecided,
        3 => HandOverReason::Public,
        4 => HandOverReason::Probing,
        5 => HandOverReason::Held,
        _ => return None,
    })
}

fn put_address(into: &mut [u8], address: SocketAddr) {
    into[..ADDRESS_BYTES].fill(0);
    into[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            into[0] = 4;
            into[4..8].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            into[0] = 6;
            into[4..20].copy_from_slice(&ip.octets());
        }
    }
}

fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let bytes = bytes.first_chunk::<ADDRESS_BYTES>()?;
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let ip: IpAddr = match bytes[0] {
        4 => Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]).into(),
        6 => Ipv6Addr::from(*bytes[4..].first_chunk::<16>()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<HookMessage> {
        let local: SocketAddr = "10.0.0.1:7000".parse().expect("an address");
        let peer: SocketAddr = "[2001:db8::7]:40000".parse().expect("an address");
        let reasons = [
            HandOverReason::Foreign,
            HandOverReason::Undecided,
            HandOverReason::Public,
            HandOverReason::Probing,
            HandOverReason::Held,
        ];
        let mut all: Vec<_> = reasons
            .map(|reason| HookMessage::HandOver {
                reason,
                local,
                peer,
            })
            .into();
        all.push(HookMessage::Listening { local });
        all.push(HookMessage::Bind { local: peer });
        all.push(HookMessage::Connect { to: local });
        all.push(HookMessage::Lent { cookie: 7 << 40 });
        all.push(HookMessage::Own { to: peer });
        all.push(HookMessage::Keyring);
        all.push(HookMessage::Take {
            token: *b"0123456789abcdef",
        });
        all.push(HookMessage::Hello {
            library: 513,
            table: false,
        });
        all
    }

    #[test]
    fn messages_survive_the_wire() {
        for message in messages() {
            let mut bytes = [0xAA; MESSAGE_BYTES_MAX];
            let length = message.encode(&mut bytes);
            assert_eq!(HookMessage::decode(&bytes[..length]), Ok(message));
            for end in 0..length {
                assert!(
                    HookMessage::decode(&bytes[..end]).is_err(),
                    "{message:?} cut at {end}"
                );
            }
        }
    }

    #[test]
    fn other_versions_and_kinds_are_refused() {
        assert_eq!(
            HookMessage::decode(&[9, 1, 1, 0]),
            Err(HookProtocolError::Version(9))
        );
        assert_eq!(
            HookMessage::decode(&[1, 77, 0, 0]),
            Err(HookProtocolError::Kind(77))
        );
        assert_eq!(
            HookReply::decode(&[9, 1]),
            Err(HookProtocolError::Version(9))
        );
    }

    #[test]
    fn replies_survive_the_wire() {
        for found in [true, false] {
            assert_eq!(
                HookReply::decode(&HookReply { found }.encode()),
                Ok(HookReply { found })
            );
        }
    }
}
