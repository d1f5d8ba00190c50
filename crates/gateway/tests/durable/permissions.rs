//! What Redis has to allow a backend that keeps events.

use crate::backend::Backend;
use crate::{ORDERS, STREAM, Stage, after, expect_ephemeral, expect_number, numbered};

const PAGE: &str = include_str!("../../../../docs/protocol.md");

#[tokio::test]
async fn a_backend_needs_no_more_than_the_documented_rules() {
    let stage = Stage::on_redis(&[]).await;
    let redis = stage.redis.as_ref().unwrap();
    let rules = PAGE.split_once("```acl\n").unwrap().1.split_once("```").unwrap().0;
    for line in rules.lines() {
        assert_eq!(redis.command(&line.split(' ').collect::<Vec<_>>()), "OK", "{line}");
    }
    let (mut client, begin) = stage.subscriber().await;
    let mut backend = Backend::of(redis).await;
    backend.command(&["AUTH", "acme", "password"]).await;
    backend.ephemeral("there").await;
    expect_ephemeral(&mut client, "there").await;
    for (n, options) in [(1, &[][..]), (2, &["id", "order-7"]), (3, &["maxlen", "5", "ttl_ms", "999999999"])] {
        let envelope = numbered(n);
        let words = [&["FCALL", "fanfare_publish", "1", STREAM, &envelope][..], options].concat();
        assert_eq!(backend.command(&words).await, after(begin, n).to_string());
        expect_number(&mut client, n).await;
    }
    // An epoch begins, too.
    redis.command(&["DEL", STREAM]);
    assert_eq!(backend.keep_number(4).await.seq, 1);
    expect_number(&mut client, 4).await;

    let as_acme = |words: &[&str]| {
        redis.command(&[&["--user", "acme", "--pass", "password", "--no-auth-warning"], words].concat())
    };
    for words in [
        &["PUBLISH", "fanfare:globex:channel:orders", "{}"][..],
        &["FCALL", "fanfare_publish", "1", "fanfare:globex:channel:orders", &numbered(5)],
        &["GET", "fanfare:node:1"],
        &["DEL", STREAM],
        &["SUBSCRIBE", STREAM],
    ] {
        let answer = as_acme(words);
        assert!(answer.contains("NOPERM"), "{words:?}: {answer}");
    }
    stage.node.publish("acme", ORDERS, r#"{"type":"next"}"#).await;
    expect_ephemeral(&mut client, "next").await;
}
