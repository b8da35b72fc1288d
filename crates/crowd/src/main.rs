//! `crowd`: many nodes in one process, for benchmarks of upgrade servers.

use clap::Parser;
use crowd::CrowdOptions;

#[derive(Parser)]
struct CrowdArguments {
    #[command(flatten)]
    options: CrowdOptions,
}

fn main() -> anyhow::Result<()> {
    let options = CrowdArguments::parse().options;
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(crowd::run(options))
}
