//! Mistakes about services, state, lifecycle and schedules.

use super::Case;

pub(crate) const CASES: &[Case] = &[
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
        "upgrade.toml:10:32: class.storage.schedule: `one` is no limit; write a number of nodes, or a share of at most 100%, like `\"5%\"` or `\"12.5%\"`",
    ),
    Case(
        "[class.storage]\n",
        "[class.storage]\nschedule = \"now\"\n",
        "upgrade.toml:10:12: class.storage.schedule: this is a text; write a table, like `{ ... }`",
    ),
];
