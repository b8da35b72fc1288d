//! Upgrades that are sound and do not follow on those before them.

use super::{Broken, GOOD, put, replace};
use std::path::Path;

/// The version before the good one.
const FIRST: &str = r#"system = "echo"
version = 1

[class.echo.software]
command = ["cat"]

[class.echo.service.talk]
port = 7001
protocol = "http"

[class.echo.lifecycle]
probe = { tcp = "talk" }
"#;

pub(super) const ALL: &[Broken] = &[
    after("history of another system", |dir| {
        first(dir, "\"echo\"", "\"other\"")
    }),
    after("history with a wrong from", |dir| {
        first(dir, "version", "version")
            && replace(dir, "version = 2\nfrom = 1", "version = 3\nfrom = 2")
    }),
    after("history with the same version twice", |dir| {
        first(dir, "version = 1", "version = 1")
            && replace(dir, "version = 2\nfrom = 1", "version = 1\nfrom = 0")
            && put(dir, "upgrade.toml", FIRST)
    }),
    after("history without the class", |dir| {
        first(dir, "class.echo", "class.speaker")
    }),
    after("history without the service", |dir| {
        put(
            &dir.with_file_name("first"),
            "upgrade.toml",
            FIRST.replace("talk", "speak"),
        )
    }),
    after("history with an interface that is not declared", |dir| {
        first(dir, "x", "x")
            && replace(
                dir,
                "interface = \"changed\"\nadapter = \"lens.toml\"\n",
                "",
            )
    }),
    after("history with another protocol", |dir| {
        first(dir, "protocol = \"http\"", "protocol = \"raw\"")
    }),
    after("history that is not sound", |dir| {
        first(dir, "port = 7001", "port = 70010")
    }),
    after("history that is missing", |_| true),
    after("class split with a gap", |dir| {
        first(dir, "x", "x")
            && put(
                dir,
                "upgrade.toml",
                split("attributes.tier == 'a'", "attributes.tier == 'b'"),
            )
    }),
    after("class split twice over", |dir| {
        first(dir, "x", "x")
            && put(
                dir,
                "upgrade.toml",
                split("attributes.tier == 'a'", "attributes.tier != 'b'"),
            )
    }),
];

const fn after(name: &'static str, make: fn(&Path) -> bool) -> Broken {
    Broken {
        name,
        make,
        pack: None,
        arguments: &["DIR", "--after", "DIR/../first"],
    }
}

fn first(dir: &Path, old: &str, new: &str) -> bool {
    put(
        &dir.with_file_name("first"),
        "upgrade.toml",
        FIRST.replace(old, new),
    )
}

fn split(one: &str, two: &str) -> String {
    let head = "system = \"echo\"\nversion = 2\nfrom = 1\n";
    assert!(GOOD.starts_with(head));
    format!(
        "{head}\n[class.echo]\nfilter = \"{one}\"\n\n[class.second]\nwas = \"echo\"\nfilter = \"{two}\"\n"
    )
}
