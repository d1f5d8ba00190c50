//! How a node leaves: it says so first, sends its clients away with all that is theirs, and is gone in time.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

use crate::support::{Client, Frame, Handshake, Node, RedisProcess, Reply, SERVE, claims, in_time, token, until};
use crate::traffic::{Seen, Traffic};
use crate::{EVENT, count, event, frame, publish, subscriber, two_nodes, until_status, welcomed};

/// The client is told to come back, to any node, within a second.
async fn expect_sent_away(client: &mut Client) {
    let told = client.expect("disconnect").await;
    assert_eq!(told["after_ms"].as_u64().filter(|after_ms| *after_ms < 1_000), told["after_ms"].as_u64(), "{told}");
    let after_ms = told["after_ms"].clone();
    let reason = "draining";
    let expected =
        json!({ "op": "disconnect", "code": 1012, "reason": reason, "reconnect": true, "after_ms": after_ms });
    assert_eq!(told, expected);
    assert_eq!(client.expect_close().await, (Some(1012), reason.to_owned()));
}

#[tokio::test]
async fn a_node_that_leaves_says_so_at_once_and_takes_clients_a_little_longer() {
    // Time for all that must happen in the delay, on a busy machine too; and a drain that nobody could wait for.
    const DELAY: Duration = Duration::from_secs(8);
    let redis = RedisProcess::start();
    let settings = [("FANFARE_DRAIN_DELAY_S", "8"), ("FANFARE_DRAIN_S", "600")];
    let mut node = Node::start_on(&redis.url(), &settings).await;
    let mut early = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    let signalled = Instant::now();
    node.signal("-TERM");
    for path in ["/readyz", "/readyz/node"] {
        assert_eq!(until_status(&node, path, 503).await, "the node is shutting down");
    }
    assert_eq!(node.get("/healthz").await.status, 200);
    // Balancers learn late.
    let mut late = subscriber(&node, &token("acme", "2"), "channel:orders").await;
    publish(&redis, "fanfare:acme:channel:orders", EVENT);
    for client in [&mut early, &mut late] {
        assert_eq!(client.text().await, frame("channel:orders", EVENT));
    }

    for client in [&mut early, &mut late] {
        expect_sent_away(client).await;
    }
    assert!(signalled.elapsed() >= DELAY, "{:?}", signalled.elapsed());
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.log());
    // Long before it would have to: nobody was left.
    assert!(TcpStream::connect(node.clients).await.is_err());
}

#[tokio::test]
async fn what_waits_for_a_client_goes_out_before_its_farewell() {
    const EVENTS: u64 = 4_000;
    let redis = RedisProcess::start();
    let settings = [
        ("FANFARE_CLOSE_TIMEOUT_MS", "120000"),
        ("FANFARE_DRAIN_S", "120"),
        ("FANFARE_OUTBOX_BYTES_MAX", "33554432"),
        // On a busy machine Redis may need a while for all of them, and answers nothing meanwhile.
        ("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "20000"),
    ];
    let mut node = Node::start_on(&redis.url(), &settings).await;
    let socket = TcpSocket::new_v4().unwrap();
    // The kernel would else grow its buffers until nothing waits in the node.
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let stream = socket.connect(node.clients).await.unwrap();
    let mut slow = Handshake::to(&node).bearer(&token("acme", "1")).over(Box::new(stream)).await.ok().unwrap();
    slow.expect("welcome").await;
    slow.subscribe("channel:orders").await;
    let mut witness = subscriber(&node, &token("acme", "2"), "channel:orders").await;
    slow.stop_reading();
    let script = "for i = 1, tonumber(ARGV[1]) do redis.call('PUBLISH', 'fanfare:acme:channel:orders', \
                  '{\"type\":\"n\",\"data\":' .. i .. ',\"pad\":\"' .. string.rep('x', 4000) .. '\"}') end";
    redis.command(&["EVAL", script, "0", &EVENTS.to_string()]);
    for number in 1..=EVENTS {
        assert_eq!(witness.expect_event("channel:orders").await["data"], number);
    }
    assert!(node.metric("fanfare_outbox_waiting_bytes").await > 1_000_000.0, "nothing waits, so nothing is shown");

    node.signal("-TERM");
    expect_sent_away(&mut witness).await;
    slow.read_on();
    for number in 1..=EVENTS {
        assert_eq!(slow.expect_event("channel:orders").await["data"], number);
    }
    expect_sent_away(&mut slow).await;
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_client_that_never_reads_is_waited_for_no_longer_than_the_drain() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_CLOSE_TIMEOUT_MS", "600000"), ("FANFARE_DRAIN_DELAY_S", "1"), ("FANFARE_DRAIN_S", "2")];
    let mut node = Node::start_on(&redis.url(), &settings).await;
    let deaf = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    deaf.stop_reading();
    let mut well_behaved = Client::connect(&node, &token("acme", "2")).await;
    let signalled = Instant::now();
    node.signal("-TERM");
    expect_sent_away(&mut well_behaved).await;
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.log());
    let (took, allowed) = (signalled.elapsed(), Duration::from_secs(1 + 2));
    assert!(took >= allowed, "the client was not waited for: {took:?}");
    assert!(node.log().contains("clients cut off: drain_s is over"), "{}", node.log());
}

#[tokio::test]
async fn a_second_signal_ends_the_node_at_once() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_DRAIN_DELAY_S", "600"), ("FANFARE_DRAIN_S", "600")];
    for signal in ["-TERM", "-INT"] {
        let mut node = Node::start_on(&redis.url(), &settings).await;
        let mut client = Client::connect(&node, &token("acme", "1")).await;
        node.signal(signal);
        until_status(&node, "/readyz", 503).await;
        client.expect_nothing().await;
        node.signal("-TERM");
        assert_eq!(node.ended().await.code(), Some(1));
        node.logged("second signal: stopping at once").await;
        assert_eq!(client.next().await, Frame::End);
    }
}

/// Connections of clients that the node has taken from the kernel, which gives them an inode only then.
fn taken(node: &Node) -> usize {
    let port = format!(":{:04X}", node.clients.port());
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_taken = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(&port) && fields[3] == "01" && fields[9] != "0"
    };
    connections.lines().skip(1).filter(is_taken).count()
}

#[tokio::test]
async fn a_client_in_the_middle_of_its_handshake_is_sent_away_too() {
    let redis = RedisProcess::start();
    let mut node =
        Node::start_on(&redis.url(), &[("FANFARE_CLOSE_TIMEOUT_MS", "120000"), ("FANFARE_DRAIN_S", "120")]).await;
    // Keeps the node from being done before the other one has spoken.
    let mut deaf = Client::connect(&node, &token("acme", "1")).await;
    deaf.stop_reading();
    let mut half = TcpStream::connect(node.clients).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nHost: fanfare\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    half.write_all(head.as_bytes()).await.unwrap();
    let mut waiting = TcpStream::connect(node.clients).await.unwrap();
    until("the node has taken both", async || taken(&node) == 3).await;
    node.signal("-TERM");
    node.logged("sending clients away").await;

    // Whoever offers no subprotocol of ours is told by a status.
    half.write_all(format!("Authorization: Bearer {}\r\n\r\n", token("acme", "2")).as_bytes()).await.unwrap();
    let answer = in_time("an answer", async {
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            answer.push(half.read_u8().await.unwrap());
        }
        Reply::parse(&answer)
    })
    .await;
    assert_eq!((answer.status, answer.code()), (503, "unavailable".to_owned()));
    assert_eq!(answer.json()["message"], "this node is draining");
    let request =
        format!("{head}Sec-WebSocket-Protocol: fanfare.v1.json, fanfare.token.{}\r\n\r\n", token("acme", "3"));
    waiting.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    in_time("the end", waiting.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains(r#"{"op":"disconnect","code":1012,"reason":"draining","reconnect":true"#), "{answer}");
    drop(waiting);
    deaf.read_on();
    expect_sent_away(&mut deaf).await;
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_node_leaves_while_redis_hangs() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "600000"), ("FANFARE_DRAIN_S", "3")];
    let mut node = Node::start_on(&redis.url(), &settings).await;
    let mut idle = Client::connect(&node, &token("acme", "1")).await;
    let mut busy = Client::connect(&node, &token("acme", "2")).await;
    redis.freeze();
    busy.send(&json!({ "op": "subscribe", "id": 1, "topic": "channel:orders" })).await;
    until("the node has the frame", async || node.metric("fanfare_frames_received_total").await >= 1.0).await;
    node.signal("-TERM");
    for client in [&mut idle, &mut busy] {
        expect_sent_away(client).await;
    }
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.log());
}

#[tokio::test]
async fn a_node_that_never_had_a_redis_leaves_as_any_other() {
    let redis = RedisProcess::not_started(&[]);
    let mut node = Node::start_unready_on(&redis.url(), &[]).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    node.signal("-TERM");
    expect_sent_away(&mut client).await;
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.log());
}

/// Answers one request for a key set, once it may.
async fn slow_issuer(listener: tokio::net::TcpListener, key_set: String, may_answer: oneshot::Receiver<()>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    may_answer.await.unwrap();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", key_set.len());
    stream.write_all((head + &key_set).as_bytes()).await.unwrap();
    // Until the node has read it.
    let _ = stream.read(&mut [0]).await;
}

#[tokio::test]
async fn a_client_whose_token_is_judged_while_the_node_leaves_is_sent_away_too() {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let [x, y] = [1..33, 33..65].map(|range| URL_SAFE_NO_PAD.encode(&pair.public_key_raw()[range]));
    let key_set = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "kid": "k1", "x": x, "y": y }] });
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let token = jsonwebtoken::encode(&header, &claims("acme", "1"), &key).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let (answer, may_answer) = oneshot::channel();
    tokio::spawn(slow_issuer(listener, key_set.to_string(), may_answer));
    let redis = RedisProcess::start();
    let settings = [
        ("FANFARE_JWT_HS256_SECRET", ""),
        ("FANFARE_JWT_JWKS_URL", &url),
        ("FANFARE_CLOSE_TIMEOUT_MS", "600000"),
        ("FANFARE_DRAIN_S", "600"),
    ];
    let mut node = Node::start_on(&redis.url(), &settings).await;
    // Keeps the node from being done before the other one is through.
    let mut early = Handshake::to(&node).open().await;
    early.stop_reading();
    let connecting = tokio::spawn(Handshake::to(&node).bearer(&token).open());
    until("both have a place", async || count(&node, "fanfare_connections_unauthenticated").await == "2").await;
    node.signal("-TERM");
    node.logged("sending clients away").await;
    answer.send(()).unwrap();
    let mut late = connecting.await.unwrap();
    expect_sent_away(&mut late).await;
    early.read_on();
    expect_sent_away(&mut early).await;
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_port_in_use_is_told_by_its_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for setting in ["FANFARE_LISTEN", "FANFARE_ADMIN_LISTEN", "FANFARE_API_LISTEN"] {
        let mut node = Node::spawn(SERVE, &[(setting, &address)]);
        assert_eq!(node.ended().await.code(), Some(1), "{setting}");
        let expected = format!("cannot listen on {address}: Address already in use (os error 98)");
        assert!(node.log().contains(&expected), "{setting}: {}", node.log());
    }
}

/// A client that watches the traffic, and goes where a balancer would send it.
struct Listener {
    client: Client,
    seen: Seen,
    user: usize,
}

async fn listener(node: &Node, user: usize, traffic: &Traffic) -> Listener {
    let mut client = Client::connect(node, &token("acme", &user.to_string())).await;
    let seen = Seen::from_subscribed(&mut client, traffic).await;
    Listener { client, seen, user }
}

impl Listener {
    /// It has seen everything up to its farewell, and goes on there.
    async fn moves(mut self, to: &Node, traffic: &Traffic) -> Listener {
        let told = self.seen.take_events(&mut self.client).await;
        assert_eq!((&told["op"], &told["code"]), (&"disconnect".into(), &1012.into()));
        assert_eq!(self.client.expect_close().await.0, Some(1012));
        listener(to, self.user, traffic).await
    }
}

#[tokio::test]
async fn a_rolling_restart_under_traffic_loses_nothing_of_a_subscription() {
    const CLIENTS: usize = 8;
    let redis = RedisProcess::start();
    let [mut a, mut b] = two_nodes(&redis, &[("FANFARE_DRAIN_DELAY_S", "1"), ("FANFARE_DRAIN_S", "10")]).await;
    let traffic = Traffic::start(&redis, "acme:channel:orders", None);
    let (mut on_a, mut on_b) = (Vec::new(), Vec::new());
    for user in 0..CLIENTS {
        let (node, clients) = if user % 2 == 0 { (&a, &mut on_a) } else { (&b, &mut on_b) };
        clients.push(listener(node, user, &traffic).await);
    }
    a.signal("-TERM");
    for listener in on_a {
        on_b.push(listener.moves(&b, &traffic).await);
    }
    assert_eq!(a.ended().await.code(), Some(0), "{}", a.log());
    let a = Node::start_on(&redis.url(), &[]).await;
    traffic.flows().await;
    b.signal("-TERM");
    let mut back_on_a = Vec::new();
    for listener in on_b {
        back_on_a.push(listener.moves(&a, &traffic).await);
    }
    assert_eq!(b.ended().await.code(), Some(0), "{}", b.log());
    traffic.flows().await;
    let (topic, last) = (traffic.topic().to_owned(), traffic.stop());
    for mut listener in back_on_a {
        listener.seen.take_until(&mut listener.client, &topic, last).await;
    }
}

#[tokio::test]
async fn a_crash_is_survived_by_the_clients_of_the_other_node() {
    let redis = RedisProcess::start();
    let [mut a, b] = two_nodes(&redis, &[]).await;
    let mut torn = subscriber(&a, &token("acme", "1"), "channel:orders").await;
    let traffic = Traffic::start(&redis, "acme:channel:orders", None);
    let mut staying = Client::connect(&b, &token("acme", "2")).await;
    let mut seen = Seen::from_subscribed(&mut staying, &traffic).await;
    traffic.flows().await;
    a.kill();
    while torn.next().await != Frame::End {}
    let mut moved = Client::connect(&b, &token("acme", "1")).await;
    let mut seen_by_moved = Seen::from_subscribed(&mut moved, &traffic).await;
    traffic.flows().await;
    let (topic, last) = (traffic.topic().to_owned(), traffic.stop());
    seen.take_until(&mut staying, &topic, last).await;
    seen_by_moved.take_until(&mut moved, &topic, last).await;
    // Nothing is left behind for the node that is gone.
    let (mut client, _) = welcomed(&b, &token("acme", "3")).await;
    assert_eq!(publish(&redis, "fanfare:acme:tenant", &event("after")), 1);
    assert_eq!(client.expect_event("tenant").await["type"], "after");
}

#[tokio::test]
async fn a_node_is_gone_with_its_last_client_whatever_others_have_to_send_away() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_DRAIN_DELAY_S", "1"), ("FANFARE_DRAIN_S", "600")];
    let mut node = Node::start_on(&redis.url(), &settings).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    // Of so many that this one client is no part worth naming; and something that is no report.
    let other = json!({ "node": "other", "version": "9", "uptime_s": 1, "connections": u64::MAX, "tenants": {}, "phase": "draining" });
    redis.command(&["SET", "fanfare:node:other", &other.to_string()]);
    redis.command(&["RPUSH", "fanfare:node:list", "x"]);
    for id in ["other", "list"] {
        redis.command(&["ZADD", "fanfare:nodes", "99999999999999", id]);
    }
    node.signal("-TERM");
    expect_sent_away(&mut client).await;
    assert_eq!(node.ended().await.code(), Some(0), "{}", node.log());
    let log = node.log();
    assert!(
        !log.contains("clients go faster")
            && log.contains("the report of a node can't be read key=\"fanfare:node:list\""),
        "{log}"
    );
}
