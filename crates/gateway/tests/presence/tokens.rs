//! Presence ends with the right to the topic.

use serde_json::json;

use crate::support::{RedisProcess, claims, sign};
use crate::{BOARD, expect_told, member, two_nodes};

#[tokio::test]
async fn a_renewed_token_that_loses_the_topic_leaves_it() {
    let redis = RedisProcess::start();
    let [one, two] = two_nodes(&redis, &[]).await;
    let mut ana = member(&one, "ana").await;
    let mut bo = member(&two, "bo").await;
    expect_told(&mut ana, "joined", "bo").await;
    let mut claims = claims("acme", "bo");
    claims["channels"] = json!(["news"]);
    bo.send(&json!({ "op": "auth", "token": sign(&claims) })).await;
    bo.expect("renewed").await;
    assert_eq!(bo.expect("unsubscribed").await["topic"], BOARD);
    expect_told(&mut ana, "left", "bo").await;
    let _cy = member(&two, "cy").await;
    expect_told(&mut ana, "joined", "cy").await;
    bo.expect_nothing().await;
}
