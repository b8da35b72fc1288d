//! The interception matrix: real programs, unmodified, bare and as nodes of a system under real agents, with the same results;
//! on loopback, between two network namespaces with their own addresses, and on an impaired network.

mod stage;
mod system;

use kit::workloads::{self, has_grpc};
use stage::{same, same_between_hosts};

macro_rules! matrix {
    ($($name:ident: $programs:expr, $connections:literal;)*) => {
        mod heavy_loopback {
            $(#[test] fn $name() {
                super::same(concat!(stringify!($name), " on loopback"), &$programs, kit::workloads::$name, $connections);
            })*
        }
        mod heavy_between_hosts {
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

/// A short form on an impaired network: pipelines and many clients at once, connections for one request each, one event loop.
mod heavy_on_an_impaired_network {
    use super::stage::same_when_impaired;
    use kit::workloads;

    #[test]
    fn redis() {
        let programs = ["redis-server", "redis-benchmark", "redis-cli"];
        same_when_impaired(
            "redis on an impaired network",
            &programs,
            workloads::redis,
            80,
        );
    }

    #[test]
    fn http_server() {
        let programs = ["python3", "curl"];
        same_when_impaired(
            "http_server on an impaired network",
            &programs,
            workloads::http_server,
            60,
        );
    }

    #[test]
    fn asyncio() {
        same_when_impaired(
            "asyncio on an impaired network",
            &["python3"],
            workloads::asyncio,
            200,
        );
    }
}

#[test]
fn agents_follow_the_kernels_setting() {
    stage::follows_the_kernels_setting("the kernel's setting");
}

#[test]
fn heavy_grpc_on_loopback() {
    if has_grpc("gRPC on loopback") {
        same("gRPC on loopback", &[], workloads::grpc, 10);
    }
}

#[test]
fn heavy_grpc_between_hosts() {
    if has_grpc("gRPC between hosts") {
        same_between_hosts("gRPC between hosts", &[], workloads::grpc, 10);
    }
}
