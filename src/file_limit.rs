//! The limit of files' sizes (`ulimit -f`): what would grow beyond it is an error in words for those who keep data, not their end.

use std::error::Error;
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// The signal that ends a process whose file would grow beyond the limit.
const SIGXFSZ: i32 = 25;

/// Sees to it that writing beyond the limit fails (EFBIG) and ends nothing. The signal is caught, not ignored: what is started gets its
/// default back, for exec leaves nothing caught.
pub(crate) fn survive() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _entered = runtime.enter();
    // It stays caught when nobody listens any more.
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}

/// What to do where this is the cause, or where the disk is full.
pub(crate) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    let mut kind = None;
    while let Some(at) = cause {
        kind = kind.or_else(|| at.downcast_ref().map(io::Error::kind));
        cause = at.source();
    }
    match kind? {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("the disk of --data is full: free some space, and start this again")
        }
        io::ErrorKind::FileTooLarge => Some(
            "the limit of files' sizes is too low: raise it (`ulimit -f unlimited`), and start this again",
        ),
        _ => None,
    }
}
