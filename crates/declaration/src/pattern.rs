//! Patterns of names: `{field}_gte` stands for every name that ends so.

use std::fmt;

use crate::error::Complaint;

/// A name with one hole in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// How the file calls what stands in the hole.
    pub hole: String,
    before: String,
    after: String,
}

impl Pattern {
    /// Parses a name; `None` where it has no hole.
    ///
    /// # Errors
    /// It has more than one hole, or one without a name.
    pub fn parse(name: &str) -> Result<Option<Self>, Complaint> {
        Self::read(name).map_err(Complaint::from)
    }

    fn read(name: &str) -> Result<Option<Self>, String> {
        if !name.contains(['{', '}']) {
            return Ok(None);
        }
        let wrong = || format!("`{name}` is not a name with one hole, as in \"{{field}}_gte\"");
        let (before, rest) = name.split_once('{').ok_or_else(wrong)?;
        let (hole, after) = rest.split_once('}').ok_or_else(wrong)?;
        let known = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let braces = ['{', '}'];
        if hole.is_empty()
            || !hole.chars().all(known)
            || before.contains(braces)
            || after.contains(braces)
        {
            return Err(wrong());
        }
        Ok(Some(Self {
            hole: hole.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        }))
    }

    /// What stands in the hole of a name that is of this form.
    pub fn hole_of<'n>(&self, name: &'n str) -> Option<&'n str> {
        let inner = name.strip_prefix(self.before.as_str())?;
        inner
            .strip_suffix(self.after.as_str())
            .filter(|inner| !inner.is_empty())
    }

    /// The name with this in the hole.
    pub fn fill(&self, inner: &str) -> String {
        format!("{}{inner}{}", self.before, self.after)
    }

    /// The more of a name is given, the more particular is the pattern.
    pub fn given(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{{}}}{}", self.before, self.hole, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_form_have_something_in_the_hole() {
        let pattern = Pattern::parse("{field}_gte")
            .expect("valid")
            .expect("a hole");
        assert_eq!(pattern.hole_of("views_gte"), Some("views"));
        assert_eq!(pattern.hole_of("_gte"), None);
        assert_eq!(pattern.hole_of("views"), None);
        assert_eq!(pattern.fill("a.b"), "a.b_gte");
        assert_eq!(Pattern::parse("plain"), Ok(None));
        for wrong in ["{a}{b}", "{}", "{a", "a}", "{a b}"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
