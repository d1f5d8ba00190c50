//! How clients are told of gaps: not all at once, and never more than they can take.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::outages::AT_ONCE;
use crate::support::{Client, Handshake, Node, RedisProcess, token};

#[tokio::test]
async fn gaps_are_spread_over_time() {
    const SPREAD: Duration = Duration::from_secs(6);
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_GAP_SPREAD_MS", "6000")]).await;
    let mut clients = Vec::new();
    for user in 0..30 {
        clients.push(Client::connect(&node, &token("acme", &user.to_string())).await);
    }
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let started = Instant::now();
    let waiting = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let (first, second) = (client.expect("gap").await, client.expect("gap").await);
            assert_ne!(first["topic"], second["topic"]);
            started.elapsed()
        })
    });
    let mut told = Vec::new();
    for waiting in waiting.collect::<Vec<_>>() {
        told.push(waiting.await.unwrap());
    }
    told.sort();
    // Thirty moments at random within the spread are hardly all in one half of it.
    let (first, last) = (told[0], told[told.len() - 1]);
    assert!(last.checked_sub(first).unwrap() > SPREAD / 2, "{told:?}");
}

/// A welcomed client over TLS, where nothing goes to the kernel past the outbox.
async fn over_tls(redis: &RedisProcess, settings: &[(&str, &str)]) -> (Node, Client, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let [certificate_file, key_file] = ["certificate.pem", "key.pem"].map(|name| directory.path().join(name));
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&certificate_file, cert.pem()).unwrap();
    fs::write(&key_file, signing_key.serialize_pem()).unwrap();
    let files = [
        ("FANFARE_TLS_CERTIFICATE_FILE", certificate_file.to_str().unwrap()),
        ("FANFARE_TLS_KEY_FILE", key_file.to_str().unwrap()),
    ];
    let node = Node::start_on(&redis.url(), &[&files, settings].concat()).await;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let stream = TcpStream::connect(node.clients).await.unwrap();
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let mut client = Handshake::to(&node).bearer(&token("acme", "1")).over(Box::new(stream)).await.ok().unwrap();
    client.expect("welcome").await;
    (node, client, directory)
}

#[tokio::test]
async fn a_client_with_thousands_of_topics_is_told_of_each_and_not_taken_for_a_slow_one() {
    const TOPICS: usize = 2_000;
    let redis = RedisProcess::start();
    // Less than all notices together.
    let (_node, mut client, _files) = over_tls(&redis, &[AT_ONCE, ("FANFARE_OUTBOX_BYTES_MAX", "131072")]).await;
    let names: Vec<_> = (0..TOPICS).map(|number| format!("channel:{number:0100}")).collect();
    for names in names.chunks(200) {
        let topics: Vec<_> = names.iter().map(|topic| json!({ "topic": topic })).collect();
        client.send(&json!({ "op": "subscribe", "topics": topics })).await;
        for _ in names {
            client.expect("subscribed").await;
        }
    }
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let mut expected: HashSet<String> = names.into_iter().chain(["tenant".to_owned(), "user:1".to_owned()]).collect();
    while !expected.is_empty() {
        let gap = client.expect("gap").await;
        assert!(expected.remove(gap["topic"].as_str().unwrap()), "twice: {gap}");
    }
    client.expect_nothing().await;
}
