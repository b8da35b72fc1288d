//! What people are told about upgrade files that are wrong: each case changes one thing in a good file.

use model::bundle::{BundleFiles, FileInfo, UpgradeFile};
use model::manifest::{Digest, Mode};
use model::release::check;
use proptest::prelude::*;

const GOOD: &str = r#"system = "store"
version = 2
from = 1
description = "Paths and names change"

[settings]
drain_ms = 2000

[class.storage]

[class.storage.software]
path = "software"
command = ["python3", "${software}/storage.py", "--port", "${ports.data}"]
environment = { COLOUR = "red" }

[class.storage.service.data]
port = "vars.base + 1"
protocol = "http"
interface = "changed"
connections = "stateless"
adapter = "lens/data.toml"

[class.storage.service.peers]
port = 7200
protocol = "raw"
interface = "same"

[class.storage.state]
transform = { command = ["python3", "${bundle}/transform.py"], timeout_ms = 5000 }

[class.storage.lifecycle]
probe = { http = "/health", service = "data" }
stop_signal = "TERM"
before_stop = { command = ["true"] }
"#;

fn files() -> BundleFiles {
    let info = FileInfo {
        mode: Mode::Plain,
        size: 1,
        sha256: Digest::of(b"x"),
    };
    let paths = [
        "upgrade.toml",
        "software/storage.py",
        "lens/data.toml",
        "transform.py",
        "notes.txt",
        "soft.tar.gz",
    ];
    paths
        .into_iter()
        .map(|path| (path.to_owned(), info))
        .collect()
}

fn told(text: &str) -> String {
    match check(text, &files()) {
        Ok(_) => "nothing".to_owned(),
        Err(errors) => errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

#[test]
fn the_good_file_is_good() {
    assert_eq!(told(GOOD), "nothing");
}

/// The good file with one text replaced by another, and what is told about it.
struct Case(&'static str, &'static str, &'static str);

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_do() {
    let mut wrong = String::new();
    for Case(old, new, expected) in CASES {
        assert!(GOOD.contains(old), "the good file does not contain {old:?}");
        let told = told(&GOOD.replacen(old, new, 1));
        if told != *expected {
            wrong.push_str(&format!(
                "--- {old:?} -> {new:?}\nexpected:\n{expected}\ntold:\n{told}\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is done to a file, it is checked or told, never a panic; and whoever is told something is told where.
    #[test]
    fn a_mangled_file_is_told_not_stumbled_over(
        at in 0..GOOD.len(), length in 0usize..60,
        put in "[ -~\\n]{0,12}|\\$\\{|\"|\\[class\\.x\\]\\n|= \\{|99999999999999999999|é|-1|1\\.5|true",
    ) {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + length).min(GOOD.len()), &put);
        if let Err(errors) = check(&text, &files()) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(error.line.is_none_or(|line| line <= text.lines().count() + 1), "{error}");
            }
        }
    }
}

const CASES: &[Case] = &[
    Case(
        "system = \"store\"\n",
        "",
        "upgrade.toml: `system` is missing; write `system = \"NAME\"`",
    ),
    Case(
        "\"store\"",
        "\"Store!\"",
        "upgrade.toml:1:10: system: `Store!` cannot name a system: lower-case letters, digits and `-` and `_`, a letter first, at most 63",
    ),
    Case(
        "\"store\"",
        "7",
        "upgrade.toml:1:10: system: is an integer; expected a string in quotes",
    ),
    Case(
        "system",
        "sistem",
        "upgrade.toml: `system` is missing; write `system = \"NAME\"`\nupgrade.toml:1:1: sistem: unknown key; did you mean `system`?",
    ),
    Case(
        "version = 2\n",
        "",
        "upgrade.toml: `version` is missing; write `version = 1` for the first, then 2, 3, ...",
    ),
    Case(
        "version = 2",
        "version = \"2\"",
        "upgrade.toml:2:11: version: is a string; expected a whole number from 1 to 4294967295",
    ),
    Case(
        "version = 2",
        "version = -2",
        "upgrade.toml:2:11: version: is -2; expected a whole number from 1 to 4294967295",
    ),
    Case(
        "version = 2",
        "version = 0",
        "upgrade.toml:2:11: version: is 0; expected a whole number from 1 to 4294967295",
    ),
    Case(
        "from = 1\n",
        "",
        "upgrade.toml: `from` is missing; write `from = 1` (less where versions were withdrawn; 0 if it is the system's first)",
    ),
    Case(
        "from = 1",
        "from = 2",
        "upgrade.toml:3:8: from: is 2; it must be less than the version, 2",
    ),
    Case(
        "drain_ms",
        "drainms",
        "upgrade.toml:7:1: settings.drainms: unknown key; did you mean `drain_ms`?",
    ),
    Case(
        "drain_ms = 2000",
        "drain_ms = \"2s\"",
        "upgrade.toml:7:12: settings.drain_ms: is a string; expected a whole number of milliseconds from 0 to 3600000",
    ),
    Case(
        "drain_ms = 2000",
        "require_staged = \"no\"",
        "upgrade.toml:7:18: settings.require_staged: is a string; expected true or false",
    ),
    Case(
        "[settings]",
        "[setings]",
        "upgrade.toml:6:2: setings: unknown key; did you mean `settings`?",
    ),
    Case(
        "[class.storage]\n",
        "[class.storage]\nadded = true\nwas = \"shard\"\n",
        "upgrade.toml:11:7: class.storage.was: a class is either `added` or `was` another; delete one of the two\nupgrade.toml:31:1: class.storage.state.transform: a new class has no older state to convert; delete this key",
    ),
    Case(
        "[class.storage]\n",
        "[class.storage]\nfilter = \"attributes.tier = 1\"\n",
        "upgrade.toml:10:10: class.storage.filter: `attributes.tier = 1`: is not CEL: token recognition error at: '= ' (at 1:17 of the expression)",
    ),
    Case(
        "[class.storage]\n",
        "[class.storage]\nfilter = \"vars.tier == 1\"\n",
        "upgrade.toml:10:10: class.storage.filter: `vars.tier == 1`: `vars` is not known here (known: attributes, node)",
    ),
    Case(
        "[class.storage]\n",
        "[class.storage]\nschedul = {}\n",
        "upgrade.toml:10:1: class.storage.schedul: unknown key; did you mean `schedule`?",
    ),
    Case(
        "[class.storage]\n",
        "[class.Storage]\nwas = \"storage\"\n[class.storage]\n",
        "upgrade.toml:9:8: class.Storage: `Storage` cannot name a class: lower-case letters, digits and `-` and `_`, a letter first, at most 63",
    ),
    Case(
        "[class.storage]\n",
        "[removed]\nclasses = [\"storage\"]\n[class.storage]\n",
        "upgrade.toml:11:8: class.storage: the class is also listed under `removed.classes`; delete one of the two",
    ),
    Case(
        "[class.storage]\n",
        "[class.other]\n[class.storage]\n",
        "upgrade.toml:9:8: class.other: `software` is missing; say what the class runs, or delete the table: a class that is not mentioned stays as it is",
    ),
    Case(
        "path = \"software\"",
        "path = \"sofware\"",
        "upgrade.toml:12:8: class.storage.software.path: the bundle has no `sofware`; did you mean `software`?",
    ),
    Case(
        "path = \"software\"",
        "path = \"../software\"",
        "upgrade.toml:12:8: class.storage.software.path: path `../software`: contains `..`; paths stay inside the bundle",
    ),
    Case(
        "path = \"software\"",
        "path = \"/software\"",
        "upgrade.toml:12:8: class.storage.software.path: path `/software`: is absolute; paths are relative to the bundle",
    ),
    Case(
        "path = \"software\"",
        "path = \"notes.txt\"",
        "upgrade.toml:12:8: class.storage.software.path: `notes.txt` is neither a folder nor a .tar or .tar.gz archive; name a folder, or pack one: `tar -C FOLDER -czf software.tar.gz .`",
    ),
    Case(
        "path = \"software\"\n",
        "",
        "upgrade.toml:12:23: class.storage.software.command[1]: `software`: `software` is not known here (known: attributes, bundle, node, ports, state, vars, version)",
    ),
    Case(
        "command = [\"python3\", \"${software}/storage.py\", \"--port\", \"${ports.data}\"]",
        "command = \"python3 storage.py\"",
        "upgrade.toml:13:11: class.storage.software.command: is a string; expected a list, since no shell splits it; write `[\"PROGRAM\", \"ARGUMENT\"]`, or `[\"sh\", \"-c\", \"...\"]` for a shell",
    ),
    Case(
        "command = [\"python3\", \"${software}/storage.py\", \"--port\", \"${ports.data}\"]",
        "command = []",
        "upgrade.toml:13:11: class.storage.software.command: the program is missing",
    ),
    Case(
        "command = [\"python3\", \"${software}/storage.py\", \"--port\", \"${ports.data}\"]\n",
        "",
        "upgrade.toml:11:16: class.storage.software: `command` is missing; write the program and its arguments as a list: `command = [\"PROGRAM\", \"ARGUMENT\"]`",
    ),
    Case(
        "${ports.data}",
        "${ports.dat}",
        "upgrade.toml:13:59: class.storage.software.command[3]: `ports.dat`: `ports` has no `dat` (it has: data, peers); did you mean `data`?",
    ),
    Case(
        "${ports.data}",
        "${port.data}",
        "upgrade.toml:13:59: class.storage.software.command[3]: `port.data`: `port` is not known here (known: attributes, bundle, node, ports, software, state, vars, version); did you mean `ports`?",
    ),
    Case(
        "${ports.data}",
        "${ports.data",
        "upgrade.toml:13:59: class.storage.software.command[3]: `${ports.data`: a `${` is never closed by `}` (a plain `${` is written `$${`)",
    ),
    Case(
        "${ports.data}",
        "${1 +}",
        "upgrade.toml:13:59: class.storage.software.command[3]: `1 +`: is not CEL: mismatched input '<EOF>' (at 1:4 of the expression)",
    ),
    Case(
        "\"${ports.data}\"]",
        "7000]",
        "upgrade.toml:13:59: class.storage.software.command[3]: is an integer; expected a string in quotes",
    ),
    Case(
        "${software}/storage.py",
        "${software}/storag.py",
        "upgrade.toml:13:23: class.storage.software.command[1]: the bundle has no `software/storag.py`; did you mean `software/storage.py`?",
    ),
    Case(
        "\"python3\", \"${software}/storage.py\"",
        "\"${software}/storage.py\"",
        "upgrade.toml:13:12: class.storage.software.command[0]: `software/storage.py` is not executable; run `chmod +x software/storage.py`, or write the program that reads it first: `[\"python3\", ...]`",
    ),
    Case(
        "\"python3\", \"${software}/storage.py\"",
        "\"${bundle}/software\"",
        "upgrade.toml:13:12: class.storage.software.command[0]: `software` is a folder; a command begins with a program; name a file in it",
    ),
    Case(
        "COLOUR = \"red\"",
        "COLOUR = 3",
        "upgrade.toml:14:26: class.storage.software.environment.COLOUR: is an integer; expected a string in quotes",
    ),
    Case(
        "COLOUR = \"red\"",
        "LD_PRELOAD = \"x.so\"",
        "upgrade.toml:14:30: class.storage.software.environment.LD_PRELOAD: `LD_PRELOAD` cannot be set here; delete it: the agent sets this variable itself",
    ),
    Case(
        "port = \"vars.base + 1\"",
        "port = 70000",
        "upgrade.toml:17:8: class.storage.service.data.port: is 70000; expected a whole number from 1 to 65535",
    ),
    Case(
        "port = \"vars.base + 1\"",
        "port = \"ports.peers + 1\"",
        "upgrade.toml:17:8: class.storage.service.data.port: `ports.peers + 1`: `ports` is not known here (known: attributes, node, vars)",
    ),
    Case(
        "port = \"vars.base + 1\"",
        "port = 7200",
        "upgrade.toml:24:8: class.storage.service.peers.port: service `data` has this port already",
    ),
    Case(
        "port = \"vars.base + 1\"",
        "port = \"vars.base + version\"",
        "upgrade.toml:17:8: class.storage.service.data.port: `vars.base + version`: `version` is not known here (known: attributes, node, vars)",
    ),
    Case(
        "port = \"vars.base + 1\"",
        "port = \"node.class == \\\"x\\\" ? 1 : 2\"",
        "upgrade.toml:17:8: class.storage.service.data.port: `node.class == \"x\" ? 1 : 2`: `node` has no `class` (it has: name, attributes)",
    ),
    Case(
        "port = \"vars.base + 1\"\n",
        "",
        "upgrade.toml:16:24: class.storage.service.data: `port` is missing; write a number, or an expression such as \"vars.base + 1\"",
    ),
    Case(
        "port = \"vars.base + 1\"",
        "port = true",
        "upgrade.toml:17:8: class.storage.service.data.port: is a boolean; expected a number from 1 to 65535, or an expression in quotes",
    ),
    Case(
        "protocol = \"http\"",
        "protocol = \"htp\"",
        "upgrade.toml:18:12: class.storage.service.data.protocol: is \"htp\"; expected \"http\" or \"resp\" or \"framed\" or \"lines\" or \"netstring\" or \"raw\"; did you mean \"http\"?",
    ),
    Case(
        "protocol = \"http\"\n",
        "",
        "upgrade.toml:16:24: class.storage.service.data: `protocol` is missing; write \"http\", \"resp\", \"framed\", \"lines\" or \"netstring\", or \"raw\" for anything else",
    ),
    Case(
        "protocol = \"http\"",
        "protocol = \"raw\"",
        "upgrade.toml:32:39: class.storage.lifecycle.probe.service: service `data` does not speak http; use a tcp or command probe",
    ),
    Case(
        "protocol = \"raw\"",
        "protocol = \"framed\"",
        "upgrade.toml:23:24: class.storage.service.peers: `framing` is missing; write where a frame has its length: `framing = { length = { offset = 0, bytes = 4 } }`",
    ),
    Case(
        "protocol = \"raw\"",
        "protocol = \"framed\"\nframing = { head_bytes = 8 }",
        "upgrade.toml:26:1: class.storage.service.peers.framing: `length` is missing; write `length = { offset = 0, bytes = 4 }`",
    ),
    Case(
        "protocol = \"raw\"",
        "protocol = \"framed\"\nframing = { length = { bytes = 4, counts = \"all\" }, delimeter = \"x\" }",
        "upgrade.toml:26:53: class.storage.service.peers.framing.delimeter: unknown key; did you mean `delimiter`?",
    ),
    Case(
        "protocol = \"raw\"",
        "protocol = \"framed\"\nframing = { length = { bytes = 9, counts = \"all\" } }",
        "upgrade.toml:26:32: class.storage.service.peers.framing.length.bytes: is 9; expected a whole number of bytes from 1 to 8",
    ),
    Case(
        "protocol = \"raw\"",
        "protocol = \"framed\"\nframing = { length = { offset = 4, bytes = 4, counts = \"al\" } }",
        "upgrade.toml:26:56: class.storage.service.peers.framing.length.counts: is \"al\"; expected \"all\" or \"rest\" or \"body\"; did you mean \"all\"?",
    ),
    Case(
        "protocol = \"raw\"",
        "protocol = \"framed\"\nframing = { length = { offset = 4, bytes = 4, counts = \"all\" }, header_bytes = 6 }",
        "upgrade.toml:26:80: class.storage.service.peers.framing.header_bytes: is 6, but the length field ends after 8 bytes; the header includes the field",
    ),
    Case(
        "protocol = \"raw\"",
        "protocol = \"framed\"\nframing = { length = { offset = 4, bytes = 4, counts = \"all\" }, head_bytes = 6 }",
        "upgrade.toml:26:78: class.storage.service.peers.framing.head_bytes: is 6, but a header has 8 bytes; adapters are shown at least the header",
    ),
    Case(
        "protocol = \"raw\"",
        "protocol = \"framed\"\nframing = { length = { bytes = 4, counts = \"all\" }, checksum = { kind = \"crc32\", at = 2 } }",
        "upgrade.toml:26:82: class.storage.service.peers.framing.checksum.at: the checksum lies on the length field",
    ),
    Case(
        "protocol = \"raw\"",
        "protocol = \"lines\"\nframing = { delimiter = \"\", header_bytes = 4 }",
        "upgrade.toml:26:25: class.storage.service.peers.framing.delimiter: has 0 bytes; expected 1 to 16\nupgrade.toml:26:29: class.storage.service.peers.framing.header_bytes: only `protocol = \"framed\"` has this; delete this key",
    ),
    Case(
        "protocol = \"raw\"",
        "protocol = \"http\"\nframing = { delimiter = \"x\" }",
        "upgrade.toml:26:1: class.storage.service.peers.framing: this protocol says by itself where a message ends; delete this table, or write `protocol = \"framed\"`, \"lines\", \"netstring\" or \"raw\"",
    ),
    Case(
        "interface = \"changed\"\n",
        "",
        "upgrade.toml:20:11: class.storage.service.data.adapter: an adapter stands between two interfaces, but this service's does not change; delete this key, or write `interface = \"changed\"`",
    ),
    Case(
        "interface = \"changed\"",
        "interface = \"change\"",
        "upgrade.toml:19:13: class.storage.service.data.interface: is \"change\"; expected \"same\" or \"changed\"; did you mean \"changed\"?",
    ),
    Case(
        "interface = \"changed\"",
        "interface = { as_version = 2 }",
        "upgrade.toml:19:28: class.storage.service.data.interface.as_version: is 2; expected a whole number from 1 to 1",
    ),
    Case(
        "interface = \"changed\"",
        "interface = { version = 1 }",
        "upgrade.toml:19:1: class.storage.service.data.interface: `as_version` is missing; write \"same\", \"changed\", or { as_version = N }\nupgrade.toml:19:15: class.storage.service.data.interface.version: unknown key; did you mean `as_version`?",
    ),
    Case(
        "adapter = \"lens/data.toml\"\n",
        "",
        "upgrade.toml:16:24: class.storage.service.data: `adapter` is missing; the interface changes: name a lens file, or write \"refuse\" to turn such callers away",
    ),
    Case(
        "adapter = \"lens/data.toml\"",
        "past = \"lens/data.toml\"",
        "upgrade.toml:16:24: class.storage.service.data: `future` is missing; the interface changes: name a lens file, or write \"refuse\" to turn such callers away",
    ),
    Case(
        "adapter = \"lens/data.toml\"",
        "adapter = \"lens/dat.toml\"",
        "upgrade.toml:21:11: class.storage.service.data.adapter: the bundle has no `lens/dat.toml`; did you mean `lens/data.toml`?",
    ),
    Case(
        "adapter = \"lens/data.toml\"",
        "adapter = \"lens/data.toml\"\npast = \"refuse\"",
        "upgrade.toml:22:8: class.storage.service.data.past: `adapter` gives both directions already; delete one of the two",
    ),
    Case(
        "connections = \"stateless\"",
        "conections = \"stateless\"",
        "upgrade.toml:20:1: class.storage.service.data.conections: unknown key; did you mean `connections`?",
    ),
    Case(
        "connections = \"stateless\"",
        "dispatch = \"watched\"",
        "upgrade.toml:20:12: class.storage.service.data.dispatch: is \"watched\"; expected \"direct\" or \"observed\"",
    ),
    Case(
        "interface = \"same\"",
        "interface = \"same\"\ndispatch = \"observed\"",
        "upgrade.toml:27:1: class.storage.service.peers.dispatch: this upgrade has no adapter of the service that could be told of calls; delete this key: it belongs to the upgrade whose adapter remembers something",
    ),
    Case(
        "adapter = \"lens/data.toml\"",
        "adapter = \"refuse\"\ndispatch = \"observed\"",
        "upgrade.toml:22:1: class.storage.service.data.dispatch: this upgrade has no adapter of the service that could be told of calls; delete this key: it belongs to the upgrade whose adapter remembers something",
    ),
    Case(
        "connections = \"stateless\"",
        "advertise = [\"localhost\"]",
        "upgrade.toml:20:14: class.storage.service.data.advertise[0]: `localhost` is not an address; write IP, IPv4:PORT or [IPv6]:PORT",
    ),
    Case(
        "connections = \"stateless\"",
        "networks = [\"10.0.0.0/8\", \"balancers\"]",
        "upgrade.toml:20:27: class.storage.service.data.networks[1]: `balancers` is not a network; write IP or IP/PREFIX, such as 10.1.0.0/16",
    ),
    Case(
        "connections = \"stateless\"",
        "networks = [\"10.1.2.3/8\"]",
        "upgrade.toml:20:13: class.storage.service.data.networks[0]: `10.1.2.3/8` has bits beyond its prefix; write 10.0.0.0/8",
    ),
    Case(
        "connections = \"stateless\"",
        "networks = [\"${var.balancer}\"]",
        "upgrade.toml:20:13: class.storage.service.data.networks[0]: `var.balancer`: is not CEL: reserved identifier: var (at 1:1 of the expression)",
    ),
    Case(
        "port = \"vars.base + 1\"",
        "port = \"9223372036854775807 + 1\"",
        "upgrade.toml:17:8: class.storage.service.data.port: `9223372036854775807 + 1`: it can only fail: Overflow from binary operator 'add': Int(9223372036854775807), Int(1)",
    ),
    Case(
        "port = \"vars.base + 1\"",
        "port = \"70000 + 1\"",
        "upgrade.toml:17:8: class.storage.service.data.port: `70000 + 1`: gives 70001, which is not a port from 1 to 65535",
    ),
    Case(
        "connections = \"stateless\"",
        "public = \"newest\"",
        "upgrade.toml:20:10: class.storage.service.data.public: is \"newest\"; expected \"first\" or \"latest\" or \"nobody\"; did you mean \"latest\"?",
    ),
    Case(
        "service.peers",
        "service.peer-link",
        "upgrade.toml:23:24: class.storage.service.peer-link: `peer-link` cannot name a service: lower-case letters, digits and `_`, a letter first, at most 63",
    ),
    Case(
        "interface = \"same\"",
        "interface = \"same\"\nadapter = \"refuse\"",
        "upgrade.toml:27:11: class.storage.service.peers.adapter: an adapter stands between two interfaces, but this service's does not change; delete this key, or write `interface = \"changed\"`",
    ),
    Case(
        "timeout_ms = 5000",
        "timeout_ms = 0",
        "upgrade.toml:29:77: class.storage.state.transform.timeout_ms: is 0; expected a whole number of milliseconds from 1 to 86400000",
    ),
    Case(
        "[class.storage.state]\n",
        "[class.storage.state]\nadopt = \"/var/lib/store\"\n",
        "upgrade.toml:29:9: class.storage.state.adopt: only a new class adopts a directory; here the state comes from the version before; delete this key",
    ),
    Case(
        "[class.storage.state]\n",
        "[class.storage.state]\nshared = [\"logs\", \"../elsewhere\"]\n",
        "upgrade.toml:29:19: class.storage.state.shared[1]: `../elsewhere` does not lie in the state; write the link's path as seen from the state, without `..`",
    ),
    Case(
        "probe = { http = \"/health\", service = \"data\" }\n",
        "",
        "upgrade.toml:9:8: class.storage: `lifecycle.probe` is missing; say how to see that it is healthy: `lifecycle.probe = { tcp = \"data\" }`, http or command",
    ),
    Case(
        "http = \"/health\"",
        "http = \"health\"",
        "upgrade.toml:32:18: class.storage.lifecycle.probe.http: `health` is not a path; begin it with `/`",
    ),
    Case(
        "service = \"data\" }",
        "service = \"peers\" }",
        "upgrade.toml:32:39: class.storage.lifecycle.probe.service: service `peers` does not speak http; use a tcp or command probe",
    ),
    Case(
        "service = \"data\" }",
        "service = \"dta\" }",
        "upgrade.toml:32:39: class.storage.lifecycle.probe.service: the class has no service `dta`; did you mean `data`?",
    ),
    Case(
        ", service = \"data\" }",
        " }",
        "upgrade.toml:32:1: class.storage.lifecycle.probe: `service` is missing; name the service that is asked",
    ),
    Case(
        "http = \"/health\", service = \"data\"",
        "http = \"/health\", tcp = \"data\"",
        "upgrade.toml:32:1: class.storage.lifecycle.probe: asks several things: http, tcp; write exactly one of http, command, tcp and alive_ms",
    ),
    Case(
        "http = \"/health\", service = \"data\"",
        "timeout_ms = 10",
        "upgrade.toml:32:1: class.storage.lifecycle.probe: nothing is asked; write exactly one of http, command, tcp and alive_ms",
    ),
    Case(
        "http = \"/health\", service = \"data\"",
        "tcp = \"data\", mode = \"alon\"",
        "upgrade.toml:32:32: class.storage.lifecycle.probe.mode: is \"alon\"; expected \"alone\" or \"joined\"; did you mean \"alone\"?",
    ),
    Case(
        "stop_signal = \"TERM\"",
        "stop_signal = \"STOP\"",
        "upgrade.toml:33:15: class.storage.lifecycle.stop_signal: is \"STOP\"; expected TERM, INT, QUIT, HUP, USR1, USR2, KILL",
    ),
    Case(
        "stop_signal = \"TERM\"",
        "stop_signal_to = \"al\"",
        "upgrade.toml:33:18: class.storage.lifecycle.stop_signal_to: is \"al\"; expected \"main\" or \"all\"; did you mean \"all\"?",
    ),
    Case(
        "before_stop = { command = [\"true\"] }",
        "before_stop = [\"true\"]",
        "upgrade.toml:34:15: class.storage.lifecycle.before_stop: is an array; expected a table",
    ),
    Case(
        "before_stop = { command",
        "before_stop = { comand",
        "upgrade.toml:34:1: class.storage.lifecycle.before_stop: `command` is missing; write the program and its arguments as a list: `command = [\"PROGRAM\", \"ARGUMENT\"]`\nupgrade.toml:34:17: class.storage.lifecycle.before_stop.comand: unknown key; did you mean `command`?",
    ),
    Case(
        "system = \"store\"",
        "system = store",
        "upgrade.toml:1:10: not TOML: string values must be quoted, expected literal string",
    ),
    Case(
        "system = \"store\"",
        "system = \"store\"\nsystem = \"store\"",
        "upgrade.toml:2:1: not TOML: duplicate key",
    ),
    Case(
        "[class.storage.state]",
        "[class.storage.state",
        "upgrade.toml:28:21: not TOML: unclosed table, expected `]`",
    ),
    Case(
        "[class.storage]\n",
        "[class.storage]\nschedule = { max_unavailabl = 1 }\n",
        "upgrade.toml:10:14: class.storage.schedule.max_unavailabl: unknown key; did you mean `max_unavailable`?",
    ),
    Case(
        "[class.storage]\n",
        "[class.storage]\nschedule = { max_unavailable = 0 }\n",
        "upgrade.toml:10:12: class.storage.schedule: `max_unavailable = 0` would let no node upgrade; leave it out for no limit",
    ),
    Case(
        "[class.storage]\n",
        "[class.storage]\nschedule = { max_unavailable = \"one\" }\n",
        "upgrade.toml:10:32: class.storage.schedule: invalid type: string \"one\", expected u32",
    ),
    Case(
        "[class.storage]\n",
        "[class.storage]\nschedule = \"now\"\n",
        "upgrade.toml:10:12: class.storage.schedule: invalid type: string \"now\", expected struct Written",
    ),
];

/// A server or an agent of a newer Upstart must read what an older one let through.
#[test]
fn what_was_published_before_is_read_though_its_expressions_can_only_fail() {
    let text = GOOD.replace("vars.base + 1", "9223372036854775807 + 1");
    let file = UpgradeFile::parse(&text).expect("TOML");
    assert!(file.prove(&files()).is_err());
    let upgrade = file.prove_again(&files());
    assert!(upgrade.is_ok(), "{upgrade:?}");
}
