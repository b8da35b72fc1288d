//! Configurations: the server that answers, and the hops before it, each with one worker.

use super::forms::{self, SIZES, SOFTWARE};
use serde_json::{Value, json};

/// The longest piece of text in nginx's configuration: its parser reads 4096 bytes at once.
const PIECE_BYTES: usize = 2000;

/// The server: nginx with fixed answers in the form of a version. Its path `items/echo` shows in a header what it was sent.
pub(in crate::bench) fn server(version: usize, port: u16) -> String {
    let prefix = forms::prefix(version);
    let mut locations = String::new();
    for (size, bytes) in SIZES {
        let answer = forms::item(version, bytes);
        let pieces: Vec<&str> = pieces(&answer);
        let set = |(number, piece): (usize, &&str)| format!("set $piece{number} '{piece}'; ");
        let sets: String = pieces.iter().enumerate().map(set).collect();
        let all: String = (0..pieces.len())
            .map(|number| format!("$piece{number}"))
            .collect();
        locations.push_str(&format!(
            "location {prefix}items/{size} {{ {sets}return 200 \"{all}\"; }}\n"
        ));
    }
    http(&format!(
        "server {{
            listen 127.0.0.1:{port} backlog=4096;
            default_type application/json;
            location /health {{ return 200 \"\"; }}
            location {prefix}items/echo {{
                proxy_pass http://127.0.0.1:{port}{prefix}items/small;
                add_header X-Received $request_body;
            }}
            {locations}
        }}"
    ))
}

fn pieces(text: &str) -> Vec<&str> {
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(PIECE_BYTES));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// A hop of nginx that translates nothing.
pub(in crate::bench) fn nginx(from: u16, to: u16) -> String {
    http(&format!(
        "upstream server {{ server 127.0.0.1:{to}; keepalive 128; keepalive_requests 1000000000; }}
        server {{
            listen 127.0.0.1:{from} backlog=4096;
            location / {{
                proxy_pass http://server;
                proxy_http_version 1.1;
                proxy_set_header Connection \"\";
            }}
        }}"
    ))
}

/// One worker, buffers that hold a whole message, connections that are kept.
fn http(inside: &str) -> String {
    format!(
        "worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_header_buffer_size 8k;
    proxy_buffer_size 8k;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {inside}
}}
"
    )
}

/// A hop of Envoy that translates nothing.
pub(in crate::bench) fn envoy(from: u16, to: u16) -> String {
    envoy_with(from, to, json!({ "cluster": "server" }), &[])
}

/// A hop of Envoy whose Lua filter translates from the version before the software's.
pub(in crate::bench) fn envoy_lua(from: u16, to: u16) -> String {
    let script = include_str!("rename.lua")
        .replace("OLD", forms::name(SOFTWARE - 1))
        .replace("NEW", forms::name(SOFTWARE));
    let lua = json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": { "inline_string": script },
        },
    });
    let route = json!({ "cluster": "server", "prefix_rewrite": forms::prefix(SOFTWARE) });
    envoy_with(from, to, route, &[lua])
}

fn envoy_with(from: u16, to: u16, route: Value, filters: &[Value]) -> String {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": true,
            "dynamic_stats": false,
        },
    });
    let filters: Vec<&Value> = filters.iter().chain([&router]).collect();
    let matched = match route.get("prefix_rewrite") {
        Some(_) => forms::prefix(SOFTWARE - 1),
        None => "/".to_owned(),
    };
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "hop",
        "codec_type": "HTTP1",
        "generate_request_id": false,
        "http_filters": filters,
        "route_config": { "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{ "match": { "prefix": matched }, "route": route }],
        }] },
    });
    // JSON is YAML.
    json!({ "static_resources": {
        "listeners": [{
            "name": "hop",
            "address": address(from),
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": manager,
            }] }],
        }],
        "clusters": [{
            "name": "server",
            "type": "STATIC",
            "connect_timeout": "5s",
            "circuit_breakers": { "thresholds": [{
                "max_connections": 100_000,
                "max_pending_requests": 100_000,
                "max_requests": 100_000,
            }] },
            "load_assignment": { "cluster_name": "server", "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": address(to) } },
            ] }] },
        }],
    } })
    .to_string()
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text() {
        let text = forms::item(SOFTWARE, 4096);
        assert_eq!(pieces(&text).concat(), text);
        assert!(pieces(&text).iter().all(|piece| piece.len() <= PIECE_BYTES));
    }
}
