//! Stories of a backend that is written with `fanfare-client`: what it publishes reaches clients at a node's sockets, they
//! connect with its tokens, and it answers what they ask.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use fanfare_client::token::{Grant, Signer};
use fanfare_client::{Event, Keep, Publication, Publisher, Request, RequestError, Tenant, Topic, Worker};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use support::redis_cluster::ClusterProcess;
use support::{Client, Node, RedisProcess, SECRET, in_time};

const ORDERS: &str = "channel:orders";

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn orders() -> Topic {
    Topic::parse(ORDERS).unwrap()
}

/// A client that is subscribed to [`ORDERS`].
async fn subscriber(node: &Node, user: &str) -> Client {
    let grant = Grant::new(&acme(), user).channels(["orders"]).methods(["dashboard.*"]);
    let mut client = Client::connect(node, &Signer::hs256(SECRET).mint(&grant).unwrap()).await;
    client.subscribe(ORDERS).await;
    client
}

fn numbered(number: u64) -> Event {
    Event::new("n").data(&number)
}

fn told(number: u64) -> Value {
    json!({ "op": "event", "topic": ORDERS, "event": { "type": "n", "data": number } })
}

/// An ephemeral event, a durable one, the same again, and a batch, over either kind of Redis.
async fn everything_arrives(node: &Node, publisher: &Publisher) {
    let mut client = subscriber(node, "42").await;
    publisher.publish(&acme(), &orders(), &numbered(1)).await.unwrap();
    assert_eq!(client.message().await, told(1));
    let with_position = |number, position: fanfare_client::Position| {
        let mut told = told(number);
        told["position"] = json!(position.to_string());
        told
    };
    let keep = Keep::default().id("once");
    let first = publisher.publish_durable(&acme(), &orders(), &numbered(2), &keep).await.unwrap();
    assert_eq!(client.message().await, with_position(2, first));
    assert_eq!(publisher.publish_durable(&acme(), &orders(), &numbered(3), &keep).await, Ok(first));
    let batch = [
        Publication::ephemeral(&acme(), &orders(), numbered(4)),
        Publication::ephemeral(&acme(), &orders(), Event::new("")),
        Publication::durable(&acme(), &orders(), numbered(5), Keep::default()),
    ];
    let results = publisher.publish_all(&batch).await;
    assert!(results[0].is_ok() && results[1].is_err());
    assert_eq!(client.message().await, told(4));
    assert_eq!(client.message().await, with_position(5, results[2].clone().unwrap().unwrap()));
    client.expect_nothing().await;
}

#[tokio::test]
async fn what_a_backend_publishes_reaches_its_clients() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[]).await;
    everything_arrives(&node, &Publisher::connect(&redis.url()).await.unwrap()).await;
}

#[tokio::test]
async fn what_a_backend_publishes_on_a_cluster_reaches_its_clients() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let node = Node::start_on(&cluster.url(), &[]).await;
    everything_arrives(&node, &Publisher::connect(&cluster.url()).await.unwrap()).await;
}

/// Two clients: one asks, and the other is told what came of it; then one mistake of the asker and one of the backend.
async fn requests_are_answered(redis_url: &str) {
    let node = Node::start_on(redis_url, &[]).await;
    let publisher = Publisher::connect(redis_url).await.unwrap();
    let refresh = move |request: Request| {
        let publisher = publisher.clone();
        async move {
            let days: u64 = request.input()?;
            let event = numbered(days).except(request.connection());
            publisher.publish(request.tenant(), &orders(), &event).await?;
            Ok(json!({ "days": days, "user": request.user() }))
        }
    };
    let fail = |_| async { Err::<(), _>(RequestError::internal("the password is hunter2")) };
    let builder =
        Worker::builder(redis_url, acme()).method("dashboard.refresh", refresh).method("dashboard.fail", fail);
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(builder.build().unwrap().run(async { _ = stopped.await }));

    let (mut asker, mut other) = (subscriber(&node, "42").await, subscriber(&node, "43").await);
    let mut ask = async |id: u64, method: &str, data: Value| {
        asker.send(&json!({ "op": "request", "id": id, "method": method, "data": data })).await;
        asker.message().await
    };
    let expected = json!({ "op": "reply", "id": 1, "data": { "days": 7, "user": "42" } });
    assert_eq!(ask(1, "dashboard.refresh", json!(7)).await, expected);
    assert_eq!(other.message().await["event"]["data"], 7);
    let refused = ask(2, "dashboard.refresh", json!("x")).await;
    assert_eq!((&refused["op"], &refused["id"], &refused["code"]), (&json!("error"), &json!(2), &json!("bad_frame")));
    let expected = json!({ "op": "error", "id": 3, "code": "internal", "message": "the backend failed" });
    assert_eq!(ask(3, "dashboard.fail", json!(null)).await, expected);
    stop.send(()).unwrap();
    assert_eq!(in_time("the worker stops", worker).await.unwrap().unfinished, 0);
}

#[tokio::test]
async fn a_client_asks_and_the_backend_answers() {
    let redis = RedisProcess::start();
    requests_are_answered(&redis.url()).await;
}

#[tokio::test]
async fn a_client_asks_and_the_backend_answers_on_a_cluster() {
    let cluster = ClusterProcess::start_primaries(&[]);
    requests_are_answered(&cluster.url()).await;
}
