//! What is measured: the load programs' command lines, and the rates that they print.

use crate::bench::stage::words;
use anyhow::{Context, bail};
use std::net::SocketAddr;

/// A workload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workload {
    /// Its name; a connection for each request says `request`.
    pub(super) name: &'static str,
    /// Who makes the load, and how.
    pub(super) load: Load,
}

/// A load program and its settings.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// `redis-benchmark`.
    Redis { clients: u32, pipeline: u32 },
    /// `wrk`.
    Http {
        server: Server,
        connections: u32,
        keep_alive: bool,
    },
}

/// Who answers over HTTP.
#[derive(Clone, Copy, Debug)]
pub(super) enum Server {
    Nginx,
    /// A static program in Go, whose calls go through the net.
    StaticGo,
}

/// Every workload, in the order of the report.
pub(super) const WORKLOADS: [Workload; 9] = [
    redis("redis, 1 client", 1, 1),
    redis("redis, 1 client, pipeline 16", 1, 16),
    redis("redis, 50 clients", 50, 1),
    redis("redis, 50 clients, pipeline 16", 50, 16),
    http("http keep-alive, 1 connection", Server::Nginx, 1, true),
    http("http keep-alive, 50 connections", Server::Nginx, 50, true),
    http(
        "http, a connection per request, 8 at a time",
        Server::Nginx,
        8,
        false,
    ),
    http(
        "static Go, http keep-alive, 50 connections",
        Server::StaticGo,
        50,
        true,
    ),
    http(
        "static Go, http, a connection per request, 8 at a time",
        Server::StaticGo,
        8,
        false,
    ),
];

const fn redis(name: &'static str, clients: u32, pipeline: u32) -> Workload {
    Workload {
        name,
        load: Load::Redis { clients, pipeline },
    }
}

const fn http(name: &'static str, server: Server, connections: u32, keep_alive: bool) -> Workload {
    Workload {
        name,
        load: Load::Http {
            server,
            connections,
            keep_alive,
        },
    }
}

/// Where a contender is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) redis: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) static_go: SocketAddr,
}

/// The size of a value, in bytes.
const VALUE_BYTES: &str = "64";

/// How many keys there are.
const KEYS: &str = "100000";

impl Load {
    /// The command line that loads a contender for about so many seconds; `rate` is what it did before.
    pub(super) fn command(self, at: Places, seconds: u64, rate: f64) -> Vec<String> {
        match self {
            Self::Redis { clients, pipeline } => {
                // redis-benchmark counts requests, not time.
                let requests = (rate * seconds as f64).max(1000.0).round();
                let (host, port) = (at.redis.ip().to_string(), at.redis.port().to_string());
                let clients = clients.to_string();
                let (pipeline, requests) = (pipeline.to_string(), requests.to_string());
                words(&[
                    "redis-benchmark",
                    "-h",
                    &host,
                    "-p",
                    &port,
                    "-c",
                    &clients,
                    "-P",
                    &pipeline,
                    "-n",
                    &requests,
                    "-t",
                    "set",
                    "-d",
                    VALUE_BYTES,
                    "-r",
                    KEYS,
                    "--csv",
                ])
            }
            Self::Http {
                server,
                connections,
                keep_alive,
            } => {
                let at = match server {
                    Server::Nginx => at.http,
                    Server::StaticGo => at.static_go,
                };
                let (connections, seconds) = (connections.to_string(), format!("{seconds}s"));
                let url = format!("http://{at}/");
                let mut command = words(&["wrk", "-t", "1", "-c", &connections, "-d", &seconds]);
                if !keep_alive {
                    command.extend(words(&["-H", "Connection: close"]));
                }
                command.push(url);
                command
            }
        }
    }

    /// Requests a second, from what the load program printed. Any error that it saw is an error of the measurement.
    pub(super) fn rate(self, printed: &str) -> anyhow::Result<f64> {
        let rate = match self {
            Self::Redis { .. } => redis_rate(printed),
            Self::Http { .. } => http_rate(printed)?,
        };
        let rate = rate.with_context(|| format!("the load program printed no rate: {printed}"))?;
        if rate > 0.0 {
            Ok(rate)
        } else {
            bail!("nothing was answered: {printed}")
        }
    }
}

/// `"SET","81300.81","0.5",...`
fn redis_rate(printed: &str) -> Option<f64> {
    let line = printed.lines().find(|line| line.starts_with("\"SET\""))?;
    line.split(',').nth(1)?.trim_matches('"').parse().ok()
}

/// `Requests/sec:  20345.11`, and no complaint before it.
fn http_rate(printed: &str) -> anyhow::Result<Option<f64>> {
    let complaint = printed.lines().find(|line| {
        let line = line.trim_start();
        line.starts_with("Non-2xx") || line.starts_with("Socket errors")
    });
    if let Some(complaint) = complaint {
        bail!("wrk met errors: {}", complaint.trim());
    }
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(line.and_then(|rate| rate.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_from_what_the_load_programs_print() {
        let redis = WORKLOADS[0].load;
        let printed = "\"test\",\"rps\",\"avg\"\n\"SET\",\"81300.81\",\"0.5\"\n";
        assert_eq!(redis.rate(printed).ok(), Some(81300.81));
        assert!(redis.rate("").is_err());
        let http = WORKLOADS[4].load;
        assert_eq!(http.rate("Requests/sec:  20345.11\n").ok(), Some(20345.11));
        let failed =
            "  Socket errors: connect 0, read 3, write 0, timeout 0\nRequests/sec:  20345.11\n";
        assert!(http.rate(failed).is_err());
    }

    #[test]
    fn a_connection_per_request_says_so_in_its_name() {
        for workload in WORKLOADS {
            let is_per_request = matches!(
                workload.load,
                Load::Http {
                    keep_alive: false,
                    ..
                }
            );
            assert_eq!(
                workload.name.contains("request"),
                is_per_request,
                "{}",
                workload.name
            );
        }
    }
}
