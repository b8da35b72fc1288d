//! Which part of an artifact is asked for (RFC 9110, section 14): one range; anything else gets the whole.

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// Everything.
    Whole,
    /// From the first to the last of these bytes.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// The range lies behind the end.
    Behind,
}

/// Reads a `Range` header for something of this size.
pub(crate) fn range(header: Option<&str>, size: u64) -> Range {
    let Some((first, last)) = header.and_then(one_range) else {
        return Range::Whole;
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), _) if first >= size => Range::Behind,
        (Ok(first), Ok(last)) if last >= first => Range::Part {
            first,
            last: last.min(size - 1),
        },
        (Ok(first), _) if last.is_empty() => Range::Part {
            first,
            last: size - 1,
        },
        (_, Ok(0)) if first.is_empty() => Range::Behind,
        (_, Ok(_)) if first.is_empty() && size == 0 => Range::Behind,
        (_, Ok(count)) if first.is_empty() => Range::Part {
            first: size.saturating_sub(count),
            last: size - 1,
        },
        _ => Range::Whole,
    }
}

fn one_range(header: &str) -> Option<(&str, &str)> {
    let range = header.trim().strip_prefix("bytes=")?;
    if range.contains(',') {
        return None;
    }
    let (first, last) = range.split_once('-')?;
    Some((first.trim(), last.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_in_the_rfc() {
        let part = |first, last| Range::Part { first, last };
        let cases = [
            (None, 10, Range::Whole),
            (Some("bytes=0-"), 10, part(0, 9)),
            (Some("bytes=4-"), 10, part(4, 9)),
            (Some("bytes=4-5"), 10, part(4, 5)),
            (Some("bytes=4-99"), 10, part(4, 9)),
            (Some("bytes=-3"), 10, part(7, 9)),
            (Some("bytes=-30"), 10, part(0, 9)),
            (Some("bytes=10-"), 10, Range::Behind),
            (Some("bytes=-0"), 10, Range::Behind),
            (Some("bytes=0-"), 0, Range::Behind),
            (Some("bytes=-1"), 0, Range::Behind),
            (Some("bytes=5-4"), 10, Range::Whole),
            (Some("bytes=1-2,4-5"), 10, Range::Whole),
            (Some("lines=1-2"), 10, Range::Whole),
            (Some("bytes=x-y"), 10, Range::Whole),
            (Some("bytes="), 10, Range::Whole),
        ];
        for (header, size, expected) in cases {
            assert_eq!(range(header, size), expected, "{header:?} of {size}");
        }
    }
}
