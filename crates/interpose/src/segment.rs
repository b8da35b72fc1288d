//! Memory that the software's processes share with agent and holder: segments of System V (shmget(2)).
//!
//! Unlike a file's, nobody can cut their pages away from under those who look at them, neither root nor the software's own user; they
//! need no path, so that it does not matter what the software sees of the file system, and no descriptor that programs might close.
//! A segment is marked for removal as soon as it is made: it lasts as long as anybody has it, and nothing of it is ever left over.

use crate::kernel::{self, Errno};
use libc::{c_int, c_long};
use std::sync::atomic::{AtomicU64, Ordering};

/// The word by which a segment is told from a later one of its number. Nothing else that lies in segments uses it.
const MARK_AT: usize = 2;

/// A segment that this process has.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Its number.
    pub id: c_int,
    /// What tells it from others that had or will have the number.
    pub mark: u64,
    /// Whoever made it.
    pub maker: u32,
    /// What lies in it. It stays for the rest of the process.
    pub words: &'static [AtomicU64],
}

/// Makes one of so many words, all zero but the mark: `mode` says who may look at it and write to it.
///
/// # Errors
/// The kernel's: no memory, or more segments than it allows.
pub fn create(words: usize, mode: c_int, mark: u64) -> Result<Segment, Errno> {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | mode;
    let arguments = [
        libc::IPC_PRIVATE as usize,
        words * 8,
        flags as usize,
        0,
        0,
        0,
    ];
    // SAFETY: no pointers.
    let id = unsafe { kernel::call(libc::SYS_shmget, arguments) }? as c_int;
    let mapped = map(id, words, true);
    // Also where it could not be mapped: nobody else would ever remove it.
    control(id, libc::IPC_RMID, std::ptr::null_mut())?;
    let words = mapped?;
    words[MARK_AT].store(mark, Ordering::Release);
    Ok(Segment {
        id,
        mark,
        maker: about(id)?.shm_perm.cuid,
        words,
    })
}

/// Takes one that is there.
///
/// # Errors
/// The kernel's; ENOENT where the number is another segment's by now.
pub fn attach(id: c_int, mark: u64, words: usize, writable: bool) -> Result<Segment, Errno> {
    let about = about(id)?;
    if about.shm_segsz < words * 8 {
        return Err(libc::ENOENT);
    }
    let words = map(id, words, writable)?;
    if words[MARK_AT].load(Ordering::Acquire) != mark {
        // SAFETY: it was just mapped here, and nobody has been given it.
        let _ = unsafe { kernel::call(libc::SYS_shmdt, [words.as_ptr() as usize, 0, 0, 0, 0, 0]) };
        return Err(libc::ENOENT);
    }
    Ok(Segment {
        id,
        mark,
        maker: about.shm_perm.cuid,
        words,
    })
}

/// Lets another user write to it, besides whoever made it.
///
/// # Errors
/// The kernel's: only whoever made it may.
pub fn give(id: c_int, user: u32, group: u32) -> Result<(), Errno> {
    let mut about = about(id)?;
    about.shm_perm.uid = user;
    about.shm_perm.gid = group;
    control(id, libc::IPC_SET, &raw mut about)
}

fn about(id: c_int) -> Result<libc::shmid_ds, Errno> {
    // SAFETY: a structure of integers.
    let mut about: libc::shmid_ds = unsafe { std::mem::zeroed() };
    control(id, libc::IPC_STAT, &raw mut about)?;
    Ok(about)
}

fn control(id: c_int, command: c_int, about: *mut libc::shmid_ds) -> Result<(), Errno> {
    let arguments = [id as usize, command as usize, about as usize, 0, 0, 0];
    // SAFETY: null, or a structure that the kernel reads or writes.
    unsafe { kernel::call(libc::SYS_shmctl, arguments) }.map(|_| ())
}

fn map(id: c_int, words: usize, writable: bool) -> Result<&'static [AtomicU64], Errno> {
    let flags = if writable { 0 } else { libc::SHM_RDONLY };
    let arguments = [id as usize, 0, flags as usize, 0, 0, 0];
    // SAFETY: the kernel chooses the place, so that nothing is replaced.
    let address = unsafe { kernel::call(libc::SYS_shmat as c_long, arguments) }?;
    // SAFETY: page-aligned, at least so many words (looked at before, and a segment's size never changes), detached only where nobody
    // was given them; all access is atomic, and where it may only be read its words are only loaded.
    Ok(unsafe { std::slice::from_raw_parts(address as *const AtomicU64, words) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_seen_by_who_takes_it_and_only_by_its_mark() {
        let made = create(1024, 0o644, 77).expect("made");
        made.words[500].store(9, Ordering::Release);
        let seen = attach(made.id, 77, 1024, false).expect("taken");
        assert_eq!(seen.words[500].load(Ordering::Acquire), 9);
        // SAFETY: no pointers.
        assert_eq!(seen.maker, unsafe { libc::geteuid() });
        assert_eq!(attach(made.id, 78, 1024, false).err(), Some(libc::ENOENT));
        assert_eq!(
            attach(made.id, 77, 1 << 20, false).err(),
            Some(libc::ENOENT)
        );
    }
}
