//! Limits of a caller's connection; whatever grows has one.

use std::time::Duration;

/// Limits of one connection and its calls.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest head (request line or status line, and headers), in bytes; at least 8192.
    pub head_bytes_max: usize,
    /// Most headers of one message.
    pub headers_max: usize,
    /// Time for a head to arrive once its first byte has come. An idle connection has no limit.
    pub head_timeout: Duration,
    /// Longest body that a lens decodes, in bytes; bodies that stream through have no limit.
    pub body_bytes_max: usize,
    /// Deepest nesting of a decoded body.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 64 * 1024,
            headers_max: 128,
            head_timeout: Duration::from_secs(30),
            body_bytes_max: 16 * 1024 * 1024,
            depth_max: 128,
        }
    }
}
