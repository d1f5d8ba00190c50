//! Stories of requests to backends, at a node's sockets and at a real Redis: what a backend's consumer group gets, what the
//! client is told of its answer, and what happens when there is none.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::float_cmp, reason = "what is counted is a whole number")]

mod answers;
mod backend;
mod bad_input;
mod cluster;
mod ends;
mod forgeries;
mod http;
mod limits;
mod nodes;
mod outages;
mod permissions;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};

use backend::Backend;
use support::{Client, Node, RedisProcess, claims, sign};

/// The stream of most stories.
const STREAM: &str = "fanfare:acme:requests";

/// No request of a story ends for want of time, unless the story is about that.
const PATIENT: (&str, &str) = ("FANFARE_REQUEST_TIMEOUT_MS", "60000");

/// A token that allows these methods.
fn token(tenant: &str, user: &str, methods: &[&str]) -> String {
    let mut claims = claims(tenant, user);
    claims["methods"] = json!(methods);
    sign(&claims)
}

/// A node on a Redis of its own, a backend of tenant `acme`, and a client that may ask for anything.
struct Stage {
    node: Node,
    redis: RedisProcess,
    backend: Backend,
    client: Client,
}

impl Stage {
    async fn set(settings: &[(&str, &str)]) -> Stage {
        Stage::on(RedisProcess::start(), settings).await
    }

    async fn on(redis: RedisProcess, settings: &[(&str, &str)]) -> Stage {
        let backend = Backend::begin(&redis, "workers").await;
        let node = Node::start_on(&redis.url(), &[&[PATIENT], settings].concat()).await;
        let client = Client::connect(&node, &token("acme", "42", &["**"])).await;
        Stage { node, redis, backend, client }
    }

    /// The backend gives data to the client's next request; returns what the client is told.
    async fn reply(&mut self, method: &str) -> Value {
        ask(&mut self.client, 1, method).await;
        let entry = self.backend.take().await;
        assert_eq!(entry.field("method"), method);
        self.backend.reply(&entry, "\"done\"").await;
        self.client.message().await
    }
}

/// Sends a request with nothing but what it must have.
async fn ask(client: &mut Client, id: i64, method: &str) {
    client.send(&json!({ "op": "request", "id": id, "method": method })).await;
}

/// What the client is told of a request that failed.
fn error(id: i64, code: &str, message: &str) -> Value {
    json!({ "op": "error", "id": id, "code": code, "message": message })
}

/// What the client is told of [`Stage::reply`].
fn done(id: i64) -> Value {
    json!({ "op": "reply", "id": id, "data": "done" })
}

/// The series of `/metrics` that counts this end of a request.
fn outcome(outcome: &str) -> String {
    format!("fanfare_requests_total{{outcome=\"{outcome}\"}}")
}

/// The series that counts answers dropped for this reason.
fn dropped(reason: &str) -> String {
    format!("fanfare_answers_dropped_total{{reason=\"{reason}\"}}")
}
