//! The key by which software knows its own agent's connections, and the lock that it opens.
//!
//! The agent says the key in its labels; the table, which every user of the machine may read, holds only the lock: the key's
//! digest. Whoever reads the table cannot make a label that opens it.

use sha2::{Digest, Sha256};

/// So that the digest is of no use anywhere else.
const PURPOSE: &[u8] = b"upstart agent key 1\0";

/// The lock of a key: the first half of a SHA-256. No allocation, for the hooks.
pub fn lock_of(key: &[u8; 16]) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(PURPOSE)
        .chain_update(key)
        .finalize()
        .into();
    let mut lock = [0; 16];
    lock.copy_from_slice(&digest[..16]);
    lock
}

#[cfg(test)]
mod tests {
    use super::lock_of;

    #[test]
    fn a_lock_says_nothing_of_its_key() {
        let lock = lock_of(b"the agent's key.");
        assert_ne!(&lock, b"the agent's key.");
        assert_ne!(lock, lock_of(b"the agent's key,"));
        assert_ne!(lock, lock_of(&lock), "the lock opens itself");
    }
}
