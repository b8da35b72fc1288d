//! Callers that never stop: what they were promised, and whether it was kept.

use harness::Caller;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two calls of a caller, and before a broken one is made again.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a caller may hear nothing but broken connections when all is well again.
const QUIET_LIMIT: Duration = Duration::from_secs(60);

/// The most remarks that are kept of one caller.
const REMARKS_MAX: usize = 3;

/// What a caller has seen.
#[derive(Clone, Debug, Default)]
struct Seen {
    calls: u64,
    /// Connections that broke, as in a crash.
    broken: u64,
    /// The highest number that was acknowledged, and the highest that was sent.
    acknowledged: i64,
    sent: i64,
    lost: u64,
    wrong: u64,
    remarks: Vec<String>,
}

impl Seen {
    fn remark(&mut self, text: String) {
        if self.remarks.len() < REMARKS_MAX {
            self.remarks.push(text);
        }
    }

    /// A number that was read must have been sent, and be none older than the last that was acknowledged.
    fn read(&mut self, key: &str, found: Option<i64>) {
        let number = found.unwrap_or(0);
        if number < self.acknowledged {
            self.lost += 1;
            self.remark(format!(
                "{key} holds {number} though {} was acknowledged",
                self.acknowledged
            ));
        } else if number > self.sent {
            self.wrong += 1;
            self.remark(format!("{key} holds {number}, which nobody has sent"));
        }
    }

    fn failed(&mut self, key: &str, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData {
            self.wrong += 1;
            self.remark(format!("{key}: {error}"));
        } else {
            self.broken += 1;
        }
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    /// The node's port.
    pub(super) port: u16,
    /// The system's id and the caller's version, for a member.
    pub(super) member: Option<(u64, u32)>,
}

impl Role {
    fn connect(self) -> io::Result<Caller> {
        match self.member {
            Some((system, version)) => Caller::labelled(self.port, system, version),
            None => Caller::unlabelled(self.port, 1),
        }
    }

    fn key(self) -> String {
        let who = self.member.map_or(0, |(_, version)| version);
        format!("key-{}-{who}", self.port)
    }
}

/// A caller that writes rising numbers to one key and reads them back, over one connection as long as that holds.
#[derive(Debug)]
pub(super) struct Load {
    role: Role,
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What all callers together have seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// Calls that were answered.
    pub(super) calls: u64,
    /// Connections that broke.
    pub(super) broken: u64,
    /// Acknowledged writes that are not there.
    pub(super) lost: u64,
    /// Answers of another dialect, or that nobody has written.
    pub(super) wrong: u64,
    /// The first things that are wrong.
    pub(super) remarks: Vec<String>,
}

impl Load {
    /// Begins to call.
    pub(super) fn begin(role: Role) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let over = Arc::new(AtomicBool::new(false));
        let (into, until) = (Arc::clone(&seen), Arc::clone(&over));
        let thread = std::thread::spawn(move || call(role, &into, &until));
        Self {
            role,
            seen,
            over,
            thread: Some(thread),
        }
    }

    /// How many calls were answered until now.
    pub(super) fn calls(&self) -> u64 {
        self.seen.lock().calls
    }

    /// Waits until more calls were answered, as they are where all is well.
    pub(super) fn goes_on(&self) {
        let wanted = self.calls() + 5;
        let last = Instant::now() + QUIET_LIMIT;
        while self.calls() < wanted {
            let key = self.role.key();
            assert!(
                Instant::now() < last,
                "{key} is not served: {:?}",
                self.seen.lock()
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Ends, and looks once more at what there is, over new connections.
    pub(super) fn end(mut self, verdict: &mut Verdict) {
        self.stop();
        let mut seen = self.seen.lock().clone();
        let key = self.role.key();
        match read_at_last(self.role, &key) {
            Ok(found) => seen.read(&key, found),
            Err(error) => seen.failed(&key, &error),
        }
        verdict.calls += seen.calls;
        verdict.broken += seen.broken;
        verdict.lost += seen.lost;
        verdict.wrong += seen.wrong;
        verdict.remarks.extend(seen.remarks);
    }

    fn stop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and leaves what was seen before it.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

fn call(role: Role, seen: &Mutex<Seen>, over: &AtomicBool) {
    let key = role.key();
    let mut caller = None;
    while !over.load(Ordering::Relaxed) {
        let called = match caller.take() {
            Some(open) => Ok(open),
            None => role.connect(),
        };
        let answered = called.and_then(|mut caller| {
            write_and_read(&mut caller, &key, seen)?;
            Ok(caller)
        });
        match answered {
            Ok(open) => caller = Some(open),
            Err(error) => seen.lock().failed(&key, &error),
        }
        std::thread::sleep(PAUSE);
    }
}

fn write_and_read(caller: &mut Caller, key: &str, seen: &Mutex<Seen>) -> io::Result<()> {
    let number = {
        let mut seen = seen.lock();
        seen.sent += 1;
        seen.sent
    };
    caller.put(key, number)?;
    {
        let mut seen = seen.lock();
        seen.acknowledged = number;
        seen.calls += 1;
    }
    let found = caller.get(key)?;
    let mut seen = seen.lock();
    seen.calls += 1;
    seen.read(key, found);
    Ok(())
}

/// A connection that was opened just before may still break: a few are tried.
fn read_at_last(role: Role, key: &str) -> io::Result<Option<i64>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match role.connect().and_then(|mut caller| caller.get(key)) {
            Err(error) if tries < 5 && error.kind() != io::ErrorKind::InvalidData => {
                std::thread::sleep(10 * PAUSE);
            }
            found => return found,
        }
    }
}
