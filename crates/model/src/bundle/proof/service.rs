//! `[class.NAME.service.NAME]`: ports, interfaces, adapters.

use super::{check_letters, framing, software};
use crate::bundle::reader::{KeyTable, Located};
use crate::bundle::{
    Adapter, Connections, Dispatch, Interface, Port, Protocol, PublicPolicy, Service,
};
use crate::expression::{Allowed, Expression, Template};
use crate::ids::Version;
use crate::network::Network;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use toml::de::DeValue;

/// The most services of a class (the member table has room for so many at a node).
const SERVICES_MAX: usize = 64;

/// The most networks of a service: four services' fit into a node's member table.
const NETWORKS_MAX: usize = 64;

pub(super) fn services(
    class: &KeyTable<'_>,
    names: &BTreeSet<String>,
) -> BTreeMap<String, Service> {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    if names.len() > SERVICES_MAX {
        class.source().wrong(
            &class.here(),
            format!("more than {SERVICES_MAX} services"),
            "",
        );
    }
    for (name, table) in class.named_tables("service") {
        // No hyphens: services are fields in expressions (`ports.data`).
        check_letters(class.source(), &name, "a service", "_");
        let place = table.value("port");
        let service = service(name.value.clone(), names, table);
        let twin = services.values().find(|other| {
            matches!((&other.port, &service.port), (Port::Fixed(a), Port::Fixed(b)) if a == b)
        });
        if let (Some(twin), Some(place)) = (twin, place) {
            class.source().wrong(
                &place,
                format!("service `{}` has this port already", twin.name),
                "",
            );
        }
        services.insert(name.value, service);
    }
    services
}

fn service(name: String, names: &BTreeSet<String>, table: KeyTable<'_>) -> Service {
    let protocol = table.word(
        "protocol",
        &Protocol::ALL.map(|known| (known.name(), known)),
    );
    if protocol.is_none() && !table.has("protocol") {
        table.missing(
            "protocol",
            "write \"http\", \"resp\", \"framed\", \"lines\" or \"netstring\", or \"raw\" for anything else",
        );
    }
    let framing = framing::framing(&table, protocol);
    let protocol = protocol.unwrap_or(Protocol::Http);
    let interface = interface(&table);
    let (past, future) = match interface {
        Some(interface) => adapters(&table, interface),
        None => no_adapters(&table),
    };
    let connections = [
        ("stateful", Connections::Stateful),
        ("stateless", Connections::Stateless),
    ];
    let public = [
        ("first", PublicPolicy::First),
        ("latest", PublicPolicy::Latest),
        ("nobody", PublicPolicy::Nobody),
    ];
    let service = Service {
        name,
        key: table.path.clone(),
        port: port(&table),
        protocol,
        framing,
        interface: interface.unwrap_or(Interface::New),
        connections: table
            .word("connections", &connections)
            .unwrap_or(Connections::Stateful),
        dispatch: dispatch(&table, interface, [&past, &future]),
        public: table.word("public", &public).unwrap_or(PublicPolicy::First),
        advertise: advertise(&table, names),
        networks: networks(&table, names),
        past,
        future,
    };
    table.finish();
    service
}

fn port(table: &KeyTable<'_>) -> Port {
    let computed = match table.value("port") {
        None => {
            table.missing(
                "port",
                "write a number, or an expression such as \"vars.base + 1\"",
            );
            None
        }
        Some(Located {
            value: DeValue::String(_),
            ..
        }) => table
            .string("port")
            .and_then(|at| (table.source()).expression(&at, &Allowed::LASTING, Expression::port))
            .map(Port::Computed),
        Some(
            at @ Located {
                value: DeValue::Integer(_),
                ..
            },
        ) => {
            let number = table.number("port", 1..=65_535, "");
            debug_assert_eq!(at.key, table.key_path("port"));
            number
                .and_then(|at| u16::try_from(at.value).ok())
                .map(Port::Fixed)
        }
        Some(at) => table.expected(&at, "a number from 1 to 65535, or an expression in quotes"),
    };
    // Zero is only seen where an error has been reported.
    computed.unwrap_or(Port::Fixed(0))
}

/// The interface; none where it is written wrongly.
fn interface(table: &KeyTable<'_>) -> Option<Interface> {
    let source = table.source();
    let words = [("same", Interface::Same), ("changed", Interface::Changed)];
    let interface = match table.value("interface") {
        None => return Some(Interface::New),
        Some(Located {
            value: DeValue::Table(_),
            ..
        }) => as_version(table),
        Some(_) => table.word("interface", &words),
    };
    if let (true, Some(place)) = (source.first, table.place("interface")) {
        let problem = "in the first version every interface is new";
        source.wrong(&place, problem, "delete this key");
    }
    interface
}

fn as_version(table: &KeyTable<'_>) -> Option<Interface> {
    let inner = table.table("interface")?;
    let highest = u64::from(table.source().from.0).max(1);
    let version = inner.number("as_version", 1..=highest, "");
    if version.is_none() && !inner.has("as_version") {
        inner.missing(
            "as_version",
            "write \"same\", \"changed\", or { as_version = N }",
        );
    }
    inner.finish();
    let number = u32::try_from(version?.value).ok()?;
    Some(Interface::AsVersion(Version(number)))
}

fn adapters(table: &KeyTable<'_>, interface: Interface) -> (Adapter, Adapter) {
    let both = table.string("adapter");
    let sides = [
        ("past", table.string("past")),
        ("future", table.string("future")),
    ];
    let source = table.source();
    if matches!(interface, Interface::Same | Interface::New) {
        for at in both
            .iter()
            .chain(sides.iter().filter_map(|(_, at)| at.as_ref()))
        {
            let problem =
                "an adapter stands between two interfaces, but this service's does not change";
            source.wrong(
                at,
                problem,
                "delete this key, or write `interface = \"changed\"`",
            );
        }
        return (Adapter::None, Adapter::None);
    }
    if let Some(both) = both {
        for (_, at) in sides.iter().filter(|(_, at)| at.is_some()) {
            if let Some(at) = at {
                source.wrong(
                    at,
                    "`adapter` gives both directions already",
                    "delete one of the two",
                );
            }
        }
        let adapter = adapter(table, &both);
        return (adapter.clone(), adapter);
    }
    let absent: Vec<&str> = ["past", "future"]
        .into_iter()
        .zip(&sides)
        .filter(|(_, (_, at))| at.is_none())
        .map(|(key, _)| key)
        .collect();
    let wrong_type = ["adapter", "past", "future"]
        .into_iter()
        .any(|key| table.has(key))
        && absent.len() == 2;
    if !absent.is_empty() && !wrong_type {
        let what = if absent.len() == 2 {
            "adapter"
        } else {
            absent[0]
        };
        table.missing(what, "the interface changes: name a lens file, or write \"refuse\" to turn such callers away");
    }
    let [past, future] = sides.map(|(_, at)| at.map_or(Adapter::None, |at| adapter(table, &at)));
    (past, future)
}

/// How calls at the node's own version are dispatched; there must be an adapter that can be told of them.
fn dispatch(
    table: &KeyTable<'_>,
    interface: Option<Interface>,
    adapters: [&Adapter; 2],
) -> Dispatch {
    let words = [
        ("direct", Dispatch::Direct),
        ("observed", Dispatch::Observed),
    ];
    let dispatch = table.word("dispatch", &words).unwrap_or(Dispatch::Direct);
    let has_none = matches!(interface, Some(Interface::Same | Interface::New))
        || adapters == [&Adapter::Refuse; 2];
    if let (Dispatch::Observed, true, Some(place)) = (dispatch, has_none, table.place("dispatch")) {
        let problem = "this upgrade has no adapter of the service that could be told of calls";
        let help = "delete this key: it belongs to the upgrade whose adapter remembers something";
        table.source().wrong(&place, problem, help);
    }
    dispatch
}

/// Which adapters are right is not known: their keys are not looked at.
fn no_adapters(table: &KeyTable<'_>) -> (Adapter, Adapter) {
    for key in ["adapter", "past", "future"] {
        table.has(key);
    }
    (Adapter::None, Adapter::None)
}

fn adapter(table: &KeyTable<'_>, at: &Located<String>) -> Adapter {
    if at.value == "refuse" {
        return Adapter::Refuse;
    }
    software::file(table, at).map_or(Adapter::None, Adapter::File)
}

fn advertise(table: &KeyTable<'_>, names: &BTreeSet<String>) -> Vec<Template> {
    let allowed = Allowed::with_ports(names.clone());
    let mut addresses = Vec::new();
    for at in table.strings("advertise").unwrap_or_default() {
        let Some(template) = table.source().template(&at, &allowed) else {
            continue;
        };
        let constant = template.constant();
        if constant.is_some_and(|text| address(text).is_none()) {
            let problem = format!("`{}` is not an address", at.value);
            table
                .source()
                .wrong(&at, problem, "write IP, IPv4:PORT or [IPv6]:PORT");
        }
        addresses.push(template);
    }
    addresses
}

fn networks(table: &KeyTable<'_>, names: &BTreeSet<String>) -> Vec<Template> {
    let allowed = Allowed::with_ports(names.clone());
    let mut networks = Vec::new();
    let all = table.strings("networks").unwrap_or_default();
    if let (true, Some(place)) = (all.len() > NETWORKS_MAX, table.place("networks")) {
        let problem = format!("more than {NETWORKS_MAX} networks");
        table.source().wrong(&place, problem, "write wider ones");
    }
    for at in all {
        let Some(template) = table.source().template(&at, &allowed) else {
            continue;
        };
        let problem = template
            .constant()
            .and_then(|text| text.parse::<Network>().err());
        if let Some(problem) = problem {
            table.source().wrong(&at, problem.to_string(), "");
        }
        networks.push(template);
    }
    networks
}

/// An advertised address, with a port where it differs from the service's own.
pub(crate) fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some((ip, None));
    }
    let address: SocketAddr = text.parse().ok()?;
    (address.port() > 0).then_some((address.ip(), Some(address.port())))
}
