//! Listening: the real call, then the holder is told, so that the agent knows that hooks see this listener.

use crate::bind::is_service;
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
    let is_service = local.is_some_and(|local| is_service(local.port()));
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
