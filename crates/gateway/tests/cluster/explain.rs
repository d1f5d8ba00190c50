//! `fanfare explain` says what a node does: the same token, topics and rules, asked of both.

use serde_json::{Value, json};

use crate::support::{Client, Node, RedisProcess, claims, sign};
use crate::{try_publish, try_subscribe, welcomed};

const RULES: &str = r#"[
    {"pattern":"channel:audit.**","subscribe":"nobody"},
    {"pattern":"channel:news.*","subscribe":"tenant"},
    {"pattern":"channel:cursors.*","durable":"never"},
    {"pattern":"**","durable":"allowed"}
]"#;

/// What the command says about a topic, and whether its exit code agrees.
async fn explained(token: &str, topic: &str) -> Value {
    let arguments = ["explain", "--token", token, "--topic", topic, "--json"];
    let mut command = Node::spawn(&arguments, &[("FANFARE_TOPICS", RULES)]);
    let code = command.ended().await.code();
    let told: Value = serde_json::from_str(&command.printed()).unwrap_or_else(|_| panic!("{}", command.log()));
    assert_eq!(code, Some(i32::from(told["allowed"] != json!(true))), "{told}");
    told
}

async fn try_history(client: &mut Client, topic: &str) -> Value {
    client.send(&json!({ "op": "history", "id": 7, "topic": topic, "limit": 1 })).await;
    client.message().await
}

#[tokio::test]
async fn what_is_explained_is_what_a_node_does() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[("FANFARE_TOPICS", RULES)]).await;
    let mut claims = claims("acme", "42");
    claims["channels"] = json!(["orders:*", "audit.*", "**:7"]);
    claims["publish"] = json!(["channel:cursors.*", "user:*"]);
    claims["subscribe"] = json!(["channel:vip", "channel:audit.log"]);
    let token = sign(&claims);
    let (mut client, welcome) = welcomed(&node, &token).await;
    let automatic: Vec<&Value> = welcome["topics"].as_array().unwrap().iter().map(|topic| &topic["topic"]).collect();
    let topics = [
        "tenant",
        "user:42",
        "user:43",
        "channel:audit.log",
        "channel:audit.a",
        "channel:news.de",
        "channel:news.de.sport",
        "channel:cursors.7",
        "channel:orders:1",
        "channel:orders:1:2",
        "channel:a:b:7",
        "channel:vip",
        "channel:board",
    ];
    let mut allowed = 0;
    for topic in topics {
        let told = explained(&token, topic).await;
        let verdict = |action: &str| told["verdicts"][action]["allowed"].as_bool().unwrap();
        // Publishing comes first, so that the client gets no event of its own in place of an answer.
        if !automatic.contains(&&json!(topic)) {
            assert_eq!(try_publish(&mut client, topic).await["op"] == "published", verdict("publish"), "{topic}");
        }
        assert_eq!(try_history(&mut client, topic).await["op"] == "history", verdict("history"), "{topic}");
        assert_eq!(try_subscribe(&mut client, topic).await["op"] == "subscribed", verdict("subscribe"), "{topic}");
        assert_eq!(told["automatic"], json!(automatic.contains(&&json!(topic))), "{topic}");
        allowed += usize::from(verdict("subscribe"));
    }
    assert_eq!(allowed, 6);
}
