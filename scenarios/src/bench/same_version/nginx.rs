//! The web server under test: one worker, a small fixed answer, no files.

use std::net::SocketAddr;

/// Its configuration for an address.
pub(super) fn configuration(at: SocketAddr) -> String {
    format!(
        "worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen {at} backlog=4096;
        location / {{ return 200 \"{ANSWER}\"; }}
    }}
}}
"
    )
}

/// What it answers: as long as the values in redis.
const ANSWER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
