//! What the test stories share. `redis_server` needs nothing but `tempfile` and the programs `redis-server` and
//! `redis-cli`, so the tests of other crates can include it by its path.
#![allow(dead_code, reason = "each suite uses a part of it")]

pub(crate) mod cluster;
pub(crate) mod fake_server;
pub(crate) mod node;
pub(crate) mod redis_server;
pub(crate) mod sentinel;
pub(crate) mod tcp_proxy;
