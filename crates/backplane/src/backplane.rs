//! The one handle that a node has of its backplane, whichever kind it is. An enum, since the set is closed.

use bytes::Bytes;
use fanfare_protocol::{Position, Tenant, TopicKey};
use tokio::sync::watch;

use crate::delivery::Delivery;
use crate::history::{Keep, Page, Read, ReadError, ReadLimits, Tail};
use crate::inbox::{Inbox, InboxLimits};
use crate::memory;
use crate::redis::{self, RedisConfig};
use crate::request::{EntryId, Request};
use crate::state::State;

/// A node's place on a backplane. Clones are the same place; when the last one is dropped, the node leaves and its
/// [`Inbox`] ends.
#[derive(Debug, Clone)]
pub struct Backplane {
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Memory(memory::Node),
    Redis(redis::Node),
}

/// Why a payload was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The backplane is away. If it went while the answer was awaited, the payload may have been published.
    #[error("the backplane is away")]
    Unavailable,
    /// No answer in time. The payload may have been published.
    #[error("the backplane did not answer in time")]
    Timeout,
    /// The server refused it, in its own words: `NOPERM …`.
    #[error("the backplane refused it: {0}")]
    Refused(String),
}

impl Backplane {
    /// A backplane inside this process. [`Backplane::node`] adds nodes to it.
    pub fn memory(limits: InboxLimits) -> (Backplane, Inbox) {
        let (node, inbox) = memory::Node::first(limits);
        (Backplane { kind: Kind::Memory(node) }, inbox)
    }

    /// A node on a Redis server. Starts the tasks that connect, and connect again for ever; that Redis is away is
    /// told by [`Backplane::state`], never by an error here.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn redis(config: RedisConfig) -> (Backplane, Inbox) {
        let (node, inbox) = redis::Node::start(config);
        (Backplane { kind: Kind::Redis(node) }, inbox)
    }

    /// One more node on the same backplane: the same hub, or the same Redis configuration.
    ///
    /// # Panics
    /// Outside of a Tokio runtime, when the backplane is Redis.
    pub fn node(&self) -> (Backplane, Inbox) {
        match &self.kind {
            Kind::Memory(node) => {
                let (node, inbox) = node.another();
                (Backplane { kind: Kind::Memory(node) }, inbox)
            }
            Kind::Redis(node) => Backplane::redis(node.config().clone()),
        }
    }

    /// From now on this node wants these topics; [`crate::Notice::Confirmed`] or `Refused` tells how it went. A topic
    /// that is wanted already stays as it is, except that a refused one is tried again.
    ///
    /// Never waits and does no I/O.
    pub fn want(&self, topics: &[TopicKey]) {
        match &self.kind {
            Kind::Memory(node) => node.want(topics),
            Kind::Redis(node) => node.want(topics),
        }
    }

    /// This node doesn't want these topics any more. Messages on their way may still come.
    ///
    /// Never waits and does no I/O.
    pub fn unwant(&self, topics: &[TopicKey]) {
        match &self.kind {
            Kind::Memory(node) => node.unwant(topics),
            Kind::Redis(node) => node.unwant(topics),
        }
    }

    /// Asks for [`crate::Notice::Fence`] with this number: then everything that was published before this call, to topics
    /// that are confirmed, has come. If the connection is lost before that, no such notice comes.
    ///
    /// Never waits and does no I/O.
    pub fn fence(&self, number: u64) {
        match &self.kind {
            Kind::Memory(node) => node.fence(number),
            Kind::Redis(node) => node.fence(number),
        }
    }

    /// Publishes to every node that wants the topic, this one included. That nobody does is no error.
    ///
    /// Payloads that one caller publishes one after the other arrive in that order.
    pub async fn publish(&self, topic: &TopicKey, payload: Bytes) -> Result<(), PublishError> {
        match &self.kind {
            Kind::Memory(node) => node.publish(topic, payload).await,
            Kind::Redis(node) => node.publish(topic, &payload).await,
        }
    }

    /// Keeps an envelope in the topic's history and publishes it with its position, in one step: the order of positions is
    /// the order of messages. An event that is published again with the same `Keep::id` is not; the first one's position
    /// is the answer.
    pub async fn publish_durable(
        &self,
        topic: &TopicKey,
        envelope: Bytes,
        keep: &Keep,
    ) -> Result<Position, PublishError> {
        if let Some(refusal) = keep.refusal(&envelope) {
            return Err(PublishError::Refused(refusal));
        }
        match &self.kind {
            Kind::Memory(node) => node.publish_durable(topic, envelope, keep).await,
            Kind::Redis(node) => node.publish_durable(topic, &envelope, keep).await,
        }
    }

    /// Where topics stand, and what they have kept after a position. One answer for each, in order; sent in batches of
    /// which only a few are on their way, so any number of topics may be asked for at once.
    pub async fn read(&self, reads: &[Read], limits: ReadLimits) -> Vec<Result<Tail, ReadError>> {
        match &self.kind {
            Kind::Memory(node) => node.read(reads, limits),
            Kind::Redis(node) => node.read(reads, limits).await,
        }
    }

    /// The newest events before `before`, or the newest of all, oldest first.
    pub async fn history(
        &self,
        topic: &TopicKey,
        before: Option<Position>,
        limits: ReadLimits,
    ) -> Result<Page, ReadError> {
        match &self.kind {
            Kind::Memory(node) => Ok(node.history(topic, before, limits)),
            Kind::Redis(node) => node.history(topic, before, limits).await,
        }
    }

    /// Puts a request where backends look for it. None in memory, where there are no backends. When it may stand there
    /// although no answer came, the error is always [`PublishError::Timeout`].
    pub async fn request(&self, request: &Request<'_>) -> Result<Option<EntryId>, PublishError> {
        match &self.kind {
            Kind::Memory(_) => Ok(None),
            Kind::Redis(node) => node.request(request).await.map(Some),
        }
    }

    /// Whether a backend took the request that this entry of the tenant's stream is: some consumer group has read so far.
    pub async fn is_taken(&self, tenant: &Tenant, entry: EntryId) -> Result<bool, ReadError> {
        match &self.kind {
            Kind::Memory(_) => Ok(false),
            Kind::Redis(node) => node.is_taken(tenant, entry).await,
        }
    }

    /// Whether it would take a payload now. Together with [`Backplane::state`] this tells a backplane that is away from
    /// one that answers while nothing is delivered here.
    pub fn can_publish(&self) -> bool {
        match &self.kind {
            Kind::Memory(_) => true,
            Kind::Redis(node) => node.can_publish(),
        }
    }

    /// The last proof that what is published comes back to this node. None before the first one, and where none is needed
    /// or wanted: in memory, or without `RedisConfig::probe_interval`.
    pub fn delivery(&self) -> Option<Delivery> {
        match &self.kind {
            Kind::Memory(_) => None,
            Kind::Redis(node) => node.delivery(),
        }
    }

    /// The version of the function library that was last seen on Redis, the lowest one of a cluster's primaries, 0 when it
    /// was missing; looked at every `RedisConfig::ping_interval`. None before the first look, where functions are called as
    /// a script, and in memory. [`FunctionLibrary::VERSION`](crate::FunctionLibrary::VERSION) is the one of this build.
    pub fn functions_version(&self) -> Option<u64> {
        match &self.kind {
            Kind::Memory(_) => None,
            Kind::Redis(node) => node.functions_version(),
        }
    }

    /// Whether the backplane works now.
    pub fn state(&self) -> watch::Receiver<State> {
        match &self.kind {
            Kind::Memory(node) => node.state(),
            Kind::Redis(node) => node.state(),
        }
    }
}
