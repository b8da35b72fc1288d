//! What calls hold in memory together: one budget of bytes for all connections of a node. Each call has a share of it, which grows with
//! what the call takes in and goes back when the call has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use wire::json::Json;

/// How long a body's rate is looked at as one: shorter pauses cost nothing.
pub(crate) const RATE_WINDOW: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// The share of the call that runs.
    static SHARE: Share;
}

/// The bytes that all calls may hold.
#[derive(Debug)]
pub struct HeldBytes {
    used: AtomicUsize,
    most: AtomicUsize,
}

impl HeldBytes {
    /// A budget of which nothing is used.
    pub fn new(most: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
        }
    }

    /// How much is held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Makes it larger or smaller; what is held stays.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let enough = |used: usize| used.checked_add(bytes).filter(|after| *after <= most);
        (self.used)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough)
            .is_ok()
    }
}

/// What one call holds.
#[derive(Clone, Debug)]
pub struct Share(Arc<HeldShare>);

#[derive(Debug)]
struct HeldShare {
    budget: Arc<HeldBytes>,
    taken: AtomicUsize,
    /// Bytes in a second that its caller must send at least; zero: no matter how few.
    rate_min: usize,
    /// The software has answered: what comes now is not the caller's.
    is_answered: AtomicBool,
}

impl Drop for HeldShare {
    fn drop(&mut self) {
        let taken = self.taken.load(Ordering::Relaxed);
        self.budget.used.fetch_sub(taken, Ordering::Relaxed);
    }
}

impl Share {
    /// A share of which nothing is taken; `rate_min` is how many bytes in a second the caller must send at least, zero: no matter how few.
    pub fn of(budget: &Arc<HeldBytes>, rate_min: usize) -> Self {
        Self(Arc::new(HeldShare {
            budget: budget.clone(),
            taken: AtomicUsize::new(0),
            rate_min,
            is_answered: AtomicBool::new(false),
        }))
    }

    /// Runs a call that takes from this share.
    pub async fn used_by<T>(&self, call: impl Future<Output = T>) -> T {
        SHARE.scope(self.clone(), call).await
    }

    /// The software has answered.
    pub fn answered(&self) {
        self.0.is_answered.store(true, Ordering::Relaxed);
    }

    /// Takes so many bytes more; says whether they were there.
    pub fn take(&self, bytes: usize) -> bool {
        let taken = self.0.budget.take(bytes);
        if taken {
            self.0.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }

    /// Gives back all that it has.
    pub fn give_back(&self) {
        let taken = self.0.taken.swap(0, Ordering::Relaxed);
        self.0.budget.used.fetch_sub(taken, Ordering::Relaxed);
    }
}

/// Takes bytes for the call that runs, where it has a share; says whether they were there.
pub(crate) fn hold(bytes: usize) -> bool {
    SHARE.try_with(|share| share.take(bytes)).unwrap_or(true)
}

/// The call that runs has its first answer.
pub fn answered() {
    // Without a share there is nothing to say.
    let _ = SHARE.try_with(Share::answered);
}

/// How much memory JSON may take when it is decoded, at most about.
pub(crate) fn decoded_bytes(bytes: &[u8]) -> usize {
    let commas = memchr::memchr_iter(b',', bytes).count();
    let opened = memchr::memchr2_iter(b'[', b'{', bytes).count();
    let members = memchr::memchr_iter(b':', bytes).count();
    let names = members * size_of::<String>();
    (commas + opened + 1) * size_of::<Json>() + names + bytes.len()
}

/// How fast a caller sends its body.
pub(crate) struct Pace {
    window_ends: Instant,
    in_window: usize,
    rate_min: usize,
}

impl Pace {
    /// Of the call that runs; none where it does not matter.
    pub(crate) fn begin() -> Option<Self> {
        let rate = |share: &Share| {
            let is_callers = !share.0.is_answered.load(Ordering::Relaxed);
            share.0.rate_min * usize::from(is_callers)
        };
        let rate_min = SHARE.try_with(rate).unwrap_or(0);
        (rate_min > 0).then(|| Self {
            window_ends: Instant::now() + RATE_WINDOW,
            in_window: 0,
            rate_min,
        })
    }

    /// When it is to be judged next.
    pub(crate) fn judged_at(&self) -> Instant {
        self.window_ends
    }

    /// Bytes have come.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.in_window += bytes;
    }

    /// Judges the window that has ended, and begins another.
    ///
    /// The error is the rate that would have been enough.
    pub(crate) fn judge(&mut self) -> Result<(), usize> {
        let wanted = self.rate_min.saturating_mul(RATE_WINDOW.as_secs() as usize);
        let came = std::mem::take(&mut self.in_window);
        self.window_ends = Instant::now() + RATE_WINDOW;
        if came >= wanted {
            Ok(())
        } else {
            Err(self.rate_min)
        }
    }
}
