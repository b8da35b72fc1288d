//! What comments and pages name exists: files, counters and kinds of events, and the items of `[links]`.

use super::Source;
use super::code::{self, Kind};
use std::collections::BTreeSet;

/// Files that are named by how they end.
const ENDINGS: [&str; 5] = [".rs", ".md", ".toml", ".py", ".sh"];

/// Folders of files that people make after a template: a page may name them as if they were there.
const TEMPLATES: &str = "templates/";

pub(super) fn findings(sources: &[Source]) -> Vec<String> {
    let paths: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let texts = texts(sources);
    let words = words(sources);
    let mut findings = Vec::new();
    for source in sources {
        let prose = prose(source);
        let is_page = source.path.ends_with(".md");
        for (line, text) in &prose {
            let gone = files(text).filter(|path| !is_there(path, source, &paths));
            let gone = gone.map(|path| format!("there is no `{path}`"));
            let uncounted = counters(text).filter(|name| is_page && !is_counted(name, &texts));
            let uncounted =
                uncounted.map(|name| format!("nothing is counted as `{name}`, or told so"));
            let unknown = links(text).filter(|name| !is_page && !words.contains(*name));
            let unknown = unknown.map(|name| format!("there is no `{name}` to link to"));
            let all = gone.chain(uncounted).chain(unknown);
            findings.extend(all.map(|what| format!("{}:{line}: {what}", source.path)));
        }
    }
    findings
}

/// The lines of a page outside of its blocks, or of a program's comments, with their numbers.
fn prose(source: &Source) -> Vec<(usize, String)> {
    let lines = source.text.lines().enumerate();
    let ending = source
        .path
        .rsplit_once('.')
        .map_or("", |(_, ending)| ending);
    match ending {
        "md" => {
            let mut is_block = false;
            let mut prose = Vec::new();
            for (index, line) in lines {
                let is_fence = line.trim_start().starts_with("```");
                is_block ^= is_fence;
                if !is_block && !is_fence {
                    prose.push((index + 1, line.to_owned()));
                }
            }
            prose
        }
        "rs" => {
            let mut prose = Vec::new();
            let comments = code::pieces(&source.text).into_iter();
            for (_, at, comment) in comments.filter(|(kind, ..)| *kind == Kind::Comment) {
                let first = code::line(&source.text, at);
                let lines = comment.lines().enumerate();
                prose.extend(lines.map(|(index, line)| (first + index, line.to_owned())));
            }
            prose
        }
        "py" | "sh" | "toml" => lines
            .filter_map(|(index, line)| {
                let (_, comment) = line.split_once('#')?;
                Some((index + 1, comment.to_owned()))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The files that a line names with a folder. Addresses, placeholders (`NAME`) and patterns are none.
fn files(line: &str) -> impl Iterator<Item = &str> {
    let is_of_a_path = |letter: char| letter.is_alphanumeric() || "_./-~:*<>{}$@".contains(letter);
    let words = line.split(move |letter| !is_of_a_path(letter));
    words.filter_map(|word| {
        let word = word.split("::").next().unwrap_or_default();
        let word = word.trim_end_matches([':', '.']);
        let is_file = ENDINGS.iter().any(|ending| word.ends_with(ending))
            && word.contains('/')
            && !word.starts_with('/')
            && !word.contains(['~', ':', '*', '<', '>', '{', '}', '$', '@']);
        let is_general = |part: &str| {
            let stem = part.split('.').next().unwrap_or_default();
            stem.len() > 1 && stem.bytes().all(|byte| byte.is_ascii_uppercase())
        };
        let known_upper = [
            "README",
            "CONTRIBUTING",
            "ARCHITECTURE",
            "SPECIFICATION",
            "SUMMARY",
        ];
        let mut parts = word.split('/');
        let is_general = parts.any(|part| {
            is_general(part) && !known_upper.iter().any(|known| part.starts_with(known))
        });
        (is_file && !is_general).then_some(word)
    })
}

/// Whether a file is there, seen from the root, from the folder of whoever names it or a folder above that, or in a template. A page may
/// also name what its readers make: files below folders that the repository does not have.
fn is_there(path: &str, source: &Source, paths: &BTreeSet<&str>) -> bool {
    let mut folder = source.path.as_str();
    while let Some((above, _)) = folder.rsplit_once('/') {
        folder = above;
        if paths.contains(resolved(folder, path).as_str()) {
            return true;
        }
    }
    let (top, _) = path.split_once('/').unwrap_or((path, ""));
    let has_top = |known: &&str| known.split('/').next() == Some(top);
    let is_made =
        source.path.ends_with(".md") && !path.starts_with('.') && !paths.iter().any(has_top);
    let is_of_template = |known: &&str| {
        let below = known.strip_prefix(TEMPLATES);
        below.is_some_and(|below| below.ends_with(&format!("/{path}")))
    };
    paths.contains(path) || is_made || paths.iter().any(is_of_template)
}

/// A path below a folder, without `.` and `..`.
fn resolved(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What a line shows between backticks as `family.name`.
fn counters(line: &str) -> impl Iterator<Item = &str> {
    let shown = line.split('`').skip(1).step_by(2);
    shown.filter(|name| {
        let is_word = |part: &str| {
            let mut letters = part.bytes();
            !part.is_empty() && letters.all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        let ends = [
            ".rs", ".md", ".py", ".sh", ".toml", ".json", ".tsv", ".jsonl", ".log", ".sock",
            ".lock", ".wasm",
        ];
        name.contains('.')
            && name.split('.').all(is_word)
            && !ends.iter().any(|end| name.ends_with(end))
    })
}

/// The texts in the product's code that could name a counter, without their quotes.
fn texts(sources: &[Source]) -> BTreeSet<String> {
    let code = sources.iter().filter(|source| source.path.ends_with(".rs"));
    let code =
        code.filter(|source| source.path.contains("src/") && !source.path.starts_with("xtask/"));
    let texts = code.flat_map(|source| code::pieces(&source.text));
    texts
        .filter(|(kind, ..)| *kind == Kind::Text)
        .map(|(.., text)| text.trim_matches('"').to_owned())
        .collect()
}

/// Whether a name stands in the code, whole or as the family and the rest; the code must count in that family at all.
fn is_counted(name: &str, texts: &BTreeSet<String>) -> bool {
    let family = name.split_once('.').map_or(name, |(family, _)| family);
    let has_family = |text: &String| {
        text.strip_prefix(family)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    let is_made_of = |at: usize| {
        let (before, rest) = (&name[..=at], &name[at + 1..]);
        texts.contains(rest) && texts.iter().any(|text| text.starts_with(before))
    };
    !texts.iter().any(has_family)
        || texts.iter().any(|text| text.contains(name))
        || name.match_indices('.').any(|(at, _)| is_made_of(at))
}

/// The last names of a comment's links to items: `[Name]` and `[text](path::name)` between backticks.
fn links(comment: &str) -> impl Iterator<Item = &str> {
    let links = comment.split("[`").skip(1);
    links.filter_map(|rest| {
        let (name, rest) = rest.split_once('`')?;
        let is_link = rest.starts_with(']') && !rest.starts_with("](http");
        let path = match rest.strip_prefix("](") {
            Some(target) => target.split([')', '#']).next().unwrap_or_default(),
            None => name,
        };
        let last = path.trim_end_matches(['(', ')', '!']).rsplit("::").next();
        let last = last.filter(|last| is_link && code::word(last) == *last && !last.is_empty());
        // A path's own words need not be in our code where it leads elsewhere.
        last.filter(|_| !path.starts_with("std::"))
    })
}

/// All words of the repository's code.
fn words(sources: &[Source]) -> BTreeSet<String> {
    let code = sources.iter().filter(|source| source.path.ends_with(".rs"));
    code.flat_map(|source| {
        let bare = code::bare(&source.text);
        let words = bare.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        words.map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn found(path: &str, text: &str) -> Vec<String> {
        let others = [
            source("docs/guides/a.md", ""),
            source(
                "crates/a/src/b.rs",
                "fn here() { count(\"reset.known\"); count(\"reset.composed.{}\"); \"word\" }",
            ),
            source("crates/a/tests/c.rs", ""),
            source("templates/new/src/rename.rs", ""),
        ];
        let all: Vec<Source> = others.into_iter().chain([source(path, text)]).collect();
        findings(&all)
    }

    #[test]
    fn files_that_are_gone_are_found() {
        let gone = [
            ("docs/x.md", "see crates/a/src/gone.rs."),
            ("docs/x.md", "see `docs/a.md`"),
            ("crates/a/src/x.rs", "//! see (docs/a.md)\n"),
            ("crates/a/src/x.rs", "/* and b/c.rs::name */"),
            ("docs/x.sh", "echo 1 # ../gone/x.sh"),
        ];
        for (path, text) in gone {
            assert_eq!(found(path, text).len(), 1, "{text}");
        }
    }

    #[test]
    fn files_that_are_there_are_not() {
        let there = [
            (
                "docs/x.md",
                "see crates/a/src/b.rs, guides/a.md and ./guides/a.md: [a](guides/a.md)",
            ),
            (
                "docs/x.md",
                "write src/rename.rs, v2/upgrade.toml and docs/NAME.md, https://x.org/a.md, /etc/a.toml",
            ),
            ("docs/x.md", "```\ncat docs/gone.md\n```\n"),
            (
                "crates/a/src/x.rs",
                "// tests/c.rs::name, src/b.rs, docs/*.md\nlet a = \"docs/gone.md\";",
            ),
        ];
        for (path, text) in there {
            assert_eq!(found(path, text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn counters_that_nothing_counts_are_found() {
        assert_eq!(
            found("docs/x.md", "| `reset.gone` | `reset.composed.gone` |").len(),
            2
        );
        let there = "| `reset.known` | `reset.composed.word` | `other.name` | `reset.NAME` | `reset.toml` |";
        assert_eq!(found("docs/x.md", there), Vec::<String>::new());
    }

    #[test]
    fn links_to_items_that_are_gone_are_found() {
        let path = "crates/a/src/x.rs";
        assert_eq!(
            found(path, "/// [`gone`], [`a::Gone`](x), [`b`](a::gone())").len(),
            3
        );
        let there =
            "/// [`here`], [`a::here()`], [`gone`](https://a.b), [`std::io::Gone`], `[gone]`";
        assert_eq!(found(path, there), Vec::<String>::new());
    }
}
