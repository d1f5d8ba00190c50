//! Who is there, read by a backend.

use serde_json::{Value, json};

use crate::support::{Client, Node, RedisProcess, claims, sign, token, until};
use crate::{assert_problem, get};

const PRESENCE: &str = "/v1/tenants/acme/topics/channel:board/presence";

async fn member(node: &Node, token: &str) -> Client {
    let mut client = Client::connect(node, token).await;
    client.send(&json!({ "op": "subscribe", "id": 1, "topic": "channel:board", "presence": true })).await;
    client.expect("subscribed").await;
    client
}

async fn page(node: &Node, query: &str) -> Value {
    let reply = get(node, &format!("{PRESENCE}{query}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[tokio::test]
async fn a_backend_reads_who_is_there_on_all_nodes_each_user_once() {
    let redis = RedisProcess::start();
    let nodes = [Node::start_on(&redis.url(), &[]).await, Node::start_on(&redis.url(), &[]).await];
    assert_eq!(page(&nodes[0], "").await, json!({ "count": 0, "users": [] }));
    let mut named = claims("acme", "ann");
    named["info"] = json!({ "name": "Ann" });
    let mut clients = Vec::new();
    for node in &nodes {
        clients.push(member(node, &sign(&named)).await);
        clients.push(member(node, &token("acme", "bob")).await);
        clients.push(member(node, &token("globex", "eve")).await);
    }
    until("two are there", async || page(&nodes[0], "").await["count"] == 2).await;
    let mut users = page(&nodes[1], "?other=1").await["users"].take();
    users.as_array_mut().unwrap().sort_by_key(|user| user["user"].to_string());
    assert_eq!(users, json!([{ "user": "ann", "info": { "name": "Ann" } }, { "user": "bob" }]));
}

#[tokio::test]
async fn a_large_list_comes_in_pages() {
    let node = Node::start(&[]).await;
    let mut clients = Vec::new();
    for user in 0..25 {
        clients.push(member(&node, &token("acme", &user.to_string())).await);
    }
    until("all are there", async || page(&node, "").await["count"] == 25).await;
    let (mut seen, mut cursor) = (std::collections::BTreeSet::new(), None::<String>);
    loop {
        let query = cursor.as_ref().map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let page = page(&node, &format!("?limit=10{query}")).await;
        seen.extend(page["users"].as_array().unwrap().iter().map(|user| user["user"].as_str().unwrap().to_owned()));
        match page["cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25);
}

#[tokio::test]
async fn a_list_can_not_be_asked_for_in_another_way() {
    let node = Node::start(&[]).await;
    for query in ["?limit=0", "?limit=1001", "?limit=many", "?limit="] {
        let reply = get(&node, &format!("{PRESENCE}{query}")).await;
        assert_problem(&reply, 400, "bad_frame");
    }
    let reply = get(&node, &format!("{PRESENCE}?cursor=nonsense")).await;
    assert_problem(&reply, 400, "bad_frame");
    let reply = get(&node, "/v1/tenants/acme/topics/board/presence").await;
    assert_eq!((reply.status, reply.code()), (400, "invalid_topic".to_owned()));
}
