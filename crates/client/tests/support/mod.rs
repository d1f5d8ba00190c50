//! What the stories of backends share: a real Redis with the function library that nodes load ([`start`]), a listener in the
//! place of a node ([`Listener`]), and requests as a node writes them ([`Ask`]).
#![allow(dead_code, unused_imports, reason = "each suite uses a part of it")]

#[path = "../../../backplane/tests/support/cluster.rs"]
pub(crate) mod cluster;
mod door;
#[path = "../../../backplane/tests/support/redis_server.rs"]
pub(crate) mod redis_server;
#[path = "../../../backplane/tests/support/sentinel.rs"]
pub(crate) mod sentinel;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fanfare_client::{Tenant, Topic};
use redis::{PushInfo, PushKind, Value};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub(crate) use door::Door;
pub(crate) use redis_server::RedisProcess;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Where the answers of the stories go.
pub(crate) const REPLIES: &str = "fanfare:acme:replies:n1";
/// The stream of the stories' requests.
pub(crate) const REQUESTS: &str = "fanfare:acme:requests";

const README: &str = include_str!("../../README.md");
const LIBRARY: &str = include_str!("../../../backplane/src/redis/fanfare.lua");

/// A Redis that some node has prepared.
pub(crate) fn start() -> RedisProcess {
    let redis = RedisProcess::start();
    load(&redis);
    redis
}

/// Loads the function library, as a node does.
pub(crate) fn load(redis: &RedisProcess) {
    assert_eq!(redis.command(&["FUNCTION", "LOAD", "REPLACE", LIBRARY]), "fanfare");
}

pub(crate) fn acme() -> Tenant {
    Tenant::parse("acme").expect("a tenant")
}

pub(crate) fn orders() -> Topic {
    Topic::channel("orders").expect("a topic")
}

/// Who is subscribed to channels, as a node is.
pub(crate) struct Listener {
    payloads: mpsc::UnboundedReceiver<PushInfo>,
    _connection: Box<dyn std::any::Any + Send>,
}

impl Listener {
    /// On a single server.
    pub(crate) async fn on(redis: &RedisProcess, channels: &[&str]) -> Listener {
        let client = redis::Client::open(format!("{}?protocol=resp3", redis.url())).expect("an address");
        let (sender, payloads) = mpsc::unbounded_channel();
        let config = redis::AsyncConnectionConfig::new().set_push_sender(sender);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connection.expect("a connection");
        connection.subscribe(channels).await.expect("subscribed");
        Listener { payloads, _connection: Box::new(connection) }
    }

    /// On a cluster, with sharded channels.
    pub(crate) async fn on_cluster(cluster: &cluster::ClusterProcess, channel: &str) -> Listener {
        let nodes: Vec<_> = cluster.nodes.iter().map(RedisProcess::url).collect();
        let (sender, payloads) = mpsc::unbounded_channel();
        let builder = redis::cluster::ClusterClient::builder(nodes).use_protocol(redis::ProtocolVersion::RESP3);
        let client = builder.push_sender(sender).build().expect("a cluster");
        let mut connection = client.get_async_connection().await.expect("a connection");
        connection.ssubscribe(channel).await.expect("subscribed");
        Listener { payloads, _connection: Box::new(connection) }
    }

    /// The next payload.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            let push = in_time("a payload", self.payloads.recv()).await.expect("the connection stands");
            if matches!(push.kind, PushKind::Message | PushKind::SMessage) {
                let payload = push.data.into_iter().nth(1).expect("a channel and a payload");
                return redis::from_redis_value(payload).expect("text");
            }
        }
    }

    /// The next payload as JSON.
    pub(crate) async fn next_json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.next().await).expect("JSON")
    }

    /// Until the connection is known to be over.
    pub(crate) async fn until_gone(mut self) {
        while in_time("the end", self.payloads.recv()).await.is_some_and(|push| push.kind != PushKind::Disconnection) {}
    }

    /// There is nothing else, judged by what comes first of all that is published from now on.
    pub(crate) async fn expect_nothing(&mut self, redis: &RedisProcess, channel: &str) {
        redis.command(&["PUBLISH", channel, "last"]);
        assert_eq!(self.next().await, "last");
    }
}

/// Gives a user the rights that the README gives it: on a single server, or on the nodes of a cluster.
pub(crate) fn grant(redis: &RedisProcess, user: &str, is_cluster: bool) {
    let wanted = format!("ACL SETUSER {user} ");
    let lines: Vec<_> = README.lines().filter(|line| line.starts_with(&wanted)).collect();
    assert_eq!(lines.len(), 2, "one for any server, one more for clusters");
    for line in &lines[..=usize::from(is_cluster)] {
        assert_eq!(redis.command(&line.split(' ').collect::<Vec<_>>()), "OK", "{line}");
    }
}

/// A request as a node writes it, changed at will.
pub(crate) struct Ask(Vec<(&'static str, String)>);

impl Ask {
    /// `dashboard.refresh` with this id and this data, good for a minute.
    pub(crate) fn new(id: &str, data: &serde_json::Value) -> Ask {
        let deadline = SystemTime::now() + Duration::from_mins(1);
        let deadline_ms = deadline.duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        Ask(vec![
            ("request", id.to_owned()),
            ("method", "dashboard.refresh".to_owned()),
            ("data", data.to_string()),
            ("user", "42".to_owned()),
            ("connection", "c1".to_owned()),
            ("reply_to", REPLIES.to_owned()),
            ("deadline_ms", deadline_ms.to_string()),
        ])
    }

    /// With another value of a field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Ask {
        self.0.retain(|(field, _)| *field != name);
        self.0.push((name, value.into()));
        self
    }

    /// Writes it. Returns the entry's id.
    pub(crate) fn add(&self, redis: &RedisProcess) -> String {
        let fields = self.0.iter().flat_map(|(name, value)| [*name, value.as_str()]);
        let words: Vec<_> = ["XADD", REQUESTS, "*"].into_iter().chain(fields).collect();
        redis.command(&words)
    }
}

/// How many entries a group of the stream has taken and not acknowledged; none without the group.
pub(crate) fn pending(redis: &RedisProcess) -> Option<usize> {
    let words = redis.command(&["XPENDING", REQUESTS, "backend"]);
    words.lines().next().and_then(|count| count.parse().ok())
}

/// Waits until everything that was taken is acknowledged, and everything was taken.
pub(crate) async fn until_done(redis: &RedisProcess) {
    until("all requests are acknowledged", async || {
        let groups = redis.command(&["XINFO", "GROUPS", REQUESTS]);
        pending(redis) == Some(0) && groups.lines().skip_while(|line| *line != "lag").nth(1) == Some("0")
    })
    .await;
}

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
    timeout(PATIENCE, happens).await.unwrap_or_else(|_| panic!("not in {PATIENCE:?}: {what}"))
}

/// An answer with data.
pub(crate) fn answer(id: &str, data: &serde_json::Value) -> serde_json::Value {
    json!({ "request": id, "data": data })
}

/// An answer that is an error.
pub(crate) fn error(id: &str, code: &str, message: &str) -> serde_json::Value {
    json!({ "request": id, "error": { "code": code, "message": message } })
}
