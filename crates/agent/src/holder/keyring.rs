//! The keys for labels, which the holder keeps and gives to the software's processes: in memory without a name, which nobody else on the
//! machine finds, and which whoever gets it can only read.

use intercept::keyring::{BYTES, HeldKeyring, Keyring, WORDS};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;

/// The memory, once an agent has given keys.
#[derive(Debug)]
pub(super) struct GivenKeyring {
    memory: OwnedFd,
    held: HeldKeyring<&'static [AtomicU64]>,
}

impl GivenKeyring {
    fn make() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let make = |flags| memfd_create(c"upstart-keyring", flags);
        // Some systems allow only what cannot be executed; kernels before 6.3 do not know that.
        let memory = match make(flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => make(flags)?,
            made => made?,
        };
        ftruncate(&memory, BYTES as u64)?;
        let words = map(&memory)?;
        // From here on nobody else may write to it, nor cut it off under those who read it.
        let seals = SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&memory, seals)?;
        let held = HeldKeyring::new(words).ok_or(Errno::NOMEM)?;
        interpose::keyring::set(words);
        Ok(Self { memory, held })
    }

    /// For a process of the software.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        self.memory.try_clone()
    }
}

/// Takes a keyring in the place of the one before. All who have the memory see it.
///
/// # Errors
/// The system has no memory for it, or forbids such memory.
pub(super) fn take(given: &mut Option<GivenKeyring>, keyring: &Keyring) -> io::Result<()> {
    let given = match given {
        Some(given) => given,
        // Most systems sign no labels.
        None if keyring.keys.is_empty() => return Ok(()),
        None => given.insert(GivenKeyring::make()?),
    };
    given.held.publish(keyring);
    Ok(())
}

#[expect(unsafe_code, reason = "memory that is shared is mapped")]
fn map(memory: &OwnedFd) -> io::Result<&'static [AtomicU64]> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, in whose place nothing was.
    let at = unsafe {
        mmap(
            std::ptr::null_mut(),
            BYTES,
            access,
            MapFlags::SHARED,
            memory,
            0,
        )
    }?;
    // SAFETY: page-aligned, `BYTES` long, sealed against cutting before anybody else has it, never unmapped; all access is atomic.
    Ok(unsafe { std::slice::from_raw_parts(at.cast(), WORDS) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use intercept::keyring::{KeyringView, LabelKey, Proofs};
    use std::os::fd::AsFd;

    #[test]
    fn whoever_is_given_it_sees_every_later_key_and_cannot_write() {
        let keyring = |generation: u32| Keyring {
            signing: Some(generation),
            keys: vec![LabelKey {
                generation,
                key: [generation as u8; 32],
            }],
            ..Keyring::default()
        };
        let mut given = None;
        take(&mut given, &keyring(1)).expect("memory");
        let shared = given.as_ref().map(GivenKeyring::share);
        let shared = shared.expect("made").expect("a descriptor");
        assert_eq!(
            rustix::io::pwrite(shared.as_fd(), &[0], 0),
            Err(Errno::PERM)
        );
        assert_eq!(rustix::fs::ftruncate(&shared, 0), Err(Errno::PERM));
        assert!(map(&shared).is_err(), "nobody else maps it to write");
        let words = read_only(&shared);
        let view = KeyringView::new(words).expect("a keyring");
        let at = std::net::SocketAddr::from(([10, 0, 0, 1], 7000));
        let signed = |view: KeyringView<'_>| {
            let label = view.sign(label::Label::plain(7, 2, 3), at, 0);
            label.proof.map(|proof| proof.generation)
        };
        assert_eq!(signed(view), Some(1));
        take(&mut given, &keyring(2)).expect("memory");
        assert_eq!(signed(view), Some(2));
        assert!(Proofs::NONE.keyring.is_none());
    }

    #[expect(unsafe_code, reason = "memory that is shared is mapped")]
    fn read_only(memory: &OwnedFd) -> &'static [AtomicU64] {
        let access = ProtFlags::READ;
        // SAFETY: a new mapping, in whose place nothing was.
        let at = unsafe {
            mmap(
                std::ptr::null_mut(),
                BYTES,
                access,
                MapFlags::SHARED,
                memory,
                0,
            )
        };
        // SAFETY: page-aligned, `BYTES` long, never cut or unmapped; its words are only loaded.
        unsafe { std::slice::from_raw_parts(at.expect("mapped").cast(), WORDS) }
    }
}
