//! Topics that the node subscribes by itself resume from what the first `auth` frame brings along.

use fanfare_protocol::Position;
use serde_json::{Value, json};

use crate::support::{Client, Handshake, Node, claims, position, sign};
use crate::{FORGETFUL, Stage, after, numbered, told};

/// All that a connection is on by itself.
const OWN: [&str; 3] = ["tenant", "user:42", "channel:vip"];

fn token() -> String {
    let mut claims = claims("acme", "42");
    claims["subscribe"] = json!(["channel:vip"]);
    sign(&claims)
}

/// A client that says what it has, and the topics of its welcome.
async fn resumed(handshake: Handshake, since: &Value) -> (Client, Vec<Value>) {
    let mut client = handshake.open().await;
    client.send(&json!({ "op": "auth", "token": token(), "since": since })).await;
    let welcome = client.expect("welcome").await;
    let topics = welcome["topics"].as_array().unwrap().clone();
    assert_eq!(topics.iter().map(|topic| &topic["topic"]).collect::<Vec<_>>(), OWN);
    (client, topics)
}

async fn keep(node: &Node, topic: &str, number: u64) {
    node.keep("acme", topic, &numbered(number)).await;
}

#[tokio::test]
async fn what_came_since_is_told_in_welcome() {
    for stage in Stage::all(&[FORGETFUL]).await {
        let (client, topics) = resumed(Handshake::to(&stage.node), &json!({})).await;
        let begin: Vec<Position> = topics.iter().map(position).collect();
        assert!(topics.iter().all(|topic| topic["recovered"].is_null() && topic["events"].is_null()), "{topics:?}");
        stage.leave(client).await;
        for (topic, count) in OWN.into_iter().zip([0, 1, 3]) {
            for n in 1..=count {
                keep(&stage.node, topic, n).await;
            }
        }
        let since = json!({ OWN[0]: begin[0], OWN[1]: begin[1], OWN[2]: begin[2], "channel:not-mine": "7-7" });
        for handshake in [Handshake::to(&stage.node), Handshake::to(&stage.node).msgpack()] {
            let (mut client, topics) = resumed(handshake, &since).await;
            for ((topic, begin), expected) in topics.iter().zip(&begin).zip([vec![], vec![1], vec![1, 2, 3]]) {
                let end = after(*begin, expected.len() as u64);
                assert_eq!((told(topic), position(topic)), ((None, expected, false), end));
            }
            // And on it goes.
            for topic in OWN {
                stage.node.publish("acme", topic, r#"{"type":"live"}"#).await;
                client.expect_event(topic).await;
            }
            client.expect_nothing().await;
        }
    }
}

#[tokio::test]
async fn each_topic_is_told_for_itself_whether_it_is_complete() {
    for stage in Stage::all(&[]).await {
        let (mut stays, topics) = resumed(Handshake::to(&stage.node), &json!({})).await;
        for topic in OWN {
            keep(&stage.node, topic, 1).await;
            stays.expect_event(topic).await;
        }
        let since = json!({ OWN[0]: "7-7", OWN[2]: topics[2]["position"] });
        let (_client, topics) = resumed(Handshake::to(&stage.node), &since).await;
        assert_eq!(told(&topics[0]), (Some("epoch"), vec![1], false));
        assert_eq!(topics[1]["recovered"], Value::Null);
        assert_eq!(told(&topics[2]), (None, vec![1], false));
    }
}

#[tokio::test]
async fn what_does_not_fit_into_welcome_is_asked_for_with_subscribe() {
    for stage in Stage::all(&[FORGETFUL, ("FANFARE_OUTBOX_BYTES_MAX", "131072")]).await {
        let (client, topics) = resumed(Handshake::to(&stage.node), &json!({})).await;
        stage.leave(client).await;
        let begin = position(&topics[1]);
        for n in 1..=3 {
            let large = json!({ "type": "n", "data": n, "filler": "x".repeat(40_000) });
            stage.node.keep("acme", "user:42", &large.to_string()).await;
        }
        let (mut client, topics) = resumed(Handshake::to(&stage.node), &json!({ "user:42": begin })).await;
        assert_eq!(told(&topics[1]), (None, vec![1], true));
        for n in 2..=3 {
            let answer = crate::since(&mut client, "user:42", after(begin, n - 1)).await;
            assert_eq!(told(&answer), (None, vec![n], n < 3));
        }
    }
}

#[tokio::test]
async fn a_later_auth_frame_only_renews() {
    let stage = Stage::on_redis(&[]).await;
    let (mut client, topics) = resumed(Handshake::to(&stage.node), &json!({})).await;
    keep(&stage.node, "tenant", 1).await;
    client.expect_event("tenant").await;
    client.send(&json!({ "op": "auth", "token": token(), "since": { "tenant": topics[0]["position"] } })).await;
    client.expect("renewed").await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_position_that_is_none_is_refused_and_the_client_may_try_again() {
    let stage = Stage::on_redis(&[]).await;
    let mut client = Handshake::to(&stage.node).open().await;
    client.send(&json!({ "op": "auth", "token": token(), "since": { "tenant": "newest" } })).await;
    let message = "since is no position";
    let refused = json!({ "op": "error", "topic": "tenant", "code": "bad_frame", "message": message });
    assert_eq!(client.message().await, refused);
    client.send(&json!({ "op": "auth", "token": token() })).await;
    client.expect("welcome").await;
}
