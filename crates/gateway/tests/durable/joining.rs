//! Events come while a client subscribes: each is either in the answer or follows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfare_protocol::Position;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::support::{Client, Node, position, token};
use crate::{FORGETFUL, NO_RECENT, ORDERS, STREAM, Stage, after, number, numbered, told};

/// Clients that come and go.
const ROUNDS: usize = 60;

/// Between two events.
const PAUSE: Duration = Duration::from_millis(1);

/// A backend that keeps numbered events all the time; the number is the `seq`.
struct Publisher {
    is_over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Publisher {
    /// Every third event comes with an ephemeral one, and every tenth stands in the history only.
    async fn start(stage: &Stage, holes: bool) -> Publisher {
        let mut backend = Backend::of(stage.redis.as_ref().unwrap()).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let task = tokio::spawn(async move {
            let first = backend.keep_number(1).await;
            let mut n = 2;
            while !over.load(Ordering::SeqCst) {
                if holes && n % 10 == 0 {
                    backend.hide_number(Position { seq: n, ..first }, n).await;
                } else {
                    let keep = ["FCALL", "fanfare_publish", "1", STREAM, &numbered(n), "maxlen", "1000000"];
                    assert_eq!(backend.command(&keep).await, after(first, n - 1).to_string());
                }
                if n % 3 == 0 {
                    backend.ephemeral("meanwhile").await;
                }
                n += 1;
                tokio::time::sleep(PAUSE).await;
            }
            backend.keep_number(n).await;
        });
        Publisher { is_over, task }
    }

    async fn stop(self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
    }
}

/// What a client has of [`ORDERS`]: every durable event follows the one before, live or in an answer.
#[derive(Default)]
struct Follower {
    seen: Option<Position>,
    /// There is more to ask for; what comes live is among it.
    is_behind: bool,
    live: usize,
}

impl Follower {
    fn take(&mut self, event: &Value) {
        let at = position(event);
        assert_eq!(number(&event["event"]), at.seq);
        let expected = self.seen.map(|seen| after(seen, 1));
        assert!(expected.is_none_or(|expected| expected == at), "{event}, and expected {expected:?}");
        self.seen = Some(at);
    }

    async fn ask(&self, client: &mut Client) {
        client.send(&json!({ "op": "subscribe", "id": 5, "topic": ORDERS, "since": self.seen })).await;
    }

    async fn answered(&mut self, client: &mut Client, answer: &Value) {
        let end = position(answer);
        if self.seen.is_none() {
            self.seen = Some(end);
            return;
        }
        let (reason, _, more) = told(answer);
        assert_eq!(reason, None, "{answer}");
        answer["events"].as_array().unwrap().iter().for_each(|event| self.take(event));
        self.is_behind = more;
        if more {
            self.ask(client).await;
        } else {
            assert_eq!(self.seen, Some(end), "{answer}");
        }
    }
}

/// Subscribes, follows the topic for some events, and returns what it has seen last.
async fn visit(node: &Node, seen: Option<Position>) -> Position {
    let mut client = Client::connect(node, &token("acme", "1")).await;
    let mut follower = Follower { seen, ..Follower::default() };
    follower.ask(&mut client).await;
    let answer = client.message().await;
    assert_eq!(answer["op"], "subscribed", "no event precedes it: {answer}");
    let begin = position(&answer);
    follower.answered(&mut client, &answer).await;
    while follower.live < 15 {
        let message = client.message().await;
        match message["op"].as_str() {
            Some("subscribed") => follower.answered(&mut client, &message).await,
            Some("event") if message["position"].is_string() => {
                assert!(position(&message).seq > begin.seq, "{message} after {begin}");
                if !follower.is_behind {
                    follower.take(&message);
                    follower.live += 1;
                }
            }
            Some("event") => {}
            _ => panic!("{message}"),
        }
    }
    follower.seen.unwrap()
}

async fn clients_come_and_go(settings: &[(&str, &str)], holes: bool) {
    let stage = Stage::on_redis(settings).await;
    let publisher = Publisher::start(&stage, holes).await;
    let mut seen = None;
    for round in 0..ROUNDS {
        // Sometimes they come at the same time.
        let (one, other) = tokio::join!(visit(&stage.node, seen), visit(&stage.node, seen));
        seen = if round % 7 == 0 { None } else { Some(if one.seq < other.seq { one } else { other }) };
    }
    publisher.stop().await;
    let unfounded = stage.node.metric(r#"fanfare_positions_dropped_total{reason="unfounded"}"#).await;
    assert_eq!(unfounded, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_node_that_knows_the_topic() {
    clients_come_and_go(&[], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_node_that_has_forgotten_the_topic() {
    clients_come_and_go(&[FORGETFUL, NO_RECENT], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_topic_with_holes() {
    clients_come_and_go(&[FORGETFUL], true).await;
}

#[tokio::test]
async fn on_memory_too() {
    let fast = [
        ("FANFARE_FRAMES_PER_MINUTE", "1000000"),
        ("FANFARE_FRAMES_BURST", "1000000"),
        ("FANFARE_PUBLISHES_PER_MINUTE", "1000000"),
        ("FANFARE_PUBLISHES_BURST", "1000000"),
    ];
    let stage = Stage { node: Node::start(&[&[FORGETFUL], &fast[..]].concat()).await, redis: None };
    let mut seen: Option<Position> = None;
    let address = stage.node.clients;
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let mut publisher = crate::support::Handshake::to_address(address).bearer(&token("acme", "2")).open().await;
    publisher.expect("welcome").await;
    let publishing = tokio::spawn(async move {
        let mut n = 1;
        while !over.load(Ordering::SeqCst) {
            let event = json!({ "type": "n", "data": n });
            publisher
                .send(&json!({ "op": "publish", "id": n, "topic": ORDERS, "event": event, "durable": true }))
                .await;
            assert_eq!(position(&publisher.expect("published").await).seq, n);
            n += 1;
        }
    });
    for _ in 0..ROUNDS {
        seen = Some(visit(&stage.node, seen).await);
    }
    is_over.store(true, Ordering::SeqCst);
    publishing.await.unwrap();
}
