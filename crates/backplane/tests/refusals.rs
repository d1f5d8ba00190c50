//! What a node is told when a Redis doesn't want it, or isn't one: errors that name the fix and no secret.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use fanfare_backplane::{Backplane, PublishError, RedisConfig, State};

use support::fake_server;
use support::node::{Node, Told, config, message, topic};
use support::redis_server::{RedisProcess, free_port, wait_until};

/// The error that a node shows while it can't connect. It must go on trying, so it is looked at twice.
async fn error_of(config: RedisConfig) -> String {
    let node = Node::new(Backplane::redis(config));
    let state = node.until_state(|state| *state != State::Connecting { error: None }).await;
    let State::Connecting { error: Some(error) } = state else { panic!("not an error: {state:?}") };
    assert!(!error.contains("hunter2"), "{error}");
    assert_eq!(node.backplane.publish(&topic("acme:tenant"), Bytes::new()).await, Err(PublishError::Unavailable));
    error
}

/// Everything that this suite logs, at every level.
fn log() -> &'static Log {
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).init();
        log
    });
    &LOG
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_missing_password_is_asked_for() {
    let server = RedisProcess::start_with(&["--requirepass", "hunter2"]);
    let error = error_of(config(&server.url())).await;
    assert!(
        error
            .ends_with("it wants a password: put one into the URL (redis://user:password@…) or into the password file")
    );
}

#[tokio::test]
async fn a_wrong_password_is_told_and_never_shown() {
    let log = log();
    let server = RedisProcess::start_with(&["--requirepass", "correct"]);
    let wrong = config(&server.url_with("default", "hunter2"));
    assert!(!format!("{wrong:?}").contains("hunter2"));
    let error = error_of(wrong).await;
    let expected = "it does not accept the user name or the password: correct the URL or the password file";
    assert_eq!(error, format!("{}: {expected}", server.url()));
    assert!(log.text().contains(&error), "{}", log.text());
    assert!(!log.text().contains("hunter2"), "{}", log.text());
}

#[tokio::test]
async fn a_rotated_password_is_read_from_its_file() {
    let server = RedisProcess::start_with(&["--requirepass", "first"]);
    let file = server.directory().join("password");
    std::fs::write(&file, "first\n").unwrap();
    let mut with_file = config(&server.url());
    with_file.password_file = Some(file.clone());
    let mut node = Node::new(Backplane::redis(with_file));
    let orders = topic("acme:channel:orders");
    node.want(std::slice::from_ref(&orders)).await;
    node.until_state(State::is_up).await;

    server.command_as(Some("first"), &["CONFIG", "SET", "requirepass", "second"]);
    server.command_as(Some("second"), &["CLIENT", "KILL", "TYPE", "pubsub"]);
    node.until_down().await;
    node.until_state(
        |state| matches!(state, State::Down { error } if error.contains("correct the URL or the password file")),
    )
    .await;
    std::fs::write(&file, "second\n").unwrap();
    assert_eq!(node.next().await, Told::Up(false));
    node.until_confirmed(std::slice::from_ref(&orders)).await;
    node.until_state(State::is_up).await;
}

#[tokio::test]
async fn a_password_file_that_is_not_there_is_named() {
    let server = RedisProcess::start();
    let mut with_file = config(&server.url());
    with_file.password_file = Some("/nowhere/password".into());
    let error = error_of(with_file).await;
    assert!(error.contains("can't read the password file /nowhere/password: No such file"), "{error}");
}

#[tokio::test]
async fn channels_that_an_acl_denies_are_refused_and_no_others() {
    let server = RedisProcess::start();
    server.command(&[
        "ACL",
        "SETUSER",
        "node",
        "on",
        ">hunter2",
        "+@all",
        "resetchannels",
        "&fanfare:acme:*",
        "&fanfare:node:*",
    ]);
    let mut node = Node::new(Backplane::redis(config(&server.url_with("node", "hunter2"))));
    assert_eq!(node.next().await, Told::Up(true));
    // Among many in one command, so that the denied ones must be found.
    let allowed: Vec<_> = (0..1_500).map(|number| topic(&format!("acme:channel:{number}"))).collect();
    let denied: Vec<_> = (0..3).map(|number| topic(&format!("rival:channel:{number}"))).collect();
    let mixed: Vec<_> = allowed[..700].iter().chain(&denied).chain(&allowed[700..]).cloned().collect();
    node.backplane.want(&mixed);
    let (mut confirmed, mut refused) = (Vec::new(), Vec::new());
    while confirmed.len() + refused.len() < mixed.len() {
        match node.next().await {
            Told::Confirmed(topic) => confirmed.push(topic),
            Told::Refused(topic, error) => {
                assert!(error.starts_with("NOPERM "), "{error}");
                refused.push(topic);
            }
            other => panic!("{other:?}"),
        }
    }
    confirmed.sort();
    refused.sort();
    let mut expected = allowed;
    expected.sort();
    assert_eq!(refused, denied);
    assert_eq!(confirmed, expected);
    node.until_state(State::is_up).await;

    // Wanted again, it is tried again.
    server.command(&["ACL", "SETUSER", "node", "&fanfare:rival:*"]);
    node.backplane.want(&denied[..1]);
    assert_eq!(node.next().await, Told::Confirmed(denied[0].clone()));
}

#[tokio::test]
async fn a_publish_that_an_acl_denies_is_refused_in_the_servers_words() {
    let server = RedisProcess::start();
    server.command(&[
        "ACL",
        "SETUSER",
        "node",
        "on",
        ">hunter2",
        "+@all",
        "resetchannels",
        "&fanfare:acme:*",
        "&fanfare:node:*",
    ]);
    let node = Node::new(Backplane::redis(config(&server.url_with("node", "hunter2"))));
    node.publish_when_possible(&topic("acme:tenant"), "{}").await;
    let error = node.backplane.publish(&topic("rival:tenant"), Bytes::new()).await.unwrap_err();
    assert!(matches!(&error, PublishError::Refused(words) if words.starts_with("NOPERM ")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_fewest_rights_is_enough() {
    let server = RedisProcess::start();
    let rights = ["-@all", "+subscribe", "+publish", "resetchannels", "&fanfare:*"];
    server.command(&[&["ACL", "SETUSER", "node", "on", ">hunter2"], &rights[..]].concat());
    let mut node = Node::new(Backplane::redis(config(&server.url_with("node", "hunter2"))));
    let orders = topic("acme:channel:orders");
    node.want(std::slice::from_ref(&orders)).await;
    node.until_state(State::is_up).await;
    // It may not even unsubscribe, so the subscription goes on and is there when it is wanted again.
    node.backplane.unwant(std::slice::from_ref(&orders));
    wait_until("the refused command has been counted", || {
        server
            .command(&["INFO", "commandstats"])
            .lines()
            .any(|line| line.starts_with("cmdstat_unsubscribe") && line.contains("rejected_calls=1"))
    });
    node.want(std::slice::from_ref(&orders)).await;
    node.publish_when_possible(&orders, "hello").await;
    assert_eq!(node.next().await, message(&orders, "hello"));
}

#[tokio::test]
async fn a_redis_before_7_is_too_old() {
    let ancient = fake_server::listen(|words| {
        let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`,")).collect();
        Some(format!("-ERR unknown command {}\r\n", quoted.join(" ")))
    });
    let error = error_of(config(&ancient)).await;
    assert!(error.ends_with("version 5 or older is too old: Redis 7 or newer, or Valkey, is needed"), "{error}");

    let quotes_otherwise =
        fake_server::listen(|words| Some(format!("-ERR unknown command '{}'\r\n", words.join("' '"))));
    let error = error_of(config(&quotes_otherwise)).await;
    assert!(error.ends_with("version 5 or older is too old: Redis 7 or newer, or Valkey, is needed"), "{error}");

    let old = fake_server::listen(|_| Some(fake_server::hello("6.2.14", "standalone")));
    let error = error_of(config(&old)).await;
    assert!(error.ends_with("version 6.2.14 is too old: Redis 7 or newer, or Valkey, is needed"), "{error}");
}

#[tokio::test]
async fn an_error_that_repeats_the_password_is_cleaned() {
    let talkative = fake_server::listen(|words| Some(format!("-ERR I was sent {}\r\n", words.join(" "))));
    let error = error_of(config(&talkative)).await;
    assert!(error.ends_with("it answered: ERR I was sent HELLO 3 AUTH default [hidden]"), "{error}");
}

#[tokio::test]
async fn servers_that_this_version_cant_use_are_named() {
    let sentinel = fake_server::listen(|_| Some(fake_server::hello("7.0.15", "sentinel")));
    let error = error_of(config(&sentinel)).await;
    assert!(error.contains("it is a Sentinel: write redis+sentinel://"), "{error}");

    let cluster = RedisProcess::start_with(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
    let error = error_of(config(&cluster.url())).await;
    assert!(error.contains("it is a node of a Redis Cluster: write redis+cluster://host:port,host:port"), "{error}");

    let primary = RedisProcess::start();
    let replica = RedisProcess::start_with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    let error = error_of(config(&replica.url())).await;
    assert!(error.contains("it is a replica"), "{error}");
}

#[tokio::test]
async fn what_is_no_redis_is_told_so() {
    let web = fake_server::listen(|_| Some("HTTP/1.1 400 Bad Request\r\n\r\n".to_owned()));
    let error = error_of(config(&web)).await;
    assert!(error.ends_with("it does not speak the Redis protocol: is this the address of a Redis?"), "{error}");

    let closes = fake_server::listen(|_| None);
    let error = error_of(config(&closes)).await;
    assert!(error.contains("it closed the connection during the handshake"), "{error}");

    let mut unknown = config("redis://no-such-host.invalid");
    unknown.connect_timeout = std::time::Duration::from_secs(20);
    let error = error_of(unknown).await;
    assert!(error.contains("can't find the host"), "{error}");
}

#[tokio::test]
async fn a_subscription_that_is_answered_without_confirmation_ends_the_connection() {
    let forgetful = fake_server::listen(|words| {
        Some(match words[0].as_str() {
            "HELLO" => fake_server::hello("7.0.15", "standalone"),
            "SUBSCRIBE" => String::new(),
            _ => "+OK\r\n".to_owned(),
        })
    });
    let without_probes = RedisConfig { probe_interval: None, ..config(&forgetful) };
    let mut node = Node::new(Backplane::redis(without_probes));
    node.backplane.want(&[topic("acme:tenant")]);
    assert_eq!(node.next().await, Told::Up(true));
    let Told::Down(reason) = node.next().await else { panic!("the loss must be told") };
    assert!(reason.ends_with("Redis answered a subscription without confirming all of it"), "{reason}");
    assert!(!node.backplane.state().borrow().is_up());
}

#[tokio::test]
async fn tls_is_used_and_the_certificate_is_checked() {
    let port = free_port();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let _server = RedisProcess::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &text(&path("cert.pem")),
        "--tls-key-file",
        &text(&path("key.pem")),
        "--tls-ca-cert-file",
        &text(&path("cert.pem")),
        "--tls-auth-clients",
        "no",
    ]);

    let url = format!("rediss://localhost:{port}");
    let error = error_of(config(&url)).await;
    assert!(error.contains("TLS failed: invalid peer certificate"), "{error}");
    let error = error_of(config(&format!("redis://localhost:{port}"))).await;
    assert!(error.contains("does its port want TLS (rediss://)?"), "{error}");

    let mut trusting = config(&url);
    trusting.ca_file = Some(path("nothing.pem"));
    let error = error_of(trusting.clone()).await;
    assert!(error.contains("can't use the CA file"), "{error}");
    trusting.ca_file = Some(path("cert.pem"));
    let mut node = Node::new(Backplane::redis(trusting));
    let orders = topic("acme:channel:orders");
    node.want(std::slice::from_ref(&orders)).await;
    node.publish_when_possible(&orders, "in private").await;
    assert_eq!(node.next().await, message(&orders, "in private"));
}
