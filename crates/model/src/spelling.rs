//! Words that were most likely meant, for messages about those that are not known.

/// The known word nearest to an unknown one, when one is near enough to be a slip of the finger.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + word.len().min(candidate.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}
