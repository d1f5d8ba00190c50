//! A node or Redis fails: who was there with it is gone in time, or is there again.

use serde_json::json;

use crate::support::{Client, Frame, RedisProcess, token, until};
use crate::{
    BOARD, SHORT, ask, expect_told, member, node_on, set, subscribe, two_nodes, until_members, until_there, users,
};

/// Gaps are told at once, so that a test doesn't wait.
const AT_ONCE: (&str, &str) = ("FANFARE_GAP_SPREAD_MS", "0");

#[tokio::test]
async fn the_users_of_a_killed_node_leave_and_other_nodes_tell_it() {
    let redis = RedisProcess::start();
    let [one, mut two] = two_nodes(&redis, &[SHORT]).await;
    let mut ana = member(&one, "ana").await;
    let _bo = member(&two, "bo").await;
    expect_told(&mut ana, "joined", "bo").await;
    let (_tab, _other_tab) = (member(&one, "both").await, member(&two, "both").await);
    expect_told(&mut ana, "joined", "both").await;
    until_members(&two, 2.0).await;
    two.kill();
    expect_told(&mut ana, "left", "bo").await;
    // Who was with both is still there.
    assert_eq!(users(&ask(&mut ana, BOARD).await), set(&["ana", "both"]));
    ana.expect_nothing().await;
}

#[tokio::test]
async fn a_frozen_node_that_goes_on_brings_its_users_back() {
    let redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[SHORT]).await;
    let mut ana = member(&one, "ana").await;
    let _bo = member(&two, "bo").await;
    expect_told(&mut ana, "joined", "bo").await;
    two.signal("-STOP");
    expect_told(&mut ana, "left", "bo").await;
    two.signal("-CONT");
    expect_told(&mut ana, "joined", "bo").await;
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_told_who_is_there() {
    let mut redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[AT_ONCE]).await;
    let mut ana = member(&one, "ana").await;
    let mut bo = member(&two, "bo").await;
    expect_told(&mut ana, "joined", "bo").await;
    redis.kill();
    // Meanwhile somebody goes.
    let cy = Client::connect(&one, &token("acme", "cy")).await;
    drop(cy);
    redis.start_again();
    for client in [&mut ana, &mut bo] {
        let gap = client.skip_to("gap").await;
        assert_eq!(gap["lost"], "ephemeral");
        until_there(client, BOARD, &["ana", "bo"]).await;
    }
    let _di = member(&two, "di").await;
    until("ana is told", async || ana.skip_to("joined").await["user"] == "di").await;
}

#[tokio::test]
async fn after_an_outage_longer_than_a_lifetime_nobody_is_taken_for_gone() {
    const PRESENCE: &str = "{fanfare:acme:channel:board}:presence";
    let redis = RedisProcess::start();
    // Nodes refresh because Redis is back, and not because it is time.
    let [one, two] = two_nodes(&redis, &[AT_ONCE, ("FANFARE_PRESENCE_TTL_MS", "3600000")]).await;
    let _members = [member(&one, "ana").await, member(&two, "bo").await];
    let told = "fanfare_presence_changes_total{change=\"joined\"}";
    until("both have been told", async || one.metric(told).await + two.metric(told).await == 2.0).await;
    // As after an outage: everybody's time is over, and the nodes come back one after the other.
    let members = redis.command(&["ZRANGE", PRESENCE, "0", "-1"]);
    for name in members.lines() {
        redis.command(&["ZADD", PRESENCE, "1", name]);
    }
    for kind in ["pubsub", "normal"] {
        redis.command(&["CLIENT", "KILL", "TYPE", kind]);
    }
    until("both nodes have refreshed", async || redis.command(&["ZCOUNT", PRESENCE, "2", "+inf"]) == "2").await;
    assert_eq!(one.metric(told).await + two.metric(told).await, 2.0, "nobody had to come again");
}

/// A rule by which the board carries durable events alone.
const DURABLE_BOARD: &str = r#"[{"pattern":"channel:board","durable":"always"}]"#;

#[tokio::test]
async fn members_whose_topic_carries_durable_events_alone_are_told_a_gap_once() {
    let redis = RedisProcess::start();
    let node = node_on(&redis.url(), &[AT_ONCE, ("FANFARE_TOPICS", DURABLE_BOARD)]).await;
    let mut ana = member(&node, "ana").await;
    let mut other = Client::connect(&node, &token("acme", "other")).await;
    other.subscribe(BOARD).await;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let mut gaps = Vec::new();
    for _ in 0..3 {
        let gap = ana.skip_to("gap").await;
        assert_eq!((&gap["lost"], &gap["reason"]), (&json!("ephemeral"), &json!("backplane")));
        gaps.push(gap["topic"].as_str().unwrap().to_owned());
    }
    gaps.sort();
    assert_eq!(gaps, [BOARD, "tenant", "user:ana"]);
    let gaps = [other.skip_to("gap").await, other.skip_to("gap").await];
    assert!(gaps.iter().all(|gap| gap["topic"] != BOARD), "{gaps:?}");
    until("it is delivered again", async || node.get("/readyz").await.status == 200).await;
    let _bo = member(&node, "bo").await;
    expect_told(&mut ana, "joined", "bo").await;
    other.expect_nothing().await;
}

#[tokio::test]
async fn a_node_that_drains_leaves_at_once() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_PRESENCE_TTL_MS", "3600000"), ("FANFARE_DRAIN_S", "2")];
    let [one, mut two] = two_nodes(&redis, &settings).await;
    let mut ana = member(&one, "ana").await;
    let stubborn = member(&two, "bo").await;
    expect_told(&mut ana, "joined", "bo").await;
    two.signal("-TERM");
    // It never closes its side.
    stubborn.stop_reading();
    expect_told(&mut ana, "left", "bo").await;
    assert!(two.ended().await.success());
    assert_eq!(users(&ask(&mut ana, BOARD).await), set(&["ana"]));
}

#[tokio::test]
async fn clients_that_a_draining_node_cuts_off_leave_too() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_PRESENCE_TTL_MS", "3600000"), ("FANFARE_DRAIN_S", "0")];
    let [one, mut two] = two_nodes(&redis, &settings).await;
    let mut ana = member(&one, "ana").await;
    let mut crowd = Vec::new();
    for number in 0..20 {
        crowd.push(member(&two, &format!("user-{number}")).await);
    }
    until_members(&two, 20.0).await;
    two.signal("-TERM");
    assert!(two.ended().await.success());
    until_there(&mut ana, BOARD, &["ana"]).await;
}

#[tokio::test]
async fn while_redis_is_away_the_list_is_unavailable_and_what_changes_is_told_later() {
    let mut redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[AT_ONCE]).await;
    let mut ana = member(&one, "ana").await;
    let bo = member(&two, "bo").await;
    expect_told(&mut ana, "joined", "bo").await;
    redis.kill();
    until("it is away", async || one.get("/readyz").await.status == 503).await;
    until("the list is unavailable", async || ask(&mut ana, BOARD).await["code"] == "unavailable").await;
    ana.send(&json!({ "op": "subscribe", "id": 1, "topic": "channel:other", "presence": true })).await;
    assert_eq!(ana.expect("error").await["code"], "unavailable");
    drop(bo);
    until_members(&two, 0.0).await;
    redis.start_again();
    until_there(&mut ana, BOARD, &["ana"]).await;
    let mut other = Client::connect(&one, &token("acme", "other")).await;
    until("it delivers", async || one.get("/readyz").await.status == 200).await;
    subscribe(&mut other, "channel:other").await;
    assert!(!users(&ask(&mut other, "channel:other").await).contains("ana"));
}

#[tokio::test]
async fn a_channel_that_the_backplane_refuses_refuses_the_subscribe() {
    let redis = RedisProcess::start();
    let rights = ["+@all", "~*", "resetchannels", "&fanfare:*"];
    redis.command(&[&["ACL", "SETUSER", "node", "on", ">secret"], &rights[..]].concat());
    let node = node_on(&redis.url_with("node", "secret"), &[]).await;
    let mut ana = Client::connect(&node, &token("acme", "ana")).await;
    ana.send(&json!({ "op": "subscribe", "id": 1, "topic": BOARD, "presence": true })).await;
    let error = ana.expect("error").await;
    assert_eq!((&error["code"], &error["topic"]), (&json!("unavailable"), &json!(BOARD)), "{error}");
    ana.subscribe(BOARD).await;
    node.publish("acme", BOARD, r#"{"type":"t"}"#).await;
    ana.expect_event(BOARD).await;
    redis.command(&["ACL", "SETUSER", "node", "&{fanfare:*"]);
    subscribe(&mut ana, BOARD).await;
    until_there(&mut ana, BOARD, &["ana"]).await;
    ana.send_close(1000).await;
    while ana.next().await != Frame::End {}
}
