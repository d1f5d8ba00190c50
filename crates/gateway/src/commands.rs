//! The small commands of `fanfare`, one module each. They have the settings of a node and no node of their own.

pub(crate) mod config_check;
mod event_line;
pub(crate) mod explain;
pub(crate) mod functions;
pub(crate) mod health;
mod node_api;
pub(crate) mod publish;
pub(crate) mod stats;
pub(crate) mod tail;
pub(crate) mod token;
mod websocket;

use anyhow::Context as _;

/// Runs a command that waits for the network.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    crate::auth::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("can't start a runtime")?.block_on(work)
}
