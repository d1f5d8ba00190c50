//! A client process takes its plan and orders however the pipe cuts or joins them.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(missing_docs, reason = "a test's name says what it is")]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Server, command};

#[test]
fn a_plan_and_orders_in_one_write_are_all_obeyed() {
    let redis = Server::redis();
    let floor = Server::floor(&redis, "");
    let plan = json!({
        "url": {"address": floor.address, "path": "/ws"}, "secret": "x", "first": 0, "clients": 3,
        "mix": {"dialects": [{"Fanfare": "Json"}], "tenants": ["acme"]},
        "topics": {"name": "load", "channels": 1}, "subscribe_at_once": true, "source_addresses": 1, "stops_reading": false,
        "concurrency": 2, "connect_timeout_ms": 10_000, "run": 1,
    });
    let mut worker = command("worker").stdin(Stdio::piped()).spawn().unwrap();
    let mut orders = worker.stdin.take().unwrap();
    orders.write_all(format!("{plan}\n\"Connect\"\n\"Measure\"\n").as_bytes()).unwrap();
    let notices = BufReader::new(worker.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut notices = notices.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let connected = notices.find(|notice| notice["Progress"]["subscribed"] == 3).unwrap();
    assert_eq!(connected["Progress"]["orders"], 2);
    drop(orders);
    assert!(notices.all(|notice| notice.get("Failed").is_none()));
    assert!(worker.wait().unwrap().success(), "it ends with its input");
}
