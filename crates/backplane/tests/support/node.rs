//! A node in a test: a place on a backplane, and what it was told.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::{Backplane, Inbox, Notice, RedisConfig, RedisServer, State};
use fanfare_protocol::TopicKey;
use tokio::time::timeout;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a test compares: notices without the time of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Topic and payload.
    Message(String, Bytes),
    /// One for each topic of a confirmation.
    Confirmed(TopicKey),
    /// One for each topic whose subscription is interrupted.
    Lost(TopicKey),
    /// Topic and the server's words.
    Refused(TopicKey, String),
    /// Its number.
    Fence(u64),
    /// The reason.
    Down(String),
    /// Is it the first?
    Up(bool),
}

/// A node that takes its notices one by one.
pub(crate) struct Node {
    /// To want and to publish.
    pub(crate) backplane: Backplane,
    inbox: Inbox,
    taken: VecDeque<Told>,
}

/// The settings for a server, with short pauses, so that a test doesn't wait for them. An answer may take long: on a busy
/// machine a server that is well must not count as one that hangs.
pub(crate) fn config(url: &str) -> RedisConfig {
    let mut config = RedisConfig::new(RedisServer::parse(url).expect("an address"));
    config.ping_interval = Duration::from_millis(100);
    config.probe_interval = Some(Duration::from_millis(50));
    config.retry_min = Duration::from_millis(10);
    config.retry_max = Duration::from_millis(100);
    config.response_timeout = Duration::from_secs(10);
    config
}

/// A topic by its text: `acme:channel:orders`.
pub(crate) fn topic(text: &str) -> TopicKey {
    TopicKey::parse(text).expect("a topic")
}

/// A message, as it is told.
pub(crate) fn message(topic: &TopicKey, payload: impl Into<Bytes>) -> Told {
    Told::Message(topic.as_str().to_owned(), payload.into())
}

impl Node {
    /// Takes the place over.
    pub(crate) fn new((backplane, inbox): (Backplane, Inbox)) -> Node {
        Node { backplane, inbox, taken: VecDeque::new() }
    }

    /// The next thing that the node is told.
    pub(crate) async fn next(&mut self) -> Told {
        if self.taken.is_empty() {
            let mut notices = Vec::new();
            let receive = self.inbox.recv_many(&mut notices, usize::MAX);
            timeout(PATIENCE, receive).await.expect("something should have been told");
            self.taken.extend(notices.into_iter().flat_map(split));
        }
        self.taken.pop_front().expect("the backplane is still there")
    }

    /// The next thing that is not a confirmation.
    pub(crate) async fn next_but_confirmed(&mut self) -> Told {
        loop {
            match self.next().await {
                Told::Confirmed(_) => {}
                other => return other,
            }
        }
    }

    /// Takes until this is told.
    pub(crate) async fn until(&mut self, expected: &Told) {
        while self.next().await != *expected {}
    }

    /// Takes until the connection is told lost; returns the reason.
    pub(crate) async fn until_down(&mut self) -> String {
        loop {
            if let Told::Down(reason) = self.next().await {
                return reason;
            }
        }
    }

    /// Wants the topics and takes until all of them are confirmed, in any order.
    pub(crate) async fn want(&mut self, topics: &[TopicKey]) {
        self.backplane.want(topics);
        self.until_confirmed(topics).await;
    }

    /// Takes until each of the topics is confirmed, in any order.
    pub(crate) async fn until_confirmed(&mut self, topics: &[TopicKey]) {
        let mut missing: HashSet<_> = topics.iter().cloned().collect();
        while !missing.is_empty() {
            if let Told::Confirmed(topic) = self.next().await {
                missing.remove(&topic);
            }
        }
    }

    /// Publishes as text.
    pub(crate) async fn publish(&self, topic: &TopicKey, payload: &str) {
        self.backplane.publish(topic, payload.to_owned().into()).await.expect("published");
    }

    /// Publishes as soon as the backplane takes it.
    pub(crate) async fn publish_when_possible(&self, topic: &TopicKey, payload: &str) {
        let publishing = async {
            while self.backplane.publish(topic, payload.to_owned().into()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, publishing).await.expect("the backplane should have come back");
    }

    /// Waits until the state is so; returns it.
    pub(crate) async fn until_state(&self, is_so: impl FnMut(&State) -> bool) -> State {
        let mut state = self.backplane.state();
        let waiting = timeout(PATIENCE, state.wait_for(is_so)).await;
        waiting.expect("the state should have been reached").expect("the backplane is still there").clone()
    }

    /// How many bytes wait in the inbox.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.inbox.waiting_bytes()
    }
}

fn split(notice: Notice) -> Vec<Told> {
    match notice {
        Notice::Message { topic, payload, .. } => {
            vec![Told::Message(String::from_utf8(topic.to_vec()).expect("a topic is text"), payload)]
        }
        Notice::Confirmed(topics) => topics.into_iter().map(Told::Confirmed).collect(),
        Notice::Lost(topics) => topics.into_iter().map(Told::Lost).collect(),
        Notice::Refused { topic, error } => vec![Told::Refused(topic, error)],
        Notice::Fence(number) => vec![Told::Fence(number)],
        Notice::Down { error } => vec![Told::Down(error)],
        Notice::Up { first } => vec![Told::Up(first)],
    }
}
