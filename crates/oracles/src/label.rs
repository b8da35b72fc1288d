//! What must hold for any bytes.

use ::label::{LABEL_BYTES_MAX, Parsed, parse};

/// The label's parser answers without panicking, and what it accepts survives being written again.
pub fn check(bytes: &[u8]) {
    if let Parsed::Label { label, length } = parse(bytes) {
        assert!(length <= bytes.len());
        let mut again = [0; LABEL_BYTES_MAX];
        let written = label.encode(&mut again);
        assert_eq!(
            parse(&again[..written]),
            Parsed::Label {
                label,
                length: written
            }
        );
    }
}
