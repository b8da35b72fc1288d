//! Which keys count no longer, of whomever they were: looked up for each key that is to be certified, however many there are.

use model::api::IdentityFact;
use std::collections::HashMap;

/// The keys that count no longer, each with the number of those who had it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndedKeys(HashMap<String, usize>);

impl EndedKeys {
    /// Those of all of these.
    pub(super) fn of<'a>(facts: impl Iterator<Item = &'a IdentityFact>) -> Self {
        let mut ended = Self::default();
        facts.for_each(|fact| ended.replace(None, fact));
        ended
    }

    /// Takes in what is known of somebody, in the place of what was known before.
    pub(super) fn replace(&mut self, before: Option<&IdentityFact>, now: &IdentityFact) {
        for key in of(now) {
            *self.0.entry(key.clone()).or_default() += 1;
        }
        for key in before.into_iter().flat_map(of) {
            if let Some(count) = self.0.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.0.remove(key);
                }
            }
        }
    }

    /// Whether a key counts no longer.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

/// Somebody's keys that count no longer.
fn of(fact: &IdentityFact) -> impl Iterator<Item = &String> {
    let revoked = fact.revoked_at_ms.map(|_| &fact.key);
    fact.ended_keys.iter().chain(revoked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::Principal;

    fn fact(key: &str, ended: &[&str], revoked_at_ms: Option<u64>) -> IdentityFact {
        IdentityFact {
            principal: Principal::node("a"),
            role: None,
            key: key.to_owned(),
            counter: 1,
            shown: 0,
            certified_at_ms: 0,
            expires_at_ms: 0,
            revoked_at_ms,
            networks: Vec::new(),
            ended_keys: ended.iter().map(ToString::to_string).collect(),
            counts_from_ms: 0,
        }
    }

    #[test]
    fn a_key_has_ended_as_long_as_somebody_had_it() {
        let mut ended = EndedKeys::default();
        let first = fact("one", &[], None);
        ended.replace(None, &first);
        assert!(!ended.has("one"));
        let revoked = fact("one", &[], Some(1));
        ended.replace(Some(&first), &revoked);
        assert!(ended.has("one"));
        let replaced = fact("two", &["one"], None);
        ended.replace(Some(&revoked), &replaced);
        assert!(ended.has("one") && !ended.has("two"));
        ended.replace(None, &revoked);
        ended.replace(Some(&replaced), &fact("two", &[], None));
        assert!(ended.has("one"), "another had it, too");
        ended.replace(Some(&revoked), &first);
        assert_eq!(ended, EndedKeys::default());
    }
}
