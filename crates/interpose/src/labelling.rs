//! What a connect that is labelled sends, and how its caller waits.

use intercept::label::{LABEL_BYTES_MAX, Label};

/// A label, encoded.
pub(crate) struct Encoded {
    bytes: [u8; LABEL_BYTES_MAX],
    length: usize,
}

impl Encoded {
    pub(crate) fn new(label: &Label) -> Self {
        let mut encoded = Self {
            bytes: [0; LABEL_BYTES_MAX],
            length: 0,
        };
        encoded.length = label.encode(&mut encoded.bytes);
        encoded
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// How the caller of a connect that is labelled waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectManner {
    /// As long as the kernel does.
    Waits,
    /// Not at all: it is told EINPROGRESS.
    Asks,
    /// Not here: it is told EINPROGRESS, or that the connection stands already.
    AsksTheNet,
}
