//! Who comes and goes, as members see it.

use serde_json::json;

use crate::support::{Client, RedisProcess, claims, sign, token, until};
use crate::{BOARD, ask, expect_told, member, set, subscribe, two_nodes, until_members, until_there, users};

#[tokio::test]
async fn members_of_all_nodes_are_told_who_comes_and_goes_and_nobody_of_herself() {
    let redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[]).await;
    let mut ana = member(&one, "ana").await;
    until_there(&mut ana, BOARD, &["ana"]).await;
    let mut bo = member(&two, "bo").await;
    expect_told(&mut ana, "joined", "bo").await;
    let mut cy = Client::connect_msgpack(&one, &token("acme", "cy")).await;
    subscribe(&mut cy, BOARD).await;
    expect_told(&mut ana, "joined", "cy").await;
    expect_told(&mut bo, "joined", "cy").await;
    assert_eq!(users(&ask(&mut cy, BOARD).await), set(&["ana", "bo", "cy"]));
    drop(bo);
    expect_told(&mut ana, "left", "bo").await;
    expect_told(&mut cy, "left", "bo").await;
    ana.send(&json!({ "op": "unsubscribe", "id": 3, "topic": BOARD })).await;
    ana.expect("unsubscribed").await;
    expect_told(&mut cy, "left", "ana").await;
    assert_eq!(users(&ask(&mut ana, BOARD).await), set(&["cy"]), "who is no member may ask");
    ana.expect_nothing().await;
}

#[tokio::test]
async fn a_user_with_three_tabs_is_there_once_and_leaves_with_the_last() {
    let redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[]).await;
    let mut watcher = member(&one, "watcher").await;
    let tabs = [member(&one, "ana").await, member(&one, "ana").await, member(&two, "ana").await];
    expect_told(&mut watcher, "joined", "ana").await;
    until_members(&two, 1.0).await;
    until_there(&mut watcher, BOARD, &["ana", "watcher"]).await;
    let [first, second, third] = tabs;
    drop(first);
    drop(third);
    until_members(&two, 0.0).await;
    // Whatever those two would have told comes before this.
    let other = member(&two, "other").await;
    expect_told(&mut watcher, "joined", "other").await;
    assert_eq!(users(&ask(&mut watcher, BOARD).await), set(&["ana", "other", "watcher"]));
    drop(second);
    expect_told(&mut watcher, "left", "ana").await;
    drop(other);
    expect_told(&mut watcher, "left", "other").await;
}

#[tokio::test]
async fn who_did_not_ask_is_neither_there_nor_told_and_may_ask_later() {
    let redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[]).await;
    let mut quiet = Client::connect(&one, &token("acme", "quiet")).await;
    let first = quiet.subscribe(BOARD).await;
    let mut ana = member(&two, "ana").await;
    until_there(&mut ana, BOARD, &["ana"]).await;
    quiet.expect_nothing().await;
    // The subscription stays as it is.
    let answer = subscribe(&mut quiet, BOARD).await;
    assert_eq!(answer["position"], first["position"]);
    expect_told(&mut ana, "joined", "quiet").await;
    assert_eq!(one.metric("fanfare_subscriptions").await, 3.0, "tenant, user, board");
    // Neither asking again nor asking without changes anything.
    subscribe(&mut quiet, BOARD).await;
    quiet.subscribe(BOARD).await;
    let _bo = member(&two, "bo").await;
    expect_told(&mut quiet, "joined", "bo").await;
    expect_told(&mut ana, "joined", "bo").await;
    quiet.expect_nothing().await;
}

#[tokio::test]
async fn many_topics_in_one_frame_may_each_have_presence_or_not() {
    let redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[]).await;
    let mut ana = Client::connect(&one, &token("acme", "ana")).await;
    ana.send(&json!({ "op": "subscribe", "id": 2, "topics": [
        { "topic": "channel:a", "presence": true }, { "topic": "channel:b" }, { "topic": "channel:a", "presence": true },
        { "topic": "user:bo", "presence": true }, { "topic": "tenant", "presence": true },
    ] }))
    .await;
    for (op, topic) in [
        ("subscribed", "channel:a"),
        ("subscribed", "channel:b"),
        ("subscribed", "channel:a"),
        ("error", "user:bo"),
        ("subscribed", "tenant"),
    ] {
        let answer = ana.message().await;
        assert_eq!((&answer["op"], &answer["topic"]), (&json!(op), &json!(topic)), "{answer}");
    }
    until_members(&one, 2.0).await;
    let mut bo = Client::connect(&two, &token("acme", "bo")).await;
    subscribe(&mut bo, "channel:b").await;
    subscribe(&mut bo, "tenant").await;
    assert_eq!(ana.message().await, json!({ "op": "joined", "topic": "tenant", "user": "bo" }));
    until_there(&mut bo, "channel:b", &["bo"]).await;
    until_there(&mut bo, "channel:a", &["ana"]).await;
    until_there(&mut bo, "tenant", &["ana", "bo"]).await;
}

#[tokio::test]
async fn tenants_are_worlds_of_their_own() {
    let redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[]).await;
    let mut ana = member(&one, "ana").await;
    let mut rival = Client::connect(&two, &token("rival", "ana")).await;
    subscribe(&mut rival, BOARD).await;
    let mut spy = Client::connect(&two, &token("rival", "spy")).await;
    subscribe(&mut spy, BOARD).await;
    assert_eq!(rival.message().await, json!({ "op": "joined", "topic": BOARD, "user": "spy" }));
    assert_eq!(users(&ask(&mut spy, BOARD).await), set(&["ana", "spy"]));
    let _bo = member(&two, "bo").await;
    expect_told(&mut ana, "joined", "bo").await;
    assert_eq!(users(&ask(&mut ana, BOARD).await), set(&["ana", "bo"]));
    spy.expect_nothing().await;
}

#[tokio::test]
async fn info_is_carried_as_the_issuer_wrote_it() {
    let redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[]).await;
    let mut text = member(&one, "text").await;
    let mut packed = Client::connect_msgpack(&two, &token("acme", "packed")).await;
    subscribe(&mut packed, BOARD).await;
    expect_told(&mut text, "joined", "packed").await;
    let mut claims = claims("acme", "ana");
    claims["info"] = json!({ "name": "Ana \"A\" \u{1f3ba}", "n": [1.5, null] });
    let mut ana = Client::connect(&two, &sign(&claims)).await;
    subscribe(&mut ana, BOARD).await;
    let joined = json!({ "op": "joined", "topic": BOARD, "user": "ana", "info": claims["info"] });
    assert_eq!(text.message().await, joined);
    assert_eq!(packed.message().await, joined);
    for client in [&mut text, &mut packed] {
        let page = ask(client, BOARD).await;
        assert_eq!(page["count"], 3);
        assert!(
            page["users"].as_array().unwrap().contains(&json!({ "user": "ana", "info": claims["info"] })),
            "{page}"
        );
        assert!(page["users"].as_array().unwrap().contains(&json!({ "user": "text" })), "{page}");
    }
    drop(ana);
    let left = json!({ "op": "left", "topic": BOARD, "user": "ana", "info": claims["info"] });
    assert_eq!(text.message().await, left);
    assert_eq!(packed.message().await, left);
}

#[tokio::test]
async fn nothing_is_written_while_nothing_changes() {
    let redis = RedisProcess::start();
    let [one, _two] = two_nodes(&redis, &[]).await;
    let mut ana = member(&one, "ana").await;
    until_there(&mut ana, BOARD, &["ana"]).await;
    let changed = one.metric(r#"fanfare_presence_changes_total{change="joined"}"#).await;
    let mut tabs = Vec::new();
    for _ in 0..20 {
        tabs.push(member(&one, "ana").await);
    }
    for tab in &mut tabs {
        tab.expect_nothing().await;
    }
    drop(tabs);
    until("the tabs have gone", async || one.metric("fanfare_connections{tenant=\"acme\"}").await == 1.0).await;
    assert_eq!(one.metric(r#"fanfare_presence_changes_total{change="joined"}"#).await, changed);
    assert_eq!(one.metric(r#"fanfare_presence_changes_total{change="left"}"#).await, 0.0);
}
