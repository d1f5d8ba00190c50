//! What Redis allows a node: its password, and the channels of its user.

use std::fs;

use serde_json::json;

use crate::outages::{AT_ONCE, expect_flow, expect_gaps, expect_losses, refused};
use crate::support::{Client, Node, RedisProcess, token, until};
use crate::{EVENT, frame, subscriber, subscribers, try_publish, try_subscribe, until_status};

#[tokio::test]
async fn a_wrong_password_is_told_and_a_right_one_is_enough() {
    let redis = RedisProcess::start_with(&["--requirepass", "hunter2-is-right"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    fs::write(&file, "hunter2-is-wrong\n").unwrap();

    let without = Node::start_unready_on(&redis.url(), &[]).await;
    let needs = "it wants a password: put one into the URL (redis://user:password@…) or into the password file";
    let wrong = "it does not accept the user name or the password: correct the URL or the password file";
    let expected = |cause| format!("not connected to the backplane yet: {}: {cause}", redis.url());
    until("told to give one", async || node_says(&without, &expected(needs)).await).await;

    let from_file =
        Node::start_unready_on(&redis.url(), &[("FANFARE_REDIS_PASSWORD_FILE", file.to_str().unwrap())]).await;
    let from_url = Node::start_unready_on(&redis.url_with("", "hunter2-is-wrong"), &[]).await;
    for node in [&from_file, &from_url] {
        until("told that it is wrong", async || node_says(node, &expected(wrong)).await).await;
        assert!(!node.log().contains("hunter2"), "{}", node.log());
    }
    // The file is read at every attempt.
    fs::write(&file, "hunter2-is-right\n").unwrap();
    until_status(&from_file, "/readyz", 200).await;
    let right = Node::start_on(&redis.url_with("", "hunter2-is-right"), &[]).await;
    let mut clients = [
        subscriber(&from_file, &token("acme", "1"), "channel:orders").await,
        subscriber(&right, &token("acme", "2"), "channel:orders").await,
    ];
    redis.command_as(Some("hunter2-is-right"), &["PUBLISH", "fanfare:acme:channel:orders", EVENT]);
    for client in &mut clients {
        assert_eq!(client.text().await, frame("channel:orders", EVENT));
    }
    assert!(!right.log().contains("hunter2"), "{}", right.log());
}

async fn node_says(node: &Node, reason: &str) -> bool {
    node.get("/readyz").await.json()["reason"] == reason
}

/// A Redis whose user `node` may use all of Fanfare's keys, but these channels, those of nodes' probes, and no others.
fn restricted(channels: &[&str]) -> RedisProcess {
    let redis = RedisProcess::start();
    let rules = ["ACL", "SETUSER", "node", "on", ">secret", "+@all", "~fanfare:*", "~{fanfare:*", "resetchannels"];
    let channels: Vec<_> = channels.iter().map(|channel| format!("&fanfare:{channel}")).collect();
    let channels: Vec<_> = channels.iter().map(String::as_str).collect();
    redis.command(&[&rules[..], &["&fanfare:node:*"], &channels].concat());
    redis
}

#[tokio::test]
async fn a_channel_that_redis_forbids_is_an_error_for_that_topic_only() {
    let redis = restricted(&["acme:tenant", "acme:user:*", "acme:channel:open:*"]);
    let node = Node::start_on(&redis.url_with("node", "secret"), &[]).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    let topics = ["channel:open:1", "channel:closed", "channel:open:2"].map(|topic| json!({ "topic": topic }));
    client.send(&json!({ "op": "subscribe", "id": 8, "topics": topics })).await;
    assert_eq!(client.expect("subscribed").await["topic"], "channel:open:1");
    let forbidden = "the backplane refuses this topic";
    assert_eq!(client.message().await, refused(8, "channel:closed", "unavailable", forbidden));
    assert_eq!(client.expect("subscribed").await["topic"], "channel:open:2");
    let refuses = "the backplane refused it; the node's log says why";
    assert_eq!(try_publish(&mut client, "channel:closed").await, refused(9, "channel:closed", "internal", refuses));
    node.logged("NOPERM").await;
    let reply = node.publish("acme", "channel:closed", EVENT).await;
    assert_eq!((reply.status, reply.code()), (502, "internal".to_owned()));
    for topic in ["channel:open:1", "channel:open:2", "tenant", "user:1"] {
        expect_flow(&redis, &mut client, topic).await;
    }
    assert_eq!(node.get("/readyz").await.status, 200);

    // Once it is allowed, asking again is enough.
    redis.command(&["ACL", "SETUSER", "node", "&fanfare:acme:channel:closed"]);
    client.subscribe("channel:closed").await;
    expect_flow(&redis, &mut client, "channel:closed").await;
}

#[tokio::test]
async fn a_client_whose_own_topics_redis_forbids_is_served_all_the_same() {
    let redis = restricted(&["acme:channel:*"]);
    let node = Node::start_on(&redis.url_with("node", "secret"), &[AT_ONCE]).await;
    let mut client = Client::connect(&node, &token("acme", "1")).await;
    expect_gaps(&mut client, &["tenant", "user:1"]).await;
    let answer = try_subscribe(&mut client, "tenant").await;
    assert_eq!(answer, refused(8, "tenant", "unavailable", "the backplane refuses this topic"));
    client.subscribe("channel:orders").await;
    expect_flow(&redis, &mut client, "channel:orders").await;
    // What Redis hands out later was missed until then.
    redis.command(&["ACL", "SETUSER", "node", "&fanfare:acme:tenant", "&fanfare:acme:user:*"]);
    let mut second = Client::connect(&node, &token("acme", "1")).await;
    let news = ["tenant", "user:1"].map(|topic| [(topic, "all", "backplane"), (topic, "ephemeral", "backplane")]);
    expect_losses(&mut client, news.as_flattened()).await;
    for topic in ["tenant", "user:1"] {
        expect_flow(&redis, &mut client, topic).await;
        assert_eq!(second.text().await, frame(topic, EVENT));
    }
}

#[tokio::test]
async fn a_subscription_that_redis_revokes_is_made_up_for_when_it_is_granted_again() {
    let redis = restricted(&["acme:*"]);
    let node = Node::start_on(&redis.url_with("node", "secret"), &[AT_ONCE]).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    // Redis closes the connections of a user that loses a channel.
    let channels = ["&fanfare:node:*", "&fanfare:acme:tenant", "&fanfare:acme:user:*"];
    redis.command(&[&["ACL", "SETUSER", "node", "resetchannels"], &channels[..]].concat());
    expect_gaps(&mut client, &["tenant", "user:1", "channel:orders"]).await;
    expect_flow(&redis, &mut client, "tenant").await;
    node.logged("the backplane refuses a topic").await;
    assert_eq!(subscribers(&redis, "fanfare:acme:channel:orders"), 0);

    redis.command(&["ACL", "SETUSER", "node", "&fanfare:acme:channel:*"]);
    let mut second = subscriber(&node, &token("acme", "2"), "channel:orders").await;
    expect_gaps(&mut client, &["channel:orders"]).await;
    expect_flow(&redis, &mut client, "channel:orders").await;
    assert_eq!(second.text().await, frame("channel:orders", EVENT));
}
