//! What is written in the file, the environment and the flags is what a node does; what can't be done stops it, all of
//! it told at once and no secret with it.

use std::fs;
use std::net::SocketAddr;

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::{EMPTY, Handshake, Node, RedisProcess, free_port, request, shaped, token, until};
use crate::{EVENT, event, frame, publish, welcomed};

/// A directory with `fanfare.toml` in it, and its path.
fn written(text: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fanfare.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

/// The environment that [`Node::spawn`] would give, taken back.
const NOTHING_SET: [(&str, &str); 7] = [
    ("FANFARE_LISTEN", ""),
    ("FANFARE_ADMIN_LISTEN", ""),
    ("FANFARE_JWT_HS256_SECRET", ""),
    ("FANFARE_API_KEYS", ""),
    ("FANFARE_LOG_LEVEL", ""),
    ("FANFARE_DRAIN_DELAY_S", ""),
    ("FANFARE_DRAIN_S", ""),
];

#[tokio::test]
async fn one_file_is_enough_for_a_node_and_for_every_command() {
    let redis = RedisProcess::start();
    let [clients, admin, api] = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let secret = "hunter2-a-secret-of-the-file-that-is-long-enough";
    let (_directory, path) = written(&format!(
        "listen = '{clients}'\nadmin_listen = '{admin}'\napi_listen = '{api}'\nbackplane = '{}'\n\
         redis_prefix = 'from-file'\njwt_hs256_secret = ['kid:k1:{secret}']\napi_keys = 'app:hunter2-key'\n\
         node_id = 'node-of-the-file'\njwt_claim_tenant = '/org/name'\n\
         subscriptions_per_connection_max = 3\nping_ms = 12345\n",
        redis.url()
    ));
    let node = Node::spawn(&["serve", "--config", &path, "--ping-ms", "23456"], &NOTHING_SET);
    until("it is ready", async || {
        TcpStream::connect(admin).await.is_ok() && request(admin, "GET", "/readyz", &[], b"").await.status == 200
    })
    .await;

    let token = &["token", "--tenant", "acme", "--user", "42", "--channels", "**", "--config", &path];
    let mut made = Node::spawn(token, &NOTHING_SET);
    assert_eq!(made.ended().await.code(), Some(0), "{}", made.log());
    let mut client = Handshake::to_address(clients).bearer(made.printed().trim_end()).open().await;
    let welcome = client.expect("welcome").await;
    assert_eq!((&welcome["node"], &welcome["tenant"]), (&"node-of-the-file".into(), &"acme".into()));
    // A flag wins over the file.
    assert_eq!((&welcome["ping_ms"], &welcome["limits"]["subscriptions"]), (&23_456.into(), &3.into()));
    client.subscribe("channel:orders").await;
    client.send(&json!({ "op": "subscribe", "id": 4, "topic": "channel:one-too-many" })).await;
    let refused = client.expect("error").await;
    assert_eq!(refused["code"], "too_many_subscriptions");
    assert_eq!(refused["message"], "subscriptions_per_connection_max = 3 reached");

    let mut published = Node::spawn(&["publish", "acme", "channel:orders", EVENT, "--config", &path], &NOTHING_SET);
    assert_eq!(published.ended().await.code(), Some(0), "{}", published.log());
    assert_eq!(client.text().await, frame("channel:orders", EVENT));
    assert_eq!(publish(&redis, "from-file:acme:tenant", &event("t")), 1);
    client.expect_event("tenant").await;
    // The API has its own port, and is nowhere else.
    let path_of_api = "/v1/tenants/acme/topics/tenant/events";
    let bearer = [("Authorization", "Bearer hunter2-key")];
    assert_eq!(request(admin, "POST", path_of_api, &bearer, EVENT.as_bytes()).await.status, 404);
    assert_eq!(request(api, "POST", path_of_api, &bearer, EVENT.as_bytes()).await.status, 200);
    assert_eq!(request(api, "GET", "/metrics", &[], b"").await.status, 404);

    let mut check = Node::spawn(&["config", "check", "--config", &path], &NOTHING_SET);
    assert_eq!((check.ended().await.code(), check.errors()), (Some(0), "the configuration can be used\n".to_owned()));
    let lines: Vec<String> =
        check.printed().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in [
        format!("jwt_hs256_secret [hidden] {path}:6"),
        format!("api_keys [hidden] {path}:7"),
        format!("node_id node-of-the-file {path}:8"),
        format!("backplane {} {path}:4", redis.url()),
        "drain_s 30 default".to_owned(),
    ] {
        assert!(lines.contains(&expected), "{expected:?} is missing in {lines:#?}");
    }
    for said in [check.printed(), check.log(), node.printed(), node.log()] {
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn a_typo_in_the_file_stops_the_node_and_names_the_right_key() {
    let (_directory, path) =
        written("jwt_hs256_secret = 'hunter2-0123456789-0123456789-0123456789'\ndrian_delay_s = 5\n");
    let mut node = Node::spawn(&["serve", "--config", &path], &[]);
    assert_eq!(node.ended().await.code(), Some(1));
    let expected = format!(
        "fanfare: the configuration can't be used: unknown key \"drian_delay_s\" in {path}:2: did you mean \
         \"drain_delay_s\"?\n"
    );
    assert_eq!(node.log(), expected);
    assert_eq!(node.printed(), "");
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once_and_no_secret_is() {
    let (_directory, path) = written("listen = 'hunter2.example'\noutbox_bytes_max = 1000\ntls_key_file = '/k.pem'\n");
    let settings = [
        ("FANFARE_LISTEN", ""),
        ("FANFARE_BACKPLANE", "redis://node:hunter2@127.0.0.1:6379/not-a-number"),
        ("FANFARE_JWT_HS256_SECRET", "kid:hunter2"),
        ("FANFARE_REDIS_RETRY_MIN_MS", "9000"),
        ("FANFARE_TRUSTED_PROXIES", "10.0.0.0/8,10.0.0.0/99"),
        ("FANFARE_PING_MS", "often"),
    ];
    let arguments = ["serve", "--config", &path, "--log-format", "xml", "--allowed-origins", "https://a.example/path"];
    let mut node = Node::spawn(&arguments, &settings);
    assert_eq!(node.ended().await.code(), Some(1));
    let told = node.log();
    for key in [
        "  listen = \"hunter2.example\"",
        "  outbox_bytes_max = \"1000\"",
        "  tls_key_file = \"/k.pem\"",
        "  backplane = \"redis://node:[hidden]@127.0.0.1:6379/not-a-number\"",
        "  jwt_hs256_secret = [hidden]",
        "  redis_retry_min_ms = \"9000\"",
        "  trusted_proxies = \"10.0.0.0/99\"",
        "  ping_ms = \"often\"",
        "  log_format = \"xml\"",
        "  allowed_origins = \"https://a.example/path\"",
    ] {
        assert!(told.contains(key), "{key:?} is missing in {told}");
    }
    // A problem is one line: where, what is wrong, what to do.
    for line in told.lines().skip(1) {
        assert!(line.starts_with("  ") && line.contains("): ") && line.contains("; "), "{line:?}");
    }
    assert!(!told.replace("hunter2.example", "").contains("hunter2"), "{told}");
    assert_eq!(node.printed(), "");
}

#[tokio::test]
async fn a_variable_that_is_not_known_is_a_warning_in_the_log_of_a_node_that_serves() {
    // Few enough connections to need no warning about open files.
    let settings = [
        ("FANFARE_PNIG_MS", "1"),
        ("FANFARE_LOG_FORMAT", "json"),
        ("FANFARE_LOG_LEVEL", "warn"),
        ("FANFARE_CONNECTIONS_MAX", "10"),
    ];
    let node = Node::start(&settings).await;
    let log = node.log_json();
    assert_eq!(log.len(), 1, "{log:?}");
    let message = "the environment variable FANFARE_PNIG_MS is not known: did you mean FANFARE_PING_MS?";
    assert_eq!((&log[0]["level"], &log[0]["message"]), (&"WARN".into(), &message.into()));
}

#[tokio::test]
async fn a_development_node_listens_to_this_machine_only() {
    for (setting, key) in [("FANFARE_LISTEN", "listen"), ("FANFARE_ADMIN_LISTEN", "admin_listen")] {
        let address = format!("0.0.0.0:{}", free_port());
        let mut node = Node::spawn(&["serve", "--dev"], &[(setting, &address)]);
        assert_eq!(node.ended().await.code(), Some(1));
        let expected = format!(
            "fanfare: the configuration can't be used: {key} = \"{address}\" (environment variable {setting}): \
             --dev is open to everybody and listens on loopback only; listen on 127.0.0.1, or serve without --dev and \
             configure tokens\n"
        );
        assert_eq!(node.log(), expected);
    }
}

#[tokio::test]
async fn own_user_topics_can_be_switched_off() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_OWN_USER_TOPIC", "false")]).await;
    let (mut client, welcome) = welcomed(&node, &token("acme", "42")).await;
    assert_eq!(shaped(welcome)["topics"], json!([{ "topic": "tenant", "position": EMPTY }]));
    assert_eq!(publish(&redis, "fanfare:acme:user:42", EVENT), 0);
    publish(&redis, "fanfare:acme:tenant", &event("next"));
    assert_eq!(client.expect_event("tenant").await["type"], "next");
}
