//! The environment variables by which the preloaded library finds its table, its counters and the holder.

/// The dynamic linker's own variable: path of the library.
pub const PRELOAD: &str = "LD_PRELOAD";

/// The member table ([`crate::table`]): a segment's name ([`segment_name`]), or a file's path. The software's user must be able to
/// read it.
pub const TABLE: &str = "UPSTART_TABLE";

/// The counters ([`crate::stats`]), named in the same way. The software's user must be able to write them.
pub const STATS: &str = "UPSTART_STATS";

/// Name of the holder's hook socket in the abstract namespace, without the leading zero byte.
pub const HOLDER: &str = "UPSTART_HOLDER";

/// The version of the library, which it leaves in [`crate::stats`] and in `Hello`.
pub const LIBRARY_VERSION: u16 = 1;

/// What every library has in its file that reads today's tables ([`crate::table`]) and signs labels: an agent looks for it before it
/// gives the library to software, since one that finds its table unreadable would leave the software half intercepted.
pub const LIBRARY_MARK: &[u8; 54] = b"upstart preload library, table layout 3, signs labels.";

/// The sixth argument, which the kernel does not look at, of the library's own connect, bind, listen, accept and getpeername: a
/// seccomp filter that catches all others lets these pass.
pub const CALL_MARK: usize = 0x7570_7374;

/// How the name of a segment of shared memory begins.
const SEGMENT: &str = "segment:";

/// The name of a segment with this number and mark.
pub fn segment_name(id: i32, mark: u64) -> String {
    format!("{SEGMENT}{id}:{mark:016x}")
}

/// The number and the mark of the segment of this name; `None` for anything else. Allocates nothing.
pub fn segment(name: &[u8]) -> Option<(i32, u64)> {
    let name = std::str::from_utf8(name).ok()?;
    let (id, mark) = name.strip_prefix(SEGMENT)?.split_once(':')?;
    Some((id.parse().ok()?, u64::from_str_radix(mark, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segments_name_is_understood_and_a_path_is_none() {
        let name = segment_name(229_376, 0xabc);
        assert_eq!(segment(name.as_bytes()), Some((229_376, 0xabc)));
        assert_eq!(segment(b"/var/lib/upstart/a/table"), None);
        assert_eq!(segment(b"segment:7"), None);
        assert_eq!(segment(b"segment:7:xyz"), None);
    }
}
