//! The interception matrix: real programs, unmodified, bare and under the library, with the same results; on loopback, and
//! between two network namespaces with their own addresses.

mod stage;

use kit::workloads::{self, has_grpc};
use stage::{same, same_between_hosts};

macro_rules! matrix {
    ($($name:ident: $programs:expr, $connections:literal;)*) => {
        mod loopback {
            $(#[test] fn $name() {
                super::same(concat!(stringify!($name), " on loopback"), &$programs, kit::workloads::$name, $connections);
            })*
        }
        mod between_hosts {
            $(#[test] fn $name() {
                let test = concat!(stringify!($name), " between hosts");
                super::same_between_hosts(test, &$programs, kit::workloads::$name, $connections);
            })*
        }
    };
}

matrix! {
    redis: ["redis-server", "redis-benchmark", "redis-cli"], 80;
    nginx: ["nginx", "wrk", "curl"], 40;
    postgres: ["postgres", "initdb", "pgbench", "psql"], 100;
    http_server: ["python3", "curl"], 60;
    asyncio: ["python3"], 200;
    node: ["node"], 100;
    memcached: ["memcached", "python3"], 10;
}

#[test]
fn grpc_on_loopback() {
    if has_grpc("gRPC on loopback") {
        same("gRPC on loopback", &[], workloads::grpc, 10);
    }
}

#[test]
fn grpc_between_hosts() {
    if has_grpc("gRPC between hosts") {
        same_between_hosts("gRPC between hosts", &[], workloads::grpc, 10);
    }
}
