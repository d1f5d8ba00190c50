//! A subscribe command on its way through the hub: one topic or many, answered together and in order once each is
//! settled; and the node's own command for a new session, whose answer is `welcome`.

use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::{Millis, Session, TopicId, frame};
use fanfare_protocol::{
    Codec, ErrorCode, Limits, PROTOCOL_VERSION, Position, ServerFrame, Topic, TopicKey, TopicState, assemble,
};
use tokio::sync::oneshot;

use crate::auth::Principal;
use crate::hub::{Allowance, Recovery};

/// What this version can do beyond ephemeral events.
const FEATURES: &[&str] = &["durable", "history", "presence", "publish", "requests"];

/// Topics that one session wants.
#[derive(Debug)]
pub struct Join {
    /// Whose.
    pub session: Arc<Session>,
    /// And whose that is.
    pub owner: Arc<Principal>,
    /// Which, in the order of the answers.
    pub items: Vec<Item>,
    /// The node's own: the client didn't ask, so nothing can be refused.
    pub is_automatic: bool,
    /// When the hub took it, on the node's clock.
    pub since: Millis,
    /// What of the client's outbox the events it missed may take.
    pub allowance: Allowance,
    answer: Answer,
    report: oneshot::Sender<Joined>,
    given_up: Vec<TopicId>,
}

/// One topic of a join.
#[derive(Debug)]
pub struct Item {
    /// As the client wrote it.
    topic: Box<str>,
    key: Option<TopicKey>,
    /// The topic whose presence channel it is. Such an item follows its topic's, and is not answered.
    presence_of: Option<TopicKey>,
    /// Whether the session was not subscribed before.
    pub is_new: bool,
    /// What the client has of the topic.
    pub since: Option<Position>,
    /// What it gets of what came since.
    pub recovery: Option<Recovery>,
    /// Where the topic stands when the client is told.
    pub position: Position,
    /// Whether the topic carries durable events alone.
    pub is_durable_alone: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a topic.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Nothing yet.
    Wanted,
    /// Waits for the backplane.
    Waiting(TopicId),
    /// Subscribed, now or before.
    Subscribed(TopicId),
    /// Refused.
    Refused(ErrorCode, String),
}

/// What the connection is told when its join is through.
#[derive(Debug)]
pub struct Joined {
    /// The new subscriptions, presence channels among them.
    pub topics: Vec<(TopicKey, TopicId)>,
    /// Resolves when they stand and the client has been answered.
    pub done: oneshot::Receiver<()>,
}

#[derive(Debug)]
enum Answer {
    Each { id: Option<i64> },
    Welcome(Box<Welcome>),
}

/// What `welcome` says, but for the topics.
#[derive(Debug)]
pub struct Welcome {
    /// The connection's name.
    pub connection: String,
    /// The node's id.
    pub node: Arc<str>,
    /// Of the token.
    pub tenant: Box<str>,
    /// Of the token.
    pub user: Box<str>,
    /// Of the token, Unix ms.
    pub expires_at_ms: u64,
    /// Unix ms.
    pub server_time_ms: u64,
    /// Silence before a ping, in ms.
    pub ping_ms: u64,
    /// What the client must keep to.
    pub limits: Limits,
}

impl Item {
    /// A topic that may be subscribed. `is_new`: the session is not subscribed yet.
    pub fn wanted(topic: &Topic, key: TopicKey, is_new: bool, since: Option<Position>) -> Self {
        Self { is_new, since, ..Self::new(topic.as_str(), Some(key), Outcome::Wanted) }
    }

    /// A topic that may not be subscribed.
    pub fn refused(topic: &str, code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(topic, None, Outcome::Refused(code, message.into()))
    }

    /// Who comes and goes in a topic that is to be subscribed, or is. Follows the topic's own item.
    pub fn presence(topic: &Topic, key: &TopicKey) -> Self {
        let presence_of = Some(key.clone());
        Self { is_new: true, presence_of, ..Self::new(topic.as_str(), Some(key.presence()), Outcome::Wanted) }
    }

    fn new(topic: &str, key: Option<TopicKey>, outcome: Outcome) -> Self {
        Self {
            topic: topic.into(),
            key,
            presence_of: None,
            is_new: false,
            since: None,
            recovery: None,
            position: Position::NONE,
            is_durable_alone: false,
            outcome,
        }
    }

    /// The topic whose presence channel it is.
    pub fn presence_of(&self) -> Option<&TopicKey> {
        self.presence_of.as_ref()
    }

    /// The topic's key while nothing has become of it.
    pub fn key_if_wanted(&self) -> Option<TopicKey> {
        self.key.clone().filter(|_| matches!(self.outcome, Outcome::Wanted))
    }

    /// Whether it waits for this topic.
    pub fn waits_for(&self, topic: TopicId) -> bool {
        matches!(self.outcome, Outcome::Waiting(id) if id == topic)
    }
}

impl Outcome {
    /// Refused while the backplane is away.
    pub fn unavailable() -> Self {
        Self::Refused(ErrorCode::Unavailable, "the backplane is away: try again later".to_owned())
    }

    /// Refused because the backplane doesn't deliver the topic.
    pub fn refused_by_backplane() -> Self {
        Self::Refused(ErrorCode::Unavailable, "the backplane refuses this topic".to_owned())
    }

    /// Refused because where the topic stands can't be found out.
    pub fn unreadable() -> Self {
        Self::Refused(ErrorCode::Unavailable, "the topic's history can't be read: try again later".to_owned())
    }
}

impl Join {
    /// A client's command. `id` is what its answers carry.
    pub fn client(
        session: Arc<Session>,
        owner: Arc<Principal>,
        id: Option<i64>,
        items: Vec<Item>,
    ) -> (Self, oneshot::Receiver<Joined>) {
        Self::new((session, owner), items, Answer::Each { id }, false)
    }

    /// The node's own for a new session.
    pub fn welcome(
        session: Arc<Session>,
        owner: Arc<Principal>,
        welcome: Welcome,
        items: Vec<Item>,
    ) -> (Self, oneshot::Receiver<Joined>) {
        Self::new((session, owner), items, Answer::Welcome(Box::new(welcome)), true)
    }

    fn new(
        (session, owner): (Arc<Session>, Arc<Principal>),
        items: Vec<Item>,
        answer: Answer,
        is_automatic: bool,
    ) -> (Self, oneshot::Receiver<Joined>) {
        let (report, joined) = oneshot::channel();
        let room = session.outbox().bytes_max().saturating_sub(session.outbox().waiting_bytes());
        let allowance = Allowance::new(session.codec(), room / 2);
        (
            Self {
                session,
                owner,
                items,
                is_automatic,
                since: Millis(0),
                allowance,
                answer,
                report,
                given_up: Vec::new(),
            },
            joined,
        )
    }

    /// `topic`, for which it waited, can't be had: its items are refused, the node's own are subscribed all the same.
    pub fn give_up(&mut self, topic: TopicId, why: &Outcome) {
        for item in self.items.iter_mut().filter(|item| item.waits_for(topic)) {
            if item.is_new {
                self.given_up.push(topic);
            }
            item.outcome = if self.is_automatic { Outcome::Subscribed(topic) } else { why.clone() };
        }
    }

    /// Gives up all that it still waits for.
    pub fn give_up_rest(&mut self, why: &Outcome) {
        let waiting = self.items.iter().filter_map(|item| match item.outcome {
            Outcome::Waiting(id) => Some(id),
            _ => None,
        });
        for id in waiting.collect::<Vec<_>>() {
            self.give_up(id, why);
        }
    }

    /// Topics that were refused while it waited for them.
    pub fn given_up(&mut self) -> Vec<TopicId> {
        std::mem::take(&mut self.given_up)
    }

    /// A topic and its presence that a client asked for together stand or fall together. Returns what has fallen.
    pub fn settle_presences(&mut self) -> Vec<TopicId> {
        let mut fallen = Vec::new();
        for at in 1..self.items.len() {
            let (before, from) = self.items.split_at_mut(at);
            let (Some(topic), presence) = (before.last_mut(), &mut from[0]) else { continue };
            if presence.presence_of.is_none() {
                continue;
            }
            match (&topic.outcome, &presence.outcome) {
                (Outcome::Subscribed(id), Outcome::Refused(..)) if !self.is_automatic => {
                    fallen.extend(Some(*id).filter(|_| topic.is_new));
                    topic.outcome = presence.outcome.clone();
                }
                (Outcome::Refused(..), Outcome::Subscribed(id)) => {
                    fallen.push(*id);
                    presence.outcome = topic.outcome.clone();
                }
                _ => {}
            }
        }
        fallen
    }

    /// The new subscriptions, presence channels among them.
    pub fn subscribed(&self) -> impl Iterator<Item = (TopicId, &TopicKey)> {
        self.items.iter().filter(|item| item.is_new).filter_map(|item| match (&item.outcome, &item.key) {
            (Outcome::Subscribed(id), Some(key)) => Some((*id, key)),
            _ => None,
        })
    }

    /// The wire bytes that tell the client.
    pub fn answer(&self) -> Bytes {
        let codec = self.session.codec();
        let mut out = Vec::new();
        match &self.answer {
            Answer::Each { id } => {
                for item in self.items.iter().filter(|item| item.presence_of.is_none()) {
                    frame::put_message(&mut out, codec, &item.answer(*id, codec));
                }
            }
            Answer::Welcome(welcome) => {
                let topics = self.items.iter().filter(|item| item.presence_of.is_none());
                let topics = topics.map(|item| item.with_events(codec, item.state().encode(codec)));
                let mut told = welcome.frame().encode(codec);
                assemble::add_field(codec, &mut told, "topics", &assemble::list(codec, topics));
                frame::put_message(&mut out, codec, &told);
            }
        }
        out.into()
    }

    /// Tells the connection; `done` resolves when the shard has done its part.
    pub fn report(self, done: oneshot::Receiver<()>) {
        let topics = self.subscribed().map(|(id, key)| (key.clone(), id)).collect();
        // A connection waits for its joins even when its client has gone.
        let _ = self.report.send(Joined { topics, done });
    }
}

impl Item {
    fn answer(&self, id: Option<i64>, codec: Codec) -> Vec<u8> {
        if let Outcome::Refused(code, message) = &self.outcome {
            return ServerFrame::Error { id, topic: Some(&self.topic), code: *code, message }.encode(codec);
        }
        self.with_events(codec, ServerFrame::Subscribed { id, state: self.state() }.encode(codec))
    }

    fn state(&self) -> TopicState<'_> {
        let recovery = self.recovery.as_ref();
        TopicState {
            topic: &self.topic,
            position: self.position,
            durable: self.is_durable_alone,
            recovered: recovery.map(|recovery| recovery.reason.is_none()),
            reason: recovery.and_then(|recovery| recovery.reason),
            more: recovery.is_some_and(|recovery| recovery.more),
        }
    }

    /// Adds what came since to a frame of who asked for it.
    fn with_events(&self, codec: Codec, mut frame: Vec<u8>) -> Vec<u8> {
        if let Some(recovery) = &self.recovery {
            let events = recovery.events.iter().map(|event| event.encode(codec));
            assemble::add_field(codec, &mut frame, "events", &assemble::list(codec, events));
        }
        frame
    }
}

impl Welcome {
    fn frame(&self) -> ServerFrame<'_> {
        ServerFrame::Welcome {
            version: PROTOCOL_VERSION,
            features: FEATURES,
            connection: &self.connection,
            node: &self.node,
            tenant: &self.tenant,
            user: &self.user,
            expires_at: self.expires_at_ms,
            server_time: self.server_time_ms,
            ping_ms: self.ping_ms,
            limits: self.limits,
        }
    }
}
