//! Answers that are none: each is counted by its reason and reaches nobody, and the request goes on waiting for its own.

use serde_json::json;

use crate::support::{Client, until};
use crate::{STREAM, Stage, ask, done, dropped, error, outcome, token};

/// Waits until so many answers were dropped for this reason.
async fn until_dropped(stage: &Stage, reason: &str, count: f64) {
    until(reason, async || stage.node.metric(&dropped(reason)).await == count).await;
}

#[tokio::test]
async fn only_a_backend_of_the_requests_own_tenant_answers_it() {
    let mut stage = Stage::set(&[("FANFARE_NODE_ID", "n")]).await;
    // The node listens for another tenant's answers too.
    let mut globex = Client::connect(&stage.node, &token("globex", "42", &["**"])).await;
    ask(&mut globex, 7, "m").await;
    let globex_channel = "fanfare:globex:replies:n";
    until("the node listens", async || !stage.redis.command(&["PUBSUB", "CHANNELS", globex_channel]).is_empty()).await;
    ask(&mut stage.client, 1, "m").await;
    let entry = stage.backend.take().await;
    let forged = entry.answer(r#""data":"forged""#);
    assert_eq!(stage.backend.say(globex_channel, &forged).await, 1);
    until_dropped(&stage, "foreign", 1.0).await;
    stage.client.expect_nothing().await;
    globex.expect_nothing().await;
    stage.node.logged("foreign").await;
    stage.backend.reply(&entry, "\"done\"").await;
    assert_eq!(stage.client.message().await, done(1));
    globex.expect_nothing().await;
}

#[tokio::test]
async fn an_answer_that_was_made_up_comes_twice_or_too_late_is_dropped() {
    let mut stage = Stage::set(&[]).await;
    ask(&mut stage.client, 1, "m").await;
    let entry = stage.backend.take().await;
    let channel = entry.field("reply_to").to_owned();
    stage.backend.say(&channel, &format!(r#"{{"request":"{}","data":"forged"}}"#, "0".repeat(32))).await;
    until_dropped(&stage, "unknown", 1.0).await;
    stage.backend.reply(&entry, "\"done\"").await;
    assert_eq!(stage.client.message().await, done(1));
    stage.backend.reply(&entry, "\"again\"").await;
    stage.backend.refuse(&entry, &json!({ "code": "internal", "message": "again" })).await;
    until_dropped(&stage, "repeated", 2.0).await;

    stage.client.send(&json!({ "op": "request", "id": 2, "method": "m", "timeout_ms": 3_000 })).await;
    let entry = stage.backend.take().await;
    assert_eq!(stage.client.message().await["code"], "timeout");
    stage.backend.reply(&entry, "\"late\"").await;
    until_dropped(&stage, "late", 1.0).await;
    stage.client.expect_nothing().await;
    assert_eq!(stage.node.metric(&outcome("reply")).await, 1.0);
}

#[tokio::test]
async fn an_answer_that_can_not_be_read_is_dropped_and_a_better_one_counts() {
    let mut stage = Stage::set(&[]).await;
    ask(&mut stage.client, 1, "m").await;
    let entry = stage.backend.take().await;
    let channel = entry.field("reply_to").to_owned();
    let deep = format!(r#""data":{}{}"#, "[".repeat(65), "]".repeat(65));
    let unreadable = [
        String::new(),
        "done".to_owned(),
        "[]".to_owned(),
        r#"@17-1 {"type":"x"}"#.to_owned(),
        r#"{"data":1}"#.to_owned(),
        entry.answer(r#""x":1"#),
        entry.answer(r#""data":1,"error":{"code":"internal","message":""}"#),
        entry.answer(r#""error":"internal""#),
        entry.answer(r#""error":{"message":"no code"}"#),
        entry.answer(r#""error":{"code":"internal","message":7}"#),
        entry.answer(&deep),
    ];
    for answer in &unreadable {
        stage.backend.say(&channel, answer).await;
    }
    until("all are dropped", async || stage.node.metric(&dropped("unreadable")).await == 11.0).await;
    stage.node.logged("the answer is not one JSON object").await;
    stage.client.expect_nothing().await;
    stage.backend.say(&channel, &entry.answer(r#""error":null,"data":"done""#)).await;
    assert_eq!(stage.client.message().await, done(1));
}

#[tokio::test]
async fn an_answer_reaches_the_connection_that_asked_and_no_other_of_the_same_user() {
    let mut stage = Stage::set(&[]).await;
    let mut others = [
        Client::connect(&stage.node, &token("acme", "42", &["**"])).await,
        Client::connect(&stage.node, &token("acme", "43", &["**"])).await,
    ];
    for other in &mut others {
        ask(other, 1, "theirs").await;
        stage.backend.take().await;
    }
    assert_eq!(stage.reply("m").await, done(1));
    for other in &mut others {
        other.expect_nothing().await;
    }
    // Nor does it travel by the stream that everyone of the tenant may be told of.
    stage.backend.say("fanfare:acme:requests", r#"{"type":"x"}"#).await;
    stage.client.send(&json!({ "op": "subscribe", "id": 3, "topic": "requests" })).await;
    let message = "a topic is `tenant`, `user:<id>` or `channel:<name>`";
    let refused = json!({ "op": "error", "id": 3, "topic": "requests", "code": "invalid_topic", "message": message });
    assert_eq!(stage.client.message().await, refused);
    assert_eq!(stage.redis.command(&["TYPE", STREAM]), "stream");
    ask(&mut stage.client, 4, "").await;
    assert_eq!(stage.client.message().await, error(4, "bad_frame", "the method is empty"));
}
