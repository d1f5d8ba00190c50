//! Topics of durable events alone say so wherever a client is told where they stand: who has recovered such a topic has
//! missed nothing.

use serde_json::{Value, json};

use crate::support::{Client, Handshake, token, until};
use crate::{ORDERS, Stage, told};

/// For all topics of the stories but [`CHAT`].
const RULES: (&str, &str) = (
    "FANFARE_TOPICS",
    r#"[{"pattern":"channel:orders","durable":"always"},{"pattern":"user:*","durable":"always"},
        {"pattern":"channel:news","durable":"never"}]"#,
);

/// A topic that takes ephemeral events, too.
const CHAT: &str = "channel:chat";

/// A topic that takes ephemeral events alone.
const NEWS: &str = "channel:news";

/// A client in one of the encodings that says what it has of its user's topic, and its welcome.
async fn welcomed(handshake: Handshake, since: &Value) -> (Client, Value) {
    let mut client = handshake.open().await;
    client.send(&json!({ "op": "auth", "token": token("acme", "1"), "since": since })).await;
    let welcome = client.expect("welcome").await;
    (client, welcome)
}

/// Which topics of a welcome, or of some answers, are told to carry durable events alone. It is never told of others.
fn durable(states: &[Value]) -> Vec<&str> {
    let told = states.iter().filter(|state| state.get("durable").is_some());
    told.map(|state| {
        assert_eq!(state["durable"], true, "{state}");
        state["topic"].as_str().unwrap()
    })
    .collect()
}

#[tokio::test]
async fn every_answer_says_of_a_topic_whether_it_carries_durable_events_alone() {
    for stage in Stage::all(&[RULES]).await {
        for handshake in [Handshake::to(&stage.node), Handshake::to(&stage.node).msgpack()] {
            let (mut client, welcome) = welcomed(handshake.clone(), &json!({})).await;
            assert_eq!(durable(welcome["topics"].as_array().unwrap()), ["user:1"]);
            let topics = [ORDERS, CHAT, NEWS].map(|topic| json!({ "topic": topic }));
            client.send(&json!({ "op": "subscribe", "id": 1, "topics": topics })).await;
            let mut answers = Vec::new();
            for _ in 0..3 {
                answers.push(client.expect("subscribed").await);
            }
            assert_eq!(durable(&answers), [ORDERS]);
            // Asked again, by the same or by who comes back, it says so again.
            assert_eq!(client.subscribe(ORDERS).await["durable"], true);
            let since =
                json!({ "tenant": welcome["topics"][0]["position"], "user:1": welcome["topics"][1]["position"] });
            let (mut client, welcome) = welcomed(handshake, &since).await;
            let topics = welcome["topics"].as_array().unwrap();
            assert_eq!((told(&topics[0]), told(&topics[1])), ((None, vec![], false), (None, vec![], false)));
            assert_eq!(durable(topics), ["user:1"]);
            let answer = crate::since(&mut client, ORDERS, answers[0]["position"].as_str().unwrap()).await;
            assert_eq!((told(&answer), &answer["durable"]), ((None, vec![], false), &json!(true)));
        }
    }
}

#[tokio::test]
async fn a_welcome_while_redis_is_away_says_so_too() {
    let mut stage = Stage::on_redis(&[RULES]).await;
    stage.redis.as_mut().unwrap().kill();
    until("the node has noticed", async || stage.node.get("/readyz").await.status == 503).await;
    let (_client, welcome) = welcomed(Handshake::to(&stage.node), &json!({})).await;
    let topics = welcome["topics"].as_array().unwrap();
    assert!(topics.iter().all(|topic| topic["position"] == "0-0"), "{welcome}");
    assert_eq!(durable(topics), ["user:1"]);
}
