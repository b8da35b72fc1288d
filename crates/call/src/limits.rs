//! Limits of a caller's connection; whatever grows has one.

use std::sync::Arc;
use std::time::Duration;

use crate::budget::HeldBytes;

/// Limits of one connection and its calls.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest head (request line or status line, and headers), in bytes; at least 8192.
    pub head_bytes_max: usize,
    /// Most headers of one message.
    pub headers_max: usize,
    /// Time for a head to arrive once its first byte has come.
    pub head_timeout: Duration,
    /// Time that a connection of HTTP may be idle between two calls, or before the first.
    pub idle_timeout: Duration,
    /// Bytes in a second, on the average of ten, at which a body that is held here must arrive; zero: as slowly as it likes.
    pub body_rate_min: usize,
    /// What all calls of the node hold together.
    pub held: Arc<HeldBytes>,
    /// Longest body that a lens decodes, in bytes; bodies that stream through have no limit.
    pub body_bytes_max: usize,
    /// Deepest nesting of a decoded body.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 64 * 1024,
            headers_max: 128,
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
            body_rate_min: 1024,
            held: Arc::new(HeldBytes::new(256 * 1024 * 1024)),
            body_bytes_max: 16 * 1024 * 1024,
            depth_max: 128,
        }
    }
}
