//! The backplane inside one process: one node without Redis, or several in a test. It keeps nothing and can't fail.
//!
//! Where Redis lets a slow node fall behind and drops it in the end, a publisher waits here until every inbox that wants
//! the payload has room, so nothing is lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare_protocol::TopicKey;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::backplane::PublishError;
use crate::inbox::{Inbox, InboxLimits, InboxSender};
use crate::notice::Notice;
use crate::state::State;

/// How long a publisher waits for the slowest inbox.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

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
}

#[derive(Debug)]
struct Member {
    id: u64,
    inbox: InboxSender,
}

impl Node {
    /// A node on a hub of its own.
    pub(crate) fn first(limits: InboxLimits) -> (Node, Inbox) {
        let hub = Hub { limits, next_id: AtomicU64::new(0), topics: Mutex::default() };
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

    pub(crate) async fn publish(&self, topic: &TopicKey, payload: Bytes) -> Result<(), PublishError> {
        let deliver = async {
            while let Some(full) = self.seat.hub.deliver(topic, &payload) {
                full.room().await;
            }
        };
        tokio::time::timeout(PUBLISH_TIMEOUT, deliver).await.map_err(|_| PublishError::Timeout)
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
        if let Some(full) = members.iter().find(|member| member.inbox.is_full()) {
            return Some(full.inbox.clone());
        }
        let received = Instant::now();
        let name = Bytes::copy_from_slice(topic.as_str().as_bytes());
        for member in members {
            member.inbox.push(Notice::Message { topic: name.clone(), payload: payload.clone(), received });
            member.inbox.announce();
        }
        None
    }
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
