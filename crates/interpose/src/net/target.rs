//! A thread of the software that waits for an answer: its descriptors and its memory.

use crate::kernel::{Errno, Storage, call};
use libc::{c_int, iovec};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `PIDFD_THREAD` (Linux 6.9): a thread that is no process's first.
const PIDFD_THREAD: usize = libc::O_EXCL as usize;

/// The thread.
#[derive(Debug)]
pub struct Target {
    thread: c_int,
    handle: OwnedFd,
}

impl Target {
    /// The thread of this number.
    ///
    /// # Errors
    /// When it has ended, or must not be looked into.
    pub fn open(thread: c_int) -> Result<Self, Errno> {
        let handle = match handle(thread, PIDFD_THREAD) {
            // Before 6.9 only processes have handles.
            Err(libc::EINVAL) => handle(process_of(thread).ok_or(libc::ESRCH)?, 0)?,
            other => other?,
        };
        Ok(Self { thread, handle })
    }

    /// Readable when it has ended.
    pub fn ending(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// A descriptor of ours for what it has open under this number (`pidfd_getfd`).
    ///
    /// # Errors
    /// EBADF where it has nothing there; EPERM where it must not be looked into.
    pub fn duplicate(&self, number: c_int) -> Result<OwnedFd, Errno> {
        let arguments = [
            self.handle.as_raw_fd() as usize,
            number as usize,
            0,
            0,
            0,
            0,
        ];
        // SAFETY: no pointers.
        let copy = unsafe { call(libc::SYS_pidfd_getfd, arguments) }?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(copy as c_int) })
    }

    /// Reads its memory from this address on, all of `into`.
    ///
    /// # Errors
    /// EFAULT where it has not so much there.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        let ours = part(into.as_mut_ptr() as usize, into.len());
        let moved = self.transfer(libc::SYS_process_vm_readv, ours, address)?;
        if moved == into.len() {
            Ok(())
        } else {
            Err(libc::EFAULT)
        }
    }

    /// Writes all of these bytes into its memory.
    ///
    /// # Errors
    /// EFAULT where they have no place.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let ours = part(bytes.as_ptr() as usize, bytes.len());
        let moved = self.transfer(libc::SYS_process_vm_writev, ours, address)?;
        if moved == bytes.len() {
            Ok(())
        } else {
            Err(libc::EFAULT)
        }
    }

    /// The socket address of so many bytes that it has given.
    ///
    /// # Errors
    /// EINVAL and EFAULT, as the kernel says of such an address.
    pub fn address(&self, address: u64, length: u64) -> Result<Storage, Errno> {
        let mut storage = Storage::new();
        let wanted = length as u32 as usize;
        let room = storage.bytes.get_mut(..wanted).ok_or(libc::EINVAL)?;
        self.read(address, room)?;
        storage.length = wanted as u32;
        Ok(storage)
    }

    /// Writes an address to where it wants it, cut to its room, as the kernel does; `length` points to the room.
    ///
    /// # Errors
    /// As the kernel's.
    pub fn show(&self, shown: &[u8], address: u64, length: u64) -> Result<(), Errno> {
        let mut room = [0; 4];
        self.read(length, &mut room)?;
        let room = c_int::from_ne_bytes(room);
        let room = usize::try_from(room).map_err(|_| libc::EINVAL)?;
        let cut = &shown[..shown.len().min(room)];
        if !cut.is_empty() {
            self.write(address, cut)?;
        }
        self.write(length, &(shown.len() as u32).to_ne_bytes())
    }

    fn transfer(&self, number: i64, ours: iovec, theirs: u64) -> Result<usize, Errno> {
        let theirs = part(theirs as usize, ours.iov_len);
        let arguments = [
            self.thread as usize,
            &raw const ours as usize,
            1,
            &raw const theirs as usize,
            1,
            0,
        ];
        // SAFETY: our part is a slice that lives for the call; theirs is checked by the kernel.
        unsafe { call(number, arguments) }
    }
}

/// The process that a thread belongs to (proc(5)).
pub fn process_of(thread: c_int) -> Option<c_int> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok()
}

fn handle(number: c_int, flags: usize) -> Result<OwnedFd, Errno> {
    // SAFETY: no pointers.
    let made = unsafe { call(libc::SYS_pidfd_open, [number as usize, flags, 0, 0, 0, 0]) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(made as c_int) })
}

fn part(address: usize, length: usize) -> iovec {
    iovec {
        iov_base: address as *mut _,
        iov_len: length,
    }
}
