//! What one primary of a cluster has of the node's topics, shared by its pub/sub connection, the table of topics and the
//! coordinator. Deliberately without I/O, and without knowing which slots the primary serves.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fanfare_protocol::TopicKey;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::fences::Fences;
use super::slots::SlotMap;
use crate::inbox::InboxSender;
use crate::notice::Notice;
use crate::redis::probe::Deliveries;
use crate::redis::server::Endpoint;
use crate::redis::subscriptions::{Confirmation, Subscriptions};
use crate::state::State;

/// What all primaries' connections have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) inbox: InboxSender,
    pub(super) fences: Fences,
    /// None before the first one is known.
    slots: Mutex<Option<Arc<SlotMap>>>,
    /// The map was corrected by a redirection, and topics not brought where they belong since.
    was_redirected: AtomicBool,
    gate: Mutex<Gate>,
    /// The slot map may be out of date.
    pub(super) doubted: Notify,
    /// A primary's state, or what it has of the topics, has changed.
    pub(super) judged: Notify,
}

/// Whether the node was told that the cluster is there.
#[derive(Debug, Default)]
struct Gate {
    is_up: bool,
    was_up: bool,
    /// Pub/sub connections that stand.
    standing: usize,
}

impl Common {
    pub(super) fn new(inbox: InboxSender) -> Common {
        Common {
            inbox,
            fences: Fences::default(),
            slots: Mutex::default(),
            was_redirected: AtomicBool::new(false),
            gate: Mutex::default(),
            doubted: Notify::new(),
            judged: Notify::new(),
        }
    }

    pub(super) fn slots(&self) -> Option<Arc<SlotMap>> {
        self.slots.lock().clone()
    }

    /// Returns whether topics may have to move.
    pub(super) fn set_slots(&self, slots: &SlotMap) -> bool {
        let mut present = self.slots.lock();
        let was_redirected = self.was_redirected.swap(false, Ordering::Relaxed);
        let is_new = present.as_deref() != Some(slots);
        if is_new {
            *present = Some(Arc::new(slots.clone()));
        }
        is_new || was_redirected
    }

    /// A node has said that this one serves the slot now.
    pub(super) fn redirected(&self, slot: u16, primary: &Endpoint) {
        if let Some(slots) = &mut *self.slots.lock() {
            Arc::make_mut(slots).set_owner(slot, primary);
        }
        self.was_redirected.store(true, Ordering::Relaxed);
        self.doubted.notify_one();
    }

    /// The cluster is there. Tells the node if that is new.
    pub(super) fn up(&self) {
        let mut gate = self.gate.lock();
        if !gate.is_up {
            self.inbox.push(Notice::Up { first: !gate.was_up });
            (gate.is_up, gate.was_up) = (true, true);
            self.inbox.announce();
        }
    }

    /// No node could be asked. Tells the node if no connection stands either, and that is new.
    pub(super) fn down(&self, error: &str) {
        let mut gate = self.gate.lock();
        if gate.is_up && gate.standing == 0 {
            gate.is_up = false;
            self.inbox.push(Notice::Down { error: error.to_owned() });
            self.inbox.announce();
        }
    }

    /// Is it there?
    pub(super) fn is_up(&self) -> bool {
        self.gate.lock().is_up
    }

    /// A pub/sub connection stands. False when the node still believes that the cluster is away, so that nothing may come.
    pub(super) fn enter(&self) -> bool {
        let mut gate = self.gate.lock();
        gate.standing += usize::from(gate.is_up);
        gate.is_up
    }

    /// A connection that has entered is lost.
    pub(super) fn leave(&self) {
        self.gate.lock().standing -= 1;
    }
}

/// One primary's share. Locks are taken in the order of the fields, and the inbox's last.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) subscriptions: Mutex<Subscriptions>,
    places: Mutex<Places>,
    state: Mutex<State>,
    /// There may be something to send.
    pub(super) changed: Notify,
    pub(super) deliveries: Arc<Deliveries>,
    pub(super) common: Arc<Common>,
}

#[derive(Debug, Default)]
struct Places {
    /// Topics that Redis has taken away, or does not give here: whose they are has to be found out.
    loose: Vec<TopicKey>,
    /// Topics whose subscription is ended here because another primary has them now. Only when Redis has ended it are they
    /// subscribed there, or what they had here could come after what they have there.
    moving: HashSet<TopicKey>,
}

impl Part {
    pub(super) fn new(common: Arc<Common>) -> Part {
        Part {
            subscriptions: Mutex::default(),
            places: Mutex::default(),
            state: Mutex::new(State::Connecting { error: None }),
            changed: Notify::new(),
            deliveries: Arc::default(),
            common,
        }
    }

    /// From now on the topic is wanted from this primary. The inbox is to be announced.
    pub(super) fn want(&self, topic: &TopicKey) {
        let mut subscriptions = self.subscriptions.lock();
        let is_in = subscriptions.want(topic);
        // One that has not left yet has missed nothing.
        if is_in && !self.places.lock().moving.remove(topic) {
            self.common.inbox.push_confirmed(topic.clone());
        }
        drop(subscriptions);
        self.changed.notify_one();
    }

    /// The node wants it again: one that was refused is tried once more.
    pub(super) fn want_again(&self, topic: &TopicKey) {
        if !self.places.lock().moving.contains(topic) {
            self.want(topic);
        }
    }

    /// The node doesn't want the topic any more.
    pub(super) fn unwant(&self, topic: &TopicKey) {
        let mut subscriptions = self.subscriptions.lock();
        self.places.lock().moving.remove(topic);
        subscriptions.unwant(topic);
        self.common.inbox.give_up(topic);
        drop(subscriptions);
        self.changed.notify_one();
    }

    /// The topic is another primary's now. True when nothing of it can come from this one any more; else it becomes loose
    /// when that is so.
    pub(super) fn release(&self, topic: &TopicKey) -> bool {
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.unwant(topic);
        let is_free = !subscriptions.holds(topic);
        if !is_free {
            self.places.lock().moving.insert(topic.clone());
        }
        drop(subscriptions);
        self.changed.notify_one();
        is_free
    }

    /// Redis has confirmed a subscription. False if it was never sent.
    pub(super) fn confirmed(&self, topic: &str) -> bool {
        // Held until the notice is in the inbox, or it could pass what `want` and the end of the connection put there.
        let mut subscriptions = self.subscriptions.lock();
        match subscriptions.confirmed(topic) {
            Confirmation::Tell(topic) => self.common.inbox.push_confirmed(topic),
            Confirmation::Unwanted => self.changed.notify_one(),
            Confirmation::Unexpected => return false,
        }
        true
    }

    /// Redis has ended a subscription, because it was asked to or because the topic's slot is another primary's now.
    pub(super) fn ended(&self, topic: &str) {
        let mut subscriptions = self.subscriptions.lock();
        let Some(topic) = subscriptions.key(topic) else { return };
        let was_asked = subscriptions.left(topic.as_str());
        if !was_asked && !subscriptions.taken(topic.as_str()) {
            return;
        }
        let was_moving = self.places.lock().moving.remove(&topic);
        let is_wanted = subscriptions.wants(&topic);
        if was_moving || (!was_asked && is_wanted) {
            self.common.inbox.push(Notice::Lost(vec![topic.clone()]));
            // One that was asked to leave and is wanted here again comes back by itself.
            if !(was_asked && is_wanted) {
                self.loosen([topic]);
            }
        }
        drop(subscriptions);
        self.changed.notify_one();
    }

    /// Another primary has to be asked for these.
    pub(super) fn loosen(&self, topics: impl IntoIterator<Item = TopicKey>) {
        self.places.lock().loose.extend(topics);
        self.common.doubted.notify_one();
    }

    /// The topics whose place has to be found out.
    pub(super) fn take_loose(&self) -> Vec<TopicKey> {
        std::mem::take(&mut self.places.lock().loose)
    }

    /// The connection is gone, and with it all that Redis knew.
    pub(super) fn lost(&self) {
        let mut subscriptions = self.subscriptions.lock();
        let mut places = self.places.lock();
        let moving: Vec<_> = places.moving.drain().collect();
        let mut lost = subscriptions.delivered();
        lost.extend(moving.iter().filter(|topic| !subscriptions.wants(topic)).cloned());
        subscriptions.lost();
        places.loose.extend(moving);
        drop(places);
        if !lost.is_empty() {
            self.common.inbox.push(Notice::Lost(lost));
        }
        drop(subscriptions);
        self.common.inbox.announce();
        self.common.doubted.notify_one();
    }

    /// Whether every topic that is here is where it belongs.
    pub(super) fn is_settled(&self) -> bool {
        let places = self.places.lock();
        places.loose.is_empty() && places.moving.is_empty()
    }

    /// Whether it has nothing of the node's.
    pub(super) fn is_empty(&self) -> bool {
        self.subscriptions.lock().len() == 0
    }

    pub(super) fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// Changes the state. Returns what it is now, if that is new.
    pub(super) fn tell(&self, next: impl FnOnce(&State) -> State) -> Option<State> {
        let mut state = self.state.lock();
        let next = next(&state);
        if *state == next {
            return None;
        }
        state.clone_from(&next);
        drop(state);
        self.common.judged.notify_one();
        Some(next)
    }
}
