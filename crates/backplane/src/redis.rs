//! The backplane over a Redis server: two connections, each with a supervisor of its own, so that publishing goes on
//! while a full inbox holds the subscription connection back; and a small pool that reads histories. Of a cluster, each
//! primary gets as many.
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
//! | `echo` | which probes came back |
//! | `sentinel` | which server is the primary |
//! | `cluster` | the backplane over a Redis Cluster |
//! | `connect` | from an address to a connection that is fit for use |
//! | `connect_error` | why there is none, and what to do about it |
//! | `socket` | TCP, TLS and Unix sockets |
//! | `library` | the function library: on the server, and how it is called |
//! | `functions` | [`FunctionLibrary`]: the same for operators |
//! | `histories` | durable events as that takes and answers them |
//! | `reader` | the pool that reads histories |
//! | `records` | revoked tokens and nodes' reports |
//! | `presence` | who is there |
//! | `requests` | clients' requests to backends |
//! | `eviction` | does the server throw histories away? |
//! | `line` | a socket under watch: back-pressure, signs of life, why it broke |
//! | `backoff` | the pause before the next attempt |
//! | `secret` | a text that is never printed |

mod backoff;
mod cluster;
mod config;
mod connect;
mod connect_error;
mod echo;
mod eviction;
mod feed;
mod functions;
mod histories;
mod library;
mod line;
mod presence;
mod probe;
mod publisher;
mod reader;
mod records;
mod requests;
mod secret;
mod sentinel;
mod server;
mod socket;
mod subscriber;
mod subscriptions;

use std::sync::Arc;

use fanfare_protocol::{Position, Tenant, TopicKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::cluster::Cluster;
pub use self::config::{ClientCertificate, RedisConfig, RedisFunctions, RedisScripting};
pub use self::functions::{FunctionLibrary, FunctionLibraryError};
use self::probe::{Deliveries, Prover};
use self::publisher::Publisher;
use self::reader::Reader;
use self::requests::Requests;
use self::server::Address;
pub use self::server::{RedisServer, RedisUrlError};
use self::subscriber::{Subscriber, Wanted};
use crate::backplane::PublishError;
use crate::delivery::Delivery;
use crate::history::{Keep, Page, Read, ReadError, ReadLimits, Tail};
use crate::inbox::{Inbox, InboxLimits, InboxSender};
use crate::request::{EntryId, Request};
use crate::state::State;

/// One node's connections to Redis.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    config: Arc<RedisConfig>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Server(Arc<Server>),
    Cluster(Arc<Cluster>),
}

/// Ends the supervisors, and with them the connections, when the last clone of the node is dropped.
#[derive(Debug)]
struct Server {
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
        let kind = match &config.server.address {
            Address::Cluster(_) => Kind::Cluster(Arc::new(Cluster::start(Arc::clone(&config), inbox))),
            _ => Kind::Server(Arc::new(Server::start(Arc::clone(&config), inbox))),
        };
        (Node { config, kind }, receiver)
    }

    pub(crate) fn config(&self) -> &RedisConfig {
        &self.config
    }

    pub(crate) fn want(&self, topics: &[TopicKey]) {
        match &self.kind {
            Kind::Server(server) => server.wanted.want(topics, &server.inbox),
            Kind::Cluster(cluster) => cluster.want(topics),
        }
    }

    pub(crate) fn unwant(&self, topics: &[TopicKey]) {
        match &self.kind {
            Kind::Server(server) => server.wanted.unwant(topics, &server.inbox),
            Kind::Cluster(cluster) => cluster.unwant(topics),
        }
    }

    pub(crate) fn fence(&self, number: u64) {
        match &self.kind {
            Kind::Server(server) => server.wanted.fence(number),
            Kind::Cluster(cluster) => cluster.fence(number),
        }
    }

    pub(crate) async fn publish(&self, topic: &TopicKey, payload: &[u8]) -> Result<(), PublishError> {
        match &self.kind {
            Kind::Server(server) => server.publisher.publish(topic, payload).await,
            // Boxed, here and below: what only a cluster needs would take room in every caller's future.
            Kind::Cluster(cluster) => Box::pin(cluster.publish(topic, payload)).await,
        }
    }

    pub(crate) async fn publish_durable(
        &self,
        topic: &TopicKey,
        envelope: &[u8],
        keep: &Keep,
    ) -> Result<Position, PublishError> {
        match &self.kind {
            Kind::Server(server) => server.publisher.publish_durable(topic, envelope, keep).await,
            Kind::Cluster(cluster) => Box::pin(cluster.publish_durable(topic, envelope, keep)).await,
        }
    }

    pub(crate) async fn read(&self, reads: &[Read], limits: ReadLimits) -> Vec<Result<Tail, ReadError>> {
        match &self.kind {
            Kind::Server(server) => server.reader().read(reads, limits).await,
            Kind::Cluster(cluster) => Box::pin(cluster.read(reads, limits)).await,
        }
    }

    pub(crate) async fn history(
        &self,
        topic: &TopicKey,
        before: Option<Position>,
        limits: ReadLimits,
    ) -> Result<Page, ReadError> {
        match &self.kind {
            Kind::Server(server) => server.reader().history(topic, before, limits).await,
            Kind::Cluster(cluster) => Box::pin(cluster.history(topic, before, limits)).await,
        }
    }

    pub(crate) async fn request(&self, request: &Request<'_>) -> Result<EntryId, PublishError> {
        match &self.kind {
            Kind::Server(server) => server.requests().append(request).await,
            Kind::Cluster(cluster) => Box::pin(cluster.request(request)).await,
        }
    }

    pub(crate) async fn is_taken(&self, tenant: &Tenant, entry: EntryId) -> Result<bool, ReadError> {
        match &self.kind {
            Kind::Server(server) => server.requests().is_taken(tenant, entry).await,
            Kind::Cluster(cluster) => Box::pin(cluster.is_taken(tenant, entry)).await,
        }
    }

    pub(crate) fn can_publish(&self) -> bool {
        match &self.kind {
            Kind::Server(server) => server.publisher.is_connected(),
            Kind::Cluster(cluster) => cluster.can_publish(),
        }
    }

    pub(crate) fn delivery(&self) -> Option<Delivery> {
        match &self.kind {
            Kind::Server(server) => server.deliveries.last(),
            Kind::Cluster(cluster) => cluster.delivery(),
        }
    }

    pub(crate) fn functions_version(&self) -> Option<u64> {
        match &self.kind {
            Kind::Server(server) => server.publisher.functions().seen_version(),
            Kind::Cluster(cluster) => cluster.seen_version(),
        }
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        match &self.kind {
            Kind::Server(server) => server.state.clone(),
            Kind::Cluster(cluster) => cluster.state(),
        }
    }
}

impl Server {
    fn start(config: Arc<RedisConfig>, inbox: InboxSender) -> Server {
        let (state_sender, state) = watch::channel(State::Connecting { error: None });
        let wanted = Arc::new(Wanted::default());
        let publisher = Arc::new(Publisher::new(Arc::clone(&config)));
        let deliveries = Arc::<Deliveries>::default();
        let prover = Prover::new(Arc::clone(&config), Arc::clone(&publisher), Arc::clone(&deliveries));
        let subscriber = Subscriber::new(Arc::clone(&config), Arc::clone(&wanted), inbox.clone(), state_sender, prover);
        let supervisors =
            [tokio::spawn(subscriber.supervise()), tokio::spawn(publisher::supervise(Arc::clone(&publisher)))];
        Server { config, wanted, publisher, inbox, state, deliveries, supervisors }
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&self.config, &self.publisher)
    }

    fn requests(&self) -> Requests<'_> {
        Requests::new(&self.config, &self.publisher)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for supervisor in &self.supervisors {
            supervisor.abort();
        }
        self.inbox.close();
    }
}
