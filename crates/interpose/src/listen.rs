//! Listening: the real call, then the holder is told, so that the agent knows that hooks see this listener.

use crate::kernel::{self, Errno};
use crate::{cookies, messenger, state};
use intercept::environment::CALL_MARK;
use intercept::hook_protocol::HookMessage;
use intercept::stats::{Counter, Deed};
use libc::c_int;

/// The hook.
pub fn listen(fd: c_int, backlog: c_int) -> Result<c_int, Errno> {
    // SAFETY: no pointers.
    unsafe {
        kernel::call(
            libc::SYS_listen,
            [fd as usize, backlog as usize, 0, 0, 0, CALL_MARK],
        )
    }?;
    if let Some(local) = kernel::local(fd).address()
        && kernel::is_tcp(fd)
    {
        state::note(Deed::Listen);
        if state::table(|table| table.service(local.port()).is_some()) == Some(true) {
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
