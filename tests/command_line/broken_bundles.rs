//! Bundles that are wrong as a whole, each with exactly what is said about it: what, where, and what to do next. Mistakes
//! in the upgrade file itself have a corpus of their own (`crates/model/tests/bad_upgrade_files/main.rs`).
//!
//! `UPSTART_WRITE_GOLDEN=1` writes the expected answers anew; read each as somebody would who has never seen the program.

mod archives;
mod contents;
mod folders;
mod histories;

use crate::upstart::{run, upstart};
use std::path::{Path, PathBuf};

/// An upgrade with everything that a bundle can have: software in a folder, a lens, a transform.
pub(crate) const GOOD: &str = r#"system = "echo"
version = 2
from = 1

[class.echo.software]
path = "software"
command = ["python3", "${software}/echo.py"]

[class.echo.service.talk]
port = 7001
protocol = "http"
interface = "changed"
adapter = "lens.toml"

[class.echo.state]
transform = { command = ["python3", "${bundle}/transform.py"] }

[class.echo.lifecycle]
probe = { tcp = "talk" }
"#;

/// A lens that renames one field of one call.
pub(crate) const LENS: &str = r#"[[operation]]
old = "POST /say"
new = "POST /talk"
request = [{ old = "body.word", new = "body.text" }]
"#;

/// A bundle that is broken, and what is given to `check` beside it.
pub(crate) struct Broken {
    /// Names the file with the expected answer.
    pub(crate) name: &'static str,
    /// Breaks the good bundle in this folder; says whether this machine can.
    pub(crate) make: fn(&Path) -> bool,
    /// What the archive `soft.tar.gz` in it holds, where it has one.
    pub(crate) pack: Option<fn(&mut tar::Builder<Vec<u8>>)>,
    /// What follows `upstart check`; `DIR` is the folder.
    pub(crate) arguments: &'static [&'static str],
}

/// A broken bundle that is checked alone.
pub(crate) const fn broken(name: &'static str, make: fn(&Path) -> bool) -> Broken {
    Broken {
        name,
        make,
        pack: None,
        arguments: &["DIR"],
    }
}

/// Writes a file below the folder.
pub(crate) fn put(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> bool {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
    std::fs::write(path, content).is_ok()
}

/// Writes the good upgrade file with one text replaced.
pub(crate) fn replace(folder: &Path, old: &str, new: &str) -> bool {
    assert!(GOOD.contains(old), "`{old}` is not in the good file");
    put(folder, "upgrade.toml", GOOD.replacen(old, new, 1))
}

fn good(folder: &Path) {
    put(folder, "upgrade.toml", GOOD);
    put(folder, "lens.toml", LENS);
    put(folder, "transform.py", "pass\n");
    put(folder, "software/echo.py", "pass\n");
}

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/command_line/golden");
    folder.join(format!("{}.txt", name.replace(' ', "_")))
}

/// What the program says, without what differs from machine to machine.
fn told(case: &Broken, folder: &Path) -> String {
    let shown = folder.display().to_string();
    let mut command = upstart();
    command.arg("check");
    for argument in case.arguments {
        command.arg(argument.replace("DIR", &shown));
    }
    let answer = run(&mut command);
    let text = format!("{}{}", answer.stdout(), answer.stderr());
    assert!(!text.contains("panicked"), "{}: {text}", case.name);
    let code = answer
        .code()
        .map_or("none".to_owned(), |code| code.to_string());
    format!("{}exit code {code}\n", text.replace(&shown, "DIR"))
}

#[test]
fn every_broken_bundle_is_told_with_its_place_and_what_to_do() {
    let write = std::env::var_os("UPSTART_WRITE_GOLDEN").is_some();
    let mut wrong = String::new();
    let mut ran = 0;
    let corpora = [folders::ALL, contents::ALL, archives::ALL, histories::ALL];
    for case in corpora.into_iter().flatten() {
        let folder = tempfile::tempdir().expect("a directory");
        let bundle = folder.path().join("bundle");
        good(&bundle);
        if let Some(fill) = case.pack {
            put(&bundle, "soft.tar.gz", archives::gzip(&archives::tar(fill)));
        }
        if !(case.make)(&bundle) {
            println!(
                "SKIPPED: broken_bundles {}: this machine cannot make it",
                case.name
            );
            continue;
        }
        ran += 1;
        let told = told(case, &bundle);
        if write {
            std::fs::create_dir_all(golden("x").parent().expect("a folder")).expect("a folder");
            std::fs::write(golden(case.name), told).expect("written");
            continue;
        }
        let expected = std::fs::read_to_string(golden(case.name)).unwrap_or_default();
        if told != expected {
            wrong.push_str(&format!(
                "--- {}\nexpected:\n{expected}told:\n{told}",
                case.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(ran >= 40, "only {ran} bundles");
}

/// What an editor or another system leaves in a file that is good all the same.
#[test]
fn marks_and_line_ends_of_other_systems_are_no_mistakes() {
    let forms: [fn(&str) -> String; 2] = [
        |text| text.replace('\n', "\r\n"),
        |text| format!("\u{feff}{text}"),
    ];
    for form in forms {
        let folder = tempfile::tempdir().expect("a directory");
        good(folder.path());
        put(folder.path(), "upgrade.toml", form(GOOD));
        put(folder.path(), "lens.toml", form(LENS));
        run(upstart().arg("check").arg(folder.path())).expect(0);
    }
}
