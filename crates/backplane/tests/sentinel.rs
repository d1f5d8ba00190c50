//! A node whose Redis is watched by real Sentinels: it finds the primary, and goes with it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::time::Duration;

use fanfare_backplane::{Backplane, RedisConfig, State};
use fanfare_protocol::TopicKey;

use support::fake_server;
use support::node::{Node, config, message, topic};
use support::redis_server::{RedisProcess, free_port, wait_until};
use support::sentinel::{NAME, SentinelProcess, Watched, url};

fn orders() -> TopicKey {
    topic("acme:channel:orders")
}

/// A node that is up and has one topic confirmed.
async fn settled(config: RedisConfig) -> Node {
    let mut node = Node::new(Backplane::redis(config));
    node.want(&[orders()]).await;
    node.until_state(State::is_up).await;
    node
}

/// The node is subscribed and publishes on this server.
async fn assert_is_on(node: &mut Node, server: &RedisProcess) {
    wait_until("the node is subscribed there", || {
        server.command(&["PUBSUB", "NUMSUB", "fanfare:acme:channel:orders"]).ends_with("\n1")
    });
    node.until_state(State::is_up).await;
    server.command(&["PUBLISH", "fanfare:acme:channel:orders", "from the server"]);
    node.until(&message(&orders(), "from the server")).await;
    node.publish_when_possible(&orders(), "from the node").await;
    node.until(&message(&orders(), "from the node")).await;
}

/// Why the node can't connect.
async fn error_of(config: RedisConfig) -> String {
    let node = Node::new(Backplane::redis(config));
    let state = node.until_state(|state| *state != State::Connecting { error: None }).await;
    let State::Connecting { error: Some(error) } = state else { panic!("not an error: {state:?}") };
    assert!(!error.contains("hunter2"), "{error}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sentinel_of_many_that_answers_is_enough() {
    let primary = RedisProcess::start();
    let sentinel = SentinelProcess::start(primary.port(), &[]);
    let mut node = settled(config(&url(&[free_port(), free_port(), sentinel.port()]))).await;
    assert_is_on(&mut node, &primary).await;
    // Nobody is left to ask, and the server is as good as before.
    drop(sentinel);
    for _ in 0..20 {
        node.publish(&orders(), "without Sentinel").await;
        assert_eq!(node.next().await, message(&orders(), "without Sentinel"));
        let before = node.backplane.delivery().unwrap().proved;
        wait_until("time passes", || node.backplane.delivery().unwrap().proved > before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_on_demand_takes_both_connections_along() {
    let watched = Watched::start();
    let mut node = settled(config(&watched.url())).await;
    assert_is_on(&mut node, &watched.primary).await;
    assert_eq!(watched.sentinel.command(&["SENTINEL", "FAILOVER", NAME]), "OK");
    let reason = node.until_down().await;
    assert!(reason.starts_with(&watched.url()), "{reason}");
    assert_is_on(&mut node, &watched.replica).await;
    watched.until_failed_over();
    assert_eq!(watched.primary.command(&["PUBSUB", "CHANNELS", "fanfare:*"]), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_dies_is_replaced() {
    let mut watched = Watched::start();
    let mut node = settled(config(&watched.url())).await;
    // First to see it gone, and then to see it replaced.
    watched.primary.kill();
    node.until_down().await;
    let port = watched.primary.port();
    let expected = format!("{}: the primary that Sentinel names, 127.0.0.1:{port}: connection refused", watched.url());
    node.until_state(|state| matches!(state, State::Down { error } if error.starts_with(&expected))).await;
    watched.sentinel.loses_patience();
    watched.until_failed_over();
    assert_is_on(&mut node, &watched.replica).await;
    // It comes back as a primary, since nobody could tell it otherwise, and nobody goes back to it.
    watched.primary.start_again();
    assert!(watched.primary.command(&["ROLE"]).starts_with("master"));
    node.publish(&orders(), "undisturbed").await;
    assert_eq!(node.next().await, message(&orders(), "undisturbed"));
    assert_eq!(watched.primary.command(&["PUBSUB", "CHANNELS", "fanfare:*"]), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_that_thaws_is_not_believed() {
    let watched = Watched::start();
    let mut patient = config(&watched.url());
    // It would be waited for much longer than the failover takes.
    patient.response_timeout = Duration::from_mins(2);
    let mut node = settled(patient).await;
    watched.primary.freeze();
    watched.sentinel.loses_patience();
    let reason = node.until_down().await;
    let (old, new) = (watched.primary.port(), watched.replica.port());
    let expected = format!("Sentinel names 127.0.0.1:{new} as the primary, no longer 127.0.0.1:{old}");
    assert!(reason.ends_with(&expected), "{reason}");
    assert_is_on(&mut node, &watched.replica).await;
    watched.primary.thaw();
    // For as long as nobody has told it, it takes this for its own business.
    assert!(watched.primary.command(&["ROLE"]).starts_with("master"));
    watched.primary.command(&["PUBLISH", "fanfare:acme:channel:orders", "stale"]);
    assert_eq!(watched.primary.command(&["PUBSUB", "CHANNELS", "fanfare:*"]), "");
    node.publish(&orders(), "fresh").await;
    assert_eq!(node.next().await, message(&orders(), "fresh"));
}

/// A Sentinel that names a server, as of this configuration, and takes its time. Returns its port.
fn opinionated(primary: &RedisProcess, epoch: &str, takes: Duration) -> u16 {
    let port = primary.port().to_string();
    let address = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
    let fields = format!("%1\r\n$12\r\nconfig-epoch\r\n${}\r\n{epoch}\r\n", epoch.len());
    let url = fake_server::listen(move |words| {
        Some(match (words[0].as_str(), words.get(1).map(String::as_str)) {
            ("HELLO", _) => fake_server::hello("7.0.15", "sentinel"),
            ("SENTINEL", Some("GET-MASTER-ADDR-BY-NAME")) => {
                std::thread::sleep(takes);
                address.clone()
            }
            ("SENTINEL", _) => fields.clone(),
            _ => "+OK\r\n".to_owned(),
        })
    });
    url.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_that_missed_a_failover_is_not_believed_where_another_knows_better() {
    let (old, new) = (RedisProcess::start(), RedisProcess::start());
    let stale = opinionated(&old, "9", Duration::ZERO);
    let newer = opinionated(&new, "10", Duration::from_millis(20));
    let mut node = settled(config(&url(&[stale, newer]))).await;
    assert_is_on(&mut node, &new).await;

    // By itself it is believed only as far as the server it names agrees.
    old.command(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    let error = error_of(config(&url(&[stale]))).await;
    assert!(
        error.contains("it is a replica: a failover is under way, or this Sentinel does not know of it"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_sentinels_is_told_with_the_fix() {
    let mut primary = RedisProcess::start();
    let sentinel = SentinelProcess::start(primary.port(), &[]);

    let port = free_port();
    let error = error_of(config(&url(&[port]))).await;
    let expected = format!("no Sentinel answers; are their addresses right? 127.0.0.1:{port}: connection refused");
    assert!(error.contains(&expected), "{error}");

    let misnamed = format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port());
    let error = error_of(config(&misnamed)).await;
    assert!(error.starts_with(&misnamed) && error.contains("the Sentinels know no primary `other`"), "{error}");

    let error = error_of(config(&url(&[primary.port()]))).await;
    assert!(error.contains("it is no Sentinel: give the addresses of the Sentinels"), "{error}");

    let error = error_of(config(&format!("redis://127.0.0.1:{}", sentinel.port()))).await;
    assert!(error.contains("it is a Sentinel: write redis+sentinel://"), "{error}");

    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut hasty = config(&url(&[silent.local_addr().unwrap().port()]));
    hasty.response_timeout = Duration::from_millis(300);
    let error = error_of(hasty).await;
    assert!(error.contains("it answered nothing within 300ms"), "{error}");

    primary.kill();
    let error = error_of(config(&url(&[sentinel.port()]))).await;
    let expected = format!("the primary that Sentinel names, 127.0.0.1:{}: connection refused", primary.port());
    assert!(error.contains(&expected), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_and_the_sentinels_have_passwords_of_their_own() {
    let primary = RedisProcess::start_with(&["--requirepass", "hunter2-server"]);
    let auth = format!("sentinel auth-pass {NAME} hunter2-server");
    let sentinel = SentinelProcess::start(primary.port(), &["requirepass hunter2-sentinel", &auth]);
    let url = format!("redis+sentinel://:hunter2-server@127.0.0.1:{}/{NAME}", sentinel.port());
    let error = error_of(config(&url)).await;
    assert!(error.contains("the Sentinel wants a password: put it into the Sentinel password file"), "{error}");

    let file = primary.directory().join("sentinel-password");
    std::fs::write(&file, "hunter2-wrong\n").unwrap();
    let mut with_file = config(&url);
    with_file.sentinel_password_file = Some(file.clone());
    let error = error_of(with_file.clone()).await;
    assert!(error.contains("the Sentinel does not accept the password"), "{error}");
    std::fs::write(&file, "hunter2-sentinel\n").unwrap();
    let mut node = settled(with_file.clone()).await;
    node.publish_when_possible(&orders(), "hello").await;
    assert_eq!(node.next().await, message(&orders(), "hello"));

    with_file.server = fanfare_backplane::RedisServer::parse(&url.replace("hunter2-server", "hunter2-wrong")).unwrap();
    let error = error_of(with_file).await;
    let named = format!("the primary that Sentinel names, 127.0.0.1:{}: it does not accept", primary.port());
    assert!(error.contains(&named), "{error}");
}
