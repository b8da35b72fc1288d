//! Mistakes about the system, its settings, and the software.

use super::Case;

pub(crate) const CASES: &[Case] = &[
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
];
