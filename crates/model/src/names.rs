//! What a node may be called: its name stands in paths, lists and logs.

/// The longest name, in bytes: it travels in every view.
pub const NAME_BYTES_MAX: usize = 256;

/// What names have that this one has not, if anything: as it follows on "a node's name".
#[must_use]
pub fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Some("has 1 to 256 bytes; choose a shorter one");
    }
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '/';
    if name.contains(odd) {
        return Some("has no white space, control characters or `/`; choose another one");
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("that is only digits reads like a number; add a letter");
    }
    if matches!(name, "." | "..") {
        return Some("that is only dots means a folder in every path; choose another one");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn a_name_can_stand_in_paths_and_lists() {
        for good in ["a", "storage-1", "a.b", "...", "1a", "\u{e4}"] {
            assert_eq!(fault(good), None, "{good}");
        }
        let long = "a".repeat(257);
        for bad in ["", "a b", "a\nb", "a/b", "12", ".", "..", &long] {
            assert!(fault(bad).is_some(), "{bad:?}");
        }
    }
}
