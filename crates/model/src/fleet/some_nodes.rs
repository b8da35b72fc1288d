//! How many nodes, and a few of their names.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The most names that are told; the rest is only counted.
const NAMES_MAX: usize = 5;

/// Nodes by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NodeNameSet(BTreeSet<Arc<str>>);

impl NodeNameSet {
    pub(super) fn set(&mut self, name: &Arc<str>, is_in: bool) {
        if is_in {
            self.0.insert(Arc::clone(name));
        } else {
            self.0.remove(name);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, name: &Arc<str>) -> bool {
        self.0.contains(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter()
    }
}

/// How many nodes, of how many, and the names of a few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SomeNodes {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    names: Vec<String>,
}

impl SomeNodes {
    /// All of these, but for one.
    pub(super) fn of<'a>(
        all: impl Iterator<Item = &'a NodeNameSet> + Clone,
        of: usize,
        but: &Arc<str>,
    ) -> Self {
        let count = all
            .clone()
            .map(|names| names.len() - usize::from(names.0.contains(but)));
        let count = count.sum();
        // Each is in order: the first few of all are among the first few of each.
        let mut first: Vec<&Arc<str>> = all
            .flat_map(|names| names.0.iter().filter(|name| *name != but).take(NAMES_MAX))
            .collect();
        first.sort_unstable();
        Self::told(count, of, first.into_iter().map(ToString::to_string))
    }

    /// So many of so many, of whom these are told first.
    pub(crate) fn told(count: usize, of: usize, names: impl Iterator<Item = String>) -> Self {
        let names = names.take(NAMES_MAX).collect();
        Self { count, of, names }
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.names.extend(others.names);
        self.names.sort_unstable();
        self.names.truncate(NAMES_MAX);
        Self {
            count: self.count + others.count,
            of: self.of + others.of,
            names: self.names,
        }
    }

    /// Nobody.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for SomeNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count > self.names.len() {
            let (count, of) = (grouped(self.count), grouped(self.of));
            write!(f, "{count} of {of}, e.g. ")?;
        }
        f.write_str(&self.names.join(", "))
    }
}

/// A number with its thousands apart.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_named_and_many_are_counted() {
        let all = |count: usize| {
            let mut names = NodeNameSet::default();
            for at in 0..count {
                names.set(&format!("n{at:05}").into(), true);
            }
            SomeNodes::of([names].iter(), 10_000, &"n00001".into()).to_string()
        };
        assert_eq!(all(3), "n00000, n00002");
        assert_eq!(all(6), "n00000, n00002, n00003, n00004, n00005");
        let expected = "8,112 of 10,000, e.g. n00000, n00002, n00003, n00004, n00005";
        assert_eq!(all(8_113), expected);
    }

    #[test]
    fn thousands_are_set_apart() {
        let texts = [7, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(texts, ["7", "999", "1,000", "12,345", "1,234,567"]);
    }
}
