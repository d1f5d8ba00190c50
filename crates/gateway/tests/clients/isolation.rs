//! Nothing crosses tenants, users or channels.

use serde_json::{Value, json};

use crate::support::{Client, Node, token};

/// Publishes one event to a topic of acme, and then one to everybody of both tenants.
async fn publish(node: &Node, topic: &str, name: &str) {
    for (tenant, topic, name) in [("acme", topic, name), ("acme", "tenant", "end"), ("globex", "tenant", "end")] {
        let envelope = json!({ "type": name }).to_string();
        assert_eq!(node.publish(tenant, topic, &envelope).await.status, 200);
    }
}

/// What a client gets up to the event that everybody gets. A node keeps the order in which it took events.
async fn until_end(client: &mut Client) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let event = client.expect("event").await;
        if event["event"]["type"] == "end" {
            return events;
        }
        events.push(event);
    }
}

#[tokio::test]
async fn an_event_reaches_those_it_is_addressed_to_and_nobody_else() {
    let node = Node::start(&[]).await;
    let who = [
        ("acme", "ann", "channel:a"),
        ("acme", "ann", "channel:A"),
        ("acme", "bob", "channel:a"),
        ("acme", "bob", "channel:a.b"),
        ("globex", "ann", "channel:a"),
        ("globex", "bob", "channel:acme:a"),
    ];
    let mut clients = Vec::new();
    for (index, (tenant, user, channel)) in who.into_iter().enumerate() {
        let token = token(tenant, user);
        let mut client = if index % 2 == 0 {
            Client::connect(&node, &token).await
        } else {
            Client::connect_msgpack(&node, &token).await
        };
        client.subscribe(channel).await;
        clients.push(client);
    }
    let cases: [(&str, &[usize]); 8] = [
        ("tenant", &[0, 1, 2, 3]),
        ("user:ann", &[0, 1]),
        ("user:bob", &[2, 3]),
        ("user:an", &[]),
        ("channel:a", &[0, 2]),
        ("channel:A", &[1]),
        ("channel:a.b", &[3]),
        ("channel:acme:a", &[]),
    ];
    for (topic, addressed) in cases {
        publish(&node, topic, "secret").await;
        for (index, client) in clients.iter_mut().enumerate() {
            let expected = json!({ "op": "event", "topic": topic, "event": { "type": "secret" } });
            let expected = if addressed.contains(&index) { vec![expected] } else { Vec::new() };
            assert_eq!(until_end(client).await, expected, "{topic} at {:?}", who[index]);
        }
    }
}

#[tokio::test]
async fn what_a_client_publishes_stays_in_its_tenant() {
    let node = Node::start(&[]).await;
    let mut publisher = Client::connect(&node, &token("acme", "ann")).await;
    let mut colleague = Client::connect(&node, &token("acme", "bob")).await;
    let mut stranger = Client::connect(&node, &token("globex", "bob")).await;
    for client in [&mut colleague, &mut stranger] {
        client.subscribe("channel:a").await;
    }
    for topic in ["channel:a", "user:bob", "tenant"] {
        publisher.send(&json!({ "op": "publish", "id": 1, "topic": topic, "event": { "type": "secret" } })).await;
        publisher.skip_to("published").await;
        publish(&node, "channel:nobody", "unheard").await;
        let expected = json!({ "op": "event", "topic": topic, "event": { "type": "secret" } });
        assert_eq!(until_end(&mut colleague).await, [expected]);
        assert_eq!(until_end(&mut stranger).await, [Value::Null; 0]);
    }
}
