//! Publishes events: ephemeral ones to whoever is there, durable ones into a topic's history as well. Deliberately repeats
//! nothing whose outcome isn't known; the caller decides, and [`Keep::id`] makes it harmless.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_protocol::{Position, Tenant, Topic, TopicKey};
use redis::{Cmd, Value};

use crate::address::{AddressError, Source};
use crate::connection::Connection;
use crate::event::Event;
use crate::keyspace::{Keyspace, PrefixError};
use crate::link::{CONNECT_TIMEOUT, Link};
use crate::publish_error::PublishError;
use crate::trace::Sending;

/// How long a call may take unless it is set ([`Publisher::with_timeout`]), a new connection included.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// The largest envelope in bytes unless it is set ([`Publisher::with_event_bytes_max`]): as nodes have it.
pub const EVENT_BYTES_MAX_DEFAULT: usize = 65_536;

/// Publishes events. A clone shares the connection, and any number of tasks may publish at the same time.
#[derive(Debug, Clone)]
pub struct Publisher {
    pub(crate) link: Arc<Link>,
    keyspace: Keyspace,
    pub(crate) timeout: Duration,
    event_bytes_max: usize,
    is_traced: bool,
}

/// How a durable event is kept. The defaults are those of the function library: 1,000 events, a day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    maxlen: Option<u64>,
    ttl: Option<Duration>,
    id: Option<String>,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// What the attempt came to.
    #[error("can't connect to Redis: {0}")]
    Unreachable(String),
}

impl Keep {
    /// How many events the topic keeps, at least; the oldest go first.
    #[must_use]
    pub fn maxlen(mut self, events: u64) -> Keep {
        self.maxlen = Some(events);
        self
    }

    /// How long the topic's history outlives this event: a minute at least, to the millisecond.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Keep {
        self.ttl = Some(ttl);
        self
    }

    /// An idempotency id, 1 to 128 bytes: within 5 minutes an event with the same id is not published again on this topic,
    /// and the answer is the position of the first.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Keep {
        self.id = Some(id.into());
        self
    }
}

impl Publisher {
    /// Connects to `redis://[user:password@]host[:port][/database]` (`rediss://` for TLS), `unix:///path`,
    /// `redis+cluster://host:port,host:port` or `redis+sentinel://host:port,host:port/name`, in one attempt of at most
    /// four seconds. When the connection breaks later, the next call makes a new one.
    pub async fn connect(url: &str) -> Result<Publisher, ConnectError> {
        let publisher = Publisher::lazy(url)?;
        publisher.link.connect().await.map_err(ConnectError::Unreachable)?;
        Ok(publisher)
    }

    /// The same, but connects with the first call: for a backend that starts whether Redis is there or not.
    pub fn lazy(url: &str) -> Result<Publisher, AddressError> {
        let source = Source::parse(url, CONNECT_TIMEOUT, TIMEOUT_DEFAULT)?;
        Ok(Publisher::over(Link::new(source)))
    }

    /// Publishes over a connection that the backend has: a [`MultiplexedConnection`](redis::aio::MultiplexedConnection), a
    /// [`ClusterConnection`](redis::cluster_async::ClusterConnection), or with the feature `connection-manager` a
    /// `ConnectionManager`. It keeps its own timeouts, is never made anew from here, and may repeat what it is set to repeat. It must be
    /// one to a primary, and to a cluster only of the cluster's kind: anywhere else ephemeral events reach nobody.
    pub fn new(connection: impl Into<Connection>) -> Publisher {
        Publisher::over(Link::given(connection.into()))
    }

    fn over(link: Link) -> Publisher {
        Publisher {
            link: Arc::new(link),
            keyspace: Keyspace::default(),
            timeout: TIMEOUT_DEFAULT,
            event_bytes_max: EVENT_BYTES_MAX_DEFAULT,
            is_traced: true,
        }
    }

    /// What all names on Redis begin with, `fanfare` unless set: the nodes' `redis_prefix`.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Publisher, PrefixError> {
        self.keyspace = Keyspace::parse(prefix)?;
        Ok(self)
    }

    /// How long a call may take, from its beginning to its answer; a day at most. On a cluster, one server has
    /// [`TIMEOUT_DEFAULT`] for its answer, whatever is set.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Publisher {
        self.timeout = timeout;
        self
    }

    /// The largest envelope, in bytes: the nodes' `event_bytes_max`. What is larger would reach nobody, so it is refused.
    #[must_use]
    pub fn with_event_bytes_max(mut self, bytes: usize) -> Publisher {
        self.event_bytes_max = bytes;
        self
    }

    /// Leaves the caller's trace out of all events.
    #[must_use]
    pub fn without_trace(mut self) -> Publisher {
        self.is_traced = false;
        self
    }

    /// Publishes to whoever is connected now. `Ok` says that Redis has taken it.
    pub async fn publish(&self, tenant: &Tenant, topic: &Topic, event: &Event) -> Result<(), PublishError> {
        let topic = TopicKey::new(tenant, topic);
        let mut sending = self.sending(&topic, event, false);
        let command = self.ephemeral(&topic, event, &mut sending);
        let published = self.call(command).await.map(drop);
        sending.end(published.as_ref().err());
        published
    }

    /// Publishes and keeps it in the topic's history, in one step. Returns where it stands.
    pub async fn publish_durable(
        &self,
        tenant: &Tenant,
        topic: &Topic,
        event: &Event,
        keep: &Keep,
    ) -> Result<Position, PublishError> {
        let topic = TopicKey::new(tenant, topic);
        let mut sending = self.sending(&topic, event, true);
        let command = self.durable(&topic, event, (keep, &mut sending));
        let published = self.call(command).await.and_then(position);
        sending.end(published.as_ref().err());
        published
    }

    /// The span in which an event is sent.
    pub(crate) fn sending(&self, topic: &TopicKey, event: &Event, is_durable: bool) -> Sending {
        if self.is_traced { event.sending(topic, is_durable) } else { Sending::default() }
    }

    async fn call(&self, command: Result<Cmd, PublishError>) -> Result<Value, PublishError> {
        Ok(self.link.call(&command?, self.timeout).await?)
    }

    fn envelope(&self, event: &Event, sending: &mut Sending) -> Result<Bytes, PublishError> {
        let envelope = event.encode(sending.fields(), self.event_bytes_max)?;
        sending.encoded(envelope.len());
        Ok(envelope)
    }

    pub(crate) fn ephemeral(
        &self,
        topic: &TopicKey,
        event: &Event,
        sending: &mut Sending,
    ) -> Result<Cmd, PublishError> {
        let envelope = self.envelope(event, sending)?;
        Ok(send(self.link.is_cluster(), &self.keyspace.channel(topic), &envelope))
    }

    pub(crate) fn durable(
        &self,
        topic: &TopicKey,
        event: &Event,
        (keep, sending): (&Keep, &mut Sending),
    ) -> Result<Cmd, PublishError> {
        let envelope = self.envelope(event, sending)?;
        // All keys are declared: a slot that migrates then answers TRYAGAIN instead of half a publish.
        let mut keys = vec![self.keyspace.channel(topic), self.keyspace.head(topic)];
        keys.extend(keep.id.as_ref().map(|id| self.keyspace.id(topic, id)));
        let mut command = redis::cmd("FCALL");
        command.arg("fanfare_publish").arg(keys.len()).arg(keys).arg(&*envelope);
        // The library knows the defaults, and checks what is given.
        if let Some(maxlen) = keep.maxlen {
            command.arg("maxlen").arg(maxlen);
        }
        if let Some(ttl) = keep.ttl {
            command.arg("ttl_ms").arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some(id) = &keep.id {
            command.arg("id").arg(id);
        }
        Ok(command)
    }
}

/// On a cluster channels are sharded, and a plain `PUBLISH` reaches nobody.
pub(crate) fn send(is_cluster: bool, channel: &str, payload: &[u8]) -> Cmd {
    let mut command = redis::cmd(if is_cluster { "FCALL" } else { "PUBLISH" });
    if is_cluster {
        command.arg("fanfare_send").arg(1);
    }
    command.arg(channel).arg(payload);
    command
}

/// What `fanfare_publish` answers.
pub(crate) fn position(answer: Value) -> Result<Position, PublishError> {
    let text: String = redis::from_redis_value(answer).unwrap_or_default();
    text.parse().map_err(|_| {
        let words = format!("`{text}` is no position: is another library called `fanfare` loaded there?");
        PublishError::Refused(words)
    })
}
