//! Whether what was printed is what a page shows: `…` on a line of its own stands for any lines, inside a line for any text.

use serde_json::Value;

/// Everything that was printed must be as shown; what differs otherwise.
pub(super) fn whole(shown: &str, printed: &str) -> Option<String> {
    let (shown, printed) = (lines(shown), lines(printed));
    (!all(&shown, &printed)).then(|| difference(&shown, &printed))
}

/// The last lines that were printed must be as shown; what differs otherwise. JSON is compared as JSON.
pub(super) fn at_the_end(shown: &str, printed: &str) -> Option<String> {
    let last = printed.lines().last().unwrap_or_default();
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    if let (Some(shown), Some(printed)) = (json(shown), json(last)) {
        return (shown != printed).then(|| format!("shown is {shown}, printed was {printed}"));
    }
    let (shown, printed) = (lines(shown), lines(printed));
    let begins = 0..=printed.len();
    let found = begins
        .into_iter()
        .any(|begin| all(&shown, &printed[begin..]));
    (!found).then(|| difference(&shown, &printed))
}

fn difference(shown: &[String], printed: &[String]) -> String {
    format!(
        "the page shows\n{}\nbut this was printed\n{}",
        shown.join("\n"),
        printed.join("\n")
    )
}

/// Lines with single blanks, since the widths of tables follow what is in them; blank ones at the end do not count.
fn lines(text: &str) -> Vec<String> {
    let single = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.trim_end().lines().map(single).collect()
}

fn all(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "…" => {
            (0..=printed.len()).any(|skipped| all(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, others)| one(first, line) && all(rest, others)),
    }
}

/// One line; `…` in it stands for any text.
fn one(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(place) = rest.find(part) else {
            return false;
        };
        rest = &rest[place + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stand_for_anything_and_the_rest_must_be_equal() {
        assert_eq!(whole("a …c\n…\nend\n", "a b  c\nx\ny\nend\n"), None);
        assert_eq!(whole("…", ""), None);
        assert!(whole("a", "a\nb").is_some());
        assert!(whole("a…c", "ab").is_some());
        assert!(whole("…b…b…", "ab").is_some());
        assert!(whole("", "something").is_some());
    }

    #[test]
    fn the_end_is_compared_as_json_where_it_is_json() {
        let printed = "noise\n{\"a\":1,\"b\":2}\n";
        assert_eq!(at_the_end("{\"b\": 2, \"a\": 1}", printed), None);
        assert!(at_the_end("{\"a\": 1}", printed).is_some());
        assert_eq!(at_the_end("two\n…\n", "one\ntwo\nthree"), None);
        assert!(at_the_end("two", "one\ntwo\nthree").is_some());
    }
}
