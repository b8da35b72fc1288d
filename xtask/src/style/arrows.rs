//! The arrows between crates point down, as the table "Crates" of ARCHITECTURE.md draws them.

use super::Source;
use crate::workspace::Package;
use std::collections::BTreeSet;
use std::path::Path;

/// The page with the table.
const PAGE: &str = "ARCHITECTURE.md";

/// The heading above it.
const HEADING: &str = "## Crates";

/// A crate that may use all crates of `crates/`, but for those that are named behind `but`.
const EVERYTHING: &str = "everything";

/// A line of the table: folder, what lives there, the crates that it uses; two blanks or more stand between.
struct Row<'a> {
    line: usize,
    path: &'a str,
    uses: &'a str,
}

/// Dependencies within the workspace that are not drawn, crates without a row and rows without a crate. Tests may look up: their
/// dependencies do not count.
pub(super) fn findings(packages: &[Package], root: &Path, sources: &[Source]) -> Vec<String> {
    let Some(page) = super::page(sources, PAGE) else {
        return vec![format!("docs/: {PAGE} is missing")];
    };
    let rows = rows(&page.text);
    let mut findings = Vec::new();
    for package in packages {
        let folder = folder(package, root);
        let Some(row) = rows.iter().find(|row| is_at(row.path, &folder)) else {
            findings.push(format!(
                "{}: crate `{}` in `{folder}` has no row below `{HEADING}`",
                page.path, package.name
            ));
            continue;
        };
        let allowed = allowed(row, packages, root);
        let inner = package.dependencies.iter().filter(|dependency| {
            dependency.path.is_some() && dependency.kind.as_deref() != Some("dev")
        });
        for dependency in inner.filter(|inner| !allowed.contains(inner.name.as_str())) {
            findings.push(format!(
                "{}:{}: crate `{}` must not use `{}`: its row does not name it",
                page.path, row.line, package.name, dependency.name
            ));
        }
    }
    for row in &rows {
        let what = untrue(row, packages, root);
        findings.extend(what.map(|what| format!("{}:{}: {what}", page.path, row.line)));
    }
    findings
}

/// What a row says that is not so. A path that ends with a slash is a folder of no crate.
fn untrue(row: &Row<'_>, packages: &[Package], root: &Path) -> Option<String> {
    let mut folders = packages.iter().map(|package| folder(package, root));
    if !row.path.ends_with('/') && !folders.any(|folder| is_at(row.path, &folder)) {
        return Some(format!("there is no crate `{}`", row.path));
    }
    let is_crate = |name: &str| packages.iter().any(|package| package.name == name);
    let unknown = names(row).find(|name| *name != EVERYTHING && !is_crate(name))?;
    Some(format!("there is no crate `{unknown}` that could be used"))
}

fn rows(page: &str) -> Vec<Row<'_>> {
    let lines = page.lines().enumerate();
    let table = lines
        .skip_while(|(_, line)| *line != HEADING)
        .skip_while(|(_, line)| !line.starts_with("```"))
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("```"));
    table
        .map(|(index, line)| Row {
            line: index + 1,
            path: line.split_whitespace().next().unwrap_or_default(),
            uses: match line.trim_end().rsplit_once("  ") {
                Some((_, uses))
                    if !line
                        .split(' ')
                        .next()
                        .is_some_and(|path| path.ends_with('/')) =>
                {
                    uses
                }
                _ => "-",
            },
        })
        .collect()
}

/// The names of a row's last column: `-` is none.
fn names<'a>(row: &Row<'a>) -> impl Iterator<Item = &'a str> {
    let names = row.uses.split([',', ' ']);
    names.filter(|name| !["", "-", "but"].contains(name))
}

/// The crates that a row allows.
fn allowed<'a>(row: &Row<'a>, packages: &'a [Package], root: &Path) -> BTreeSet<&'a str> {
    let Some((_, rest)) = row.uses.split_once(EVERYTHING) else {
        return names(row).collect();
    };
    let mut rest = rest.split([',', ' ']).filter(|name| !name.is_empty());
    let mut allowed: BTreeSet<&str> = packages
        .iter()
        .filter(|package| folder(package, root).starts_with("crates/"))
        .map(|package| package.name.as_str())
        .collect();
    while let Some(name) = rest.next() {
        match name {
            "but" => allowed.remove(rest.next().unwrap_or_default()),
            name => allowed.insert(name),
        };
    }
    allowed
}

/// A package's folder in the repository; `src` for the one at the root.
fn folder(package: &Package, root: &Path) -> String {
    let folder = package.manifest_path.parent().unwrap_or(root);
    let below = folder.strip_prefix(root).unwrap_or(folder);
    match below.to_str() {
        Some("") | None => "src".to_owned(),
        Some(below) => below.to_owned(),
    }
}

/// Whether a row's path is this folder; `*` stands for one folder's name, and a file for the folder that it lies in.
fn is_at(path: &str, folder: &str) -> bool {
    let path = if path.ends_with(".rs") {
        path.rsplit_once('/').map_or("", |(folder, _)| folder)
    } else {
        path
    };
    let (parts, others) = (path.split('/'), folder.split('/'));
    parts.clone().count() == others.clone().count()
        && parts
            .zip(others)
            .all(|(part, other)| part == "*" || part == other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;
    use std::path::PathBuf;

    const TABLE: &str = "# Page\n\n## Crates\n\n```\nsrc/main.rs      commands            everything but preload, xtask\n\
        crates/label     the label; no I/O   -\ncrates/model     the model           label\ncrates/preload   hooks               label\n\
        xtask            tools               -\nexamples/*/adapter   examples   -\nexamples/        systems  of tests\n```\n";

    fn package(folder: &str, name: &str, uses: &[(&str, Option<&str>)]) -> Package {
        let dependency = |(name, kind): &(&str, Option<&str>)| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
            path: Some(PathBuf::from("/root/somewhere")),
        };
        Package {
            name: name.to_owned(),
            manifest_path: Path::new("/root").join(folder).join("Cargo.toml"),
            dependencies: uses.iter().map(dependency).collect(),
        }
    }

    fn all() -> Vec<Package> {
        vec![
            package("", "upstart", &[("model", None), ("xtask", None)]),
            package("crates/label", "label", &[("model", Some("dev"))]),
            package("crates/model", "model", &[("label", None)]),
            package("crates/preload", "preload", &[]),
            package("xtask", "xtask", &[]),
            package("examples/1-one/adapter", "one-adapter", &[]),
        ]
    }

    fn found(packages: &[Package], table: &str) -> Vec<String> {
        let page = Source {
            path: format!("docs/internals/{PAGE}"),
            text: table.to_owned(),
        };
        findings(packages, Path::new("/root"), &[page])
    }

    #[test]
    fn what_the_table_draws_is_allowed() {
        assert_eq!(found(&all(), TABLE), Vec::<String>::new());
    }

    #[test]
    fn arrows_that_are_not_drawn_are_found() {
        let mut packages = all();
        packages[1] = package("crates/label", "label", &[("model", None)]);
        assert_eq!(found(&packages, TABLE).len(), 1, "an arrow that points up");
        let mut packages = all();
        packages[0] = package("", "upstart", &[("preload", None)]);
        assert_eq!(found(&packages, TABLE).len(), 1, "all but this one");
    }

    #[test]
    fn crates_without_a_row_and_rows_without_a_crate_are_found() {
        let mut packages = all();
        packages.push(package("crates/new", "new", &[]));
        assert_eq!(found(&packages, TABLE).len(), 1);
        assert_eq!(found(&all()[..5], TABLE).len(), 1);
        let table = TABLE.replace("model           label", "model           label, gone");
        assert_eq!(found(&all(), &table).len(), 1);
        assert_eq!(found(&all(), "# Page\n").len(), all().len());
        assert_eq!(findings(&all(), Path::new("/root"), &[]).len(), 1);
    }
}
