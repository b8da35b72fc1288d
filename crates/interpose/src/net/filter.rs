//! The seccomp filter (seccomp(2), a program in classic BPF) and how it is set.
//!
//! ```text
//! native calls:  connect, accept, accept4, bind, listen, getpeername    notified, unless they carry the mark
//!                sendto, sendmsg with MSG_FASTOPEN                      the same
//!                io_uring_setup                                         ENOSYS, unless it is allowed
//! calls of another architecture (i386 or x32 on x86_64, 32 bits on ARM):
//!                the same ones                                          ENOSYS: their structures are not read
//! all else                                                              allowed
//! ```
//!
//! The kernel runs it at every system call of the software: a handful of comparisons.

use crate::kernel::{Errno, call};
use intercept::environment::CALL_MARK;
use libc::{c_long, sock_filter, sock_fprog};
use std::os::fd::{FromRawFd, OwnedFd};

/// `struct seccomp_data`: number, architecture, instruction pointer, six arguments of 64 bits, in the machine's byte order.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const HAS_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NOT_THERE: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// The same number for every architecture.
const IO_URING_SETUP: u32 = libc::SYS_io_uring_setup as u32;

/// Another architecture that this kernel may run, and its numbers of the calls that are caught.
struct Foreign {
    architecture: u32,
    calls: &'static [u32],
}

#[cfg(target_arch = "x86_64")]
mod here {
    use super::Foreign;

    /// `AUDIT_ARCH_X86_64`.
    pub(super) const ARCHITECTURE: u32 = 0xC000_003E;
    /// x32's calls have the native architecture and this bit (`__X32_SYSCALL_BIT`).
    pub(super) const X32: Option<u32> = Some(0x4000_0000);
    /// `AUDIT_ARCH_I386`: socketcall, bind, connect, listen, accept4.
    pub(super) const FOREIGN: Foreign = Foreign {
        architecture: 0x4000_0003,
        calls: &[102, 361, 362, 363, 364],
    };
}

#[cfg(target_arch = "aarch64")]
mod here {
    use super::Foreign;

    /// `AUDIT_ARCH_AARCH64`.
    pub(super) const ARCHITECTURE: u32 = 0xC000_00B7;
    pub(super) const X32: Option<u32> = None;
    /// `AUDIT_ARCH_ARM`: bind, connect, listen, accept, accept4.
    pub(super) const FOREIGN: Foreign = Foreign {
        architecture: 0x4000_0028,
        calls: &[282, 283, 284, 285, 366],
    };
}

/// Calls that are caught whatever their arguments are.
const CAUGHT: [c_long; 6] = [
    libc::SYS_connect,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_getpeername,
];

/// What a filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterRules {
    /// The calls that are intercepted are notified.
    pub net: bool,
    /// `io_uring_setup` answers ENOSYS.
    pub refuse_io_uring: bool,
}

/// Why a filter could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterRefused {
    /// It takes CAP_SYS_ADMIN or `NO_NEW_PRIVS`.
    NeedsPrivileges,
    /// The kernel says this.
    Because(Errno),
}

/// Puts a filter under this thread and all that comes of it; with a net, the descriptor of its notifications, close-on-exec.
///
/// # Errors
/// What the kernel says.
pub fn set(rules: FilterRules) -> Result<Option<OwnedFd>, FilterRefused> {
    let program = program(rules);
    let program = sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // The filter is no fence around strangers: the software runs as fast as without it.
    let mut flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    if rules.net {
        flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    }
    let arguments = [
        libc::SECCOMP_SET_MODE_FILTER as usize,
        flags as usize,
        (&raw const program) as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel reads the program, which lives until the call returns.
    match unsafe { call(libc::SYS_seccomp, arguments) } {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(notices) if rules.net => Ok(Some(unsafe { OwnedFd::from_raw_fd(notices as i32) })),
        Ok(_) => Ok(None),
        Err(libc::EACCES) => Err(FilterRefused::NeedsPrivileges),
        Err(error) => Err(FilterRefused::Because(error)),
    }
}

/// Gives up, for this thread and all that comes of it, the rights that programs get by being executed (prctl(2)).
///
/// # Errors
/// What the kernel says.
pub fn set_no_new_privileges() -> Result<(), Errno> {
    let arguments = [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0, 0];
    // SAFETY: no pointers.
    unsafe { call(libc::SYS_prctl, arguments) }.map(|_| ())
}

/// Whether this thread has given them up already.
pub fn has_no_new_privileges() -> bool {
    let arguments = [libc::PR_GET_NO_NEW_PRIVS as usize, 0, 0, 0, 0, 0];
    // SAFETY: no pointers.
    let answer = unsafe { call(libc::SYS_prctl, arguments) };
    answer == Ok(1)
}

fn program(rules: FilterRules) -> Vec<sock_filter> {
    let mut program = vec![step(LOAD, ARCHITECTURE_AT)];
    let native = native(rules);
    program.push(jump(EQUAL, here::ARCHITECTURE, 0, native.len() as u8));
    program.extend(native);
    program.push(jump(EQUAL, here::FOREIGN.architecture, 1, 0));
    program.push(step(RETURN, ALLOW));
    program.push(step(LOAD, NUMBER_AT));
    program.extend(foreign(rules, here::FOREIGN.calls.iter().copied(), 0));
    program.push(step(RETURN, ALLOW));
    program
}

/// What follows for calls of this architecture; always returns.
fn native(rules: FilterRules) -> Vec<sock_filter> {
    let mut program = vec![step(LOAD, NUMBER_AT)];
    if let Some(x32) = here::X32 {
        let numbers = CAUGHT.iter().map(|number| *number as u32);
        let mut others = foreign(rules, numbers, x32);
        others.push(step(RETURN, ALLOW));
        program.push(jump(AT_LEAST, x32, 0, others.len() as u8));
        program.extend(others);
    }
    if rules.refuse_io_uring {
        program.push(jump(EQUAL, IO_URING_SETUP, 0, 1));
        program.push(step(RETURN, NOT_THERE));
    }
    if rules.net {
        // The mark's two halves, in the sixth argument.
        let marked = unless_marked(argument(5), argument(5) + 4, CALL_MARK as u32, 0);
        for (index, number) in CAUGHT.iter().enumerate() {
            // Over the calls that are left to compare, and over what follows for none of them.
            let left = CAUGHT.len() - index - 1;
            program.push(jump(EQUAL, *number as u32, left as u8 + 1, 0));
        }
        // None of them: over the mark's test.
        program.push(jump(AT_LEAST, 0, marked.len() as u8, 0));
        program.extend(marked);
        program.extend(fast_open(libc::SYS_sendto, 3));
        program.extend(fast_open(libc::SYS_sendmsg, 2));
    }
    program.push(step(RETURN, ALLOW));
    program
}

/// A send that also connects, where this argument of it has Fast Open's flag. The argument's upper half, which the kernel does not
/// look at, has the mark here: all of `sendto`'s six arguments are in use.
fn fast_open(number: c_long, flags: u32) -> Vec<sock_filter> {
    let marked = unless_marked(
        argument(flags) + 4,
        argument(flags) + 4,
        CALL_MARK as u32,
        CALL_MARK as u32,
    );
    let mut program = vec![
        jump(EQUAL, number as u32, 0, 3 + marked.len() as u8),
        step(LOAD, argument(flags)),
        jump(HAS_BITS, libc::MSG_FASTOPEN as u32, 1, 0),
        step(RETURN, ALLOW),
    ];
    program.extend(marked);
    program
}

/// Allows what has these words at these places, and notifies the rest.
fn unless_marked(first: u32, second: u32, low: u32, high: u32) -> [sock_filter; 6] {
    [
        step(LOAD, first),
        jump(EQUAL, low, 0, 3),
        step(LOAD, second),
        jump(EQUAL, high, 0, 1),
        step(RETURN, ALLOW),
        step(RETURN, libc::SECCOMP_RET_USER_NOTIF),
    ]
}

/// Refuses these calls, whose numbers are in the accumulator. Without a net they are left alone: the library does not reach these
/// programs either, and what it does not reach is noticed otherwise.
fn foreign(rules: FilterRules, calls: impl Iterator<Item = u32>, bit: u32) -> Vec<sock_filter> {
    let sockets = calls.filter(|_| rules.net);
    let ring = [IO_URING_SETUP]
        .into_iter()
        .filter(|_| rules.refuse_io_uring);
    sockets
        .chain(ring)
        .flat_map(|number| [jump(EQUAL, number | bit, 0, 1), step(RETURN, NOT_THERE)])
        .collect()
}

/// The lower half of an argument, on machines whose lowest byte comes first.
fn argument(index: u32) -> u32 {
    ARGUMENTS_AT + index * 8
}

fn step(code: u16, value: u32) -> sock_filter {
    jump(code, value, 0, 0)
}

/// Skips `yes` or `no` steps.
fn jump(code: u16, value: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter {
        code,
        jt: yes,
        jf: no,
        k: value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would (only what it is made of).
    fn run(program: &[sock_filter], number: u32, architecture: u32, arguments: [u64; 6]) -> u32 {
        let mut data = vec![number, architecture, 0, 0];
        data.extend(
            arguments
                .iter()
                .flat_map(|word| [*word as u32, (*word >> 32) as u32]),
        );
        let (mut at, mut word) = (0, 0);
        loop {
            let now = program[at];
            at += 1;
            let skip = |yes: bool| usize::from(if yes { now.jt } else { now.jf });
            match now.code {
                LOAD => word = data[now.k as usize / 4],
                EQUAL => at += skip(word == now.k),
                AT_LEAST => at += skip(word >= now.k),
                HAS_BITS => at += skip(word & now.k != 0),
                RETURN => return now.k,
                other => panic!("code {other}"),
            }
        }
    }

    const ALL: FilterRules = FilterRules {
        net: true,
        refuse_io_uring: true,
    };
    const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;

    fn native(rules: FilterRules, number: c_long, arguments: [u64; 6]) -> u32 {
        run(
            &program(rules),
            number as u32,
            here::ARCHITECTURE,
            arguments,
        )
    }

    #[test]
    fn calls_without_the_mark_are_caught() {
        let mark = CALL_MARK as u64;
        for number in CAUGHT {
            assert_eq!(native(ALL, number, [0; 6]), NOTIFY, "{number}");
            assert_eq!(native(ALL, number, [0, 0, 0, 0, 0, mark]), ALLOW);
            assert_eq!(native(ALL, number, [0, 0, 0, 0, 0, mark | 1 << 32]), NOTIFY);
        }
        for number in [
            libc::SYS_read,
            libc::SYS_close,
            libc::SYS_getsockname,
            libc::SYS_execve,
        ] {
            assert_eq!(native(ALL, number, [mark; 6]), ALLOW, "{number}");
        }
    }

    #[test]
    fn sends_are_caught_only_where_they_connect() {
        let fast = libc::MSG_FASTOPEN as u64;
        let marked = fast | (CALL_MARK as u64) << 32;
        for (number, at) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2)] {
            let with = |flags| {
                let mut arguments = [7; 6];
                arguments[at] = flags;
                native(ALL, number, arguments)
            };
            assert_eq!(with(0x4000), ALLOW);
            assert_eq!(with(fast | 0x4000), NOTIFY);
            assert_eq!(with(marked | 0x4000), ALLOW);
        }
    }

    #[test]
    fn io_uring_is_refused_where_it_is_to_be() {
        let ring = libc::SYS_io_uring_setup;
        assert_eq!(native(ALL, ring, [0; 6]), NOT_THERE);
        let allowed = FilterRules {
            net: true,
            refuse_io_uring: false,
        };
        assert_eq!(native(allowed, ring, [0; 6]), ALLOW);
        let library_only = FilterRules {
            net: false,
            refuse_io_uring: true,
        };
        assert_eq!(native(library_only, ring, [0; 6]), NOT_THERE);
        assert_eq!(native(library_only, libc::SYS_connect, [0; 6]), ALLOW);
    }

    #[test]
    fn other_architectures_find_no_such_calls_and_live() {
        let whole = program(ALL);
        for number in here::FOREIGN.calls {
            let said = run(&whole, *number, here::FOREIGN.architecture, [0; 6]);
            assert_eq!(said, NOT_THERE);
        }
        assert_eq!(run(&whole, 1, here::FOREIGN.architecture, [0; 6]), ALLOW);
        assert_eq!(run(&whole, 42, 12345, [0; 6]), ALLOW);
        if let Some(x32) = here::X32 {
            let connect = libc::SYS_connect as u32 | x32;
            assert_eq!(run(&whole, connect, here::ARCHITECTURE, [0; 6]), NOT_THERE);
            assert_eq!(run(&whole, x32, here::ARCHITECTURE, [0; 6]), ALLOW);
        }
    }
}
