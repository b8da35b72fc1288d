//! The projects that `upstart adapter new` makes, as they lie in `templates/adapter`: the program brings them along.
//!
//! `NAME` in a path or a text is the adapter's name, `MODULE` the same with `_` for `-`.

use super::new::Language;

/// A file of a project.
pub(super) struct ProjectFile {
    /// Where it is in the project.
    pub(super) path: &'static str,
    /// What is in it.
    pub(super) text: &'static str,
}

/// A file of this text at this path.
macro_rules! file {
    ($path:literal, $source:literal) => {
        ProjectFile {
            path: $path,
            text: include_str!(concat!("../../../", $source)),
        }
    };
}

/// What every project has.
const COMMON: [ProjectFile; 6] = [
    file!(
        "NAME.adapter.toml",
        "templates/adapter/common/manifest.toml"
    ),
    file!(
        "NAME.adapter.conversations/future.toml",
        "templates/adapter/common/future.toml"
    ),
    file!(
        "NAME.adapter.conversations/past.toml",
        "templates/adapter/common/past.toml"
    ),
    file!("wit/calls.wit", "wit/calls.wit"),
    file!("wit/host.wit", "wit/host.wit"),
    file!("wit/sessions.wit", "wit/sessions.wit"),
];

const RUST: [ProjectFile; 8] = [
    file!(".gitignore", "templates/adapter/rust/gitignore"),
    file!("Cargo.toml", "templates/adapter/rust/Cargo.toml"),
    file!("README.md", "templates/adapter/rust/README.md"),
    file!("build.sh", "templates/adapter/rust/build.sh"),
    file!(
        "src/component.rs",
        "templates/adapter/rust/src/component.rs"
    ),
    file!("src/lib.rs", "templates/adapter/rust/src/lib.rs"),
    file!("src/rename.rs", "templates/adapter/rust/src/rename.rs"),
    file!("test.sh", "templates/adapter/rust/test.sh"),
];

const C: [ProjectFile; 8] = [
    file!(".gitignore", "templates/adapter/c/gitignore"),
    file!("README.md", "templates/adapter/c/README.md"),
    file!("adapter.c", "templates/adapter/c/adapter.c"),
    file!("build.sh", "templates/adapter/c/build.sh"),
    file!("rename.c", "templates/adapter/c/rename.c"),
    file!("rename.h", "templates/adapter/c/rename.h"),
    file!("test.sh", "templates/adapter/c/test.sh"),
    file!("test_rename.c", "templates/adapter/c/test_rename.c"),
];

const JAVASCRIPT: [ProjectFile; 8] = [
    file!(".gitignore", "templates/adapter/javascript/gitignore"),
    file!("README.md", "templates/adapter/javascript/README.md"),
    file!("adapter.js", "templates/adapter/javascript/adapter.js"),
    file!("build.sh", "templates/adapter/javascript/build.sh"),
    file!("package.json", "templates/adapter/javascript/package.json"),
    file!("rename.js", "templates/adapter/javascript/rename.js"),
    file!(
        "rename.test.js",
        "templates/adapter/javascript/rename.test.js"
    ),
    file!("test.sh", "templates/adapter/javascript/test.sh"),
];

const PYTHON: [ProjectFile; 7] = [
    file!(".gitignore", "templates/adapter/python/gitignore"),
    file!("README.md", "templates/adapter/python/README.md"),
    file!("adapter.py", "templates/adapter/python/adapter.py"),
    file!("build.sh", "templates/adapter/python/build.sh"),
    file!("rename.py", "templates/adapter/python/rename.py"),
    file!("test.sh", "templates/adapter/python/test.sh"),
    file!("test_rename.py", "templates/adapter/python/test_rename.py"),
];

/// The files of a project in this language.
pub(super) fn of(language: Language) -> impl Iterator<Item = &'static ProjectFile> {
    let own: &'static [ProjectFile] = match language {
        Language::Rust => &RUST,
        Language::C => &C,
        Language::Javascript => &JAVASCRIPT,
        Language::Python => &PYTHON,
    };
    COMMON.iter().chain(own)
}
