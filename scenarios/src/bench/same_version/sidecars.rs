//! Two sidecars of one kind in a row, as a mesh has them: one beside the caller, one beside the called; TCP proxies
//! with one thread each.

use super::workloads::Places;
use std::net::SocketAddr;

/// One listening address and where it leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    pub(super) name: &'static str,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

/// The hops of one process.
pub(super) fn hops(from: Places, to: Places) -> [Hop; 3] {
    [
        Hop {
            name: "redis",
            from: from.redis,
            to: to.redis,
        },
        Hop {
            name: "http",
            from: from.http,
            to: to.http,
        },
        Hop {
            name: "static-go",
            from: from.static_go,
            to: to.static_go,
        },
    ]
}

/// Envoy's configuration.
pub(super) fn envoy(hops: &[Hop]) -> String {
    let listeners: Vec<_> = hops.iter().map(envoy_listener).collect();
    let clusters: Vec<_> = hops.iter().map(envoy_cluster).collect();
    // JSON is YAML.
    serde_json::json!({ "static_resources": { "listeners": listeners, "clusters": clusters } })
        .to_string()
}

fn envoy_listener(hop: &Hop) -> serde_json::Value {
    serde_json::json!({
        "name": hop.name,
        "address": envoy_address(hop.from),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": hop.name,
                "cluster": hop.name,
            },
        }] }],
    })
}

fn envoy_cluster(hop: &Hop) -> serde_json::Value {
    serde_json::json!({
        "name": hop.name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": { "thresholds": [{ "max_connections": 100_000, "max_pending_requests": 100_000 }] },
        "load_assignment": { "cluster_name": hop.name, "endpoints": [{ "lb_endpoints": [
            { "endpoint": { "address": envoy_address(hop.to) } },
        ] }] },
    })
}

fn envoy_address(at: SocketAddr) -> serde_json::Value {
    serde_json::json!({ "socket_address": { "address": at.ip(), "port_value": at.port() } })
}

/// HAProxy's configuration.
pub(super) fn haproxy(hops: &[Hop]) -> String {
    let mut text = String::from(
        "global\n    nbthread 1\n    maxconn 4096\ndefaults\n    mode tcp\n    timeout connect 5s\n    \
         timeout client 1m\n    timeout server 1m\n",
    );
    for Hop { name, from, to } in hops {
        text.push_str(&format!(
            "listen {name}\n    bind {from}\n    server {name} {to}\n"
        ));
    }
    text
}
