//! The backplane inside one process: one node without Redis, or several in a test. It keeps histories
//! as Redis would, but only as long as the process lives.
//!
//! Where Redis lets a slow node fall behind and drops it in the end, a publisher waits here until every inbox that wants
//! the payload has room, so nothing is lost.

mod history;
mod presence;
mod records;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use fanfare_protocol::{Position, TopicKey};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use self::history::{Full, Histories};
use self::presence::Presences;
use self::records::Records;
use crate::backplane::PublishError;
use crate::history::{Keep, Page, Read, ReadError, ReadLimits, Tail};
use crate::inbox::{Inbox, InboxLimits, InboxSender};
use crate::notice::Notice;
use crate::state::State;

/// How long a publisher waits for the slowest inbox.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// All histories together: 256 MiB. Beyond it a durable event is refused, as by a Redis at `maxmemory`.
const HISTORY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One node's place on the hub.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    seat: Arc<Seat>,
}

/// Left by the last clone of its node.
#[derive(Debug)]
struct Seat {
    hub: Arc<Hub>,
    id: u64,
    inbox: InboxSender,
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct Hub {
    limits: InboxLimits,
    next_id: AtomicU64,
    /// Held while a payload is put into every inbox that wants it, so all nodes see one order.
    topics: Mutex<HashMap<TopicKey, Vec<Member>>>,
    /// Taken while `topics` is held, never the other way round.
    histories: Mutex<Histories>,
    records: Mutex<Records>,
    /// Taken while `topics` is held, never the other way round.
    presences: Mutex<Presences>,
}

#[derive(Debug)]
struct Member {
    id: u64,
    inbox: InboxSender,
}

/// What came of an event to be kept.
enum Kept {
    At(Position),
    Refused(String),
    /// Here is an inbox that must have room first.
    NotYet(InboxSender),
}

impl Node {
    /// A node on a hub of its own.
    pub(crate) fn first(limits: InboxLimits) -> (Node, Inbox) {
        let histories = Mutex::new(Histories::new(HISTORY_BYTES_MAX));
        let hub = Hub {
            limits,
            next_id: AtomicU64::new(0),
            topics: Mutex::default(),
            histories,
            records: Mutex::default(),
            presences: Mutex::default(),
        };
        Node::join(Arc::new(hub))
    }

    /// One more node on the same hub.
    pub(crate) fn another(&self) -> (Node, Inbox) {
        Node::join(Arc::clone(&self.seat.hub))
    }

    fn join(hub: Arc<Hub>) -> (Node, Inbox) {
        let (inbox, receiver) = Inbox::new(hub.limits);
        inbox.push(Notice::Up { first: true });
        let id = hub.next_id.fetch_add(1, Ordering::Relaxed);
        let state = watch::Sender::new(State::Up);
        (Node { seat: Arc::new(Seat { hub, id, inbox, state }) }, receiver)
    }

    pub(crate) fn want(&self, topics: &[TopicKey]) {
        let Seat { hub, id, inbox, .. } = &*self.seat;
        let mut table = hub.topics.lock();
        for topic in topics {
            let members = table.entry(topic.clone()).or_default();
            if members.iter().all(|member| member.id != *id) {
                members.push(Member { id: *id, inbox: inbox.clone() });
                inbox.push_confirmed(topic.clone());
            }
        }
        drop(table);
        inbox.announce();
    }

    pub(crate) fn unwant(&self, topics: &[TopicKey]) {
        let mut table = self.seat.hub.topics.lock();
        for topic in topics {
            self.seat.inbox.give_up(topic);
            if let Some(members) = table.get_mut(topic) {
                members.retain(|member| member.id != self.seat.id);
                if members.is_empty() {
                    table.remove(topic);
                }
            }
        }
    }

    /// A publish is in every inbox by its end.
    pub(crate) fn fence(&self, number: u64) {
        let _publishing = self.seat.hub.topics.lock();
        self.seat.inbox.push(Notice::Fence(number));
        self.seat.inbox.announce();
    }

    pub(crate) async fn publish(&self, topic: &TopicKey, payload: Bytes) -> Result<(), PublishError> {
        let deliver = async {
            while let Some(full) = self.seat.hub.deliver(topic, &payload) {
                full.room().await;
            }
        };
        tokio::time::timeout(PUBLISH_TIMEOUT, deliver).await.map_err(|_| PublishError::Timeout)
    }

    pub(crate) async fn publish_durable(
        &self,
        topic: &TopicKey,
        envelope: Bytes,
        keep: &Keep,
    ) -> Result<Position, PublishError> {
        let deliver = async {
            loop {
                match self.seat.hub.keep(topic, &envelope, keep) {
                    Kept::At(position) => return Ok(position),
                    Kept::Refused(error) => return Err(PublishError::Refused(error)),
                    Kept::NotYet(full) => full.room().await,
                }
            }
        };
        tokio::time::timeout(PUBLISH_TIMEOUT, deliver).await.unwrap_or(Err(PublishError::Timeout))
    }

    pub(crate) fn read(&self, reads: &[Read], limits: ReadLimits) -> Vec<Result<Tail, ReadError>> {
        let mut histories = self.seat.hub.histories.lock();
        reads.iter().map(|read| Ok(histories.read(now(), read, limits))).collect()
    }

    pub(crate) fn history(&self, topic: &TopicKey, before: Option<Position>, limits: ReadLimits) -> Page {
        self.seat.hub.histories.lock().page(now(), topic, before, limits)
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.seat.hub.records.lock()
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.seat.state.subscribe()
    }
}

impl Hub {
    /// Delivers to every inbox, or to none: then returns one that is full.
    fn deliver(&self, topic: &TopicKey, payload: &Bytes) -> Option<InboxSender> {
        let table = self.topics.lock();
        let members = table.get(topic)?;
        if let Some(full) = full_inbox(members) {
            return Some(full);
        }
        push(members, topic, payload);
        None
    }

    /// Keeps an event and delivers it to every inbox; when one of them is full, does neither.
    fn keep(&self, topic: &TopicKey, envelope: &Bytes, keep: &Keep) -> Kept {
        let table = self.topics.lock();
        let members = table.get(topic).map_or(&[][..], Vec::as_slice);
        if let Some(full) = full_inbox(members) {
            return Kept::NotYet(full);
        }
        let mut histories = self.histories.lock();
        let now = now();
        if let Some(id) = &keep.id
            && let Some(position) = histories.published(now, topic, id)
        {
            return Kept::At(position);
        }
        match histories.append(now, topic, envelope, keep) {
            Ok(position) => {
                let header = format!("@{position} ");
                push(members, topic, &Bytes::from([header.as_bytes(), envelope].concat()));
                Kept::At(position)
            }
            Err(Full { bytes_max }) => Kept::Refused(format!(
                "the histories in memory have reached {bytes_max} bytes: keep less (maxlen, ttl), or use Redis"
            )),
        }
    }
}

fn full_inbox(members: &[Member]) -> Option<InboxSender> {
    members.iter().find(|member| member.inbox.is_full()).map(|member| member.inbox.clone())
}

fn push(members: &[Member], topic: &TopicKey, payload: &Bytes) {
    let received = Instant::now();
    let name = Bytes::copy_from_slice(topic.as_str().as_bytes());
    for member in members {
        member.inbox.push(Notice::Message { topic: name.clone(), payload: payload.clone(), received });
        member.inbox.announce();
    }
}

/// Since the Unix epoch; a clock before it counts as there.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.topics.lock().retain(|_, members| {
            members.retain(|member| member.id != self.id);
            !members.is_empty()
        });
        self.inbox.close();
    }
}
