//! What a connection says first: a label, something else, or nothing in time.

use label::{LABEL_BYTES_MAX, Label, Parsed, SIGNATURE};
use socket2::SockRef;
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a connection from a member's address may stay silent before it counts as unlabelled. A label that was lost
/// comes with the kernel's first or second retransmission: measured median 1.7 s at 5-10 % packet loss.
const LABEL_WAIT: Duration = Duration::from_millis(3_500);

/// The same where the caller speaks first by the service's protocol: nothing is lost by waiting, and a label that a cut path held
/// back for a while is still honoured. Longer than the kernel goes between two retransmissions when a path was away for a minute.
const CALL_WAIT: Duration = Duration::from_secs(120);

/// How often a half-arrived label is looked at again: `peek` cannot wait for more than it has.
const PARTIAL_LABEL_PAUSE: Duration = Duration::from_millis(5);

/// What stood at the beginning of a stream.
#[derive(Debug)]
pub(crate) enum FirstBytes {
    /// A label; it has been taken out of the stream.
    Label(Box<Label>),
    /// No label; nothing has been consumed.
    Unlabelled,
    /// A label that is damaged: the connection is worth nothing.
    Damaged,
    /// The peer has gone before it said anything.
    Ended,
    /// Nothing in a long time, from a caller that speaks first: a label may be on its way still.
    Silent,
}

/// Whether anything has come by now, the end included.
pub(crate) fn has_come(stream: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    let peeked = SockRef::from(stream).peek(&mut byte);
    !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Waits for the first bytes of `stream` and takes a label out. `callers_speak_first`: by the service's protocol the server says
/// nothing before the caller has.
///
/// # Errors
/// What reading the socket reports.
pub(crate) async fn read(
    stream: &mut TcpStream,
    callers_speak_first: bool,
) -> io::Result<FirstBytes> {
    let (wait, nothing) = if callers_speak_first {
        (CALL_WAIT, FirstBytes::Silent)
    } else {
        (LABEL_WAIT, FirstBytes::Unlabelled)
    };
    let mut deadline = Instant::now() + wait;
    let mut has_begun = false;
    let mut bytes = [0; LABEL_BYTES_MAX];
    loop {
        let seen = match tokio::time::timeout_at(deadline, stream.peek(&mut bytes)).await {
            Ok(result) => result?,
            Err(_) => return Ok(nothing),
        };
        if seen == 0 {
            return Ok(FirstBytes::Ended);
        }
        match label::parse(&bytes[..seen]) {
            Parsed::Label { label, length } => {
                stream.read_exact(&mut bytes[..length]).await?;
                return Ok(FirstBytes::Label(Box::new(label)));
            }
            Parsed::NotALabel => return Ok(FirstBytes::Unlabelled),
            Parsed::Damaged => return Ok(FirstBytes::Damaged),
            // A label is one piece: what has begun is soon whole, or never.
            Parsed::Partial if !has_begun => {
                has_begun = true;
                deadline = deadline.min(Instant::now() + LABEL_WAIT);
            }
            // Nobody begins like a label who does not mean one: the rest of it must never be taken for data.
            Parsed::Partial if Instant::now() >= deadline && seen >= SIGNATURE.len() => {
                return Ok(FirstBytes::Damaged);
            }
            Parsed::Partial if Instant::now() >= deadline => return Ok(FirstBytes::Unlabelled),
            Parsed::Partial => tokio::time::sleep(PARTIAL_LABEL_PAUSE).await,
        }
    }
}
