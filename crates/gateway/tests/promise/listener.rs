//! A client over a real WebSocket, as the contract wants one: it keeps its position in each topic, comes back with `since`,
//! asks on while there is `more`, and tries again what was refused for the moment. It notes what it is told, and judges
//! nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare_protocol::Position;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use crate::follower::{Follower, Recovery, Told};
use crate::random::Random;
use crate::support::token;
use crate::wire::Wire;

/// How long a frame may go unanswered. Every fault is shorter, and so are the node's own timeouts.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// How often it looks for what it has to ask again.
const TICK: Duration = Duration::from_millis(40);

/// What a world asks of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    Close,
    Reset,
    Resubscribe,
    AskAgain,
    StopReading,
    ReadOn,
}

/// Where the nodes listen now; none where there is no node.
pub(crate) type Addresses = Arc<Mutex<Vec<Option<SocketAddr>>>>;

/// Each topic as the client sees it.
pub(crate) type Views = Arc<Mutex<BTreeMap<String, Follower>>>;

/// A client before it runs.
pub(crate) struct Listener {
    /// Of its token.
    pub(crate) tenant: &'static str,
    /// Of its token.
    pub(crate) user: String,
    /// What it subscribes to.
    pub(crate) channels: Vec<&'static str>,
    /// What it sees.
    pub(crate) views: Views,
    /// Where to go.
    pub(crate) addresses: Addresses,
    /// What it is asked to do.
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Its choices.
    pub(crate) random: Random,
    /// When the world began.
    pub(crate) epoch: Instant,
}

/// What is on its way for one topic.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Subscribe { since: Option<Position>, at: Instant },
    Unsubscribe { at: Instant },
}

/// One connection.
struct Session<'a> {
    listener: &'a mut Listener,
    wire: Wire,
    /// In the order in which they were asked.
    asked: Vec<(String, Asked)>,
    /// Is subscribed, or is asked to be.
    wanted: Vec<String>,
    subscribed: Vec<String>,
    is_reading: bool,
}

/// How a session ends.
enum End {
    Closed,
    Lost,
    Reset,
}

impl Listener {
    /// Connects, again and again, until it is aborted.
    pub(crate) async fn run(mut self) {
        loop {
            let addresses: Vec<_> = self.addresses.lock().iter().flatten().copied().collect();
            if !addresses.is_empty() {
                let address = addresses[self.random.index(addresses.len())];
                if let Some(wire) = Wire::open(address).await {
                    self.serve(wire).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(self.random.within(5, 120))).await;
        }
    }

    async fn serve(&mut self, mut wire: Wire) {
        let own = ["tenant".to_owned(), format!("user:{}", self.user)];
        let since: BTreeMap<_, _> =
            own.iter().filter_map(|topic| Some((topic.clone(), self.cursor(topic)?.to_string()))).collect();
        let token = token(self.tenant, &self.user);
        wire.send(&json!({ "op": "auth", "token": token, "since": since })).await;
        let Ok(Some(welcome)) = timeout(ANSWER_PATIENCE, wire.next()).await else { return };
        let channels = self.channels.iter().map(ToString::to_string).collect();
        let mut session = Session {
            listener: self,
            wire,
            asked: Vec::new(),
            wanted: channels,
            subscribed: Vec::new(),
            is_reading: true,
        };
        if welcome["op"] == "disconnect" {
            return;
        }
        if welcome["op"] != "welcome" {
            session.note_fault("tenant", &format!("not welcomed: {welcome}"));
            return;
        }
        for state in welcome["topics"].as_array().cloned().unwrap_or_default() {
            let topic = state["topic"].as_str().unwrap_or_default().to_owned();
            let since = since.get(&topic).and_then(|since| since.parse().ok());
            session.subscribed(&topic, &state, since);
        }
        let end = session.run().await;
        let Session { wire, subscribed, .. } = session;
        match end {
            End::Closed => wire.close().await,
            End::Reset => wire.reset(),
            End::Lost => drop(wire),
        }
        for topic in subscribed {
            self.note(&topic, Told::Away);
        }
    }

    fn cursor(&self, topic: &str) -> Option<Position> {
        self.views.lock().get(topic)?.cursor()
    }

    fn note(&self, topic: &str, told: Told) {
        let at = self.epoch.elapsed();
        self.views.lock().entry(topic.to_owned()).or_default().take(at, told);
    }
}

impl Session<'_> {
    async fn run(&mut self) -> End {
        let mut ticks = interval(TICK);
        loop {
            tokio::select! {
                message = self.wire.next(), if self.is_reading => {
                    let Some(message) = message else { return End::Lost };
                    self.take(&message).await;
                }
                request = self.listener.requests.recv() => match request {
                    Some(Request::Close) => return End::Closed,
                    Some(Request::Reset) => return End::Reset,
                    Some(Request::Resubscribe) => self.unsubscribe().await,
                    Some(Request::AskAgain) => {
                        let topics = self.subscribed.iter().filter(|topic| !self.asks(topic)).cloned().collect();
                        self.subscribe(topics).await;
                    }
                    Some(Request::StopReading) => self.is_reading = false,
                    Some(Request::ReadOn) => self.is_reading = true,
                    None => return End::Lost,
                },
                _ = ticks.tick() => {
                    if let Some(topic) = self.overdue() {
                        self.note_fault(&topic, &format!("no answer in {ANSWER_PATIENCE:?}"));
                        return End::Lost;
                    }
                    self.ask_for_missing().await;
                }
            }
        }
    }

    async fn take(&mut self, message: &Value) {
        let topic = message["topic"].as_str().unwrap_or_default().to_owned();
        match message["op"].as_str() {
            Some("ping") => self.wire.send(&json!({ "op": "pong" })).await,
            Some("event") => {
                let told = Told::Event { number: self.number(&topic, &message["event"]), position: position(message) };
                self.note(&topic, told);
            }
            Some("gap") => {
                let told = Told::Gap {
                    all: message["lost"] == "all",
                    reason: message["reason"].as_str().unwrap_or_default().to_owned(),
                    since: message["since"].as_str().and_then(|since| since.parse().ok()),
                    position: position(message),
                };
                self.note(&topic, told);
            }
            Some("subscribed") => match self.answered(&topic) {
                Some(Asked::Subscribe { since, .. }) => self.subscribed(&topic, message, since),
                other => self.note_fault(&topic, &format!("subscribed answers {other:?}")),
            },
            Some("unsubscribed") => {
                self.answered(&topic);
                self.subscribed.retain(|subscribed| *subscribed != topic);
                self.note(&topic, Told::Away);
            }
            Some("error") if message["code"] == "unavailable" => drop(self.answered(&topic)),
            Some("disconnect") => {}
            _ => self.note_fault(&topic, &format!("an unexpected message: {message}")),
        }
        self.ask_for_more().await;
    }

    /// What answers the first question about the topic.
    fn answered(&mut self, topic: &str) -> Option<Asked> {
        let index = self.asked.iter().position(|(asked, _)| asked == topic)?;
        Some(self.asked.remove(index).1)
    }

    fn subscribed(&mut self, topic: &str, state: &Value, since: Option<Position>) {
        let Some(position) = position(state) else {
            return self.note_fault(topic, &format!("subscribed without a position: {state}"));
        };
        let recovery = match (since, state["recovered"].as_bool()) {
            (None, None) => None,
            (Some(since), Some(recovered)) => {
                let events = state["events"].as_array().cloned().unwrap_or_default();
                let events = events.iter().filter_map(|kept| {
                    Some((kept["position"].as_str()?.parse().ok()?, self.number(topic, &kept["event"])))
                });
                let events = events.collect();
                let reason = (!recovered).then(|| state["reason"].as_str().unwrap_or_default().to_owned());
                Some(Recovery { since, reason, events, more: state["more"] == true })
            }
            (since, recovered) => {
                return self.note_fault(topic, &format!("since {since:?} is answered with recovered {recovered:?}"));
            }
        };
        if !self.subscribed.iter().any(|subscribed| subscribed == topic) {
            self.subscribed.push(topic.to_owned());
        }
        self.note(topic, Told::Subscribed { position, recovery });
    }

    /// The number that the publisher gave an event; 0 when it is none of this topic's.
    fn number(&self, topic: &str, event: &Value) -> u64 {
        let is_of = event["data"]["of"].as_str().and_then(|of| of.split_once(':'));
        let is_of = is_of == Some((self.listener.tenant, topic));
        event["data"]["n"].as_u64().filter(|_| is_of && event["type"] == "n").unwrap_or(0)
    }

    async fn ask_for_missing(&mut self) {
        let is_missing = |topic: &&String| !self.subscribed.contains(topic) && !self.asks(topic);
        let missing = self.wanted.iter().filter(is_missing).cloned().collect();
        self.subscribe(missing).await;
        self.ask_for_more().await;
    }

    async fn ask_for_more(&mut self) {
        let asks_on = |topic: &&String| {
            !self.asks(topic) && self.listener.views.lock().get(*topic).is_some_and(Follower::asks_on)
        };
        let topics = self.subscribed.iter().filter(asks_on).cloned().collect();
        self.subscribe(topics).await;
    }

    fn asks(&self, topic: &str) -> bool {
        self.asked.iter().any(|(asked, _)| asked == topic)
    }

    async fn subscribe(&mut self, topics: Vec<String>) {
        if topics.is_empty() {
            return;
        }
        let at = Instant::now();
        let mut items = Vec::new();
        for topic in topics {
            let since = self.listener.cursor(&topic);
            items.push(match since {
                Some(since) => json!({ "topic": topic, "since": since.to_string() }),
                None => json!({ "topic": topic }),
            });
            self.asked.push((topic, Asked::Subscribe { since, at }));
        }
        self.wire.send(&json!({ "op": "subscribe", "id": 1, "topics": items })).await;
    }

    async fn unsubscribe(&mut self) {
        let is_channel = |topic: &&String| topic.starts_with("channel:") && !self.asks(topic);
        for topic in self.subscribed.iter().filter(is_channel).cloned().collect::<Vec<_>>() {
            self.wire.send(&json!({ "op": "unsubscribe", "id": 2, "topic": topic })).await;
            self.asked.push((topic, Asked::Unsubscribe { at: Instant::now() }));
        }
    }

    fn overdue(&self) -> Option<String> {
        let is_overdue = |asked: &Asked| {
            let (Asked::Subscribe { at, .. } | Asked::Unsubscribe { at }) = asked;
            self.is_reading && at.elapsed() > ANSWER_PATIENCE
        };
        self.asked.iter().find(|(_, asked)| is_overdue(asked)).map(|(topic, _)| topic.clone())
    }

    fn note(&self, topic: &str, told: Told) {
        self.listener.note(topic, told);
    }

    fn note_fault(&self, topic: &str, words: &str) {
        let at = self.listener.epoch.elapsed();
        self.listener.views.lock().entry(topic.to_owned()).or_default().fault(at, words);
    }
}

fn position(message: &Value) -> Option<Position> {
    message["position"].as_str()?.parse().ok()
}
