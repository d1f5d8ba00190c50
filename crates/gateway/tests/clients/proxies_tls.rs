//! Clients behind proxies count by their own address, which only trusted proxies may tell; and clients over TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::client::frame;
use crate::support::{Client, Handshake, Node, Reply, in_time, token, until};

/// The proxy of these stories, which is trusted, and another one, which is not.
const TRUSTED: [u8; 4] = [127, 0, 0, 1];
const UNTRUSTED: [u8; 4] = [127, 0, 0, 2];

async fn node() -> Node {
    Node::start(&[("FANFARE_TRUSTED_PROXIES", "127.0.0.1/32"), ("FANFARE_CONNECTIONS_PER_ADDRESS_MAX", "1")]).await
}

async fn connect_from(address: [u8; 4], node: &Node) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((address, 0))).unwrap();
    socket.connect(node.clients).await.unwrap()
}

/// What a proxy tells: bytes before the request, and a header of it.
type Told<'a> = (&'a [u8], Option<(&'a str, &'a str)>);

/// A client that a proxy at `address` connects, with what it writes before the request and into it.
async fn relayed(node: &Node, address: [u8; 4], before: &[u8], header: Option<(&str, &str)>) -> Client {
    let mut stream = connect_from(address, node).await;
    stream.write_all(before).await.unwrap();
    let handshake = Handshake::to(node).bearer(&token("acme", "ann"));
    let handshake = header.into_iter().fold(handshake, |handshake, (name, value)| handshake.header(name, value));
    handshake.over(Box::new(stream)).await.ok().unwrap()
}

/// Each of these ways is another client's address, and each address has one place.
async fn each_has_one_place(node: &Node, address: [u8; 4], ways: &[Told<'_>]) {
    let mut clients = Vec::new();
    for (before, header) in ways {
        let mut client = relayed(node, address, before, *header).await;
        client.expect("welcome").await;
        clients.push(client);
    }
    for (before, header) in ways {
        is_full(&mut relayed(node, address, before, *header).await).await;
    }
}

async fn is_full(client: &mut Client) {
    let told = client.expect_disconnect(1013).await;
    assert_eq!(told["reason"], "connections_per_address_max = 1 reached");
}

#[tokio::test]
async fn a_trusted_proxy_tells_the_address_by_a_header() {
    let node = node().await;
    let ways = [
        ("X-Forwarded-For", "198.51.100.1"),
        ("X-Forwarded-For", "198.51.100.2, 127.0.0.1"),
        ("x-forwarded-for", "2001:db8:0:1::1"),
        ("Forwarded", "for=198.51.100.3;proto=https"),
        ("Forwarded", "for=192.0.2.1, for=\"[2001:db8:0:2::1]:4711\""),
    ];
    each_has_one_place(&node, TRUSTED, &ways.map(|way| (&b""[..], Some(way)))).await;
    // Who has one IPv6 address has the whole network.
    let _one = relayed(&node, TRUSTED, b"", Some(("X-Forwarded-For", "2001:db8:0:3::1"))).await;
    is_full(&mut relayed(&node, TRUSTED, b"", Some(("X-Forwarded-For", "2001:db8:0:3:ffff::2"))).await).await;
    // What a client wrote itself stands to the left of what the proxy added.
    let _one = relayed(&node, TRUSTED, b"", Some(("X-Forwarded-For", "203.0.113.1, 198.51.100.9"))).await;
    is_full(&mut relayed(&node, TRUSTED, b"", Some(("X-Forwarded-For", "203.0.113.2, 198.51.100.9"))).await).await;
}

#[tokio::test]
async fn an_untrusted_proxy_is_the_client_whatever_it_says() {
    let node = node().await;
    let mut first = relayed(&node, UNTRUSTED, b"", Some(("X-Forwarded-For", "198.51.100.1"))).await;
    first.expect("welcome").await;
    for header in
        [("X-Forwarded-For", "198.51.100.2"), ("Forwarded", "for=198.51.100.3"), ("X-Forwarded-For", "127.0.0.1")]
    {
        is_full(&mut relayed(&node, UNTRUSTED, b"", Some(header)).await).await;
    }
    // It may not begin with a PROXY header either: to it that is no HTTP.
    let mut stream = connect_from(UNTRUSTED, &node).await;
    stream.write_all(&proxy_header([198, 51, 100, 4])).await.unwrap();
    stream.write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = in_time("the answer", stream.read_to_end(&mut answer)).await;
    assert_eq!(Reply::parse(&answer).status, 400);
}

/// A header of the PROXY protocol, version 2, over TCP and IPv4.
fn proxy_header(source: [u8; 4]) -> Vec<u8> {
    let addresses = [&source[..], &[127, 0, 0, 1], &[0x30, 0x39], &[0x1f, 0x90]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c", &addresses[..]].concat()
}

#[tokio::test]
async fn a_trusted_proxy_tells_the_address_by_the_proxy_protocol() {
    let node = node().await;
    let [one, two, trusted] = [[198, 51, 100, 1], [198, 51, 100, 2], TRUSTED].map(proxy_header);
    // LOCAL is the proxy's own connection: a health check.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec();
    // The address of a PROXY header may be that of a proxy in turn, whose headers are believed if it is trusted.
    let ways: [Told<'_>; 4] = [
        (&one, None),
        (&two, Some(("X-Forwarded-For", "198.51.100.1"))),
        (&trusted, Some(("X-Forwarded-For", "198.51.100.3"))),
        (&local, None),
    ];
    each_has_one_place(&node, TRUSTED, &ways).await;
    let mut too_long = proxy_header([198, 51, 100, 5]);
    too_long[14..16].copy_from_slice(&[0xff, 0xff]);
    let mut wrong_version = proxy_header([198, 51, 100, 5]);
    wrong_version[12] = 0x31;
    for broken in [too_long, wrong_version, proxy_header([198, 51, 100, 5])[..20].to_vec()] {
        let mut stream = connect_from(TRUSTED, &node).await;
        stream.write_all(&broken).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = in_time("the connection ends", stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty(), "{answer:?}");
    }
}

/// A certificate for `localhost` and its key, in files that a node is told of, and the certificate itself.
fn write_certificate(directory: &Path) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    // As `kubectl` or certbot would: first one file, then the other.
    std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(directory.join("certificate.pem"), certificate.pem()).unwrap();
    CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()
}

/// A node that serves TLS with the files of `directory`.
async fn tls_node(directory: &Path, settings: &[(&str, &str)]) -> Node {
    let [certificate, key] =
        ["certificate.pem", "key.pem"].map(|name| directory.join(name).to_str().unwrap().to_owned());
    let tls = [
        ("FANFARE_TLS_CERTIFICATE_FILE", certificate.as_str()),
        ("FANFARE_TLS_KEY_FILE", &key),
        ("FANFARE_RELOAD_INTERVAL_S", "1"),
        ("FANFARE_FRAMES_PER_MINUTE", "60000000"),
        ("FANFARE_FRAMES_BURST", "60000000"),
        ("FANFARE_PUBLISHES_PER_MINUTE", "60000000"),
        ("FANFARE_PUBLISHES_BURST", "60000000"),
    ];
    Node::start(&[&tls, settings].concat()).await
}

/// A TLS connection over `stream` to who has this certificate, and to nobody else.
async fn over_tls(stream: TcpStream, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    in_time("a TLS handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

async fn tls_client(node: &Node, trusted: &CertificateDer<'static>, user: &str) -> Client {
    let stream = over_tls(TcpStream::connect(node.clients).await.unwrap(), trusted).await.unwrap();
    let handshake = Handshake::to(node).bearer(&token("acme", user));
    let mut client = handshake.over(Box::new(stream)).await.ok().unwrap();
    client.expect("welcome").await;
    client
}

fn publish(event: &Value) -> Vec<u8> {
    frame(0x81, json!({ "op": "publish", "topic": "channel:a", "event": event }).to_string().as_bytes())
}

#[tokio::test]
async fn a_large_burst_arrives_complete_and_in_order_over_tls() {
    const EVENTS: u64 = 400;
    let directory = tempfile::tempdir().unwrap();
    let certificate = write_certificate(directory.path());
    let node = tls_node(directory.path(), &[("FANFARE_OUTBOX_BYTES_MAX", "16777216")]).await;
    let mut reader = tls_client(&node, &certificate, "ann").await;
    let mut late_reader = tls_client(&node, &certificate, "bob").await;
    let mut publisher = tls_client(&node, &certificate, "cy").await;
    for client in [&mut reader, &mut late_reader] {
        client.subscribe("channel:a").await;
    }
    late_reader.stop_reading();
    let padding = "x".repeat(20_000);
    for n in 0..EVENTS {
        publisher.send_raw(&publish(&json!({ "type": "burst", "data": n, "padding": padding }))).await;
    }
    for _ in 0..EVENTS {
        publisher.expect("published").await;
    }
    late_reader.read_on();
    for client in [&mut reader, &mut late_reader] {
        for n in 0..EVENTS {
            let event = client.expect_event("channel:a").await;
            assert_eq!((&event["data"], event["padding"].as_str().unwrap().len()), (&json!(n), padding.len()));
        }
        client.send_close(1000).await;
        assert_eq!(client.expect_close().await.0, Some(1000));
    }
}

#[tokio::test]
async fn a_slow_client_over_tls_is_closed_and_told_too() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = write_certificate(directory.path());
    let settings = [("FANFARE_OUTBOX_BYTES_MAX", "131072"), ("FANFARE_CLOSE_TIMEOUT_MS", "120000")];
    let node = tls_node(directory.path(), &settings).await;
    let mut slow = tls_client(&node, &certificate, "ann").await;
    let mut publisher = tls_client(&node, &certificate, "cy").await;
    slow.subscribe("channel:a").await;
    slow.stop_reading();
    let mut events = 0_u64;
    until("the client is closed", async || {
        for _ in 0..10 {
            publisher.send_raw(&publish(&json!({ "type": "t", "data": events, "padding": "x".repeat(32_000) }))).await;
            publisher.expect("published").await;
            events += 1;
        }
        node.metric("fanfare_limit_reached_total{limit=\"outbox_bytes_max\"}").await == 1.0
    })
    .await;
    slow.read_on();
    let mut received = 0;
    let told = loop {
        let message = slow.message().await;
        if message["op"] != "event" {
            break message;
        }
        assert_eq!(message["event"]["data"], received);
        received += 1;
    };
    assert_eq!(
        (&told["op"], &told["code"], &told["reason"]),
        (&json!("disconnect"), &json!(4413), &json!("outbox full"))
    );
    assert_eq!(slow.expect_close().await.0, Some(4413));
    assert!(received < events);
}

#[tokio::test]
async fn a_certificate_is_renewed_under_traffic_and_nobody_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let old = write_certificate(directory.path());
    let node = tls_node(directory.path(), &[]).await;
    let mut client = tls_client(&node, &old, "ann").await;
    let mut publisher = tls_client(&node, &old, "cy").await;
    client.subscribe("channel:a").await;
    let mut events = 0_u64;
    let mut traffic = async || {
        publisher.send_raw(&publish(&json!({ "type": "t", "data": events }))).await;
        publisher.expect("published").await;
        assert_eq!(client.expect_event("channel:a").await["data"], events);
        events += 1;
    };
    let is_served = async |certificate: &CertificateDer<'static>| {
        over_tls(TcpStream::connect(node.clients).await.unwrap(), certificate).await.is_ok()
    };
    let new = write_certificate(directory.path());
    until("the new certificate is served", async || {
        traffic().await;
        is_served(&new).await
    })
    .await;
    assert!(!is_served(&old).await);
    // A broken file changes nothing.
    std::fs::write(directory.path().join("certificate.pem"), "not a certificate").unwrap();
    node.logged("file changed and can't be used, the old content stays").await;
    traffic().await;
    tls_client(&node, &new, "bob").await;
    traffic().await;
}

#[tokio::test]
async fn who_does_not_speak_tls_or_says_nothing_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    write_certificate(directory.path());
    let node = tls_node(directory.path(), &[("FANFARE_HEADER_TIMEOUT_MS", "2000")]).await;
    for beginning in [&b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n"[..], b""] {
        let mut stream = TcpStream::connect(node.clients).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        let mut answer = Vec::new();
        let _ = in_time("the connection ends", stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_proxy_header_stands_before_tls() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = write_certificate(directory.path());
    let settings = [("FANFARE_TRUSTED_PROXIES", "127.0.0.1"), ("FANFARE_CONNECTIONS_PER_ADDRESS_MAX", "1")];
    let node = tls_node(directory.path(), &settings).await;
    let relayed = async |source: [u8; 4]| {
        let mut stream = TcpStream::connect(node.clients).await.unwrap();
        stream.write_all(&proxy_header(source)).await.unwrap();
        let stream = over_tls(stream, &certificate).await.unwrap();
        Handshake::to(&node).bearer(&token("acme", "ann")).over(Box::new(stream)).await.ok().unwrap()
    };
    let mut clients = [relayed([198, 51, 100, 1]).await, relayed([198, 51, 100, 2]).await];
    for client in &mut clients {
        client.expect("welcome").await;
    }
    is_full(&mut relayed([198, 51, 100, 1]).await).await;
}
