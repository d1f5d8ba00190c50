//! The example as it is run: a page's request is answered, and all others are told.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../../../crates/backplane/tests/support/redis_server.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod redis_server;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::Connection;
use serde_json::{Value, json};

use redis_server::RedisProcess;

const DASHBOARD: &str = "fanfare:acme:channel:dashboard";
const REPLIES: &str = "fanfare:acme:replies:n1";

/// Killed when dropped.
struct Backend(Child);

impl Drop for Backend {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listen(connection: &mut Connection) -> redis::PubSub<'_> {
    let mut listener = connection.as_pubsub();
    listener.subscribe(&[DASHBOARD, REPLIES]).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    listener
}

/// The next message, on which channel.
fn next(listener: &mut redis::PubSub<'_>) -> (String, Value) {
    let message = listener.get_message().unwrap();
    (message.get_channel_name().to_owned(), serde_json::from_slice(message.get_payload_bytes()).unwrap())
}

fn ask(redis: &RedisProcess, data: &str) {
    let fields = [
        ["request", "r1"],
        ["method", "dashboard.refresh"],
        ["data", data],
        ["user", "42"],
        ["connection", "c1"],
        ["reply_to", REPLIES],
        ["deadline_ms", "32503680000000"],
    ];
    redis.command(&[&["XADD", "fanfare:acme:requests", "*"], fields.as_flattened()].concat());
}

#[test]
fn a_page_gets_fresh_figures_and_the_others_are_told() {
    let redis = RedisProcess::start();
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let mut listener = listen(&mut connection);
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare-example-backend"));
    let _backend = Backend(command.env("REDIS_URL", redis.url()).stdout(Stdio::null()).spawn().unwrap());

    ask(&redis, r#"{"days":7}"#);
    let figures = json!({ "days": 7, "orders": 280, "refreshed_by": "42" });
    let event = json!({ "type": "dashboard.updated", "key": "figures", "except": "c1", "data": figures });
    assert_eq!(next(&mut listener), (DASHBOARD.to_owned(), event));
    assert_eq!(next(&mut listener), (REPLIES.to_owned(), json!({ "request": "r1", "data": figures })));

    ask(&redis, r#"{"days":900}"#);
    let error = json!({ "code": "bad_frame", "message": "`days` must be 1 to 90" });
    assert_eq!(next(&mut listener), (REPLIES.to_owned(), json!({ "request": "r1", "error": error })));
}
