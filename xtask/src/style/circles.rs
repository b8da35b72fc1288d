//! The arrows within a crate: its top-level modules, the files and folders of `src/`, use each other in no circle.

use super::code::{self, Code};
use std::collections::{BTreeMap, BTreeSet};

/// A crate's modules and those that each uses, with the place of one use.
type Arrows<'a> = BTreeMap<&'a str, BTreeMap<&'a str, String>>;

pub(super) fn findings(product: &[Code<'_>]) -> Vec<String> {
    let crates: BTreeSet<&str> = product.iter().map(|file| file.of).collect();
    let mut found = Vec::new();
    for of in crates {
        let files: Vec<&Code<'_>> = product.iter().filter(|file| file.of == of).collect();
        let arrows = arrows(&files);
        let circles = circles_of(&arrows);
        found.extend(circles.iter().map(|circle| described(of, circle, &arrows)));
    }
    found
}

/// A circle with the place of each arrow in it.
fn described(of: &str, circle: &BTreeSet<&str>, arrows: &Arrows<'_>) -> String {
    let mut uses = Vec::new();
    for from in circle {
        for (to, place) in &arrows[from] {
            if circle.contains(to) {
                uses.push(format!("\n    {from} uses {to}: {place}"));
            }
        }
    }
    let modules: Vec<&str> = circle.iter().copied().collect();
    format!(
        "crate `{of}`: {} use each other in a circle{}",
        modules.join(", "),
        uses.concat()
    )
}

/// Sets of modules each of which reaches every other.
fn circles_of<'a>(arrows: &Arrows<'a>) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = arrows
        .keys()
        .map(|module| (*module, reached(module, arrows)))
        .collect();
    let mut circles = BTreeSet::new();
    for (module, others) in &reached {
        let back = others
            .iter()
            .filter(|other| reached[*other].contains(module));
        let circle: BTreeSet<&str> = back.copied().collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn reached<'a>(module: &str, arrows: &Arrows<'a>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = vec![module];
    while let Some(module) = open.pop() {
        for next in arrows[module].keys() {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}

fn arrows<'a>(files: &[&'a Code<'_>]) -> Arrows<'a> {
    let top = |module: &'a str| module.split('/').next().unwrap_or_default();
    let mut arrows: Arrows<'_> = files
        .iter()
        .filter(|file| !file.module.is_empty())
        .map(|file| (top(file.module), BTreeMap::new()))
        .collect();
    let root = files.iter().find(|file| file.module.is_empty());
    let shown = root.map_or_else(BTreeMap::new, |root| shown_at_the_root(&root.text));
    for file in files.iter().filter(|file| !file.module.is_empty()) {
        let from = top(file.module);
        for (at, name) in used(file) {
            let module = shown.get(name).copied().unwrap_or(name);
            let Some((to, _)) = arrows.get_key_value(module).filter(|(to, _)| **to != from) else {
                continue;
            };
            let to = *to;
            let place = format!("{}:{}", file.path, code::line(&file.text, at));
            arrows.entry(from).or_default().entry(to).or_insert(place);
        }
    }
    arrows
}

/// The names that the root takes from modules (`pub use module::Name`), each with its module.
fn shown_at_the_root(root: &str) -> BTreeMap<&str, &str> {
    let mut shown = BTreeMap::new();
    let uses = root.split("use ").skip(1);
    for tree in uses.filter_map(|rest| rest.split(';').next()) {
        let tree = tree
            .trim_start_matches("crate::")
            .trim_start_matches("self::");
        let module = code::word(tree);
        // The last name of each branch: what stands before a comma, a brace or the end.
        for branch in tree.split([',', '{', '}']) {
            let name = branch.trim().rsplit([':', ' ']).next().unwrap_or_default();
            if !name.is_empty() && name != module {
                shown.insert(name, module);
            }
        }
    }
    shown
}

/// What a file uses of its crate's root, with the places: the first names behind `crate::`, or behind as many `super::` as lead there.
fn used<'a>(file: &'a Code<'_>) -> Vec<(usize, &'a str)> {
    let depth = file.module.split('/').count();
    let mut used = Vec::new();
    for prefix in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in file.text.match_indices(&prefix) {
            let before = file.text[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || "_:$".contains(before) {
                continue;
            }
            let rest = &file.text[at + prefix.len()..];
            let names = match rest.strip_prefix('{') {
                Some(tree) => branches(tree),
                None => vec![code::word(rest)],
            };
            used.extend(names.into_iter().map(|name| (at, name)));
        }
    }
    used
}

/// The first names of a use tree's branches, behind its opening brace.
fn branches(tree: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut names = Vec::new();
    let mut begins = 0;
    for (at, letter) in tree.char_indices() {
        match letter {
            ',' | '}' if depth == 0 => {
                names.push(code::word(tree[begins..at].trim()));
                begins = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

/// The same for the files of the repository.
#[cfg(test)]
fn of(sources: &[super::Source]) -> Vec<String> {
    findings(&code::product(sources))
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn file(path: &str, text: &str) -> Source {
        Source {
            path: format!("crates/new/src/{path}"),
            text: text.to_owned(),
        }
    }

    #[test]
    fn circles_are_found_however_they_are_written() {
        let straight = "use crate::b::{B, C};";
        let forms = [
            "use crate::a::A;",
            "use crate::{c, a::{A, D}};",
            "fn f() -> crate::a::A {}",
            "use super::a::A;",
            "use crate::Shown;",
        ];
        for back in forms {
            let sources = [
                file(
                    "lib.rs",
                    "mod a;\nmod b;\npub use a::{Shown, other::Other as Else};",
                ),
                file("a.rs", straight),
                file("b.rs", back),
            ];
            assert_eq!(of(&sources).len(), 1, "{back}");
        }
        let deeper = [
            file("a/mod.rs", straight),
            file("b.rs", ""),
            file("b/c/d.rs", "use super::super::super::a::A;"),
        ];
        assert_eq!(of(&deeper).len(), 1);
    }

    #[test]
    fn what_points_one_way_is_no_circle() {
        let sources = [
            file("a.rs", "use crate::b::B;\nuse crate::a::A;"),
            file(
                "b.rs",
                "//! See [`crate::a`].\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
            ),
            file("b/c.rs", "use super::a;"),
        ];
        assert_eq!(of(&sources), Vec::<String>::new());
    }
}
