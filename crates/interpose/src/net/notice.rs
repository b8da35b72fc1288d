//! Notifications of the filter: a call of the software that waits for an answer (seccomp_unotify(2)).

use crate::kernel::{Errno, call};
use libc::{c_int, seccomp_notif, seccomp_notif_addfd, seccomp_notif_resp};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP` (Linux 6.6): the answerer and the asker take turns on one processor.
const SYNC_WAKE_UP: usize = 1;

/// Where notifications come from.
#[derive(Debug)]
pub struct Notices {
    descriptor: OwnedFd,
}

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub struct Notice {
    /// Its number among all notifications.
    pub id: u64,
    /// The thread that made it.
    pub thread: i32,
    /// The system call.
    pub call: i64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Notices {
    /// Notifications come from this descriptor.
    pub fn new(descriptor: OwnedFd) -> Self {
        let notices = Self { descriptor };
        // An older kernel wakes up otherwise, and serves as well.
        let _ = notices.control(libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as usize, SYNC_WAKE_UP);
        notices
    }

    /// Waits for the next call.
    ///
    /// # Errors
    /// EINTR after a signal; ENOENT when its caller has gone on meanwhile, or when nobody is left who could call.
    pub fn receive(&self) -> Result<Notice, Errno> {
        // SAFETY: a structure of integers.
        let mut raw: seccomp_notif = unsafe { std::mem::zeroed() };
        self.request(
            libc::SECCOMP_IOCTL_NOTIF_RECV as usize,
            &raw mut raw as usize,
        )?;
        Ok(Notice {
            id: raw.id,
            thread: raw.pid as i32,
            call: i64::from(raw.data.nr),
            arguments: raw.data.args,
        })
    }

    /// Whether the caller still waits.
    pub fn is_valid(&self, notice: &Notice) -> bool {
        let id = notice.id;
        self.control(
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID as usize,
            &raw const id as usize,
        )
        .is_ok()
    }

    /// Lets the kernel do the call.
    ///
    /// # Errors
    /// ENOENT when the caller has gone on meanwhile.
    pub fn go_on(&self, notice: &Notice) -> Result<(), Errno> {
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        self.send(notice, 0, 0, flags)
    }

    /// Answers the call.
    ///
    /// # Errors
    /// ENOENT when the caller has gone on meanwhile.
    pub fn answer(&self, notice: &Notice, answer: Result<c_int, Errno>) -> Result<(), Errno> {
        match answer {
            Ok(value) => self.send(notice, i64::from(value), 0, 0),
            Err(error) => self.send(notice, 0, -error, 0),
        }
    }

    /// Answers the call with this descriptor, as a new one of the caller's. The kernel before 5.14 does it in two steps.
    ///
    /// # Errors
    /// ENOENT when the caller has gone on meanwhile; EMFILE when it has no room.
    pub fn give(
        &self,
        notice: &Notice,
        descriptor: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        let given = add(
            notice,
            descriptor,
            libc::SECCOMP_ADDFD_FLAG_SEND as u32,
            0,
            close_on_exec,
        );
        match self.add(&given) {
            Err(libc::EINVAL) => {
                let number = self.add(&add(notice, descriptor, 0, 0, close_on_exec))?;
                self.answer(notice, Ok(number as c_int))
            }
            other => other.map(|_| ()),
        }
    }

    fn add(&self, request: &seccomp_notif_addfd) -> Result<usize, Errno> {
        self.control(
            libc::SECCOMP_IOCTL_NOTIF_ADDFD as usize,
            std::ptr::from_ref(request) as usize,
        )
    }

    fn send(&self, notice: &Notice, value: i64, error: c_int, flags: u32) -> Result<(), Errno> {
        let answer = seccomp_notif_resp {
            id: notice.id,
            val: value,
            error,
            flags,
        };
        self.control(
            libc::SECCOMP_IOCTL_NOTIF_SEND as usize,
            &raw const answer as usize,
        )
        .map(|_| ())
    }

    /// Through interruptions: an alarm may come late, and who waits must have an answer.
    fn control(&self, request: usize, argument: usize) -> Result<usize, Errno> {
        loop {
            match self.request(request, argument) {
                Err(libc::EINTR) => {}
                other => return other,
            }
        }
    }

    fn request(&self, request: usize, argument: usize) -> Result<usize, Errno> {
        let descriptor = self.descriptor.as_raw_fd() as usize;
        // SAFETY: each request above comes with a pointer to the structure that it names, or with a number.
        unsafe { call(libc::SYS_ioctl, [descriptor, request, argument, 0, 0, 0]) }
    }
}

impl AsFd for Notices {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn add(
    notice: &Notice,
    descriptor: BorrowedFd<'_>,
    flags: u32,
    number: u32,
    close_on_exec: bool,
) -> seccomp_notif_addfd {
    seccomp_notif_addfd {
        id: notice.id,
        flags,
        srcfd: descriptor.as_raw_fd() as u32,
        newfd: number,
        newfd_flags: if close_on_exec {
            libc::O_CLOEXEC as u32
        } else {
            0
        },
    }
}
