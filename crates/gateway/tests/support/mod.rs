//! What the gateway's test stories share: a node as a child process ([`node`]), a real client ([`client`]), requests
//! ([`http`]), tokens ([`token`]), positions ([`position`]), a real Redis ([`redis_server`], [`sentinel`],
//! [`redis_cluster`]) and faults on the way to it ([`proxy`], [`tcp_proxy`]). A story is told at the sockets, never inside.
#![allow(dead_code, unused_imports, reason = "each suite uses a part of it")]

pub(crate) mod client;
pub(crate) mod http;
pub(crate) mod node;
pub(crate) mod position;
pub(crate) mod proxy;
#[path = "../../../backplane/tests/support/cluster.rs"]
pub(crate) mod redis_cluster;
#[path = "../../../backplane/tests/support/redis_server.rs"]
pub(crate) mod redis_server;
#[path = "../../../backplane/tests/support/sentinel.rs"]
pub(crate) mod sentinel;
#[path = "../../../backplane/tests/support/tcp_proxy.rs"]
pub(crate) mod tcp_proxy;
pub(crate) mod token;

use std::time::{Duration, Instant};

pub(crate) use client::{Client, Frame, Handshake};
pub(crate) use http::{Reply, request};
pub(crate) use node::{API_KEY, Node, SERVE, SERVE_DEV};
pub(crate) use position::{EMPTY, position, shaped};
pub(crate) use proxy::Proxy;
pub(crate) use redis_server::{RedisProcess, free_port};
pub(crate) use tcp_proxy::TcpProxy;
pub(crate) use token::{SECRET, claims, sign, token};

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition that nothing announces.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The value of something that must happen in time.
pub(crate) async fn in_time<T>(what: &str, happens: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, happens).await;
    waited.unwrap_or_else(|_| panic!("not in {PATIENCE:?}: {what}"))
}
