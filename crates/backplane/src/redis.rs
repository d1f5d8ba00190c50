//! The backplane over a Redis server: two connections, each with a supervisor of its own, so that publishing goes on
//! while a full inbox holds the subscription connection back; and a small pool that reads histories.
//!
//! It deliberately doesn't know Cluster: such an address is refused with a clear message.
//!
//! | module | what it holds |
//! |---|---|
//! | `config` | [`RedisConfig`] |
//! | `server` | [`RedisServer`]: the address, from a URL |
//! | `subscriber` | the supervisor of the pub/sub connection |
//! | `subscriptions` | what is wanted and what Redis has confirmed, without I/O |
//! | `feed` | from a push of Redis to a notice in the inbox |
//! | `publisher` | the connection that publishes, and its supervisor |
//! | `probe` | proof that what is published comes back |
//! | `sentinel` | which server is the primary |
//! | `connect` | from an address to a connection that is fit for use |
//! | `connect_error` | why there is none, and what to do about it |
//! | `socket` | TCP, TLS and Unix sockets |
//! | `library` | the function library: on the server, and how it is called |
//! | `functions` | [`FunctionLibrary`]: the same for operators |
//! | `reader` | the pool that reads histories |
//! | `eviction` | does the server throw histories away? |
//! | `line` | a socket under watch: back-pressure, signs of life, why it broke |
//! | `backoff` | the pause before the next attempt |
//! | `secret` | a text that is never printed |

mod backoff;
mod config;
mod connect;
mod connect_error;
mod eviction;
mod feed;
mod functions;
mod library;
mod line;
mod probe;
mod publisher;
mod reader;
mod secret;
mod sentinel;
mod server;
mod socket;
mod subscriber;
mod subscriptions;

use std::sync::Arc;

use fanfare_protocol::{Position, TopicKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::config::{ClientCertificate, RedisConfig, RedisFunctions, RedisScripting};
pub use self::functions::{FunctionLibrary, FunctionLibraryError};
use self::probe::{Deliveries, Prover};
use self::publisher::Publisher;
use self::reader::Reader;
pub use self::server::{RedisServer, RedisUrlError};
use self::subscriber::{Subscriber, Wanted};
use crate::backplane::PublishError;
use crate::delivery::Delivery;
use crate::history::{Keep, Page, Read, ReadError, ReadLimits, Tail};
use crate::inbox::{Inbox, InboxLimits, InboxSender};
use crate::state::State;

/// One node's connections to Redis.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    tasks: Arc<Tasks>,
}

/// Ends the supervisors, and with them the connections, when the last clone of the node is dropped.
#[derive(Debug)]
struct Tasks {
    config: Arc<RedisConfig>,
    wanted: Arc<Wanted>,
    publisher: Arc<Publisher>,
    inbox: InboxSender,
    state: watch::Receiver<State>,
    deliveries: Arc<Deliveries>,
    supervisors: [JoinHandle<()>; 2],
}

impl Node {
    pub(crate) fn start(config: RedisConfig) -> (Node, Inbox) {
        let config = Arc::new(config);
        let (inbox, receiver) = Inbox::new(InboxLimits { bytes_max: config.inbox_bytes_max });
        let (state_sender, state) = watch::channel(State::Connecting { error: None });
        let wanted = Arc::new(Wanted::default());
        let publisher = Arc::new(Publisher::new(Arc::clone(&config)));
        let deliveries = Arc::<Deliveries>::default();
        let prover = Prover::new(Arc::clone(&config), Arc::clone(&publisher), Arc::clone(&deliveries));
        let subscriber = Subscriber::new(Arc::clone(&config), Arc::clone(&wanted), inbox.clone(), state_sender, prover);
        let supervisors =
            [tokio::spawn(subscriber.supervise()), tokio::spawn(publisher::supervise(Arc::clone(&publisher)))];
        (Node { tasks: Arc::new(Tasks { config, wanted, publisher, inbox, state, deliveries, supervisors }) }, receiver)
    }

    pub(crate) fn config(&self) -> &RedisConfig {
        &self.tasks.config
    }

    pub(crate) fn want(&self, topics: &[TopicKey]) {
        self.tasks.wanted.want(topics, &self.tasks.inbox);
    }

    pub(crate) fn unwant(&self, topics: &[TopicKey]) {
        self.tasks.wanted.unwant(topics, &self.tasks.inbox);
    }

    pub(crate) fn fence(&self, number: u64) {
        self.tasks.wanted.fence(number);
    }

    pub(crate) async fn publish(&self, topic: &TopicKey, payload: &[u8]) -> Result<(), PublishError> {
        self.tasks.publisher.publish(topic, payload).await
    }

    pub(crate) async fn publish_durable(
        &self,
        topic: &TopicKey,
        envelope: &[u8],
        keep: &Keep,
    ) -> Result<Position, PublishError> {
        self.tasks.publisher.publish_durable(topic, envelope, keep).await
    }

    pub(crate) async fn read(&self, reads: &[Read], limits: ReadLimits) -> Vec<Result<Tail, ReadError>> {
        self.reader().read(reads, limits).await
    }

    pub(crate) async fn history(
        &self,
        topic: &TopicKey,
        before: Option<Position>,
        limits: ReadLimits,
    ) -> Result<Page, ReadError> {
        self.reader().history(topic, before, limits).await
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&self.tasks.config, &self.tasks.publisher)
    }

    pub(crate) fn can_publish(&self) -> bool {
        self.tasks.publisher.is_connected()
    }

    pub(crate) fn delivery(&self) -> Option<Delivery> {
        self.tasks.deliveries.last()
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.tasks.state.clone()
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for supervisor in &self.supervisors {
            supervisor.abort();
        }
        self.inbox.close();
    }
}
