//! The commands of `fanfare` beside real nodes and a real Redis: what one makes or sends, the other takes.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{API_KEY, Client, Node, RedisProcess, SECRET, SERVE_DEV, request, token, until};
use crate::{EVENT, frame, publish, subscriber, two_nodes, welcomed};

/// Runs a command to its end; it must succeed and say nothing on standard error. Returns what it prints.
async fn fanfare(arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let mut command = Node::spawn(arguments, settings);
    let status = command.ended().await;
    assert_eq!((status.code(), command.errors().as_str()), (Some(0), ""), "{arguments:?}");
    command.printed()
}

/// Runs a command to its end; it must fail. Returns what it says on standard error.
async fn fanfare_fails(arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let mut command = Node::spawn(arguments, settings);
    let status = command.ended().await;
    assert_eq!((status.code(), command.printed().as_str()), (Some(1), ""), "{arguments:?}: {}", command.log());
    command.log()
}

/// Runs a line in a shell, as pasted.
fn paste(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The value of a line that a development node has printed, which may go on over several lines.
fn printed(node: &Node, name: &str) -> String {
    let printed = node.printed();
    let after = printed.split_once(&format!("  {name} ")).unwrap_or_else(|| panic!("no {name} in {printed}")).1;
    after.split("\n\n").next().unwrap().trim().to_owned()
}

#[tokio::test]
async fn what_a_development_node_prints_works_when_it_is_pasted() {
    let settings = [("FANFARE_JWT_HS256_SECRET", ""), ("FANFARE_API_KEYS", "")];
    let node = Node::spawn(SERVE_DEV, &settings);
    until("it tells how to begin", async || node.printed().contains("Tokens ")).await;
    assert_eq!(printed(&node, "Open"), format!("http://{}/", node.clients));
    let page = paste(&format!("curl --silent --show-error --fail {}", printed(&node, "Open")));
    assert!(page.contains("<title>"), "{page}");
    let reply: Value =
        serde_json::from_str(&paste(&format!("curl --silent --fail 'http://{}/dev/token?user=42'", node.clients)))
            .unwrap();
    let mut client = subscriber(&node, reply["token"].as_str().unwrap(), "channel:orders").await;

    // To the letter, with the line breaks that make it readable.
    let answer = paste(&printed(&node, "Publish"));
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), json!({ "published": true }));
    assert_eq!(client.text().await, frame("channel:orders", EVENT));
    // The page shows the same command.
    let info = request(node.clients, "GET", "/dev/info", &[], b"").await.json();
    paste(info["publish_command"].as_str().unwrap());
    assert_eq!(client.text().await, frame("channel:orders", EVENT));
    // And a token can be made with the secret that is printed.
    let secret = printed(&node, "Tokens").rsplit_once(' ').unwrap().1.to_owned();
    let made = fanfare(&["token", "--tenant", "acme", "--user", "7", "--secret", &secret], &[]).await;
    Client::connect(&node, made.trim_end()).await.expect_nothing().await;
}

#[tokio::test]
async fn a_token_that_is_made_here_opens_a_node_and_no_more_than_it_says() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    let arguments = [
        "token",
        "--tenant",
        "acme",
        "--user",
        "42",
        "--channels",
        "team:*,news",
        "--publish",
        "channel:cursors:*",
        "--subscribe",
        "channel:team:7",
    ];
    let made = fanfare(&arguments, &[]).await;
    let (mut client, welcome) = welcomed(&node, made.trim_end()).await;
    assert_eq!((&welcome["tenant"], &welcome["user"]), (&"acme".into(), &"42".into()));
    let topics: Vec<_> = welcome["topics"].as_array().unwrap().iter().map(|topic| &topic["topic"]).collect();
    assert_eq!(topics, ["tenant", "user:42", "channel:team:7"]);
    client.subscribe("channel:team:8").await;
    client.subscribe("channel:news").await;
    for (op, topic) in [("subscribe", "channel:news:x"), ("publish", "channel:news")] {
        client.send(&json!({ "op": op, "id": 2, "topic": topic, "event": { "type": "t" } })).await;
        assert_eq!(client.expect("error").await["code"], "forbidden");
    }
    client.send(&json!({ "op": "publish", "id": 3, "topic": "channel:cursors:1", "event": { "type": "t" } })).await;
    client.expect("published").await;
}

#[tokio::test]
async fn publish_reaches_the_clients_of_all_nodes_through_redis_and_through_a_node() {
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    let mut clients = [
        subscriber(&a, &token("acme", "1"), "channel:orders").await,
        subscriber(&b, &token("acme", "2"), "channel:orders").await,
    ];
    let words = ["publish", "acme", "channel:orders", EVENT];
    let through_redis = [("FANFARE_BACKPLANE", &*redis.url())];
    let address = format!("http://{}", a.admin);
    let through_node = [("FANFARE_NODE_URL", &*address), ("FANFARE_API_KEY", API_KEY), ("FANFARE_API_KEYS", "")];
    for settings in [&through_redis[..], &through_node] {
        let said = fanfare(&words, settings).await;
        assert_eq!(said, "published order.updated to channel:orders of acme\n");
        for client in &mut clients {
            assert_eq!(client.text().await, frame("channel:orders", EVENT));
        }
    }
}

#[tokio::test]
async fn what_a_node_refuses_is_told_in_its_own_words() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.toml");
    let keys = "[[key]]\nname = \"orders\"\nkey = \"narrow-key\"\ntenants = [\"acme\"]\nverbs = [\"publish\"]\n";
    std::fs::write(&file, keys).unwrap();
    let mut redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_API_KEYS_FILE", file.to_str().unwrap())]).await;
    let address = format!("http://{}", node.admin);
    let refused = async |tenant: &str, key: &str| {
        fanfare_fails(&["publish", tenant, "tenant", EVENT, "--node", &address, "--api-key", key], &[]).await
    };
    let scope = "fanfare: the node refused it: this API key may not publish in this tenant (forbidden)\n";
    assert_eq!(refused("globex", "narrow-key").await, scope);
    let unknown = "send `Authorization: Bearer` with an API key that this node knows";
    assert_eq!(
        refused("acme", "other-key").await,
        format!("fanfare: the node refused it: {unknown} (unauthenticated)\n")
    );
    redis.kill();
    until("the node can't publish", async || node.publish("acme", "tenant", EVENT).await.status == 503).await;
    let away = "fanfare: the node refused it: the backplane is away (unavailable)\n";
    assert_eq!(refused("acme", "narrow-key").await, away);

    let url = format!("ws://{}", node.clients);
    let bad = fanfare_fails(&["tail", "acme", "tenant", "--node", &url, "--token", "bad"], &[]).await;
    assert_eq!(bad, "fanfare: the node ends the connection: 4401 malformed token\n");
    let gone = fanfare_fails(&["tail", "acme", "channel:orders", "--node", &url], &[]).await;
    let away = "the backplane is away: try again later";
    assert_eq!(gone, format!("fanfare: the node refused channel:orders: {away} (unavailable)\n"));
}

#[tokio::test]
async fn tail_shows_the_same_events_from_redis_and_as_a_client_of_a_node() {
    let redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[]).await;
    let mut publisher = Client::connect(&b, &token("acme", "1")).await;
    let url = format!("ws://{}", a.clients);
    let words = ["tail", "acme", "channel:orders", "user:42", "--count", "3"];
    let mut tails = [
        Node::spawn(&words, &[("FANFARE_BACKPLANE", &redis.url())]),
        Node::spawn(&[&words[..], &["--node", &url]].concat(), &[]),
    ];
    for tail in &tails {
        until("it is subscribed", async || tail.log().matches("subscribed to ").count() == 2).await;
    }
    // By every way that an event can be published.
    publish(&redis, "fanfare:acme:channel:orders", r#"{"type":"a","data":1.10}"#);
    publish(&redis, "fanfare:acme:channel:other", EVENT);
    publish(&redis, "fanfare:globex:channel:orders", EVENT);
    assert_eq!(b.publish("acme", "user:42", EVENT).await.status, 200);
    publisher.send(&json!({ "op": "publish", "id": 1, "topic": "channel:orders", "event": { "type": "c" } })).await;
    publisher.expect("published").await;
    let expected = [
        r#"{"topic":"channel:orders","event":{"type":"a","data":1.10}}"#,
        &format!(r#"{{"topic":"user:42","event":{EVENT}}}"#),
        r#"{"topic":"channel:orders","event":{"type":"c"}}"#,
    ];
    for tail in &mut tails {
        assert_eq!(tail.ended().await.code(), Some(0), "{}", tail.log());
        assert_eq!(tail.printed().lines().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn tail_tells_what_happens_to_its_node() {
    let redis = RedisProcess::start();
    let mut node = Node::start_on(&redis.url(), &[("FANFARE_GAP_SPREAD_MS", "0")]).await;
    let url = format!("ws://{}", node.clients);
    let mut tail = Node::spawn(&["tail", "acme", "channel:orders", "--node", &url], &[]);
    tail.logged("subscribed to channel:orders").await;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(tail.logged("channel:orders: ").await, "channel:orders: events may be missing (backplane)");
    node.signal("-TERM");
    assert_eq!(tail.ended().await.code(), Some(1));
    let last = tail.log().lines().last().unwrap().to_owned();
    assert_eq!(last, "fanfare: the node ends the connection: 1012 draining");
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_commands_find_a_redis_with_a_password_as_the_node_does() {
    let redis = RedisProcess::start_with(&["--requirepass", "hunter2-of-redis"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "hunter2-of-redis\n").unwrap();
    let settings = [
        ("FANFARE_REDIS_PASSWORD_FILE", file.to_str().unwrap()),
        ("FANFARE_REDIS_PREFIX", "staging"),
        ("FANFARE_JWT_HS256_SECRET", SECRET),
    ];
    let node = Node::start_on(&redis.url(), &settings).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    let url = redis.url();
    let settings = [&settings[..], &[("FANFARE_BACKPLANE", &*url)]].concat();
    fanfare(&["publish", "acme", "channel:orders", EVENT], &settings).await;
    assert_eq!(client.text().await, frame("channel:orders", EVENT));

    std::fs::write(&file, "hunter2-of-somebody\n").unwrap();
    let said = fanfare_fails(&["publish", "acme", "channel:orders", EVENT], &settings).await;
    let wrong = "it does not accept the user name or the password: correct the URL or the password file";
    assert_eq!(said, format!("fanfare: can't reach Redis: {url}: {wrong}\n"));
}
