//! The environment variables by which the preloaded library finds its table, its counters and the holder.

/// The dynamic linker's own variable: path of the library.
pub const PRELOAD: &str = "LD_PRELOAD";

/// Path of the member table ([`crate::table`]). The software's user must be able to read it.
pub const TABLE: &str = "UPSTART_TABLE";

/// Path of the counters ([`crate::stats`]). The software's user must be able to write it.
pub const STATS: &str = "UPSTART_STATS";

/// Name of the holder's hook socket in the abstract namespace, without the leading zero byte.
pub const HOLDER: &str = "UPSTART_HOLDER";

/// The version of the library, which it leaves in [`crate::stats`] and in `Hello`.
pub const LIBRARY_VERSION: u16 = 1;

/// What every library has in its file that reads today's tables ([`crate::table`]): an agent looks for it before it gives the
/// library to software, since one that finds its table unreadable would leave the software half intercepted.
pub const LIBRARY_MARK: &[u8; 40] = b"upstart preload library, table layout 2.";

/// The sixth argument, which the kernel does not look at, of the library's own connect, bind, listen, accept and getpeername: a
/// seccomp filter that catches all others lets these pass.
pub const CALL_MARK: usize = 0x7570_7374;
