//! What a topic has kept, read by a backend.

use serde_json::{Value, json};

use crate::support::{Node, RedisProcess, position, until};
use crate::{assert_problem, get, problem};

const HISTORY: &str = "/v1/tenants/acme/topics/channel:orders/history";

/// The numbers of the events on a page, and whether there are older ones.
async fn page(node: &Node, query: &str) -> (Vec<u64>, bool) {
    let reply = get(node, &format!("{HISTORY}{query}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let page = reply.json();
    let number = |event: &Value| event["event"]["data"].as_u64().unwrap();
    (page["events"].as_array().unwrap().iter().map(number).collect(), page["more"].as_bool().unwrap())
}

#[tokio::test]
async fn a_backend_pages_back_through_what_is_kept() {
    let node = Node::start(&[]).await;
    assert_eq!(get(&node, HISTORY).await.json(), json!({"events": [], "more": false}));
    let mut positions = Vec::new();
    for number in 0..150 {
        let event = json!({"type": "t", "data": number}).to_string();
        positions.push(node.keep("acme", "channel:orders", &event).await);
        node.publish("acme", "channel:orders", r#"{"type":"fleeting","data":999}"#).await;
        node.keep("globex", "channel:orders", r#"{"type":"secret","data":999}"#).await;
    }
    assert_eq!(page(&node, "").await, ((50..150).collect(), true));
    assert_eq!(page(&node, "?limit=2").await, (vec![148, 149], true));
    assert_eq!(page(&node, "?limit=150").await, ((0..150).collect(), false));
    assert_eq!(page(&node, "?limit=1000&other=1").await, ((0..150).collect(), false));
    let before = |number: usize| format!("?limit=60&before={}", positions[number]);
    assert_eq!(page(&node, &before(90)).await, ((30..90).collect(), true));
    assert_eq!(page(&node, &before(30)).await, ((0..30).collect(), false));
    assert_eq!(page(&node, &before(0)).await, (vec![], false));
    let reply = get(&node, &format!("{HISTORY}?limit=1")).await;
    let event = &reply.json()["events"][0];
    assert_eq!(position(event), positions[149]);
    // As it was published, and by its escaped name as well.
    assert!(reply.body.contains(r#""event":{"data":149,"type":"t"}"#), "{}", reply.body);
    let escaped = get(&node, "/v1/tenants/acme/topics/channel%3Aorders/history?limit=1").await;
    assert_eq!(escaped.body, reply.body);
}

#[tokio::test]
async fn a_page_is_bounded_in_bytes_and_has_one_event_at_least() {
    let node = Node::start(&[("FANFARE_API_BODY_BYTES_MAX", "4096")]).await;
    for number in 0..20 {
        let event = json!({"type": "t", "data": number, "padding": "x".repeat(960)}).to_string();
        node.keep("acme", "channel:orders", &event).await;
    }
    let (numbers, more) = page(&node, "").await;
    assert!((2..=5).contains(&numbers.len()) && numbers.ends_with(&[19]) && more, "{numbers:?}");
}

#[tokio::test]
async fn a_history_can_not_be_asked_for_in_another_way() {
    let node = Node::start(&[]).await;
    for limit in ["0", "1001", "-1", "1.5", "ten", "", "99999999999999999999"] {
        let reply = get(&node, &format!("{HISTORY}?limit={limit}")).await;
        let detail = "limit must be a number from 1 to 1000";
        assert_eq!(problem(&reply), (400, "bad_frame".to_owned(), detail.to_owned()), "{limit}");
    }
    for before in ["", "now", "1", "1-", "-1", "1-2-3", "99999999999999999999-1", "1767225600000000-41%20"] {
        let reply = get(&node, &format!("{HISTORY}?before={before}")).await;
        assert_eq!(problem(&reply), (400, "bad_frame".to_owned(), "before is no position".to_owned()), "{before}");
    }
    for path in ["/v1/tenants/acme/topics/orders/history", "/v1/tenants/node/topics/tenant/history"] {
        assert_problem(&get(&node, path).await, 400, "invalid_topic");
    }
}

#[tokio::test]
async fn a_history_that_can_not_be_read_is_no_empty_one() {
    let mut redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    node.keep("acme", "channel:orders", r#"{"type":"t"}"#).await;
    redis.command(&["SET", "fanfare:acme:channel:broken", "no stream"]);
    let reply = get(&node, "/v1/tenants/acme/topics/channel:broken/history").await;
    assert_problem(&reply, 502, "internal");
    redis.kill();
    until("the outage is noticed", async || get(&node, HISTORY).await.status == 503).await;
    let reply = get(&node, HISTORY).await;
    assert_problem(&reply, 503, "unavailable");
    assert_eq!(reply.header("retry-after"), Some("1"));
}
