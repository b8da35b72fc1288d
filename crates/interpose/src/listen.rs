//! Listening: the real call, then the holder is told, so that the agent knows that hooks see this listener.

use crate::kernel::{self, Errno};
use crate::{cookies, messenger, state};
use intercept::hook_protocol::HookMessage;
use intercept::stats::{Counter, Deed};
use libc::c_int;

/// The hook.
///
/// # Errors
/// The kernel's.
pub fn listen(fd: c_int, backlog: c_int) -> Result<c_int, Errno> {
    let local = kernel::local(fd).address();
    let is_service = local.is_some_and(|local| {
        state::table(|table| table.service(local.port()).is_some()) == Some(true)
    });
    if is_service {
        leave_the_address(fd);
    }
    // SAFETY: no pointers.
    unsafe {
        kernel::call(
            libc::SYS_listen,
            [fd as usize, backlog as usize, 0, 0, 0, state::mark()],
        )
    }?;
    // Unless it was bound before, the kernel has chosen a port.
    let local = kernel::local(fd).address();
    if let Some(local) = local
        && kernel::is_tcp(fd)
    {
        state::note(Deed::Listen);
        if is_service {
            cookies::give(fd, local.ip(), backlog);
        }
        let told = messenger::tell(&HookMessage::Listening { local }, None);
        state::count(if told.is_ok() {
            Counter::Listening
        } else {
            Counter::ListeningUnreported
        });
    }
    Ok(0)
}

/// The connections of a listener without `SO_REUSEADDR` keep everybody from its address for a minute after they have ended
/// (TIME_WAIT), the next version of the same software too.
fn leave_the_address(fd: c_int) {
    if kernel::option::<c_int>(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR) == Ok(0) {
        let _ = kernel::set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1);
    }
}
