//! Files of a bundle that are there and wrong.

use super::{Broken, GOOD, LENS, broken, put, replace};
use std::fs;
use std::path::Path;

pub(super) const ALL: &[Broken] = &[
    broken("upgrade file empty", |dir| put(dir, "upgrade.toml", "")),
    broken("upgrade file of another format", |dir| {
        put(
            dir,
            "upgrade.toml",
            "{ \"system\": \"echo\", \"version\": 2 }\n",
        )
    }),
    broken("upgrade file in UTF-16", |dir| {
        let wide = |text: &str| {
            text.encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<u8>>()
        };
        put(dir, "upgrade.toml", wide(&format!("\u{feff}{GOOD}")))
    }),
    broken("upgrade file in Latin-1", |dir| {
        put(
            dir,
            "upgrade.toml",
            [GOOD.as_bytes(), b"# caf\xe9\n"].concat(),
        )
    }),
    broken("upgrade file with NUL", |dir| {
        replace(dir, "echo.py", "echo\0.py")
    }),
    broken("upgrade file with line ends of Windows", |dir| {
        put(
            dir,
            "upgrade.toml",
            GOOD.replace("port = 7001", "prt = 7001")
                .replace('\n', "\r\n"),
        )
    }),
    broken("upgrade file with line ends of old Macs", |dir| {
        put(dir, "upgrade.toml", GOOD.replace('\n', "\r"))
    }),
    broken("upgrade file with a mark and a mistake", |dir| {
        put(
            dir,
            "upgrade.toml",
            format!("\u{feff}{}", GOOD.replace("system", "sistem")),
        )
    }),
    broken("upgrade file with a table twice", |dir| {
        replace(
            dir,
            "[class.echo.state]",
            "[class.echo.software]\n[class.echo.state]",
        )
    }),
    broken("upgrade file with a key twice", |dir| {
        replace(dir, "from = 1", "from = 1\nfrom = 0")
    }),
    broken("upgrade file nested too deep", |dir| {
        replace(
            dir,
            "from = 1",
            &format!("from = {}1{}", "[".repeat(5000), "]".repeat(5000)),
        )
    }),
    broken("upgrade file with tables nested too deep", |dir| {
        replace(dir, "from = 1", &format!("x{} = 1", ".x".repeat(5000)))
    }),
    broken("expression nested too deep", |dir| {
        replace(
            dir,
            "7001",
            &format!("\"{}1{}\"", "(".repeat(900), ")".repeat(900)),
        )
    }),
    broken("expression too long", |dir| {
        replace(dir, "7001", &format!("\"1{}\"", " + 1".repeat(2000)))
    }),
    broken("expression without an end", |dir| {
        replace(dir, "7001", "\"vars.base +\"")
    }),
    broken("software folder empty", |dir| {
        fs::remove_file(dir.join("software/echo.py")).is_ok()
    }),
    broken("software missing", |dir| {
        fs::remove_dir_all(dir.join("software")).is_ok()
    }),
    broken("software program missing", |dir| {
        fs::rename(dir.join("software/echo.py"), dir.join("software/main.py")).is_ok()
    }),
    broken("software program not executable", |dir| {
        replace(
            dir,
            "[\"python3\", \"${software}/echo.py\"]",
            "[\"${software}/echo.py\"]",
        )
    }),
    broken("software program is a folder", |dir| {
        put(dir, "software/bin/echo", "")
            && replace(
                dir,
                "[\"python3\", \"${software}/echo.py\"]",
                "[\"${software}/bin\"]",
            )
    }),
    broken("transform missing", |dir| {
        fs::remove_file(dir.join("transform.py")).is_ok()
    }),
    broken("transform not executable", |dir| {
        replace(
            dir,
            "[\"python3\", \"${bundle}/transform.py\"]",
            "[\"${bundle}/transform.py\"]",
        )
    }),
    broken("probe program missing", |dir| {
        replace(
            dir,
            "tcp = \"talk\"",
            "command = [\"${bundle}/is-healthy\"]",
        )
    }),
    broken("lens missing", |dir| {
        fs::remove_file(dir.join("lens.toml")).is_ok()
    }),
    broken("lens is a folder", |dir| {
        fs::remove_file(dir.join("lens.toml")).is_ok() && put(dir, "lens.toml/x", "")
    }),
    broken("lens empty", |dir| put(dir, "lens.toml", "")),
    broken("lens in Latin-1", |dir| {
        put(dir, "lens.toml", [LENS.as_bytes(), b"# caf\xe9\n"].concat())
    }),
    broken("lens without an end", |dir| {
        lens(dir, "\"POST /talk\"", "\"POST /talk")
    }),
    broken("lens with a key twice", |dir| {
        lens(
            dir,
            "old = \"POST /say\"",
            "old = \"POST /say\"\nold = \"POST /tell\"",
        )
    }),
    broken("lens with an unknown key", |dir| {
        lens(dir, "request", "requests")
    }),
    broken("lens with line ends of Windows", |dir| {
        put(
            dir,
            "lens.toml",
            LENS.replace("request", "requests").replace('\n', "\r\n"),
        )
    }),
    broken("lens with a method missing", |dir| {
        lens(dir, "POST /say", "/say")
    }),
    broken("lens with a place that is none", |dir| {
        lens(dir, "body.word", "bdy.word")
    }),
    broken("lens with a bad expression", |dir| {
        lens(dir, "request", "when = \"request.body.word ==\"\nrequest")
    }),
    broken("lens nested too deep", |dir| {
        lens(
            dir,
            "request = ",
            &format!("request = {}", "[".repeat(5000)),
        )
    }),
    broken("two lenses of which one is bad", |dir| {
        put(dir, "future.toml", LENS.replace("body.text", "body."))
            && replace(
                dir,
                "adapter = \"lens.toml\"",
                "past = \"lens.toml\"\nfuture = \"future.toml\"",
            )
    }),
];

fn lens(dir: &Path, old: &str, new: &str) -> bool {
    assert!(LENS.contains(old), "`{old}` is not in the lens");
    put(dir, "lens.toml", LENS.replacen(old, new, 1))
}
