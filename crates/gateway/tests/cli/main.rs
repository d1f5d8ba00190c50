//! The command line as its users meet it: the binary is run, and what it prints is compared.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod configuration;
mod explain;
mod fanfare;
mod functions;
mod health;
mod publish;
#[path = "../../../backplane/tests/support/redis_server.rs"]
#[allow(dead_code, reason = "other suites use the rest")]
mod redis_server;
mod stats;
mod tail;
mod token;
