//! Rust source as the rules look at it: code apart from comments and texts, and the product's apart from its tests.

use super::Source;
use std::collections::BTreeSet;
use std::ops::Range;

/// What a piece of source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One letter of code.
    Code,
    /// A comment, with its marks.
    Comment,
    /// A text or a character, with its quotes.
    Text,
}

/// A file of one of the product's crates, as code only: comments, texts and tests are blanks. Lines are where they were.
pub(super) struct Code<'a> {
    /// The crate's name.
    pub(super) of: &'a str,
    /// The file's path in the repository.
    pub(super) path: &'a str,
    /// The file's path below the crate's `src/`, without `.rs`, `mod`, `lib` and `main`: empty for the crate's root.
    pub(super) module: &'a str,
    /// The code.
    pub(super) text: String,
}

/// The code of every crate of the product: what lies in `crates/` and the command line.
pub(super) fn product(sources: &[Source]) -> Vec<Code<'_>> {
    let mut files = Vec::new();
    let mut tests = BTreeSet::new();
    for source in sources {
        let Some((of, module)) = place(&source.path) else {
            continue;
        };
        let mut text = bare(&source.text);
        for range in test_items(&text) {
            if let Some(name) = module_name(&text[range.clone()]) {
                tests.insert((of, format!("{module}/{name}").trim_matches('/').to_owned()));
            }
            let blank = blanks(&text[range.clone()]);
            text.replace_range(range, &blank);
        }
        files.push(Code {
            of,
            path: &source.path,
            module,
            text,
        });
    }
    let is_test = |file: &Code<'_>| {
        tests.iter().any(|(of, module)| {
            *of == file.of
                && (file.module == module || file.module.starts_with(&format!("{module}/")))
        })
    };
    files.retain(|file| !is_test(file));
    files
}

/// The crate that a file belongs to, and its module there; none outside of the product.
fn place(path: &str) -> Option<(&str, &str)> {
    let (of, below) = match path.strip_prefix("crates/") {
        Some(rest) => {
            let (of, below) = rest.split_once('/')?;
            (of, below.strip_prefix("src/")?)
        }
        None => ("upstart", path.strip_prefix("src/")?),
    };
    let module = below.strip_suffix(".rs")?;
    let module = module.strip_suffix("/mod").unwrap_or(module);
    let is_root = ["lib", "main"].contains(&module);
    Some((of, if is_root { "" } else { module }))
}

/// The items that are compiled for tests only.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = code[from..].find("#[cfg(test)]").map(|at| from + at) {
        let end = item_end(code, start + "#[cfg(test)]".len());
        found.push(start..end);
        from = end;
    }
    found
}

/// Where an item ends: with its block, or at the semicolon or comma before which no block has begun.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0;
    for (at, letter) in code[from..].char_indices() {
        match letter {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        let is_end = matches!(letter, '}' | ';' | ',') && depth <= 0;
        if is_end {
            return from + at + 1;
        }
    }
    code.len()
}

/// The name of a module that an item says to lie in a file of its own.
fn module_name(item: &str) -> Option<&str> {
    let before = item.strip_suffix(';')?;
    let (_, name) = before.rsplit_once("mod ")?;
    Some(name.trim())
}

/// The source with blanks in the place of comments, texts and characters.
pub(super) fn bare(text: &str) -> String {
    let pieces = pieces(text).into_iter();
    pieces
        .map(|(kind, _, piece)| match kind {
            Kind::Code => piece.to_owned(),
            Kind::Comment | Kind::Text => blanks(piece),
        })
        .collect()
}

/// As many blanks as there are bytes, and the ends of lines.
fn blanks(text: &str) -> String {
    let blank = |byte| if byte == b'\n' { '\n' } else { ' ' };
    text.bytes().map(blank).collect()
}

/// A source's pieces in their order, each with the place where it begins.
pub(super) fn pieces(text: &str) -> Vec<(Kind, usize, &str)> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut before = ' ';
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, length) = match special(rest, before) {
            Some((kind, length)) => (kind, length),
            None => (Kind::Code, first.len_utf8()),
        };
        before = if kind == Kind::Code { first } else { ' ' };
        pieces.push((kind, at, &rest[..length]));
        at += length;
    }
    pieces
}

/// The comment, text or character that a rest of source begins with, and its length.
fn special(rest: &str, before: char) -> Option<(Kind, usize)> {
    let to = |end: Option<usize>, more: usize| end.map_or(rest.len(), |end| end + more);
    if rest.starts_with("//") {
        return Some((Kind::Comment, to(rest.find('\n'), 0)));
    }
    if rest.starts_with("/*") {
        return Some((Kind::Comment, to(rest.find("*/"), 2)));
    }
    if rest.starts_with('"') {
        return Some((Kind::Text, text_length(rest)));
    }
    if rest.starts_with('\'') {
        return Some((Kind::Text, character_length(rest)?));
    }
    let is_within_a_word = before.is_alphanumeric() || before == '_';
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'));
    let raw = raw.filter(|_| !is_within_a_word)?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let inner = raw[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = rest.len() - inner.len();
    Some((
        Kind::Text,
        to(inner.find(&end).map(|at| begin + at), end.len()),
    ))
}

fn text_length(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    rest.len()
}

/// The length of a character; none for a lifetime.
fn character_length(rest: &str) -> Option<usize> {
    let mut letters = rest.char_indices().skip(1);
    let (_, first) = letters.next()?;
    if first == '\\' {
        letters.next();
        let (end, _) = letters.find(|(_, letter)| *letter == '\'')?;
        return Some(end + 1);
    }
    let (end, _) = letters.next().filter(|(_, letter)| *letter == '\'')?;
    Some(end + 1)
}

/// The identifier that a rest of code begins with.
pub(super) fn word(rest: &str) -> &str {
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    &rest[..end.unwrap_or(rest.len())]
}

/// The number of the line that goes on behind so many bytes.
pub(super) fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_blanked_and_lifetimes_are_not() {
        let text = r##"let a: &'a str = r#"x " y"#; let b = ['"', '\'', '\u{1}']; // "c
"d\"e" /* f */ g"##;
        let shown: Vec<String> = bare(text)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(shown, ["let a: &'a str = ; let b = [ , , ];", "g"]);
        assert_eq!(bare(text).len(), text.len());
    }

    #[test]
    fn tests_are_no_part_of_the_product() {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let sources = [
            source("crates/a/src/lib.rs", "mod b;\n#[cfg(test)]\nmod tests;\n"),
            source("crates/a/src/tests.rs", "struct Test;"),
            source("crates/a/src/tests/more.rs", "struct Test;"),
            source(
                "crates/a/src/b/mod.rs",
                "struct B;\n#[cfg(test)]\nmod tests {\n    struct C;\n}\nstruct D;",
            ),
            source("crates/a/tests/e.rs", "struct E;"),
            source("scenarios/src/lib.rs", "struct F;"),
        ];
        let product = product(&sources);
        let modules: Vec<&str> = product.iter().map(|file| file.module).collect();
        assert_eq!(modules, ["", "b"]);
        let text = &product[1].text;
        assert!(text.contains("struct B") && text.contains("struct D"));
        assert!(!text.contains("struct C"));
        assert_eq!(line(text, text.find("struct D").unwrap_or_default()), 6);
    }
}
