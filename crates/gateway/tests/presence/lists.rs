//! The list of a topic: pages, and who may ask.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Client, RedisProcess, claims, sign, token};
use crate::{BOARD, ask, member, node_on, set, until_there, users};

/// Puts users there as another node would.
fn join(redis: &RedisProcess, names: &[String], info: &str) {
    let keys = ["{fanfare:acme:channel:board}:presence", "{fanfare:acme:channel:board}:info"];
    for chunk in names.chunks(1_000) {
        let count = chunk.len().to_string();
        let mut words = vec!["FCALL", "fanfare_presence_join", "2", keys[0], keys[1], "other", "3600000", &count];
        words.extend(chunk.iter().flat_map(|name| [name, info]));
        assert_eq!(redis.command(&words), count);
    }
}

async fn page(client: &mut Client, limit: u64, cursor: Option<&Value>) -> Value {
    let mut frame = json!({ "op": "presence", "id": 6, "topic": BOARD, "limit": limit });
    if let Some(cursor) = cursor {
        frame["cursor"] = cursor.clone();
    }
    client.send(&frame).await;
    client.expect("presence").await
}

/// All users by pages of this size.
async fn paged(client: &mut Client, limit: u64) -> (Vec<String>, usize) {
    let (mut cursor, mut found, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = page(client, limit, cursor.as_ref()).await;
        assert_eq!((&page["id"], &page["topic"]), (&json!(6), &json!(BOARD)));
        let on_it = page["users"].as_array().unwrap();
        assert!(on_it.len() as u64 <= limit.min(1_000));
        found.extend(on_it.iter().map(|user| user["user"].as_str().unwrap().to_owned()));
        pages += 1;
        match page.get("cursor") {
            Some(next) => cursor = Some(next.clone()),
            None => return (found, pages),
        }
    }
}

#[tokio::test]
async fn a_large_topic_comes_in_pages() {
    let redis = RedisProcess::start();
    let node = node_on(&redis.url(), &[]).await;
    let names: Vec<_> = (0..2_500).map(|number| format!("user-{number}")).collect();
    join(&redis, &names, r#"{"n":1}"#);
    let mut text = Client::connect(&node, &token("acme", "text")).await;
    let mut packed = Client::connect_msgpack(&node, &token("acme", "packed")).await;
    for (client, limits) in [(&mut text, [1_000, 5_000]), (&mut packed, [700, 999])] {
        for limit in limits {
            let (found, pages) = paged(client, limit).await;
            assert_eq!(found.len(), 2_500);
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), names.iter().cloned().collect());
            assert!((3..=8).contains(&pages), "{pages}");
        }
    }
    let short = ask(&mut text, BOARD).await;
    // A page may end a few users early, where Redis keeps them in one place.
    assert!((90..=100).contains(&users(&short).len()) && short["count"] == 2_500, "unless it says how many: {short}");
}

#[tokio::test]
async fn a_page_fits_into_the_outbox_however_large_the_infos_are() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_OUTBOX_BYTES_MAX", "131072")];
    let node = node_on(&redis.url(), &settings).await;
    let names: Vec<_> = (0..500).map(|number| format!("user-{number}")).collect();
    // What takes more room in MessagePack than in JSON.
    let info = format!("[{}0.5]", "0.5,".repeat(250));
    join(&redis, &names, &info);
    for mut client in [
        Client::connect(&node, &token("acme", "text")).await,
        Client::connect_msgpack(&node, &token("acme", "packed")).await,
    ] {
        let (found, pages) = paged(&mut client, 1_000).await;
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), 500);
        assert!(pages > 10, "{pages}");
    }
}

#[tokio::test]
async fn a_topic_where_nobody_is_has_an_empty_list() {
    let redis = RedisProcess::start();
    let node = node_on(&redis.url(), &[]).await;
    let mut ana = Client::connect(&node, &token("acme", "ana")).await;
    let nobody = json!({ "op": "presence", "id": 5, "topic": BOARD, "count": 0, "users": [] });
    assert_eq!(ask(&mut ana, BOARD).await, nobody);
}

#[tokio::test]
async fn whoever_may_subscribe_may_ask_and_nobody_else() {
    let redis = RedisProcess::start();
    let node = node_on(&redis.url(), &[]).await;
    let mut ana = member(&node, "ana").await;
    until_there(&mut ana, BOARD, &["ana"]).await;
    let mut limited = claims("acme", "bo");
    limited["channels"] = json!(["news"]);
    limited["subscribe"] = json!(["channel:given"]);
    let mut bo = Client::connect(&node, &sign(&limited)).await;
    for topic in ["tenant", "user:bo", "channel:news", "channel:given"] {
        assert_eq!(users(&ask(&mut bo, topic).await), set(&[]), "{topic}");
    }
    let refused = |topic: &str| {
        let message = "this token may not subscribe to this topic";
        json!({ "op": "error", "id": 5, "topic": topic, "code": "forbidden", "message": message })
    };
    // Whether anybody is there makes no difference.
    for topic in [BOARD, "channel:nobody", "user:ana", "user:nobody"] {
        assert_eq!(ask(&mut bo, topic).await, refused(topic));
    }
    let mut rival = Client::connect(&node, &token("rival", "ana")).await;
    assert_eq!(users(&ask(&mut rival, BOARD).await), set(&[]));
}
