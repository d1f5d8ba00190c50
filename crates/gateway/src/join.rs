//! A subscribe command on its way through the hub: one topic or many, answered together and in order once each is
//! settled; and the node's own command for a new session, whose answer is `welcome`.

use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::{Session, TopicId, frame};
use fanfare_protocol::{
    ErrorCode, GapReason, Limits, PROTOCOL_VERSION, Position, ServerFrame, Topic, TopicKey, TopicState,
};
use tokio::sync::oneshot;

/// What this version can do beyond ephemeral events.
const FEATURES: &[&str] = &["publish"];

/// Topics that one session wants.
#[derive(Debug)]
pub struct Join {
    /// Whose.
    pub session: Arc<Session>,
    /// Which, in the order of the answers.
    pub items: Vec<Item>,
    /// The node's own: the client didn't ask, so nothing can be refused.
    pub is_automatic: bool,
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
    /// The client resumes; without history nothing can be proven complete.
    is_resumed: bool,
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
    /// Subscribed now.
    Subscribed(TopicId),
    /// Subscribed before.
    Already,
    /// Refused.
    Refused(ErrorCode, String),
}

/// What the connection is told when its join is through.
#[derive(Debug)]
pub struct Joined {
    /// The new subscriptions.
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
    /// A topic that may be subscribed.
    pub fn wanted(topic: &Topic, key: TopicKey, is_resumed: bool) -> Self {
        Self { topic: topic.as_str().into(), key: Some(key), is_resumed, outcome: Outcome::Wanted }
    }

    /// A topic that is subscribed already.
    pub fn already(topic: &Topic, is_resumed: bool) -> Self {
        Self { topic: topic.as_str().into(), key: None, is_resumed, outcome: Outcome::Already }
    }

    /// A topic that may not be subscribed.
    pub fn refused(topic: &str, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { topic: topic.into(), key: None, is_resumed: false, outcome: Outcome::Refused(code, message.into()) }
    }

    /// The topic's key while nothing has become of it.
    pub fn key_if_wanted(&self) -> Option<TopicKey> {
        self.key.clone().filter(|_| matches!(self.outcome, Outcome::Wanted))
    }
}

impl Outcome {
    /// Refused while the backplane is away.
    pub fn unavailable() -> Self {
        Self::Refused(ErrorCode::Unavailable, "the backplane is away: try again later".to_owned())
    }
}

impl Join {
    /// A client's command. `id` is what its answers carry.
    pub fn client(session: Arc<Session>, id: Option<i64>, items: Vec<Item>) -> (Self, oneshot::Receiver<Joined>) {
        Self::new(session, items, Answer::Each { id }, false)
    }

    /// The node's own for a new session.
    pub fn welcome(session: Arc<Session>, welcome: Welcome, items: Vec<Item>) -> (Self, oneshot::Receiver<Joined>) {
        Self::new(session, items, Answer::Welcome(Box::new(welcome)), true)
    }

    fn new(
        session: Arc<Session>,
        items: Vec<Item>,
        answer: Answer,
        is_automatic: bool,
    ) -> (Self, oneshot::Receiver<Joined>) {
        let (report, joined) = oneshot::channel();
        (Self { session, items, is_automatic, answer, report, given_up: Vec::new() }, joined)
    }

    /// `topic`, for which it waited, is confirmed or refused.
    pub fn settle(&mut self, topic: TopicId, outcome: &Outcome) {
        for item in &mut self.items {
            if matches!(item.outcome, Outcome::Waiting(id) if id == topic) {
                if matches!(outcome, Outcome::Refused(..)) {
                    self.given_up.push(topic);
                }
                item.outcome = if self.is_automatic { Outcome::Subscribed(topic) } else { outcome.clone() };
            }
        }
    }

    /// All that it still waits for is refused.
    pub fn settle_rest(&mut self, outcome: &Outcome) {
        let waiting = self.items.iter().filter_map(|item| match item.outcome {
            Outcome::Waiting(id) => Some(id),
            _ => None,
        });
        for id in waiting.collect::<Vec<_>>() {
            self.settle(id, outcome);
        }
    }

    /// Topics that were refused while it waited for them.
    pub fn given_up(&mut self) -> Vec<TopicId> {
        std::mem::take(&mut self.given_up)
    }

    /// The new subscriptions.
    pub fn subscribed(&self) -> impl Iterator<Item = (TopicId, &TopicKey)> {
        self.items.iter().filter_map(|item| match (&item.outcome, &item.key) {
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
                for item in &self.items {
                    frame::put_message(&mut out, codec, &item.answer(*id).encode(codec));
                }
            }
            Answer::Welcome(welcome) => {
                let topics: Vec<_> = self.items.iter().map(Item::state).collect();
                frame::put_message(&mut out, codec, &welcome.frame(&topics).encode(codec));
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
    fn answer(&self, id: Option<i64>) -> ServerFrame<'_> {
        if let Outcome::Refused(code, message) = &self.outcome {
            return ServerFrame::Error { id, topic: Some(&self.topic), code: *code, message };
        }
        let TopicState { topic, position, recovered, reason } = self.state();
        ServerFrame::Subscribed { id, topic, position, recovered, reason }
    }

    /// Without history, where a topic stands is nowhere, and what came since cannot be filled in.
    fn state(&self) -> TopicState<'_> {
        let reason = self.is_resumed.then_some(GapReason::Expired);
        TopicState { topic: &self.topic, position: Position::NONE, recovered: reason.map(|_| false), reason }
    }
}

impl Welcome {
    fn frame<'a>(&'a self, topics: &'a [TopicState<'a>]) -> ServerFrame<'a> {
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
            topics,
        }
    }
}
