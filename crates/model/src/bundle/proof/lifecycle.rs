//! `[class.NAME.lifecycle]`: how software is started, judged and stopped.

use super::software;
use crate::bundle::reader::{KeyTable, Located};
use crate::bundle::{Lifecycle, Probe, ProbeQuestion, Protocol, Service, Signal, StopTo};
use crate::expression::{Allowed, Template};
use crate::machine::ProbeMode;
use crate::spelling::nearest;
use std::collections::BTreeMap;

/// How long software may take to end when nothing else is said, milliseconds.
const STOP_GRACE_MS: u64 = 10_000;
/// How long software may take until it is healthy when nothing else is said, milliseconds.
const PROBE_TIMEOUT_MS: u64 = 60_000;
/// How long one question of a probe may take when nothing else is said, milliseconds.
const ATTEMPT_TIMEOUT_MS: u64 = 2_000;
/// The pause between two questions when nothing else is said, milliseconds.
const INTERVAL_MS: u64 = 100;
/// How long software without services must run to count as healthy, milliseconds.
const ALIVE_MS: u64 = 1_000;

/// The words of `stop_signal_to`.
const STOP_TO: [(&str, StopTo); 2] = [("main", StopTo::Main), ("all", StopTo::All)];

pub(super) fn lifecycle(
    table: Option<KeyTable<'_>>,
    class: &KeyTable<'_>,
    services: &BTreeMap<String, Service>,
    allowed: &Allowed,
) -> Lifecycle {
    let Some(table) = table else {
        need_probe(class, services);
        return Lifecycle {
            probe: default_probe(),
            stop_signal: Signal::TERM,
            stop_signal_to: StopTo::default(),
            stop_grace_ms: STOP_GRACE_MS,
            before_stop: None,
            after_start: None,
        };
    };
    let probe = match table.table("probe") {
        Some(inner) => probe(inner, services, allowed),
        None => {
            if !table.has("probe") {
                need_probe(class, services);
            }
            default_probe()
        }
    };
    let lifecycle = Lifecycle {
        probe,
        stop_signal: table
            .string("stop_signal")
            .and_then(|at| signal(&table, &at))
            .unwrap_or(Signal::TERM),
        stop_signal_to: table.word("stop_signal_to", &STOP_TO).unwrap_or_default(),
        stop_grace_ms: table.duration_ms("stop_grace_ms", STOP_GRACE_MS),
        before_stop: software::timed_command(&table, "before_stop", allowed),
        after_start: software::timed_command(&table, "after_start", allowed),
    };
    table.finish();
    lifecycle
}

/// Software with services says how its health is seen; a mere process is no proof that a service answers.
fn need_probe(class: &KeyTable<'_>, services: &BTreeMap<String, Service>) {
    if let Some(name) = services.keys().next() {
        let help = format!(
            "say how to see that it is healthy: `lifecycle.probe = {{ tcp = \"{name}\" }}`, http or command"
        );
        class.missing("lifecycle.probe", &help);
    }
}

fn default_probe() -> Probe {
    Probe {
        question: ProbeQuestion::Alive { alive_ms: ALIVE_MS },
        mode: ProbeMode::Alone,
        timeout_ms: PROBE_TIMEOUT_MS,
        attempt_timeout_ms: ATTEMPT_TIMEOUT_MS,
        interval_ms: INTERVAL_MS,
    }
}

fn probe(table: KeyTable<'_>, services: &BTreeMap<String, Service>, allowed: &Allowed) -> Probe {
    let modes = [("alone", ProbeMode::Alone), ("joined", ProbeMode::Joined)];
    let probe = Probe {
        question: question(&table, services, allowed),
        mode: table.word("mode", &modes).unwrap_or(ProbeMode::Alone),
        timeout_ms: table.duration_ms("timeout_ms", PROBE_TIMEOUT_MS),
        attempt_timeout_ms: table.duration_ms("attempt_timeout_ms", ATTEMPT_TIMEOUT_MS),
        interval_ms: table.duration_ms("interval_ms", INTERVAL_MS),
    };
    table.finish();
    probe
}

fn question(
    table: &KeyTable<'_>,
    services: &BTreeMap<String, Service>,
    allowed: &Allowed,
) -> ProbeQuestion {
    let kinds = ["http", "command", "tcp", "alive_ms"];
    let given: Vec<&'static str> = kinds.into_iter().filter(|kind| table.has(kind)).collect();
    if given.len() != 1 {
        let problem = match given.as_slice() {
            [] => "nothing is asked".to_owned(),
            several => format!("asks several things: {}", several.join(", ")),
        };
        table.source().wrong(
            &table.here(),
            problem,
            "write exactly one of http, command, tcp and alive_ms",
        );
    }
    if let (Some(place), false) = (table.place("service"), given.contains(&"http")) {
        table.source().wrong(
            &place,
            "only an http probe names its service here",
            "delete this key",
        );
    }
    if given.len() > 1 {
        table.has("service");
        return default_probe().question;
    }
    match given.first() {
        Some(&"http") => http(table, services, allowed),
        Some(&"command") => ProbeQuestion::Command(software::command(table, allowed)),
        Some(&"tcp") => {
            let service = table
                .string("tcp")
                .and_then(|at| known_service(table, &at, services));
            ProbeQuestion::Tcp {
                service: service.map_or_else(String::new, |service| service.name.clone()),
            }
        }
        _ => ProbeQuestion::Alive {
            alive_ms: table.duration_ms("alive_ms", ALIVE_MS),
        },
    }
}

fn http(
    table: &KeyTable<'_>,
    services: &BTreeMap<String, Service>,
    allowed: &Allowed,
) -> ProbeQuestion {
    let source = table.source();
    let path = table.string("http");
    if let Some(at) = path.as_ref().filter(|at| !at.value.starts_with('/')) {
        source.wrong(
            at,
            format!("`{}` is not a path", at.value),
            "begin it with `/`",
        );
    }
    let path = path
        .and_then(|at| source.template(&at, allowed))
        .unwrap_or_else(Template::empty);
    let service = match table.string("service") {
        Some(at) => known_service(table, &at, services).map(|service| (service, at)),
        None => {
            if !table.has("service") {
                table.missing("service", "name the service that is asked");
            }
            None
        }
    };
    if let Some((service, at)) = &service
        && service.protocol != Protocol::Http
    {
        source.wrong(
            at,
            format!("service `{}` does not speak http", service.name),
            "use a tcp or command probe",
        );
    }
    let service = service.map_or_else(String::new, |(service, _)| service.name.clone());
    ProbeQuestion::Http { service, path }
}

fn known_service<'a>(
    table: &KeyTable<'_>,
    at: &Located<String>,
    services: &'a BTreeMap<String, Service>,
) -> Option<&'a Service> {
    let found = services.get(&at.value);
    if found.is_none() {
        let help = nearest(&at.value, services.keys().map(String::as_str))
            .map_or(String::new(), |near| format!("did you mean `{near}`?"));
        table
            .source()
            .wrong(at, format!("the class has no service `{}`", at.value), help);
    }
    found
}

fn signal(table: &KeyTable<'_>, at: &Located<String>) -> Option<Signal> {
    let name = at.value.strip_prefix("SIG").unwrap_or(&at.value);
    let found = Signal::ALL.into_iter().find(|signal| signal.name == name);
    if found.is_none() {
        let known: Vec<&str> = Signal::ALL.iter().map(|signal| signal.name).collect();
        table.source().wrong(
            at,
            format!("is \"{}\"; expected {}", at.value, known.join(", ")),
            "",
        );
    }
    found
}
