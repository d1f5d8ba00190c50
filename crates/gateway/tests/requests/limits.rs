//! What is bounded: how many wait, how large they and their answers are, how long the stream is, how long a channel stays.

use serde_json::json;

use crate::backend::Backend;
use crate::support::{Client, RedisProcess, until};
use crate::{Stage, ask, done, error, outcome, token};

#[tokio::test]
async fn only_so_many_of_a_connection_and_of_a_tenant_wait_at_a_time() {
    let settings = [("FANFARE_REQUESTS_PER_CONNECTION_MAX", "2"), ("FANFARE_REQUESTS_PER_TENANT_MAX", "3")];
    let mut stage = Stage::set(&settings).await;
    let by_connection = error(9, "rate_limited", "requests_per_connection_max = 2 reached");
    let by_tenant = error(9, "rate_limited", "requests_per_tenant_max = 3 reached");
    for id in [1, 2] {
        ask(&mut stage.client, id, "m").await;
    }
    let (first, second) = (stage.backend.take().await, stage.backend.take().await);
    ask(&mut stage.client, 9, "m").await;
    assert_eq!(stage.client.message().await, by_connection);

    let mut other = Client::connect(&stage.node, &token("acme", "42", &["**"])).await;
    ask(&mut other, 3, "m").await;
    let third = stage.backend.take().await;
    ask(&mut other, 9, "m").await;
    assert_eq!(other.message().await, by_tenant);
    // Another tenant has as many of its own.
    let mut globex = Client::connect(&stage.node, &token("globex", "42", &["**"])).await;
    globex.send(&json!({ "op": "request", "id": 1, "method": "m", "timeout_ms": 3_000 })).await;
    assert_eq!(globex.message().await["code"], "no_backend");

    // An answer makes room, and so does a connection's end.
    stage.backend.reply(&first, "\"done\"").await;
    assert_eq!(stage.client.message().await, done(1));
    ask(&mut other, 4, "m").await;
    let fourth = stage.backend.take().await;
    drop(stage.client);
    until("its request ends", async || stage.node.metric("fanfare_requests_open").await == 2.0).await;
    let mut new = Client::connect(&stage.node, &token("acme", "42", &["**"])).await;
    ask(&mut new, 5, "m").await;
    let fifth = stage.backend.take().await;
    for entry in [&second, &third, &fourth, &fifth] {
        stage.backend.reply(entry, "\"done\"").await;
    }
    let mut ids = [other.expect("reply").await["id"].as_i64(), other.expect("reply").await["id"].as_i64()];
    ids.sort_unstable();
    assert_eq!(ids, [Some(3), Some(4)]);
    assert_eq!(new.message().await, done(5));
    for setting in ["connection", "tenant"] {
        let series = format!("fanfare_limit_reached_total{{limit=\"requests_per_{setting}_max\"}}");
        assert_eq!(stage.node.metric(&series).await, 1.0);
    }
    stage.backend.expect_none().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_on_the_way_there_and_on_the_way_back() {
    let mut stage = Stage::set(&[("FANFARE_EVENT_BYTES_MAX", "1024")]).await;
    let text = |bytes: usize| "x".repeat(bytes - 2);
    stage.client.send(&json!({ "op": "request", "id": 1, "method": "m", "data": text(1_025) })).await;
    let message = "`data` has 1025 bytes; at most 1024 are allowed";
    assert_eq!(stage.client.message().await, error(1, "too_large", message));
    stage.client.send(&json!({ "op": "request", "id": 2, "method": "m", "data": text(1_024) })).await;
    let entry = stage.backend.take().await;
    assert_eq!(entry.field("data").len(), 1_024);
    stage.backend.reply(&entry, &json!(text(1_024)).to_string()).await;
    assert_eq!(stage.client.message().await["data"], text(1_024));
    ask(&mut stage.client, 3, "m").await;
    let entry = stage.backend.take().await;
    stage.backend.reply(&entry, &json!(text(1_025)).to_string()).await;
    let message = "the backend's answer has 1025 bytes of data; at most 1024 are allowed";
    assert_eq!(stage.client.message().await, error(3, "too_large", message));
    assert_eq!(stage.node.metric(&outcome("too_large")).await, 1.0);
    assert_eq!(stage.reply("m").await, done(1));
}

#[tokio::test]
async fn the_stream_is_trimmed_whether_somebody_reads_it_or_not() {
    // Redis trims whole blocks of entries.
    let redis = RedisProcess::start_with(&["--stream-node-max-entries", "10"]);
    let settings = [("FANFARE_REQUESTS_MAXLEN", "20"), ("FANFARE_REQUESTS_PER_CONNECTION_MAX", "100")];
    let mut stage = Stage::on(redis, &settings).await;
    for id in 1..=100 {
        ask(&mut stage.client, id, "m").await;
    }
    until("all have come", async || stage.node.metric("fanfare_requests_open").await == 100.0).await;
    let added = async |backend: &mut Backend| backend.command(&["XINFO", "STREAM", crate::STREAM]).await;
    until("all stand in the stream", async || {
        let info = added(&mut stage.backend).await;
        let at = info.as_array().unwrap().iter().position(|item| item == "entries-added").unwrap();
        info[at + 1] == 100
    })
    .await;
    let kept = stage.backend.count().await;
    assert!((20..=30).contains(&kept), "{kept}");
    // Those that are left can be answered.
    let entry = stage.backend.take().await;
    stage.backend.reply(&entry, "\"done\"").await;
    assert_eq!(stage.client.message().await["op"], "reply");
}

#[tokio::test]
async fn the_channel_for_answers_is_left_when_nobody_asks_any_more_and_comes_back() {
    let mut stage = Stage::set(&[("FANFARE_NODE_ID", "n"), ("FANFARE_UNSUBSCRIBE_DELAY_MS", "50")]).await;
    let channels = |stage: &Stage| stage.redis.command(&["PUBSUB", "CHANNELS", "fanfare:*:replies:*"]);
    assert_eq!(channels(&stage), "");
    for _ in 0..2 {
        assert_eq!(stage.reply("m").await, done(1));
        until("it is left", async || channels(&stage).is_empty()).await;
        // As long as a request waits it stays.
        ask(&mut stage.client, 2, "m").await;
        let waiting = stage.backend.take().await;
        assert_eq!(stage.reply("m").await, done(1));
        assert_eq!(channels(&stage), "fanfare:acme:replies:n");
        stage.backend.reply(&waiting, "\"done\"").await;
        assert_eq!(stage.client.message().await, done(2));
    }
}
