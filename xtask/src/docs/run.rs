//! One run of a page in a place of its own: free ports for the page's, a temporary directory for its `/tmp`.

use super::page::{Page, Step};
use super::script::{Script, Surroundings};
use crate::workspace::Workspace;
use anyhow::Context;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// What stands before a port on a page.
const BEFORE_PORTS: [&str; 4] = ["127.0.0.1:", "localhost:", "--port ", "port="];

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// `file:line: what` for each thing that is not as the page says.
    pub(crate) findings: Vec<String>,
    /// Everything that was printed.
    pub(crate) said: String,
}

impl Run {
    /// Follows a page with the workspace's own build.
    ///
    /// # Errors
    /// When there is no place for it, no bash, or hosts that it needs cannot be made.
    pub(crate) fn of(workspace: &Workspace, page: &Page) -> anyhow::Result<Self> {
        if let Some(why) = no_hosts().filter(|_| page.has_hosts()) {
            anyhow::bail!("{}: {why}", page.name);
        }
        let folder = tempfile::Builder::new()
            .prefix("page-")
            .tempdir()
            .context("no temporary directory")?;
        let surroundings = Surroundings {
            place: folder.path().join("tmp"),
            outputs: folder.path().join("outputs"),
            builds: false,
        };
        for path in [&surroundings.place, &surroundings.outputs] {
            std::fs::create_dir(path)?;
        }
        let programs = workspace.target("debug");
        let page = moved(page, &replacements(page, &surroundings, &programs)?);
        let script = Script::of(&page, &surroundings);
        let output = bash(workspace, &script, &surroundings).context("cannot run bash")?;
        let said =
            Script::said(&page, &surroundings.outputs) + &String::from_utf8_lossy(&output.stderr);
        let mut findings = Vec::new();
        if output.status.success() {
            findings.extend(Script::differences(&page, &surroundings.outputs));
            findings.extend(left_behind(&page, &surroundings)?);
        } else {
            findings.push(format!("{}: ended with {}", page.name, output.status));
        }
        Ok(Self { findings, said })
    }
}

fn bash(
    workspace: &Workspace,
    script: &Script,
    surroundings: &Surroundings,
) -> std::io::Result<std::process::Output> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(workspace.target("debug")).chain(std::env::split_paths(&path));
    let mut command: Command = workspace.command("bash");
    command
        .args(["-c", &script.text])
        .env("HOME", &surroundings.place)
        .env(
            "XDG_CONFIG_HOME",
            surroundings.outputs.with_file_name("configuration"),
        )
        .env_remove("UPSTART_SERVER");
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    command.stdin(Stdio::null()).output()
}

/// Why pages can have no hosts of their own here; `None` where they can.
pub(super) fn no_hosts() -> Option<&'static str> {
    let made = Command::new("unshare")
        .args(["--net", "--uts", "ip", "link", "set", "lo", "up"])
        .output();
    let can = made.is_ok_and(|output| output.status.success());
    (!can).then_some("hosts need root, `unshare` and `ip`")
}

/// A page ends with nothing of its own left.
fn left_behind(page: &Page, surroundings: &Surroundings) -> anyhow::Result<Option<String>> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(&surroundings.place)? {
        left.push(entry?.file_name().display().to_string());
    }
    let name = &page.name;
    Ok((!left.is_empty()).then(|| format!("{name}: leaves {} in /tmp", left.join(", "))))
}

/// What is written otherwise than on the page.
fn replacements(
    page: &Page,
    surroundings: &Surroundings,
    programs: &std::path::Path,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut replacements = BTreeMap::from([
        (
            "/tmp/".to_owned(),
            format!("{}/", surroundings.place.display()),
        ),
        (
            "$PWD/target/debug".to_owned(),
            programs.display().to_string(),
        ),
    ]);
    // All are held until the last is known, so that no port is given twice.
    let mut held = Vec::new();
    for port in page.steps.iter().flat_map(texts).flat_map(ports) {
        if !replacements.contains_key(port) {
            let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
            replacements.insert(port.to_owned(), listener.local_addr()?.port().to_string());
            held.push(listener);
        }
    }
    Ok(replacements)
}

/// The ports that a text speaks of.
fn ports(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for before in BEFORE_PORTS {
        for rest in text.split(before).skip(1) {
            let end = rest.find(|letter: char| !letter.is_ascii_digit());
            let digits = &rest[..end.unwrap_or(rest.len())];
            if (4..=5).contains(&digits.len()) {
                found.push(digits);
            }
        }
    }
    found
}

fn texts(step: &Step) -> Vec<&str> {
    match step {
        Step::Commands { text, prints, .. } => {
            let prints = prints.as_deref();
            std::iter::once(text.as_str()).chain(prints).collect()
        }
        Step::Exchange {
            command, output, ..
        } => vec![command, output],
        Step::File { path, text, .. } => vec![path, text],
    }
}

/// The page with replacements made.
fn moved(page: &Page, replacements: &BTreeMap<String, String>) -> Page {
    let replace = |text: &str| {
        replacements
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    let steps = page.steps.iter().map(|step| match step.clone() {
        Step::Commands {
            line,
            text,
            hosts,
            is_build,
            prints,
        } => Step::Commands {
            line,
            text: replace(&text),
            hosts,
            is_build,
            prints: prints.map(|text| replace(&text)),
        },
        Step::Exchange {
            line,
            command,
            host,
            output,
        } => Step::Exchange {
            line,
            command: replace(&command),
            host,
            output: replace(&output),
        },
        Step::File {
            line,
            path,
            is_more,
            text,
        } => Step::File {
            line,
            path: replace(&path),
            is_more,
            text: replace(&text),
        },
    });
    Page {
        name: page.name.clone(),
        steps: steps.collect(),
    }
}
