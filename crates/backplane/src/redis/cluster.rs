//! The backplane over a Redis Cluster. Topics use sharded pub/sub: each is subscribed on the primary that serves its slot,
//! over one pub/sub connection to each primary, and goes with the slot when that moves or a replica takes over.
//!
//! The commands are redis-rs's, one connection to each primary, but where they go is ours: its own cluster client shares no
//! socket, login or timeout with the rest, and can't tell us when to load the function library where.
//!
//! | module | what it holds |
//! |---|---|
//! | `slots` | which primary serves which slot |
//! | `coordinator` | the task that finds that out |
//! | `table` | which topics are wanted, and from whom each comes |
//! | `member` | one primary and its connections |
//! | `part` | what one primary has of the topics |
//! | `subscriber` | the supervisor of one primary's pub/sub connection |
//! | `wire` | that connection |
//! | `feed` | from a push to a notice in the inbox |
//! | `probe` | proof that what is published there comes back |
//! | `fences` | fences over all connections |
//! | `calls` | commands, and where they go |

mod calls;
mod coordinator;
mod feed;
mod fences;
mod member;
mod part;
mod probe;
mod slots;
mod subscriber;
mod table;
mod wire;

use std::sync::Arc;

use fanfare_protocol::{Position, Tenant, TopicKey};
use parking_lot::Mutex;
use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::coordinator::Coordinator;
pub(super) use self::coordinator::primaries;
use self::part::Common;
use self::table::Table;
use super::config::RedisConfig;
use super::library::Library;
use crate::backplane::PublishError;
use crate::delivery::Delivery;
use crate::history::{Keep, Page, Read, ReadError, ReadLimits, Tail};
use crate::inbox::InboxSender;
use crate::request::{EntryId, Request};
use crate::state::State;

/// One node's connections to a cluster. They end with it.
#[derive(Debug)]
pub(super) struct Cluster {
    shared: Arc<Shared>,
    state: watch::Receiver<State>,
    coordinator: JoinHandle<()>,
}

/// What callers share with the tasks.
#[derive(Debug)]
struct Shared {
    config: Arc<RedisConfig>,
    table: Mutex<Table>,
    common: Arc<Common>,
    /// Only for the text of commands: each primary's connection has its own.
    functions: Library,
    /// The name of the probes' channels up to their hash tag.
    probe: Arc<str>,
}

impl Cluster {
    pub(super) fn start(config: Arc<RedisConfig>, inbox: InboxSender) -> Cluster {
        let (sender, state) = watch::channel(State::Connecting { error: None });
        let shared = Arc::new(Shared {
            table: Mutex::default(),
            common: Arc::new(Common::new(inbox)),
            functions: Library::new(&config),
            probe: super::probe::channel(&config).into(),
            config,
        });
        let coordinator = Coordinator { shared: Arc::clone(&shared), state: sender };
        Cluster { shared, state, coordinator: tokio::spawn(coordinator.supervise()) }
    }

    pub(super) fn want(&self, topics: &[TopicKey]) {
        let common = &self.shared.common;
        let mut table = self.shared.table.lock();
        let slots = common.slots();
        for topic in topics {
            table.want(topic, &self.shared.config.prefix, slots.as_deref());
        }
        let is_astray = table.strays() > 0;
        drop(table);
        common.inbox.announce();
        if is_astray && slots.is_some() {
            common.doubted.notify_one();
        }
    }

    pub(super) fn unwant(&self, topics: &[TopicKey]) {
        let mut table = self.shared.table.lock();
        for topic in topics {
            table.unwant(topic, &self.shared.common);
        }
    }

    pub(super) fn fence(&self, number: u64) {
        let common = &self.shared.common;
        let members: Vec<_> = self.shared.table.lock().members.values().cloned().collect();
        common.fences.ask(number, members.iter().map(|member| &*member.posts), &common.inbox);
        for member in &members {
            member.part.changed.notify_one();
        }
    }

    pub(super) async fn publish(&self, topic: &TopicKey, payload: &[u8]) -> Result<(), PublishError> {
        self.shared.publish(topic, payload).await
    }

    pub(super) async fn publish_durable(
        &self,
        topic: &TopicKey,
        envelope: &[u8],
        keep: &Keep,
    ) -> Result<Position, PublishError> {
        self.shared.publish_durable(topic, envelope, keep).await
    }

    pub(super) async fn read(&self, reads: &[Read], limits: ReadLimits) -> Vec<Result<Tail, ReadError>> {
        self.shared.read(reads, limits).await
    }

    pub(super) async fn history(
        &self,
        topic: &TopicKey,
        before: Option<Position>,
        limits: ReadLimits,
    ) -> Result<Page, ReadError> {
        self.shared.history(topic, before, limits).await
    }

    /// For the text of commands.
    pub(super) fn functions(&self) -> &Library {
        &self.shared.functions
    }

    /// The lowest version of the function library that was last seen on a primary.
    pub(super) fn seen_version(&self) -> Option<u64> {
        let table = self.shared.table.lock();
        table.members.values().filter_map(|member| member.publisher.functions().seen_version()).min()
    }

    /// Runs one command on the primary that has the key.
    pub(super) async fn run(&self, key: &str, command: &Cmd) -> Result<Value, PublishError> {
        self.shared.run(key, command).await
    }

    pub(super) async fn request(&self, request: &Request<'_>) -> Result<EntryId, PublishError> {
        self.shared.request(request).await
    }

    pub(super) async fn is_taken(&self, tenant: &Tenant, entry: EntryId) -> Result<bool, ReadError> {
        self.shared.is_taken(tenant, entry).await
    }

    /// Whether some primary answered lately.
    pub(super) fn can_publish(&self) -> bool {
        self.shared.table.lock().members.values().any(|member| member.publisher.is_connected())
    }

    /// The one that lags the most, of the primaries that the topics come from.
    pub(super) fn delivery(&self) -> Option<Delivery> {
        let slots = self.shared.common.slots()?;
        let parts = self.shared.table.lock().relevant(&slots);
        probe::worst(parts.iter())
    }

    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.coordinator.abort();
        self.shared.table.lock().members.clear();
        self.shared.common.inbox.close();
    }
}
