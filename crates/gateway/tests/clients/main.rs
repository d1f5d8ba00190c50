//! Stories of clients at a node's sockets: bytes in, bytes out. Deliberately without Redis, whose stories are told apart.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::float_cmp, reason = "what is counted is a whole number")]

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod events;
mod fan_out;
mod frames;
mod heartbeat;
mod isolation;
mod limits;
mod proxies_tls;
mod publishing;
mod tokens;
mod websocket;
