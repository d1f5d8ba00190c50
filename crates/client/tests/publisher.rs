//! Stories of a backend that publishes: what it hands over arrives as it is, once, and when it can't, the backend is told
//! why.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::time::Duration;

use fanfare_client::{
    ConnectError, EnvelopeError, Event, Keep, Position, Publication, PublishError, Publisher, Tenant, Topic,
};
use serde_json::json;

use support::sentinel::Watched;
use support::{Listener, RedisProcess, acme, load, orders, start, until};

const CHANNEL: &str = "fanfare:acme:channel:orders";

fn numbered(number: usize) -> Event {
    Event::new("n").data(&number)
}

/// A durable event's payload on its channel.
fn payload(position: Position, number: usize) -> String {
    format!(r#"@{position} {{"type":"n","data":{number}}}"#)
}

#[tokio::test]
async fn an_ephemeral_event_reaches_who_is_subscribed() {
    let redis = RedisProcess::start();
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let mut listener = Listener::on(&redis, &[CHANNEL, "app:acme:user:42"]).await;
    let event = Event::new("order.updated").data(&json!({ "id": 7 })).key("order-7");
    publisher.publish(&acme(), &orders(), &event).await.unwrap();
    assert_eq!(listener.next().await, r#"{"type":"order.updated","key":"order-7","data":{"id":7}}"#);

    let publisher = publisher.with_prefix("app").unwrap();
    publisher.publish(&acme(), &Topic::user("42").unwrap(), &Event::new("a")).await.unwrap();
    assert_eq!(listener.next().await, r#"{"type":"a"}"#);
}

#[tokio::test]
async fn a_durable_event_is_kept_and_published_under_one_position() {
    let redis = start();
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let mut listener = Listener::on(&redis, &[CHANNEL]).await;
    let keep = Keep::default().maxlen(10).ttl(Duration::from_mins(2));
    let position = publisher.publish_durable(&acme(), &orders(), &numbered(1), &keep).await.unwrap();
    assert_eq!(position.seq, 1);
    assert_eq!(listener.next().await, payload(position, 1));
    let kept = redis.command(&["XRANGE", CHANNEL, "-", "+"]);
    assert_eq!(kept, format!("{position}\ne\n{{\"type\":\"n\",\"data\":1}}"));
    let lives_ms: u64 = redis.command(&["PTTL", CHANNEL]).parse().unwrap();
    assert!((60_000..=150_000).contains(&lives_ms), "{lives_ms} ms");
}

#[tokio::test]
async fn the_same_idempotency_id_publishes_once() {
    let redis = start();
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let mut listener = Listener::on(&redis, &[CHANNEL]).await;
    let keep = Keep::default().id("export-9");
    let publish = |number| publisher_call(&publisher, number, &keep);
    let first = publish(1).await.unwrap();
    assert_eq!(publish(2).await, Ok(first));
    assert_eq!(listener.next().await, payload(first, 1));
    listener.expect_nothing(&redis, CHANNEL).await;
    assert_eq!(redis.command(&["XLEN", CHANNEL]), "1");
}

async fn publisher_call(publisher: &Publisher, number: usize, keep: &Keep) -> Result<Position, PublishError> {
    publisher.publish_durable(&acme(), &orders(), &numbered(number), keep).await
}

#[tokio::test]
async fn without_the_function_library_the_error_says_how_to_load_it() {
    let redis = RedisProcess::start();
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let error = publisher_call(&publisher, 1, &Keep::default()).await.unwrap_err();
    assert_eq!(error, PublishError::NoFunctions);
    assert!(error.to_string().contains("fanfare functions load") && !error.is_uncertain());
    assert_eq!(publisher.publish(&acme(), &orders(), &numbered(1)).await, Ok(()));
    load(&redis);
    assert!(publisher_call(&publisher, 1, &Keep::default()).await.is_ok());
}

#[tokio::test]
async fn what_redis_refuses_is_told_in_its_words_and_with_a_fix() {
    let redis = start();
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let error = publisher_call(&publisher, 1, &Keep::default().maxlen(0)).await.unwrap_err();
    assert!(error.to_string().contains("maxlen must be a whole number of events, at least 1"), "{error}");
    redis.command(&["ACL", "SETUSER", "weak", "on", ">word", "+@all", "-publish", "~*", "resetchannels"]);
    let weak = Publisher::connect(&redis.url_with("weak", "word")).await.unwrap();
    let error = weak.publish(&acme(), &orders(), &numbered(1)).await.unwrap_err();
    assert!(
        matches!(&error, PublishError::Refused(words) if words.contains("NOPERM") && words.contains("ACL SETUSER"))
    );
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = publisher_call(&publisher, 1, &Keep::default()).await.unwrap_err();
    assert!(matches!(&error, PublishError::Refused(words) if words.contains("primary")), "{error}");
    // What is ephemeral would only reach the replica's own subscribers.
    let error = Publisher::connect(&redis.url()).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("it is a replica"), "{error}");
}

#[tokio::test]
async fn a_batch_has_a_result_for_each_item_and_one_bad_item_keeps_no_other() {
    let redis = start();
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let mut listener = Listener::on(&redis, &[CHANNEL]).await;
    let ephemeral = |number| Publication::ephemeral(&acme(), &orders(), numbered(number));
    let durable = |number, keep| Publication::durable(&acme(), &orders(), numbered(number), keep);
    let batch = [
        ephemeral(1),
        Publication::ephemeral(&acme(), &orders(), Event::new("")),
        durable(2, Keep::default()),
        durable(3, Keep::default().maxlen(0)),
        durable(4, Keep::default()),
        ephemeral(5),
    ];
    let results = publisher.publish_all(&batch).await;
    assert_eq!((&results[0], &results[5]), (&Ok(None), &Ok(None)));
    assert_eq!(results[1], Err(PublishError::Event(EnvelopeError::InvalidType(0))));
    assert!(matches!(&results[3], Err(PublishError::Refused(words)) if words.contains("maxlen")), "{:?}", results[3]);
    let [first, second] = [&results[2], &results[4]].map(|result| result.clone().unwrap().unwrap());
    assert_eq!(second, Position { seq: 2, ..first });
    for expected in [r#"{"type":"n","data":1}"#, &payload(first, 2), &payload(second, 4), r#"{"type":"n","data":5}"#] {
        assert_eq!(listener.next().await, expected);
    }
}

#[tokio::test]
async fn a_batch_of_many_pipelines_keeps_its_order() {
    let redis = RedisProcess::start();
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    let mut listener = Listener::on(&redis, &[CHANNEL]).await;
    let batch: Vec<_> = (0..1_000).map(|number| Publication::ephemeral(&acme(), &orders(), numbered(number))).collect();
    assert!(publisher.publish_all(&batch).await.iter().all(Result::is_ok));
    for number in 0..1_000 {
        assert_eq!(listener.next().await, format!(r#"{{"type":"n","data":{number}}}"#));
    }
    assert_eq!(publisher.publish_all(&[]).await, []);
}

#[tokio::test]
async fn a_publisher_outlives_its_redis() {
    let mut redis = start();
    let publisher = Publisher::connect(&redis.url()).await.unwrap();
    publisher_call(&publisher, 1, &Keep::default()).await.unwrap();
    redis.kill();
    let publisher = publisher.with_timeout(Duration::from_millis(300));
    // The first one may find the connection not yet known to be broken.
    until("it is known that Redis is away", async || {
        matches!(publisher_call(&publisher, 2, &Keep::default()).await, Err(PublishError::Unavailable(_)))
    })
    .await;
    let batch = [Publication::ephemeral(&acme(), &orders(), numbered(3))];
    assert!(matches!(&publisher.publish_all(&batch).await[..], [Err(PublishError::Unavailable(_))]));
    redis.start_again();
    load(&redis);
    let publisher = publisher.with_timeout(support::PATIENCE);
    // It waits for the next attempt to connect.
    assert!(publisher_call(&publisher, 4, &Keep::default()).await.is_ok());
    // A restart that nobody published through is not noticed.
    let witness = Listener::on(&redis, &[CHANNEL]).await;
    redis.kill();
    witness.until_gone().await;
    redis.start_again();
    assert_eq!(publisher.publish(&acme(), &orders(), &numbered(5)).await, Ok(()));
}

#[tokio::test]
async fn a_redis_that_hangs_is_waited_for_no_longer_than_told() {
    let redis = start();
    let publisher = Publisher::connect(&redis.url()).await.unwrap().with_timeout(Duration::from_millis(200));
    redis.freeze();
    let error = publisher_call(&publisher, 1, &Keep::default()).await.unwrap_err();
    assert_eq!(error, PublishError::Timeout(Duration::from_millis(200)));
    assert!(error.is_uncertain());
    redis.thaw();
    let publisher = publisher.with_timeout(support::PATIENCE);
    publisher_call(&publisher, 2, &Keep::default()).await.unwrap();
}

#[tokio::test]
async fn a_publisher_follows_its_sentinels_to_the_new_primary() {
    let watched = Watched::start();
    load(&watched.primary);
    until("the replica has the library", async || watched.replica.command(&["FUNCTION", "LIST"]).contains("fanfare"))
        .await;
    let publisher = Publisher::connect(&watched.url()).await.unwrap();
    publisher_call(&publisher, 1, &Keep::default()).await.unwrap();
    watched.primary.freeze();
    watched.sentinel.loses_patience();
    watched.until_failed_over();
    let publisher = publisher.with_timeout(Duration::from_millis(500));
    // The old connection stands and says nothing.
    until("it has found the new primary", async || publisher_call(&publisher, 2, &Keep::default()).await.is_ok()).await;
    assert!(watched.replica.command(&["XREVRANGE", CHANNEL, "+", "-", "COUNT", "1"]).contains(r#""data":2"#));
    watched.primary.thaw();
}

#[tokio::test]
async fn a_backend_can_bring_its_own_connection() {
    let redis = RedisProcess::start();
    let mut listener = Listener::on(&redis, &[CHANNEL]).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let multiplexed = Publisher::new(client.get_multiplexed_async_connection().await.unwrap());
    let managed = Publisher::new(redis::aio::ConnectionManager::new(client).await.unwrap());
    for publisher in [multiplexed, managed] {
        publisher.publish(&acme(), &orders(), &numbered(1)).await.unwrap();
        assert_eq!(listener.next().await, r#"{"type":"n","data":1}"#);
    }
}

#[tokio::test]
async fn the_rights_that_the_readme_lists_are_enough() {
    let redis = start();
    support::grant(&redis, "publisher", false);
    let publisher = Publisher::connect(&redis.url_with("publisher", "word")).await.unwrap();
    publisher.publish(&acme(), &orders(), &numbered(1)).await.unwrap();
    publisher_call(&publisher, 2, &Keep::default().id("x")).await.unwrap();
    publisher_call(&publisher, 3, &Keep::default()).await.unwrap();
    let other = Tenant::parse("other").unwrap();
    assert!(matches!(publisher.publish(&other, &orders(), &numbered(4)).await, Err(PublishError::Refused(_))));
}

#[tokio::test]
async fn a_failed_connection_says_why_and_hides_the_password() {
    let redis = RedisProcess::start_with(&["--requirepass", "word"]);
    let url = redis.url().replace("://", "://:hunter2@");
    let Err(error @ ConnectError::Unreachable(_)) = Publisher::connect(&url).await else { panic!("connected") };
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(matches!(Publisher::connect("http://redis").await, Err(ConnectError::Address(_))));
    assert!(Publisher::lazy("redis://127.0.0.1:1").is_ok());
    assert!(Tenant::parse("a:b").is_err());
}
