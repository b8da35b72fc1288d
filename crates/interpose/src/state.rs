//! What is known here: the mapped table and counters. The library makes it before `main`, or in the first
//! hook that runs earlier, by its environment; a forked process inherits it, an executed one makes it anew. The holder names the files.

use crate::kernel;
use crate::messenger;
use crate::segment;
use intercept::decide::leaves_queued;
use intercept::environment;
use intercept::hook_protocol::HookMessage;
use intercept::stats::{self, Counter, Deed, StatsView};
use intercept::table::{self, Snapshot, TableView};
use libc::c_int;
use std::ffi::CStr;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

static READY: AtomicBool = AtomicBool::new(false);
static TABLE: OnceLock<TableView<'static>> = OnceLock::new();
/// What tells the table from others, for the holder, which outlives tables.
static TABLE_IDENTITY: AtomicU64 = AtomicU64::new(0);
static STATS: OnceLock<StatsView<'static>> = OnceLock::new();
/// Counters of a process that cannot map the file: they end with it, and nothing else is lost.
static PRIVATE: [AtomicU64; stats::FILE_WORDS] = [const { AtomicU64::new(0) }; stats::FILE_WORDS];
/// This process's slot among those seen; 0 before its first deed.
static SLOT: AtomicUsize = AtomicUsize::new(0);

/// Set when this process connects to a port of its own services while it is being stopped.
static WAKES_ITSELF: AtomicBool = AtomicBool::new(false);

/// A forked process is another one: its deeds are its own.
pub fn forked() {
    SLOT.store(0, Ordering::Relaxed);
}

/// Maps what is to be mapped, once.
pub fn ensure() {
    if READY.swap(true, Ordering::AcqRel) {
        return;
    }
    let before = kernel::errno();
    let name = variable(environment::HOLDER).map(CStr::to_bytes);
    open_files(
        variable(environment::TABLE),
        variable(environment::STATS),
        name.unwrap_or_default(),
        None,
    );
    let mapped = TABLE.get().is_some();
    count(if mapped {
        Counter::Loaded
    } else {
        Counter::LoadedWithoutTable
    });
    if !mapped {
        let _ = messenger::tell(
            &HookMessage::Hello {
                library: environment::LIBRARY_VERSION,
                table: false,
            },
            None,
        );
    }
    kernel::set_errno(before);
}

/// What the software's own calls carry. Where the table cannot be seen nobody here can judge them: they go unmarked, and the net does
/// what is to be done about them, as for a program without the library.
pub fn mark() -> usize {
    ensure();
    match TABLE.get() {
        Some(_) => environment::CALL_MARK,
        None => 0,
    }
}

/// Maps a node's files by their paths, for who is none of its software: the holder. Says whether the table there can be gone by: an
/// agent of another version replaces it by one of another layout.
pub fn open(table: &CStr, stats: &CStr, holder: &[u8]) -> bool {
    READY.store(true, Ordering::Release);
    let identity = identity(table);
    if TABLE.get().is_none() {
        // SAFETY: no pointers.
        let own = unsafe { libc::geteuid() };
        open_files(Some(table), Some(stats), holder, Some(own));
        TABLE_IDENTITY.store(identity, Ordering::Release);
    }
    TABLE.get().is_some() && TABLE_IDENTITY.load(Ordering::Acquire) == identity
}

/// What tells this table from others: a segment's mark, a file's inode; 0 where there is no such file.
fn identity(path: &CStr) -> u64 {
    if let Some((_, mark)) = environment::segment(path.to_bytes()) {
        return mark;
    }
    // SAFETY: a structure of integers.
    let mut about: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a terminated path; writes one structure.
    let found = unsafe { libc::stat(path.as_ptr(), &raw mut about) };
    if found == 0 { about.st_ino } else { 0 }
}

/// The table's owner is the holder's user, unless the holder itself says who it is.
fn open_files(table: Option<&CStr>, stats: Option<&CStr>, holder: &[u8], user: Option<u32>) {
    let table = words(table, table::FILE_BYTES, libc::O_RDONLY);
    let owner = user.or(table.map(|(_, user)| user)).unwrap_or(0);
    messenger::set_holder(holder, owner);
    if let Some(view) = table.and_then(|(words, _)| TableView::new(words)) {
        let _ = TABLE.set(view);
    }
    let file = words(stats, stats::FILE_BYTES, libc::O_RDWR);
    if let Some(view) = file
        .and_then(|(words, _)| StatsView::new(words))
        .or_else(|| StatsView::private(&PRIVATE))
    {
        let _ = STATS.set(view);
    }
}

fn variable(name: &str) -> Option<&'static CStr> {
    let mut bytes = [0; 32];
    bytes
        .get_mut(..name.len())?
        .copy_from_slice(name.as_bytes());
    let name = CStr::from_bytes_until_nul(&bytes).ok()?;
    // SAFETY: a terminated name; hooks never change the environment.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: getenv returns a terminated string, which is used up before the software gets to run on.
    Some(unsafe { CStr::from_ptr(value) })
}

/// What lies in this segment, or in this file, and whose it is.
fn words(name: Option<&CStr>, length: usize, access: c_int) -> Option<(&'static [AtomicU64], u32)> {
    let name = name?;
    match environment::segment(name.to_bytes()) {
        Some((id, mark)) => {
            let segment = segment::attach(id, mark, length / 8, access == libc::O_RDWR).ok()?;
            Some((segment.words, segment.maker))
        }
        None => map(name, length, access),
    }
}

/// Maps this file, whole, and tells its owner.
fn map(path: &CStr, length: usize, access: c_int) -> Option<(&'static [AtomicU64], u32)> {
    let flags = (access | libc::O_CLOEXEC) as usize;
    let arguments = [
        libc::AT_FDCWD as usize,
        path.as_ptr() as usize,
        flags,
        0,
        0,
        0,
    ];
    // SAFETY: a terminated path.
    let fd = unsafe { kernel::call(libc::SYS_openat, arguments) }.ok()? as c_int;
    let mapped = map_descriptor(fd, length, access);
    kernel::close(fd);
    mapped
}

/// Maps this file, whole: shared, so that what is written to it later is seen.
pub(crate) fn map_descriptor(
    fd: c_int,
    length: usize,
    access: c_int,
) -> Option<(&'static [AtomicU64], u32)> {
    // SAFETY: a structure of integers.
    let mut about: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: writes one structure.
    if unsafe { libc::fstat(fd, &raw mut about) } != 0 || about.st_size < length as i64 {
        return None;
    }
    let protection = if access == libc::O_RDONLY {
        libc::PROT_READ
    } else {
        libc::PROT_READ | libc::PROT_WRITE
    };
    // SAFETY: a new mapping, nothing is replaced.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            protection,
            libc::MAP_SHARED,
            fd,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: page-aligned, `length` bytes, never unmapped, and the agent never truncates the file; all access is atomic.
    // The table's words are only loaded, so a read-only mapping suffices.
    Some((
        unsafe { std::slice::from_raw_parts(address.cast(), length / 8) },
        about.st_uid,
    ))
}

/// Looks at the table; `None` when none is mapped or published.
pub fn table<T>(look: impl Fn(Snapshot<'static>) -> T) -> Option<T> {
    ensure();
    TABLE.get()?.read(look)
}

/// The process wakes its own blocked accept by a connection, as some servers do to end: its listeners must work on.
pub(crate) fn wakes_itself() -> bool {
    WAKES_ITSELF.load(Ordering::Relaxed)
}

/// Notes a connect to this address.
pub(crate) fn note_connect(fd: c_int, to: SocketAddr) {
    let here = || {
        kernel::local(fd)
            .address()
            .map(|local| local.ip().to_canonical())
    };
    if table(|table| leaves_queued(&table, to.port(), kernel::now_ms())) == Some(true)
        && (to.ip().is_unspecified() || here() == Some(to.ip().to_canonical()))
    {
        WAKES_ITSELF.store(true, Ordering::Relaxed);
    }
}

/// The counters.
pub fn stats() -> Option<StatsView<'static>> {
    ensure();
    STATS.get().copied()
}

/// Counts one.
pub fn count(counter: Counter) {
    if let Some(stats) = stats() {
        stats.count(counter);
    }
}

/// Notes that this process did this through the hooks.
pub(crate) fn note(deed: Deed) {
    let Some(stats) = stats() else { return };
    let mut slot = SLOT.load(Ordering::Relaxed);
    if slot == 0 {
        let pid = std::process::id();
        slot = stats
            .process(pid, environment::LIBRARY_VERSION, kernel::now_ms(), ended)
            .unwrap_or(0);
        SLOT.store(slot, Ordering::Relaxed);
    }
    if slot != 0 {
        stats.note(slot, deed);
    }
}

fn ended(pid: u32) -> bool {
    // SAFETY: signal 0 only asks.
    let asked = unsafe { kernel::call(libc::SYS_kill, [pid as usize, 0, 0, 0, 0, 0]) };
    asked == Err(libc::ESRCH)
}
