//! Links lead somewhere: to pages and headings that exist, and to every page from SUMMARY.md.

use crate::workspace::Workspace;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// The table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";

/// What can be linked to and what is linked on a page.
#[derive(Debug, Default)]
struct Links {
    anchors: BTreeSet<String>,
    targets: Vec<(usize, String)>,
}

/// `file:line: what` for each link that leads nowhere and each page that no entry of the table of contents leads to.
pub(super) fn findings(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    for name in super::names(workspace)? {
        let text = std::fs::read_to_string(workspace.root().join(&name))?;
        pages.insert(name, links(&text));
    }
    let exists = |path: &Path| workspace.root().join(path).exists();
    let mut found: Vec<String> = pages
        .iter()
        .flat_map(|(name, page)| broken(name, page, &pages, exists))
        .collect();
    found.extend(unlisted(&pages));
    Ok(found)
}

fn broken(
    name: &Path,
    page: &Links,
    pages: &BTreeMap<PathBuf, Links>,
    exists: impl Fn(&Path) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for (line, target) in &page.targets {
        if target.contains("://") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = match path {
            "" => name.to_owned(),
            path => resolved(name, path),
        };
        let what = match pages.get(&path) {
            Some(other) if anchor.is_empty() || other.anchors.contains(anchor) => continue,
            Some(_) => format!("{} has no heading `#{anchor}`", path.display()),
            None if name.starts_with("docs") => {
                format!("`{target}` is no page of docs/, so the site cannot link to it")
            }
            None if exists(&path) => continue,
            None => format!("there is no {}", path.display()),
        };
        found.push(format!("{}:{line}: {what}", name.display()));
    }
    found
}

fn unlisted(pages: &BTreeMap<PathBuf, Links>) -> Vec<String> {
    let summary = Path::new(SUMMARY);
    let listed: BTreeSet<PathBuf> = pages.get(summary).map_or_else(BTreeSet::new, |page| {
        let targets = page.targets.iter();
        targets
            .map(|(_, target)| resolved(summary, target))
            .collect()
    });
    let pages = pages.keys();
    pages
        .filter(|name| name.starts_with("docs") && *name != summary && !listed.contains(*name))
        .map(|name| format!("{}: add it to {SUMMARY}", name.display()))
        .collect()
}

/// A link's path from the repository's root on.
fn resolved(from: &Path, link: &str) -> PathBuf {
    let mut path = from.parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

fn links(text: &str) -> Links {
    let mut links = Links::default();
    let mut heading: Option<String> = None;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => {
                let line = line(&text[..range.start]);
                links.targets.push((line, dest_url.into_string()));
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                links
                    .anchors
                    .extend(heading.take().map(|text| anchor(&text)));
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    links
}

/// The number of the line that begins or goes on behind a text.
pub(super) fn line(before: &str) -> usize {
    before.matches('\n').count() + 1
}

/// The anchor that mdBook gives a heading.
fn anchor(heading: &str) -> String {
    let letters = heading.trim().chars().filter_map(|letter| match letter {
        '-' | '_' => Some(letter),
        letter if letter.is_alphanumeric() => Some(letter),
        letter if letter.is_whitespace() => Some('-'),
        _ => None,
    });
    letters.collect::<String>().to_lowercase()
}

#[test]
fn what_leads_nowhere_is_found() {
    let page = |text: &str| links(text);
    let pages = BTreeMap::from([
        (PathBuf::from(SUMMARY), page("- [A](a.md)\n")),
        (
            PathBuf::from("docs/a.md"),
            page(
                "# A `b` c!\n[x](b.md#there)\n\n[y](#a-b-c) [z](gone.md) `[code](nothing.md)`\n[u](../README.md)",
            ),
        ),
        (PathBuf::from("docs/b.md"), page("# Here\n")),
    ]);
    let a = Path::new("docs/a.md");
    let found = broken(a, &pages[a], &pages, |_| true);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].starts_with("docs/a.md:2: docs/b.md has no heading `#there`"),
        "{found:?}"
    );
    assert!(
        found[1].contains("gone.md") && found[2].contains("README.md"),
        "{found:?}"
    );
    assert_eq!(unlisted(&pages), ["docs/b.md: add it to docs/SUMMARY.md"]);
}
