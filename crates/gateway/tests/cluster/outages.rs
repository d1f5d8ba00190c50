//! Redis goes and comes back, in every way it can. Clients stay, learn what can't be done meanwhile, and are told of
//! what they may have missed, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Client, Frame, Handshake, Node, RedisProcess, position, token, until};
use crate::traffic::{Seen, Traffic};
use crate::{
    EVENT, count, event, frame, leave, publish, subscriber, subscribers, try_publish, try_subscribe, two_nodes,
    until_count, until_status, welcomed,
};

/// Gaps are told at once, so that a test doesn't wait.
pub(crate) const AT_ONCE: (&str, &str) = ("FANFARE_GAP_SPREAD_MS", "0");

/// A Redis that hangs is noticed quickly.
const HASTY: (&str, &str) = ("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "2000");

/// All gap notices of a node.
const GAPS: &str = "fanfare_gaps_sent_total";

const AWAY: &str = "the backplane is away: try again later";

/// The answer to a frame that is refused.
pub(crate) fn refused(id: u64, topic: &str, code: &str, message: &str) -> Value {
    json!({ "op": "error", "id": id, "topic": topic, "code": code, "message": message })
}

/// The next messages are one gap for each of these topics, in any order.
pub(crate) async fn expect_gaps(client: &mut Client, topics: &[&str]) {
    let mut expected = topics.to_vec();
    while !expected.is_empty() {
        let gap = client.message().await;
        let topic = gap["topic"].as_str().unwrap_or_else(|| panic!("{gap}")).to_owned();
        let expected_gap = json!({ "op": "gap", "topic": topic, "lost": "ephemeral", "reason": "backplane" });
        assert_eq!(gap, expected_gap);
        assert!(expected.contains(&topic.as_str()), "one gap too many: {gap}");
        expected.retain(|expected| *expected != topic);
    }
}

/// The next messages are these gaps, in any order: topic, what is lost, why.
pub(crate) async fn expect_losses(client: &mut Client, gaps: &[(&str, &str, &str)]) {
    let mut expected = gaps.to_vec();
    while !expected.is_empty() {
        let gap = client.expect("gap").await;
        let is_this = |(topic, lost, reason): &(&str, &str, &str)| {
            gap["topic"] == *topic && gap["lost"] == *lost && gap["reason"] == *reason
        };
        let index = expected.iter().position(is_this);
        expected.remove(index.unwrap_or_else(|| panic!("{gap}, instead of one of {expected:?}")));
        if gap["lost"] == "all" {
            assert_ne!(gap["since"], position(&gap).to_string(), "{gap}");
        }
    }
}

/// The next messages are two gaps for each of these topics, in any order: a server that was started anew is another history,
/// even for a topic that never had any, and ephemeral events are lost in any case.
pub(crate) async fn expect_another_history(client: &mut Client, topics: &[&str]) {
    let mut gaps = Vec::new();
    for topic in topics {
        gaps.extend([(*topic, "all", "epoch"), (*topic, "ephemeral", "backplane")]);
    }
    expect_losses(client, &gaps).await;
}

/// Events flow to a client of `acme`, and nothing else is on its way to it.
pub(crate) async fn expect_flow(redis: &RedisProcess, client: &mut Client, topic: &str) {
    publish(redis, &format!("fanfare:acme:{topic}"), EVENT);
    assert_eq!(client.text().await, frame(topic, EVENT));
}

/// What a client can't do while Redis is away, and that it is told so.
async fn expect_unavailable(node: &Node, client: &mut Client) {
    assert_eq!(try_subscribe(client, "channel:new").await, refused(8, "channel:new", "unavailable", AWAY));
    assert_eq!(try_publish(client, "channel:new").await, refused(9, "channel:new", "unavailable", AWAY));
    let reply = node.publish("acme", "channel:new", EVENT).await;
    assert_eq!((reply.status, reply.code()), (503, "unavailable".to_owned()));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.json()["detail"], "the backplane is away");
}

#[tokio::test]
async fn a_node_starts_without_redis_and_comes_up_when_redis_does() {
    let mut redis = RedisProcess::not_started(&[]);
    let node = Node::start_unready_on(&redis.url(), &[AT_ONCE]).await;
    let refusal = "connection refused: is Redis running there, and is the port right?";
    let expected = format!("not connected to the backplane yet: {}: {refusal}", redis.url());
    until("the reason is known", async || node.get("/readyz").await.json()["reason"] == expected).await;
    // Before the first connection a balancer keeps away, too.
    for path in ["/readyz", "/readyz/node"] {
        let reply = node.get(path).await;
        assert_eq!((reply.status, reply.json()), (503, json!({ "status": "not_ready", "reason": expected })));
    }
    assert_eq!(node.get("/healthz").await.status, 200);
    let (mut client, welcome) = welcomed(&node, &token("acme", "42")).await;
    assert_eq!(
        welcome["topics"],
        json!([{ "topic": "tenant", "position": "0-0" }, { "topic": "user:42", "position": "0-0" }]),
        "nobody knows where they stand"
    );
    expect_unavailable(&node, &mut client).await;

    redis.start_again();
    expect_losses(&mut client, &[("tenant", "all", "backplane"), ("user:42", "all", "backplane")]).await;
    until_status(&node, "/readyz", 200).await;
    until_status(&node, "/readyz/node", 200).await;
    expect_flow(&redis, &mut client, "tenant").await;
    expect_flow(&redis, &mut client, "user:42").await;
    client.subscribe("channel:new").await;
    expect_flow(&redis, &mut client, "channel:new").await;
    assert_eq!(count(&node, GAPS).await, "2");
}

#[tokio::test]
async fn clients_stay_while_redis_restarts_and_are_told_once_of_each_topic() {
    let mut redis = RedisProcess::start();
    let [a, b] = two_nodes(&redis, &[AT_ONCE, ("FANFARE_UNSUBSCRIBE_DELAY_MS", "100")]).await;
    let orders = "channel:orders";
    let mut clients =
        [subscriber(&a, &token("acme", "1"), orders).await, subscriber(&b, &token("acme", "2"), orders).await];
    // What the first outage leaves behind by mistake would show in the second.
    for outage in 1..=2 {
        redis.kill();
        for (node, client) in [&a, &b].into_iter().zip(&mut clients) {
            let reason = until_status(node, "/readyz", 503).await;
            assert!(reason.starts_with(&format!("the backplane is away: {}: ", redis.url())), "{reason}");
            // An outage of Redis hits every node, and must not leave the service without any.
            assert_eq!(node.get("/readyz/node").await.status, 200);
            until("the node can't publish", async || node.publish("acme", "tenant", EVENT).await.status == 503).await;
            expect_unavailable(node, client).await;
            // It is subscribed, and stays so; only where the topic stands can't be told.
            assert_eq!(try_subscribe(client, orders).await, refused(8, orders, "unavailable", AWAY));
        }
        let newcomers_topic = format!("user:new{outage}");
        let mut newcomer = Client::connect(&a, &token("acme", &newcomers_topic[5..])).await;

        redis.start_again();
        for (client, user) in clients.iter_mut().zip(["user:1", "user:2"]) {
            expect_another_history(client, &["tenant", user, orders]).await;
            expect_flow(&redis, client, user).await;
        }
        // Of the own topic nothing was ever known, which is one gap for all of it.
        let news =
            [("tenant", "all", "epoch"), ("tenant", "ephemeral", "backplane"), (&newcomers_topic, "all", "backplane")];
        expect_losses(&mut newcomer, &news).await;
        until_status(&a, "/readyz", 200).await;
        until_status(&b, "/readyz", 200).await;
        publish(&redis, "fanfare:acme:tenant", &event("back"));
        for client in clients.iter_mut().chain([&mut newcomer]) {
            assert_eq!(client.expect_event("tenant").await["type"], "back");
        }
        assert_eq!(count(&b, GAPS).await, (outage * 6).to_string());
        until("what was refused is not kept", async || subscribers(&redis, "fanfare:acme:channel:new") == 0).await;
    }
}

#[tokio::test]
async fn a_killed_subscription_is_made_again() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[AT_ONCE]).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    let mut bystander = subscriber(&node, &token("globex", "1"), "channel:news").await;
    for kill in 1..=3 {
        assert_eq!(redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
        expect_gaps(&mut client, &["tenant", "user:1", "channel:orders"]).await;
        expect_gaps(&mut bystander, &["tenant", "user:1", "channel:news"]).await;
        until_status(&node, "/readyz", 200).await;
        expect_flow(&redis, &mut client, "channel:orders").await;
        assert_eq!(count(&node, GAPS).await, (6 * kill).to_string());
    }
    // Whoever subscribes afterwards has missed nothing.
    let mut late = subscriber(&node, &token("acme", "2"), "channel:orders").await;
    expect_flow(&redis, &mut late, "channel:orders").await;
}

/// What a client has seen of numbered events while connections were lost.
#[derive(Debug, Default)]
struct Account {
    last: u64,
    events: usize,
    holes: usize,
    gaps: usize,
}

impl Account {
    /// Takes all messages of a client until an event of the type `end`. Each gap is counted in `gaps` too.
    async fn kept(mut client: Client, topic: &str, gaps: Arc<AtomicUsize>) -> Account {
        let mut account = Account::default();
        loop {
            let message = client.message().await;
            assert_eq!(message["topic"], topic, "{message}");
            if message["op"] == "gap" {
                account.gaps += 1;
                gaps.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            assert_eq!(message["op"], "event", "{message}");
            if message["event"]["type"] == "end" {
                return account;
            }
            let number = message["event"]["data"].as_u64().unwrap();
            assert!(number > account.last, "{number} after {}: twice, or in another order", account.last);
            account.holes += usize::from(account.events > 0 && number > account.last + 1);
            account.events += 1;
            account.last = number;
        }
    }
}

#[tokio::test]
async fn under_traffic_every_hole_is_covered_by_a_gap_and_new_subscriptions_have_neither() {
    const LOSSES: usize = 6;
    let redis = RedisProcess::start();
    // Without topics of their own, so that all that clients are told is about one.
    let nodes = two_nodes(&redis, &[AT_ONCE, ("FANFARE_OWN_USER_TOPIC", "false")]).await;
    let traffic = Traffic::start(&redis, "acme:tenant", None);
    let gaps = Arc::new(AtomicUsize::new(0));
    let mut accounts = Vec::new();
    for node in [&nodes[0], &nodes[0], &nodes[1], &nodes[1]] {
        let client = Client::connect(node, &token("acme", "1")).await;
        accounts.push(tokio::spawn(Account::kept(client, "tenant", Arc::clone(&gaps))));
    }
    let orders = Traffic::start(&redis, "globex:channel:orders", None);
    for loss in 1..=LOSSES {
        traffic.flows().await;
        assert_eq!(redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), "2");
        // Whoever subscribes in the middle of it is refused, or misses nothing from then on.
        for node in &nodes {
            let mut newcomer = Client::connect(node, &token("globex", "1")).await;
            let mut seen = subscribed_at_last(&mut newcomer, &orders).await;
            let enough = orders.last() + 20;
            while seen.take(&next_on(&mut newcomer, orders.topic()).await) < enough {}
        }
        let told = loss * accounts.len();
        until("everybody is told of the loss", async || gaps.load(Ordering::SeqCst) == told).await;
    }
    traffic.flows().await;
    let last = traffic.stop();
    publish(&redis, "fanfare:acme:tenant", &event("end"));
    for account in accounts {
        let account = account.await.unwrap();
        assert_eq!((account.last, account.gaps), (last, LOSSES), "{account:?}");
        assert!(account.holes <= account.gaps, "{account:?}");
    }
}

/// Subscribes again and again until it is not refused; the first event must follow without a hole.
async fn subscribed_at_last(client: &mut Client, traffic: &Traffic) -> Seen {
    loop {
        client.send(&json!({ "op": "subscribe", "id": 1, "topic": traffic.topic() })).await;
        let answer = answer_but_gaps(client).await;
        if answer["op"] == "subscribed" {
            return Seen::first_after(traffic.last(), &next_on(client, traffic.topic()).await);
        }
        assert_eq!(answer, refused(1, traffic.topic(), "unavailable", AWAY));
        tokio::task::yield_now().await;
    }
}

/// The next message that is not a gap of the client's own topics.
async fn answer_but_gaps(client: &mut Client) -> Value {
    loop {
        let message = client.message().await;
        if message["op"] != "gap" {
            return message;
        }
        assert_eq!(message["topic"], "tenant", "{message}");
    }
}

/// The next event of a topic, for which no gap may come.
async fn next_on(client: &mut Client, topic: &str) -> Value {
    let mut message = answer_but_gaps(client).await;
    assert_eq!((&message["op"], &message["topic"]), (&"event".into(), &topic.into()));
    message["event"].take()
}

#[tokio::test]
async fn a_killed_publishing_connection_costs_a_refusal_at_most() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[AT_ONCE]).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    for _ in 0..3 {
        // Those that read histories are killed, too. redis-cli is such a connection, and spared.
        assert_ne!(redis.command(&["CLIENT", "KILL", "TYPE", "normal"]), "0");
        until("the node publishes again", async || {
            let reply = node.publish("acme", "channel:orders", EVENT).await;
            assert!(
                reply.status == 200 || (reply.status, reply.code()) == (503, "unavailable".to_owned()),
                "{reply:?}"
            );
            reply.status == 200
        })
        .await;
        assert_eq!(client.text().await, frame("channel:orders", EVENT));
        assert_eq!(node.get("/readyz").await.status, 200);
    }
    client.expect_nothing().await;
    assert_eq!(count(&node, GAPS).await, "0");
}

#[tokio::test]
async fn a_redis_that_hangs_is_an_outage_too() {
    let redis = RedisProcess::start();
    let node = Node::start_on(&redis.url(), &[AT_ONCE, HASTY, ("FANFARE_UNSUBSCRIBE_DELAY_MS", "100")]).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    let mut other = Client::connect(&node, &token("acme", "2")).await;
    redis.freeze();
    // Nobody knows yet: a subscription waits for the answer that doesn't come, and is told.
    other.send(&json!({ "op": "subscribe", "id": 8, "topic": "channel:new" })).await;
    let mut answer = try_publish(&mut client, "channel:new").await;
    let told = (answer["code"].take(), answer["message"].take());
    let no_answer = "the backplane did not answer: it may have been published";
    assert!(told == ("timeout".into(), no_answer.into()) || told == ("unavailable".into(), AWAY.into()), "{told:?}");
    assert_eq!(other.message().await, refused(8, "channel:new", "unavailable", AWAY));
    let hangs = "it answered nothing within 2s: it hangs, is overloaded, or is no Redis";
    until("the reason is known", async || {
        node.get("/readyz").await.json()["reason"].as_str().is_some_and(|reason| reason.contains(hangs))
    })
    .await;
    assert_eq!(node.get("/readyz/node").await.status, 200);
    expect_unavailable(&node, &mut client).await;

    redis.thaw();
    expect_gaps(&mut client, &["tenant", "user:1", "channel:orders"]).await;
    expect_gaps(&mut other, &["tenant", "user:2"]).await;
    until_status(&node, "/readyz", 200).await;
    expect_flow(&redis, &mut client, "channel:orders").await;
    other.subscribe("channel:new").await;
    expect_flow(&redis, &mut other, "channel:new").await;
    // Of the refused subscription nothing is left that would keep the topic.
    leave(other).await;
    until("nobody wants it any more", async || subscribers(&redis, "fanfare:acme:channel:new") == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_subscription_waits_leaves_nothing_behind() {
    let redis = RedisProcess::start();
    let settings = [("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "20000"), ("FANFARE_UNSUBSCRIBE_DELAY_MS", "100")];
    let node = Node::start_on(&redis.url(), &settings).await;
    let mut staying = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    let mut client = Client::connect(&node, &token("acme", "2")).await;
    redis.freeze();
    client
        .send(&json!({ "op": "subscribe", "topics": [{ "topic": "channel:orders" }, { "topic": "channel:new" }] }))
        .await;
    until("the node has the frame", async || node.metric("fanfare_frames_received_total").await >= 2.0).await;
    client.send_close(1000).await;
    redis.thaw();
    while client.next().await != Frame::End {}
    until("nobody wants it any more", async || subscribers(&redis, "fanfare:acme:channel:new") == 0).await;
    // tenant, user:1 and channel:orders of the one that stays.
    until_count(&node, "fanfare_subscriptions", 3).await;
    until_count(&node, "fanfare_topics", 3).await;
    expect_flow(&redis, &mut staying, "channel:orders").await;
}

#[tokio::test]
async fn a_connection_that_stalls_and_goes_on_has_lost_nothing() {
    let redis = RedisProcess::start();
    // A stall is shorter than this.
    let node = Node::start_on(&redis.url(), &[AT_ONCE, ("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "20000")]).await;
    let mut client = subscriber(&node, &token("acme", "1"), "channel:orders").await;
    redis.freeze();
    let sent = json!({ "op": "publish", "id": 1, "topic": "channel:orders", "event": { "type": "during" } });
    client.send(&sent).await;
    // The node's own PINGs wait for an answer meanwhile, and it goes on serving.
    for _ in 0..10 {
        assert_eq!(node.get("/readyz").await.status, 200);
        let mut newcomer = Client::connect(&node, &token("acme", "1")).await;
        newcomer.expect_nothing().await;
    }
    // Who needs something new of Redis waits as long as it does.
    let patient = tokio::spawn(Handshake::to(&node).bearer(&token("globex", "1")).open());
    redis.thaw();
    assert_eq!(patient.await.unwrap().expect("welcome").await["tenant"], "globex");
    let mut told = [client.message().await, client.message().await];
    told.sort_by_key(|message| message["op"].to_string());
    assert_eq!((&told[0]["event"]["type"], &told[1]["op"]), (&"during".into(), &"published".into()));
    expect_flow(&redis, &mut client, "channel:orders").await;
    assert_eq!(count(&node, GAPS).await, "0");
}
