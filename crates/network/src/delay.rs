//! Delay and jitter: every packet passes a TUN device, behind which it waits for its time.
//!
//! With jitter packets overtake each other, as on the internet.

use crate::{Namespace, NetworkError, refused};
use parking_lot::{Condvar, Mutex};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The TUN device's name in the router.
pub(crate) const DEVICE: &str = "sky";

/// The most packets that wait; more are dropped, as a router's queue does.
const WAITING_MAX: usize = 20_000;

/// Longer than any packet: the device's MTU is the usual 1500.
const PACKET_BYTES_MAX: usize = 2048;

/// A packet and its time; the number keeps the order of those of one time.
type Waiting = (Reverse<(Instant, u64)>, Vec<u8>);

#[derive(Default)]
struct Queue {
    packets: BinaryHeap<Waiting>,
    count: u64,
    over: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    times: Mutex<Times>,
}

/// How long a packet waits: `delay`, and up to `jitter` more.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
}

/// The forwarder of one router; it ends with this value.
pub(crate) struct Forwarder {
    shared: Arc<Shared>,
    router: Namespace,
}

impl Forwarder {
    /// Makes the device in the router and begins to forward.
    pub(crate) fn begin(router: &Namespace) -> Result<Self, NetworkError> {
        let device = router
            .within(|| DeviceBuilder::new().name(DEVICE).build_sync())?
            .map_err(refused("make a TUN device"))?;
        router.ip(&format!("link set {DEVICE} up"))?;
        let device = Arc::new(device);
        let shared = Arc::<Shared>::default();
        let (reader, read) = (device.clone(), shared.clone());
        std::thread::spawn(move || take_in(&reader, &read));
        let give = shared.clone();
        std::thread::spawn(move || give_out(&device, &give));
        Ok(Self {
            shared,
            router: router.clone(),
        })
    }

    /// From now on.
    pub(crate) fn set(&self, times: Times) {
        *self.shared.times.lock() = times;
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.queue.lock().over = true;
        self.shared.changed.notify_all();
        // The reader sees the end of the device; if this fails the kernel removes both with the process.
        let _ = self.router.ip(&format!("link delete {DEVICE}"));
    }
}

fn take_in(device: &SyncDevice, shared: &Shared) {
    let mut bytes = [0; PACKET_BYTES_MAX];
    while let Ok(length) = device.recv(&mut bytes) {
        let times = *shared.times.lock();
        let due = Instant::now() + times.delay + times.jitter.mul_f64(rand::random());
        let mut queue = shared.queue.lock();
        if queue.over {
            return;
        }
        if queue.packets.len() < WAITING_MAX {
            queue.count += 1;
            let place = Reverse((due, queue.count));
            queue.packets.push((place, bytes[..length].to_vec()));
            shared.changed.notify_one();
        }
    }
}

fn give_out(device: &SyncDevice, shared: &Shared) {
    let mut queue = shared.queue.lock();
    while !queue.over {
        let now = Instant::now();
        let due = queue.packets.peek().map(|(Reverse((due, _)), _)| *due);
        match due {
            Some(due) if due <= now => {
                let packet = queue.packets.pop();
                drop(queue);
                if let Some((_, packet)) = packet {
                    // A packet that the kernel does not take is a lost packet.
                    let _ = device.send(&packet);
                }
                queue = shared.queue.lock();
            }
            Some(due) => {
                shared.changed.wait_for(&mut queue, due - now);
            }
            None => {
                shared.changed.wait(&mut queue);
            }
        }
    }
}
