//! What operators see on the admin port: health, readiness as a person and as a balancer understand it, the summary in
//! the log. Metrics have a suite of their own.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use serde_json::json;
use support::{Client, Handshake, Node, Proxy, RedisProcess, TcpProxy, in_time, request, token, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What both kinds of readiness say: status, and the reason when it is not 200.
async fn readiness(node: &Node) -> [(u16, String); 2] {
    let mut said = Vec::new();
    for path in ["/readyz", "/readyz/node"] {
        let reply = node.get(path).await;
        let body = reply.json();
        assert_eq!(body["status"], if reply.status == 200 { "ready" } else { "not_ready" }, "{body}");
        said.push((reply.status, body["reason"].as_str().unwrap_or_default().to_owned()));
    }
    said.try_into().unwrap()
}

async fn until_statuses(node: &Node, statuses: [u16; 2]) -> [String; 2] {
    until(&format!("readiness is {statuses:?}"), async || readiness(node).await.map(|(status, _)| status) == statuses)
        .await;
    readiness(node).await.map(|(_, reason)| reason)
}

#[tokio::test]
async fn a_node_tells_that_it_lives_and_how_many_are_connected() {
    let node = Node::start(&[]).await;
    let _clients =
        [Client::connect(&node, &token("acme", "1")).await, Client::connect(&node, &token("acme", "2")).await];
    let health = node.get("/healthz").await;
    assert_eq!((health.status, health.header("content-type")), (200, Some("application/json")));
    assert_eq!(health.header("cache-control"), Some("no-store"));
    let body = health.json();
    assert_eq!((&body["status"], &body["connections"]), (&json!("ok"), &json!(2)));
    assert!(body["uptime_s"].as_u64().unwrap() < 60, "{body}");
}

#[tokio::test]
async fn an_outage_of_redis_makes_nodes_unready_and_leaves_them_to_the_balancer() {
    let mut redis = RedisProcess::not_started(&[]);
    let node = Node::start_unready_on(&redis.url(), &[]).await;
    let reasons = until_statuses(&node, [503, 503]).await;
    assert!(reasons.iter().all(|reason| reason.starts_with("not connected to the backplane yet")), "{reasons:?}");

    redis.start_again();
    until_statuses(&node, [200, 200]).await;
    assert!((node.metric("fanfare_backplane_up").await - 1.0).abs() < f64::EPSILON);

    redis.kill();
    let [reason, _] = until_statuses(&node, [503, 200]).await;
    assert!(reason.starts_with("the backplane is away: "), "{reason}");
    assert!(node.metric("fanfare_backplane_up").await < f64::EPSILON);

    redis.start_again();
    until_statuses(&node, [200, 200]).await;
}

#[tokio::test]
async fn a_node_that_alone_gets_nothing_is_taken_from_the_balancer_until_it_does() {
    let redis = RedisProcess::start();
    let proxy = Proxy::to(redis.port()).await;
    let node = Node::start_on(&proxy.url(), &[]).await;
    // A topic is wanted, so every new connection has to subscribe.
    let _client = Client::connect(&node, &token("acme", "1")).await;

    proxy.cut_on(Some("SUBSCRIBE"));
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let [_, reason] = until_statuses(&node, [503, 503]).await;
    assert!(reason.starts_with("the backplane answers, but delivers nothing to this node: "), "{reason}");
    assert_eq!(node.publish("acme", "tenant", r#"{"type":"still.published"}"#).await.status, 200);

    proxy.cut_on(None);
    until_statuses(&node, [200, 200]).await;
}

#[tokio::test]
async fn a_node_whose_messages_vanish_finds_out_by_its_own_probes() {
    let redis = RedisProcess::start();
    let proxy = TcpProxy::before(redis.port());
    let hasty = [("FANFARE_REDIS_PROBE_INTERVAL_MS", "50"), ("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "2000")];
    let node = Node::start_on(&proxy.url(), &hasty).await;
    let lag = "fanfare_backplane_lag_seconds";
    until("a small lag is told", async || {
        let ready = node.get("/readyz").await.json();
        ready["lag_ms"].as_u64().is_some_and(|lag_ms| lag_ms < 1_000) && node.metric(lag).await < 1.0
    })
    .await;

    // Every socket lives, and Redis answers whatever it is asked.
    proxy.drop_messages(true);
    let [reason, _] = until_statuses(&node, [503, 200]).await;
    let undelivered = "the backplane answers, but delivers nothing to this node: ";
    assert!(reason.starts_with(undelivered) && reason.contains("does not come back"), "{reason}");
    let [_, reason] = until_statuses(&node, [503, 503]).await;
    assert!(reason.starts_with(undelivered) && reason.contains("does not come back"), "{reason}");
    assert!(node.metric(lag).await > 2.0);

    proxy.drop_messages(false);
    until_statuses(&node, [200, 200]).await;
    until("the lag is over", async || node.metric(lag).await < 1.0).await;
}

#[tokio::test]
async fn a_node_that_may_not_send_probes_says_so_and_is_left_to_the_balancer() {
    let redis = RedisProcess::start();
    redis.command(&["ACL", "SETUSER", "node", "on", ">secret", "+@all", "resetchannels", "&fanfare:*"]);
    let settings = [("FANFARE_REDIS_PROBE_INTERVAL_MS", "50"), ("FANFARE_NODE_ID", "n-1")];
    let node = Node::start_on(&redis.url_with("node", "secret"), &settings).await;
    redis.command(&["ACL", "SETUSER", "node", "resetchannels", "&fanfare:acme:*"]);
    until("the reason is known", async || readiness(&node).await[0].1.contains("fanfare:node:n-1:probe")).await;
    let [(status, reason), balancer] = readiness(&node).await;
    let expected = "nothing proves that the backplane delivers to this node: ";
    assert!(status == 503 && reason.starts_with(expected) && reason.contains("&fanfare:node:*"), "{reason}");
    // For longer than a loss of delivery would be borne.
    let uptime_s = async || node.get("/healthz").await.json()["uptime_s"].as_u64().unwrap();
    let now_s = uptime_s().await;
    until("five seconds have passed", async || uptime_s().await > now_s + 4).await;
    assert_eq!((balancer.0, readiness(&node).await[1].0), (200, 200));
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    redis.command(&["PUBLISH", "fanfare:acme:tenant", r#"{"type":"delivered"}"#]);
    assert_eq!(client.expect_event("tenant").await["type"], "delivered");
}

#[tokio::test]
async fn a_node_that_leaves_says_so_and_still_takes_clients_for_a_while() {
    let mut node = Node::start(&[("FANFARE_DRAIN_DELAY_S", "10")]).await;
    node.signal("-TERM");
    let reasons = until_statuses(&node, [503, 503]).await;
    assert_eq!(reasons, ["the node is shutting down", "the node is shutting down"]);
    assert!((node.metric("fanfare_draining").await - 1.0).abs() < f64::EPSILON);
    assert_eq!(node.get("/healthz").await.status, 200);
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    client.expect_disconnect(1012).await;
    assert!(node.ended().await.success());
}

#[tokio::test]
async fn unknown_paths_and_methods_get_a_problem_document() {
    let node = Node::start(&[]).await;
    let unknown = node.get("/health").await;
    assert_eq!((unknown.status, unknown.header("content-type")), (404, Some("application/problem+json")));
    let document = json!({
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "there is nothing at this path",
        "code": "not_found",
        "message": "there is nothing at this path",
    });
    assert_eq!(unknown.json(), document);
    for path in ["/healthz", "/readyz", "/readyz/node", "/metrics"] {
        let posted = request(node.admin, "POST", path, &[], b"").await;
        assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
        assert_eq!(posted.code(), "method_not_allowed");
        let head = request(node.admin, "HEAD", path, &[], b"").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
    }
}

#[tokio::test]
async fn a_header_without_end_is_not_kept() {
    let node = Node::start(&[]).await;
    let reply = request(node.admin, "GET", "/healthz", &[("Filler", &"x".repeat(20_000))], b"").await;
    assert_eq!(reply.status, 431);
}

#[tokio::test]
async fn who_does_not_finish_a_request_is_not_waited_for() {
    let node = Node::start(&[("FANFARE_HEADER_TIMEOUT_MS", "2000")]).await;
    for begun in ["", "GET /healthz HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = TcpStream::connect(node.admin).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        in_time("the node ends the connection", stream.read_to_end(&mut answer)).await.unwrap();
        assert!(!String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200"), "{answer:?}");
    }
    // Nor for a second request on a connection that is kept alive.
    let mut stream = TcpStream::connect(node.admin).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    in_time("the node ends the connection", stream.read_to_end(&mut answer)).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200"), "{answer:?}");
}

#[tokio::test]
async fn the_log_sums_up_what_happened_and_is_silent_when_nothing_did() {
    let node = Node::start(&[("FANFARE_LOG_SUMMARY_S", "1"), ("FANFARE_LOG_FORMAT", "json")]).await;
    let summaries = || {
        let lines = node.log_json().into_iter();
        lines.filter(|line| line["message"] == "summary").collect::<Vec<_>>()
    };
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    client.subscribe("channel:news").await;
    node.publish("acme", "channel:news", r#"{"type":"news"}"#).await;
    client.expect_event("channel:news").await;
    client.send_close(1000).await;
    client.expect_close().await;
    Handshake::to(&node).target("/ws?token=bad").open().await.expect_disconnect(4401).await;

    let sum = |field: &str| summaries().iter().filter_map(|line| line[field].as_u64()).sum::<u64>();
    // Deliveries are counted after they were made, so they may come later.
    until("both closes and the delivery are summed up", async || {
        let closed = summaries().iter().map(|line| line["closed"].to_string()).collect::<String>();
        closed.contains("1000: 1") && closed.contains("4401: 1") && sum("deliveries") == 1
    })
    .await;
    assert_eq!((sum("opened"), sum("events"), sum("deliveries"), sum("slow"), sum("gaps")), (2, 1, 1, 0, 0));
    assert!(sum("sent_bytes") > 0 && sum("received_bytes") > 0);
    assert_eq!(summaries().last().unwrap()["connections"], 0);

    // Two more are due, and nothing has happened since.
    let before = summaries().len();
    let uptime_s = async || node.get("/healthz").await.json()["uptime_s"].as_u64().unwrap();
    let now_s = uptime_s().await;
    until("two seconds have passed", async || uptime_s().await > now_s + 2).await;
    assert_eq!(summaries().len(), before, "{:?}", summaries());
}
