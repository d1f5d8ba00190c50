//! Topics with many members: the number instead of the names.

use serde_json::json;

use crate::support::{Client, RedisProcess, token};
use crate::{BOARD, expect_told, member, subscribe, two_nodes};

#[tokio::test]
async fn above_a_number_of_members_only_the_number_is_told() {
    let redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[("FANFARE_PRESENCE_TOLD_MAX", "3")]).await;
    let mut text = member(&one, "text").await;
    let mut packed = Client::connect_msgpack(&two, &token("acme", "packed")).await;
    subscribe(&mut packed, BOARD).await;
    expect_told(&mut text, "joined", "packed").await;
    let _third = member(&two, "third").await;
    expect_told(&mut text, "joined", "third").await;
    expect_told(&mut packed, "joined", "third").await;
    let mut more = Vec::new();
    for name in ["a", "b", "c"] {
        more.push(member(&one, name).await);
    }
    // However they are gathered, the last number is told.
    for client in [&mut text, &mut packed] {
        let mut count = 0;
        while count != 6 {
            let told = client.message().await;
            count = told["count"].as_u64().unwrap();
            assert_eq!(told, json!({ "op": "presence", "topic": BOARD, "count": count }));
            assert!(count > 3, "{told}");
        }
    }
    more.clear();
    // When they are few again, names are told.
    for client in [&mut text, &mut packed] {
        let mut told = client.message().await;
        while told["op"] == "presence" {
            told = client.message().await;
        }
        assert_eq!((&told["op"], &told["topic"]), (&json!("left"), &json!(BOARD)), "{told}");
    }
}
