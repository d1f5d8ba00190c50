//! The `fanfare` binary: the command line, and a runtime for the node.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use fanfare_gateway::cli::{self, Node};
use fanfare_gateway::config::{Config, LogConfig, LogFormat};
use fanfare_gateway::{echo, logging, serve};
use tokio::runtime::{Builder, Runtime};

/// Thousands of small, long-lived allocations for each connection: jemalloc wastes less on them than glibc's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run(&Node {
        serve: |config: Config| {
            logging::init(&config.log, config.dev);
            runtime(config.workers)?.block_on(serve::run(config))
        },
        echo: |listen: SocketAddr, message_bytes_max: usize| {
            let log = LogConfig { format: LogFormat::Human, filter: "info".into(), summary_interval: None };
            logging::init(&log, false);
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            Ok(runtime(cores)?.block_on(echo::run(listen, message_bytes_max))?)
        },
    })
}

fn runtime(workers: usize) -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().context("can't start a runtime")
}
