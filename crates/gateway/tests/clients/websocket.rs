//! RFC 6455 over raw bytes: the opening handshake, what breaks the protocol, how a connection ends; and the echo server,
//! which runs on the same connection code.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::frame;
use crate::support::{Client, Frame, Handshake, Node, Reply, free_port, in_time, request, token, until};

/// What a node takes in one message, by default.
const MESSAGE_BYTES: usize = 65_536;

/// What RFC 6455 forbids, or this node: what it is, the bytes, the close code and the reason.
fn violations(message_bytes: usize) -> Vec<(String, Vec<u8>, u16, String)> {
    let mut unmasked = frame(0x81, b"x");
    unmasked[1] &= 0x7f;
    let over = vec![b'x'; message_bytes + 1];
    let half = vec![b'x'; message_bytes / 2 + 1];
    let too_large = format!("message over {message_bytes} bytes");
    let order = "continuation without a beginning, or a beginning inside a message";
    let bad_close = "close frame with a code that must not be sent";
    let cases = [
        ("unmasked", unmasked, 1002, "frame is not masked"),
        ("reserved bit 1", frame(0xc1, b"x"), 1002, "reserved bit set"),
        ("reserved bit 2", frame(0xa2, b"x"), 1002, "reserved bit set"),
        ("reserved bit 3 of a control frame", frame(0x99, b"x"), 1002, "reserved bit set"),
        ("reserved opcode", frame(0x83, b"x"), 1002, "reserved opcode 3"),
        ("reserved control opcode", frame(0x8f, b"x"), 1002, "reserved opcode 15"),
        ("length not in its shortest form", vec![0x81, 0xfe, 0, 1], 1002, "length not in its shortest form"),
        ("control frame over 125 bytes", frame(0x89, &[b'x'; 126]), 1002, "control frame over 125 bytes"),
        ("close frame over 125 bytes", frame(0x88, &[b'x'; 126]), 1002, "control frame over 125 bytes"),
        ("fragmented control frame", frame(0x09, b"x"), 1002, "control frame is fragmented"),
        ("continuation of nothing", frame(0x80, b"x"), 1002, order),
        ("message inside a message", [frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002, order),
        ("bad UTF-8", frame(0x81, b"\xc3\x28"), 1007, "text is not UTF-8"),
        ("surrogate in UTF-8", frame(0x81, b"\xed\xa0\x80"), 1007, "text is not UTF-8"),
        ("half a character at the end", frame(0x81, b"x\xc3"), 1007, "text is not UTF-8"),
        ("bad UTF-8 in a fragment", [frame(0x01, b"x"), frame(0x80, b"\xff")].concat(), 1007, "text is not UTF-8"),
        ("text too large", frame(0x81, &over), 1009, &too_large),
        ("binary too large", frame(0x82, &over), 1009, &too_large),
        ("too large by fragments", [frame(0x01, &half), frame(0x80, &half)].concat(), 1009, &too_large),
        ("2 GiB announced", vec![0x82, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0], 1009, &too_large),
        ("half a close code", frame(0x88, &[3]), 1002, bad_close),
        ("close reason that is no text", frame(0x88, b"\x03\xe8\xff"), 1007, "text is not UTF-8"),
    ];
    let cases = cases.map(|(name, bytes, code, reason)| (name.to_owned(), bytes, code, reason.to_owned()));
    let codes = [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65_535];
    let closes = codes
        .map(|code: u16| (format!("close code {code}"), frame(0x88, &code.to_be_bytes()), 1002, bad_close.to_owned()));
    cases.into_iter().chain(closes).collect()
}

#[tokio::test]
async fn what_breaks_the_protocol_is_told_then_closed_with_its_code() {
    let node = Node::start(&[]).await;
    for (name, bytes, code, reason) in violations(MESSAGE_BYTES) {
        let mut client = Client::connect(&node, &token("acme", "ann")).await;
        client.send_raw(&bytes).await;
        let told = client.message().await;
        let expected = json!({ "op": "disconnect", "code": code, "reason": reason, "reconnect": false, "after_ms": 0 });
        assert_eq!(told, expected, "{name}");
        assert_eq!(client.expect_close().await, (Some(code), reason), "{name}");
    }
    assert_eq!(node.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_message_of_exactly_the_limit_passes_whole_or_in_fragments() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &token("acme", "ann")).await;
    let mut message = json!({ "op": "ping", "padding": "" }).to_string();
    message.insert_str(message.find("\"\"").unwrap() + 1, &"é".repeat((MESSAGE_BYTES - message.len()) / 2));
    message.push_str(&" ".repeat(MESSAGE_BYTES - message.len()));
    client.send_text(&message).await;
    client.expect("pong").await;
    // A character may be split between fragments, and a ping may come in between.
    let (first, rest) = message.as_bytes().split_at(message.find('é').unwrap() + 1);
    client.send_raw(&[frame(0x01, first), frame(0x89, b"now"), frame(0x00, b""), frame(0x80, rest)].concat()).await;
    assert_eq!(client.next().await, Frame::Pong(b"now".to_vec()));
    client.expect("pong").await;
}

#[tokio::test]
async fn a_message_of_the_wrong_kind_is_told_then_closed_with_1003() {
    let node = Node::start(&[]).await;
    let token = token("acme", "ann");
    let mut json = Client::connect(&node, &token).await;
    json.send_frame(0x82, b"{\"op\":\"ping\"}").await;
    assert_eq!(json.expect_disconnect(1003).await["reason"], "binary message on fanfare.v1.json");
    let mut msgpack = Client::connect_msgpack(&node, &token).await;
    msgpack.send_frame(0x81, b"{\"op\":\"ping\"}").await;
    assert_eq!(msgpack.expect_disconnect(1003).await["reason"], "text message on fanfare.v1.msgpack");
}

#[tokio::test]
async fn a_close_is_echoed_and_nothing_after_it_counts() {
    let node = Node::start(&[]).await;
    for code in [1000, 1001, 1011, 1013, 3000, 3999, 4000, 4999] {
        let mut client = Client::connect(&node, &token("acme", "ann")).await;
        client.send_close(code).await;
        assert_eq!(client.next().await, Frame::Close(Some(code), String::new()));
        assert_eq!(client.next().await, Frame::End);
    }
    let mut client = Client::connect(&node, &token("acme", "ann")).await;
    client.send_frame(0x88, b"").await;
    assert_eq!(client.next().await, Frame::Close(None, String::new()));
    assert_eq!(client.next().await, Frame::End);

    let mut witness = Client::connect(&node, &token("acme", "bob")).await;
    let mut client = Client::connect(&node, &token("acme", "ann")).await;
    let late = json!({ "op": "publish", "id": 1, "topic": "tenant", "event": { "type": "late" } }).to_string();
    let close = frame(0x88, b"\x03\xe8bye");
    client.send_raw(&[close, frame(0x81, late.as_bytes()), frame(0x83, b"")].concat()).await;
    assert_eq!(client.next().await, Frame::Close(Some(1000), String::new()));
    assert_eq!(client.next().await, Frame::End);
    drop(client);
    until("all but the witness have gone", async || node.metric("fanfare_connections{tenant=\"acme\"}").await == 1.0)
        .await;
    assert_eq!(node.publish("acme", "tenant", "{\"type\":\"in.time\"}").await.status, 200);
    assert_eq!(witness.expect_event("tenant").await["type"], "in.time");
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload_and_a_pong_with_nothing() {
    let node = Node::start(&[]).await;
    let mut client = Client::connect(&node, &token("acme", "ann")).await;
    for payload in [&b""[..], b"\x00\xff payload", &[b'x'; 125]] {
        client.send_frame(0x89, payload).await;
        assert_eq!(client.next().await, Frame::Pong(payload.to_vec()));
    }
    client.send_frame(0x8a, b"nobody asked").await;
    client.expect_nothing().await;
}

/// Sends `bytes` on a connection of its own and reads to its end.
async fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A node that is sure of its answer may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = in_time("the connection ends", stream.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test]
async fn what_comes_in_one_piece_with_the_handshake_is_handled() {
    let node = Node::start(&[]).await;
    let handshake = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let auth = json!({ "op": "auth", "token": token("acme", "ann") }).to_string();
    let ping = json!({ "op": "ping", "padding": "x".repeat(20_000) }).to_string();
    let frames = [frame(0x81, auth.as_bytes()), frame(0x81, ping.as_bytes()), frame(0x88, b"\x03\xe8")].concat();
    let answer = raw(node.clients, &[handshake.as_bytes(), &frames].concat()).await;
    let text = String::from_utf8_lossy(&answer);
    let [agreed, welcome, answered] =
        ["101 Switching Protocols", "\"op\":\"welcome\"", "{\"op\":\"pong\"}"].map(|part| text.find(part));
    assert!(agreed.is_some() && agreed < welcome && welcome < answered, "{text}");
    assert!(answer.ends_with(b"\x88\x02\x03\xe8"), "{answer:?}");
}

#[tokio::test]
async fn garbage_instead_of_http_is_answered_400_and_closed() {
    let node = Node::start(&[]).await;
    // Something of no protocol, a TLS hello, a NUL in a header.
    for bytes in
        [&b"\x00\x01\x02 hello\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00", b"GET /ws HTTP/1.1\r\nX: a\x00b\r\n\r\n"]
    {
        let answer = raw(node.clients, bytes).await;
        assert_eq!(Reply::parse(&answer).status, 400, "{bytes:?}");
    }
    let endless = [&b"GET /ws HTTP/1.1\r\nX: "[..], &vec![b'x'; 1 << 20]].concat();
    let answer = raw(node.clients, &endless).await;
    // The answer to a head that is too long may be overtaken by a reset: more of it was still coming.
    assert!(answer.is_empty() || Reply::parse(&answer).status == 431, "{:?}", String::from_utf8_lossy(&answer));
    assert_eq!(node.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn who_does_not_complete_a_request_in_time_is_closed_and_clients_are_not() {
    let header_timeout = Duration::from_secs(2);
    let node = Node::start(&[("FANFARE_HEADER_TIMEOUT_MS", "2000")]).await;
    let mut client = Client::connect(&node, &token("acme", "ann")).await;
    for beginning in [&b""[..], b"GET /ws HTTP/1.1\r\nHost: a\r\n"] {
        let started = Instant::now();
        let answer = raw(node.clients, beginning).await;
        assert!(answer.is_empty() || Reply::parse(&answer).status == 408, "{answer:?}");
        assert!(started.elapsed() >= header_timeout, "{:?}", started.elapsed());
    }
    // A byte now and then doesn't buy time.
    let (started, mut stream) = (Instant::now(), TcpStream::connect(node.clients).await.unwrap());
    let mut drip = tokio::time::interval(Duration::from_millis(20));
    let mut byte = [0];
    stream.write_all(b"GET /ws HTTP/1.1\r\nX: ").await.unwrap();
    in_time("the slow connection ends", async {
        loop {
            tokio::select! {
                read = stream.read(&mut byte) => if matches!(read, Ok(0) | Err(_)) { break },
                _ = drip.tick() => if stream.write_all(b"x").await.is_err() { break },
            }
        }
    })
    .await;
    assert!(started.elapsed() >= header_timeout);
    client.expect_nothing().await;
}

#[tokio::test]
async fn what_is_no_websocket_handshake_is_answered_with_a_status() {
    let node = Node::start(&[]).await;
    let bearer = format!("Bearer {}", token("acme", "ann"));
    let reply = request(node.clients, "GET", "/ws", &[("Authorization", &bearer)], b"").await;
    assert_eq!((reply.status, reply.header("upgrade")), (426, Some("websocket")));
    let message = "this is a WebSocket endpoint: connect with ws:// or wss://";
    assert_eq!(reply.json(), json!({ "code": "bad_request", "message": message }));

    let reply = request(node.clients, "POST", "/ws", &[], b"{}").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET")));
    assert_eq!(reply.json(), json!({ "code": "bad_request", "message": "use GET" }));

    let reply = request(node.clients, "GET", "/elsewhere", &[], b"").await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.json(), json!({ "code": "not_found", "message": "clients connect at /ws" }));
}

#[tokio::test]
async fn another_version_of_websocket_is_told_which_one_is_spoken() {
    let node = Node::start(&[]).await;
    let handshake = async |headers: &str| {
        let start = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n";
        Reply::parse(&raw(node.clients, format!("{start}{headers}\r\n").as_bytes()).await)
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for version in ["Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 13, 8\r\n", ""] {
        let reply = handshake(&format!("{version}{key}")).await;
        assert_eq!((reply.status, reply.header("sec-websocket-version")), (426, Some("13")), "{version:?}");
        assert_eq!(reply.header("upgrade"), Some("websocket"));
        let message = "only version 13 of the WebSocket protocol is spoken here";
        assert_eq!(reply.json(), json!({ "code": "bad_request", "message": message }));
    }
    let reply = handshake("Sec-WebSocket-Version: 13\r\n").await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.json(), json!({ "code": "bad_request", "message": "Sec-WebSocket-Key is missing" }));
}

#[tokio::test]
async fn the_first_subprotocol_that_is_spoken_here_is_agreed_and_a_token_never_echoed() {
    let node = Node::start(&[]).await;
    let token = token("acme", "ann");
    let with_token = format!("fanfare.token.{token}, fanfare.v1.msgpack");
    let cases: [(&[&str], Option<&str>); 8] = [
        (&["fanfare.v1.json"], Some("fanfare.v1.json")),
        (&["fanfare.v1.msgpack"], Some("fanfare.v1.msgpack")),
        (&["fanfare.v1.msgpack, fanfare.v1.json"], Some("fanfare.v1.msgpack")),
        (&["chat", "fanfare.v1.json"], Some("fanfare.v1.json")),
        (&[&with_token], Some("fanfare.v1.msgpack")),
        (&["chat, fanfare.v2.json"], None),
        (&[&with_token[..with_token.find(',').unwrap()]], None),
        (&[], None),
    ];
    for (offered, agreed) in cases {
        let handshake = Handshake::to(&node).without("Sec-WebSocket-Protocol");
        let handshake =
            offered.iter().fold(handshake, |handshake, one| handshake.header("Sec-WebSocket-Protocol", one));
        let client = handshake.open().await;
        let headers = &client.reply.headers;
        let echoed: Vec<_> = headers.iter().filter(|(name, _)| name == "sec-websocket-protocol").collect();
        assert_eq!(
            echoed.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
            Vec::from_iter(agreed),
            "{offered:?}"
        );
        assert!(headers.iter().all(|(_, value)| !value.contains(&token)));
    }
    // Nothing offered is JSON.
    let mut client = Handshake::to(&node).without("Sec-WebSocket-Protocol").bearer(&token).open().await;
    client.expect("welcome").await;
}

/// `fanfare echo`, which ends when it is dropped, and where it listens.
async fn echo(message_bytes: usize) -> (Node, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let arguments = ["echo", "--listen", &address.to_string(), "--message-bytes", &message_bytes.to_string()];
    let server = Node::spawn(&arguments, &[]);
    until("the echo server listens", async || TcpStream::connect(address).await.is_ok()).await;
    (server, address)
}

#[tokio::test]
async fn the_echo_server_sends_back_what_it_gets() {
    let (_server, address) = echo(1_024).await;
    let mut client = Handshake::to_address(address).without("Sec-WebSocket-Protocol").open().await;
    for text in ["", "hello, wörld", &"x".repeat(125), &"x".repeat(126), &"x".repeat(1_024)] {
        client.send_text(text).await;
        assert_eq!(client.text().await, text);
    }
    client.send_frame(0x82, &[0xff; 300]).await;
    assert_eq!(client.next().await, Frame::Binary(vec![0xff; 300]));
    let fragments = [frame(0x01, b"one "), frame(0x89, b"?"), frame(0x00, b"mess"), frame(0x80, b"age")].concat();
    client.send_raw(&fragments).await;
    assert_eq!(client.next().await, Frame::Pong(b"?".to_vec()));
    assert_eq!(client.text().await, "one message");
    client.send_close(4_321).await;
    assert_eq!(client.next().await, Frame::Close(Some(4_321), String::new()));
    assert_eq!(client.next().await, Frame::End);
}

#[tokio::test]
async fn the_echo_server_closes_violations_with_a_bare_close_frame() {
    let (_server, address) = echo(1_024).await;
    for (name, bytes, code, reason) in violations(1_024) {
        let mut client = Handshake::to_address(address).without("Sec-WebSocket-Protocol").open().await;
        client.send_raw(&bytes).await;
        assert_eq!(client.expect_close().await, (Some(code), reason), "{name}");
    }
    assert_eq!(request(address, "GET", "/", &[], b"").await.status, 400);
}
