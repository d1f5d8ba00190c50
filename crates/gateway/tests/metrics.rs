//! `/metrics` as Prometheus reads it: every name, type and label is promised in `docs/metrics.md`, and labels that come
//! from outside are bounded.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, date_time_ymd};
use serde_json::json;
use support::{Client, Handshake, Node, RedisProcess, claims, free_port, in_time, request, sign, token, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Name, type, labels: all that a node ever tells.
const PROMISED: &[(&str, &str, &[&str])] = &[
    ("fanfare_accept_budget_per_second", "gauge", &[]),
    ("fanfare_answers_dropped_total", "counter", &["reason"]),
    ("fanfare_api_requests_total", "counter", &["status"]),
    ("fanfare_backplane_lag_seconds", "gauge", &[]),
    ("fanfare_backplane_up", "gauge", &[]),
    ("fanfare_build_info", "gauge", &["version"]),
    ("fanfare_client_commands_total", "counter", &["status"]),
    ("fanfare_connections", "gauge", &["tenant"]),
    ("fanfare_connections_closed_total", "counter", &["code"]),
    ("fanfare_connections_max", "gauge", &[]),
    ("fanfare_connections_opened_total", "counter", &[]),
    ("fanfare_connections_unauthenticated", "gauge", &[]),
    ("fanfare_deliveries_total", "counter", &[]),
    ("fanfare_drain_forced_closes_total", "counter", &[]),
    ("fanfare_draining", "gauge", &[]),
    ("fanfare_event_bytes_received_total", "counter", &[]),
    ("fanfare_event_streams", "gauge", &[]),
    ("fanfare_events_invalid_total", "counter", &["reason", "tenant"]),
    ("fanfare_events_received_total", "counter", &["type"]),
    ("fanfare_fan_out_seconds", "histogram", &[]),
    ("fanfare_frames_received_total", "counter", &[]),
    ("fanfare_functions_version", "gauge", &[]),
    ("fanfare_functions_version_expected", "gauge", &[]),
    ("fanfare_gaps_sent_total", "counter", &[]),
    ("fanfare_history_holes_total", "counter", &[]),
    ("fanfare_jwks_age_seconds", "gauge", &[]),
    ("fanfare_limit_reached_total", "counter", &["limit"]),
    ("fanfare_outbox_waiting_bytes", "gauge", &[]),
    ("fanfare_positions_dropped_total", "counter", &["reason"]),
    ("fanfare_presence_changes_total", "counter", &["change"]),
    ("fanfare_presence_members", "gauge", &[]),
    ("fanfare_presence_refresh_seconds", "gauge", &[]),
    ("fanfare_presence_told_total", "counter", &[]),
    ("fanfare_published_events_total", "counter", &["via"]),
    ("fanfare_rate_limited_frames_total", "counter", &[]),
    ("fanfare_received_bytes_total", "counter", &[]),
    ("fanfare_recent_bytes", "gauge", &[]),
    ("fanfare_request_seconds", "histogram", &[]),
    ("fanfare_requests_open", "gauge", &[]),
    ("fanfare_requests_total", "counter", &["outcome"]),
    ("fanfare_sent_bytes_total", "counter", &[]),
    ("fanfare_shed_total", "counter", &[]),
    ("fanfare_spans_dropped_total", "counter", &[]),
    ("fanfare_spans_exported_total", "counter", &[]),
    ("fanfare_subscriptions", "gauge", &[]),
    ("fanfare_tenant_events_total", "counter", &["tenant"]),
    ("fanfare_tls_certificate_expiry_timestamp_seconds", "gauge", &[]),
    ("fanfare_topics", "gauge", &[]),
    ("fanfare_upgrades_refused_total", "counter", &[]),
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_start_time_seconds", "gauge", &[]),
];

const YEAR_S: f64 = 365.0 * 86_400.0;

/// What one scrape tells.
#[derive(Debug, Default)]
struct Scrape {
    /// By the name of its family.
    types: BTreeMap<String, String>,
    /// By the line without its value.
    values: BTreeMap<String, f64>,
}

impl Scrape {
    async fn of(node: &Node) -> Self {
        let reply = node.get("/metrics").await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let mut scrape = Self::default();
        for line in reply.body.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").map(|line| line.split_once(' ').unwrap()) {
                assert!(scrape.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(scrape.values.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} twice");
            }
        }
        scrape
    }

    fn value(&self, series: &str) -> f64 {
        *self.values.get(series).unwrap_or_else(|| panic!("no {series}: {self:#?}"))
    }

    /// The label names of a family's series.
    fn labels(&self, family: &str) -> BTreeSet<String> {
        let series = self.values.keys().filter_map(|series| series.strip_prefix(family)?.strip_prefix('{'));
        let pairs = series.flat_map(|labels| labels.trim_end_matches('}').split("\","));
        pairs.map(|pair| pair.split_once("=\"").unwrap().0.to_owned()).collect()
    }
}

/// A client asks, and gets its answer after one that is nobody's.
async fn ask(redis: &RedisProcess, client: &mut Client) {
    client.send(&json!({ "op": "request", "id": 4, "method": "ping" })).await;
    let stream = || redis.command(&["XRANGE", "fanfare:acme:requests", "-", "+"]);
    until("the request stands in the stream", async || !stream().is_empty()).await;
    let entry = stream();
    let field = |name: &str| entry.lines().skip_while(|line| *line != name).nth(1).unwrap();
    redis.command(&["PUBLISH", field("reply_to"), "no answer"]);
    let answer = json!({ "request": field("request"), "data": "pong" });
    redis.command(&["PUBLISH", field("reply_to"), &answer.to_string()]);
    assert_eq!(client.expect("reply").await["data"], "pong");
}

#[tokio::test]
async fn every_metric_has_the_name_the_type_and_the_labels_that_are_documented() {
    let redis = RedisProcess::start();
    let settings = [
        ("FANFARE_CONNECTIONS_MAX", "1000"),
        ("FANFARE_CONNECTIONS_PER_USER_MAX", "1"),
        ("FANFARE_SUBSCRIPTIONS_PER_CONNECTION_MAX", "3"),
    ];
    let node = Node::start_on(&redis.url(), &settings).await;
    let mut may_ask = claims("acme", "ana");
    may_ask["methods"] = json!(["ping"]);
    let mut ana = Client::connect(&node, &sign(&may_ask)).await;
    ana.subscribe("channel:news").await;
    ask(&redis, &mut ana).await;
    ana.send(&json!({ "op": "subscribe", "id": 2, "topic": "channel:more" })).await;
    assert_eq!(ana.expect("error").await["code"], "too_many_subscriptions");
    ana.send(&json!({ "op": "publish", "id": 3, "topic": "channel:news", "event": { "type": "said" } })).await;
    let answers = [ana.message().await["op"].take(), ana.message().await["op"].take()];
    assert!(answers.contains(&json!("event")) && answers.contains(&json!("published")), "{answers:?}");
    node.publish("acme", "channel:news", r#"{"type":"told"}"#).await;
    ana.expect_event("channel:news").await;
    redis.command(&["PUBLISH", "fanfare:acme:channel:news", "no event"]);
    let bearer = token("acme", "ana");
    Handshake::to(&node).bearer(&bearer).open().await.expect_disconnect(1013).await;
    Handshake::to(&node).without("Sec-WebSocket-Protocol").bearer("bad").try_open().await.err().unwrap();
    let _silent = Handshake::to(&node).open().await;
    assert_eq!(request(node.clients, "POST", "/client/v1/publish", &[], b"").await.status, 401);
    // What is counted when its work is done may come after the work's effect.
    for (series, count) in [
        (r#"fanfare_events_invalid_total{reason="not_an_envelope",tenant="acme"}"#, 1.0),
        (r#"fanfare_connections_closed_total{code="1013"}"#, 1.0),
        ("fanfare_fan_out_seconds_count", 2.0),
    ] {
        until(series, async || node.metric(series).await >= count).await;
    }

    let scrape = Scrape::of(&node).await;
    let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md")).unwrap();
    let mut told = scrape.types.clone();
    // What only a node with a certificate and an issuer tells.
    let kept_up = Scrape::of(&node_with_certificate_and_issuer(2040, "http://127.0.0.1:1/jwks.json").await).await;
    for name in ["fanfare_jwks_age_seconds", "fanfare_tls_certificate_expiry_timestamp_seconds"] {
        assert!(told.insert(name.to_owned(), kept_up.types[name].clone()).is_none(), "{name}");
    }
    for &(name, kind, labels) in PROMISED {
        assert_eq!(told.remove(name).as_deref(), Some(kind), "{name}");
        assert_eq!(scrape.labels(name).iter().map(String::as_str).collect::<Vec<_>>(), labels, "{name}");
        let written = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let row = format!("| `{name}` | {kind} | {written} |");
        assert!(documented.contains(&row), "docs/metrics.md has no row that starts with {row}");
    }
    assert!(told.is_empty(), "not promised: {told:?}");
    let rows = documented.lines().filter(|line| line.starts_with("| `fanfare_") || line.starts_with("| `process_"));
    assert_eq!(rows.count(), PROMISED.len(), "docs/metrics.md has rows of metrics that are not told");

    for (series, value) in [
        (r#"fanfare_connections{tenant="acme"}"#, 1.0),
        ("fanfare_connections_unauthenticated", 1.0),
        ("fanfare_connections_opened_total", 3.0),
        (r#"fanfare_connections_closed_total{code="1013"}"#, 1.0),
        (r#"fanfare_connections_closed_total{code="1006"}"#, 0.0),
        (r#"fanfare_connections_closed_total{code="4413"}"#, 0.0),
        ("fanfare_connections_max", 1_000.0),
        ("fanfare_upgrades_refused_total", 1.0),
        (r#"fanfare_limit_reached_total{limit="connections_per_user_max"}"#, 1.0),
        (r#"fanfare_limit_reached_total{limit="subscriptions_per_connection_max"}"#, 1.0),
        ("fanfare_subscriptions", 3.0),
        ("fanfare_topics", 3.0),
        (r#"fanfare_published_events_total{via="client"}"#, 1.0),
        (r#"fanfare_published_events_total{via="http"}"#, 1.0),
        (r#"fanfare_events_received_total{type="said"}"#, 1.0),
        (r#"fanfare_events_received_total{type="told"}"#, 1.0),
        (r#"fanfare_tenant_events_total{tenant="acme"}"#, 2.0),
        ("fanfare_functions_version", 2.0),
        ("fanfare_functions_version_expected", 2.0),
        ("fanfare_event_bytes_received_total", 30.0),
        ("fanfare_deliveries_total", 2.0),
        ("fanfare_frames_received_total", 4.0),
        ("fanfare_requests_open", 0.0),
        (r#"fanfare_requests_total{outcome="reply"}"#, 1.0),
        ("fanfare_request_seconds_count", 1.0),
        (r#"fanfare_answers_dropped_total{reason="unreadable"}"#, 1.0),
        ("fanfare_fan_out_seconds_count", 2.0),
        (r#"fanfare_fan_out_seconds_bucket{le="10"}"#, 2.0),
        (r#"fanfare_fan_out_seconds_bucket{le="+Inf"}"#, 2.0),
        (r#"fanfare_api_requests_total{status="200"}"#, 1.0),
        (r#"fanfare_client_commands_total{status="401"}"#, 1.0),
        ("fanfare_event_streams", 0.0),
        ("fanfare_backplane_up", 1.0),
        ("fanfare_draining", 0.0),
        ("fanfare_accept_budget_per_second", 500.0),
        (concat!("fanfare_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert!((scrape.value(series) - value).abs() < 1e-9, "{series} is {}, not {value}", scrape.value(series));
    }
    assert!(scrape.values.contains_key(r#"fanfare_fan_out_seconds_bucket{le="0.00005"}"#), "{scrape:#?}");
    for series in ["process_cpu_seconds_total", "process_open_fds", "process_resident_memory_bytes"] {
        assert!(scrape.value(series) > 0.0, "{series}");
    }

    drop(ana);
    until("the tenant's series goes with its last client, and its subscriptions too", async || {
        let scrape = Scrape::of(&node).await;
        !scrape.values.contains_key(r#"fanfare_connections{tenant="acme"}"#)
            && scrape.value("fanfare_subscriptions") == 0.0
    })
    .await;
}

#[tokio::test]
async fn labels_from_outside_are_bounded_and_can_hold_anything() {
    let node = Node::start(&[("FANFARE_METRICS_TENANTS_MAX", "2"), ("FANFARE_METRICS_TYPES_MAX", "2")]).await;
    let mut clients = Vec::new();
    for tenant in ["a", "b", "c", "c", "other"] {
        clients.push(Client::connect(&node, &token(tenant, "1")).await);
    }
    let scrape = Scrape::of(&node).await;
    let tenants = |scrape: &Scrape| {
        let series = scrape.values.iter().filter(|(series, _)| series.starts_with("fanfare_connections{"));
        series.map(|(series, value)| (series.clone(), value.to_string())).collect::<Vec<_>>()
    };
    let first = tenants(&scrape);
    assert_eq!(first.len(), 3, "{first:?}");
    assert!(first.iter().any(|(series, _)| series == r#"fanfare_connections{tenant="other"}"#), "{first:?}");
    let total: f64 = first.iter().map(|(_, value)| value.parse::<f64>().unwrap()).sum();
    assert!((total - 5.0).abs() < f64::EPSILON, "{first:?}");
    assert_eq!(tenants(&Scrape::of(&node).await), first, "a tenant keeps its series while it has clients");

    for event_type in ["first", "with \\\"quotes\\\" and\\nlines", "third", "fourth", "first"] {
        let reply = node.publish("a", "tenant", &format!(r#"{{"type":"{event_type}"}}"#)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        clients[0].expect_event("tenant").await;
    }
    let scrape = Scrape::of(&node).await;
    for (series, value) in [
        (r#"fanfare_events_received_total{type="first"}"#, 2.0),
        (r#"fanfare_events_received_total{type="with \"quotes\" and\nlines"}"#, 1.0),
        (r#"fanfare_events_received_total{type="other"}"#, 2.0),
    ] {
        assert!((scrape.value(series) - value).abs() < f64::EPSILON, "{series}");
    }

    for tenant in ["b", "c", "other"] {
        assert_eq!(node.publish(tenant, "tenant", r#"{"type":"first"}"#).await.status, 200);
    }
    let other = r#"fanfare_tenant_events_total{tenant="other"}"#;
    until("the tenants that are left out are counted together", async || node.metric(other).await >= 2.0).await;
    for (series, value) in [
        (r#"fanfare_tenant_events_total{tenant="a"}"#, 5.0),
        (r#"fanfare_tenant_events_total{tenant="b"}"#, 1.0),
        (r#"fanfare_tenant_events_total{tenant="c"}"#, 0.0),
        (other, 2.0),
    ] {
        assert!((node.metric(series).await - value).abs() < f64::EPSILON, "{series}");
    }
}

#[tokio::test]
async fn an_event_counts_once_for_its_tenant_however_many_get_it() {
    let node = Node::start(&[]).await;
    let mut clients = Vec::new();
    for user in ["1", "2", "3"] {
        clients.push(Client::connect(&node, &token("acme", user)).await);
    }
    node.publish("acme", "tenant", r#"{"type":"told"}"#).await;
    for client in &mut clients {
        client.expect_event("tenant").await;
    }
    until("all deliveries are counted", async || node.metric("fanfare_deliveries_total").await >= 3.0).await;
    let events = node.metric(r#"fanfare_tenant_events_total{tenant="acme"}"#).await;
    assert!((events - 1.0).abs() < f64::EPSILON, "{events}");
}

#[tokio::test]
async fn an_event_of_a_topic_that_only_lingers_is_not_looked_at() {
    let node = Node::start(&[("FANFARE_UNSUBSCRIBE_DELAY_MS", "60000")]).await;
    let mut client = Client::connect(&node, &token("acme", "42")).await;
    client.subscribe("channel:left").await;
    client.subscribe("channel:kept").await;
    client.send(&json!({"op": "unsubscribe", "topic": "channel:left"})).await;
    client.expect("unsubscribed").await;
    for (topic, kind) in [("channel:left", "unheard"), ("channel:kept", "heard")] {
        assert_eq!(node.publish("acme", topic, &json!({"type": kind}).to_string()).await.status, 200);
    }
    client.expect_event("channel:kept").await;
    for (kind, is_counted) in [("unheard", false), ("heard", true)] {
        let series = format!("fanfare_events_received_total{{type=\"{kind}\"}}");
        assert_eq!(node.metric(&series).await > 0.0, is_counted, "{kind}");
    }
}

#[tokio::test]
async fn bytes_are_counted_both_ways() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &sign(&claims("acme", "1"))).await;
    let (sent, received) = ("fanfare_sent_bytes_total", "fanfare_received_bytes_total");
    until("the welcome is counted", async || node.metric(sent).await > 200.0).await;
    let before = (node.metric(sent).await, node.metric(received).await);
    client.expect_nothing().await;
    // `{"op":"ping"}` in a masked frame, and `{"op":"pong"}` in one that is not.
    for (series, bytes) in [(received, before.1 + 19.0), (sent, before.0 + 15.0)] {
        until(series, async || (node.metric(series).await - bytes).abs() < f64::EPSILON).await;
    }
}

/// Writes a certificate that ends at the beginning of `year`, and its key.
fn write_certificate(directory: &Path, year: i32) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.not_after = date_time_ymd(year, 1, 1);
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(directory.join("certificate.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
}

/// A node that serves TLS with a certificate that ends at the beginning of `year`, and fetches its keys at `issuer`.
async fn node_with_certificate_and_issuer(year: i32, issuer: &str) -> Node {
    let directory = tempfile::tempdir().unwrap();
    write_certificate(directory.path(), year);
    node_with_certificate_in(directory.path(), issuer).await
}

async fn node_with_certificate_in(directory: &Path, issuer: &str) -> Node {
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| directory.join(name));
    Node::start(&[
        ("FANFARE_TLS_CERTIFICATE_FILE", certificate.to_str().unwrap()),
        ("FANFARE_TLS_KEY_FILE", key.to_str().unwrap()),
        ("FANFARE_RELOAD_INTERVAL_S", "1"),
        ("FANFARE_JWT_JWKS_URL", issuer),
        ("FANFARE_JWT_JWKS_REFRESH_S", "1"),
        ("FANFARE_JWT_JWKS_MIN_INTERVAL_S", "1"),
    ])
    .await
}

#[tokio::test]
async fn the_end_of_the_certificate_follows_its_renewal() {
    let directory = tempfile::tempdir().unwrap();
    write_certificate(directory.path(), 2040);
    let node = node_with_certificate_in(directory.path(), "http://127.0.0.1:1/jwks.json").await;
    let end = async || node.metric("fanfare_tls_certificate_expiry_timestamp_seconds").await;
    assert!((end().await - 2_208_988_800.0).abs() < 1.0, "{}", end().await);
    write_certificate(directory.path(), 2041);
    until("the renewed one is told", async || (end().await - 2_240_611_200.0).abs() < 1.0).await;
}

/// Answers one request for a key set, unless who asked has lost patience.
async fn issue(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let _ = stream.read(&mut [0; 4096]).await;
    let x = URL_SAFE_NO_PAD.encode(KeyPair::generate_for(&PKCS_ED25519).unwrap().public_key_raw());
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x }] }).to_string();
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", keys.len());
    let _ = stream.write_all((head + &keys).as_bytes()).await;
    // Until the node has read it.
    let _ = stream.read(&mut [0]).await;
}

#[tokio::test]
async fn the_issuers_keys_grow_old_until_they_are_fetched() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/jwks.json");
    let node = node_with_certificate_and_issuer(2040, &url).await;
    let age = async || node.metric("fanfare_jwks_age_seconds").await;
    until("a node that never had them says so", async || age().await > YEAR_S).await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    in_time("the node asks again", issue(&listener)).await;
    until("it has them", async || age().await < 30.0).await;
    // From here on the issuer takes connections and says nothing.
    until("they grow old", async || (1.5..30.0).contains(&age().await)).await;
    until("they are fresh", async || {
        in_time("the node asks again", issue(&listener)).await;
        age().await < 1.5
    })
    .await;
}

#[tokio::test]
async fn a_function_library_that_is_missing_or_old_is_told() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_REDIS_FUNCTIONS", "check")]).await;
    let found = async || node.metric("fanfare_functions_version").await;
    let is = async |version: f64| (found().await - version).abs() < f64::EPSILON;
    assert!(Scrape::of(&node).await.values.contains_key("fanfare_functions_version") && is(0.0).await);
    assert!((node.metric("fanfare_functions_version_expected").await - 2.0).abs() < f64::EPSILON);
    let old = "#!lua name=fanfare\nredis.register_function('fanfare_version', function() return 1 end)";
    redis.command(&["FUNCTION", "LOAD", old]);
    until("the old one is seen", async || is(1.0).await).await;
    let _loads = Node::start_on(&redis.url(), &[]).await;
    until("the new one is seen", async || is(2.0).await).await;
    let in_memory = Scrape::of(&Node::start(&[]).await).await;
    assert!(!in_memory.types.contains_key("fanfare_functions_version_expected"), "{in_memory:#?}");
}
