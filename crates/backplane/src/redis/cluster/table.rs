//! Which topics the node wants, and from which primary it has each. A topic moves only when nothing of it can come from
//! where it was. Deliberately no I/O, and no view of the cluster of its own.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::TopicKey;

use super::member::Member;
use super::part::{Common, Part};
use super::slots::{SlotMap, slot_of};
use crate::keyspace::Prefix;
use crate::redis::server::Endpoint;
use crate::state::State;

/// How long a primary without slots is kept: a redirection may lead to one that gets its first slot.
const IDLE: Duration = Duration::from_secs(10);

/// The table. Its lock is taken before any other.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) members: HashMap<Endpoint, Arc<Member>>,
    topics: HashMap<TopicKey, Place>,
    /// Topics that no primary has, to be looked at with every new map.
    stray: HashSet<TopicKey>,
}

#[derive(Debug)]
struct Place {
    slot: u16,
    /// Who delivers it, or is asked to.
    holder: Option<Arc<Part>>,
}

impl Table {
    /// From now on the node wants this topic. The inbox is to be announced.
    pub(super) fn want(&mut self, topic: &TopicKey, prefix: &Prefix, slots: Option<&SlotMap>) {
        match self.topics.entry(topic.clone()) {
            Entry::Occupied(place) => {
                if let Some(holder) = &place.get().holder {
                    holder.want_again(topic);
                }
            }
            Entry::Vacant(place) => {
                let slot = slot_of(&prefix.channel(topic));
                let owner = slots.and_then(|slots| self.members.get(&**slots.owner(slot)?));
                let holder = owner.map(|owner| Arc::clone(&owner.part));
                match &holder {
                    Some(holder) => holder.want(topic),
                    None => {
                        self.stray.insert(topic.clone());
                    }
                }
                place.insert(Place { slot, holder });
            }
        }
    }

    /// The node doesn't want this topic any more.
    pub(super) fn unwant(&mut self, topic: &TopicKey, common: &Common) {
        self.stray.remove(topic);
        match self.topics.remove(topic).map(|place| place.holder) {
            Some(Some(holder)) => holder.unwant(topic),
            _ => common.inbox.give_up(topic),
        }
    }

    /// Brings topics where they belong: all of them when the map is new, else those whose place was open.
    pub(super) fn settle(&mut self, slots: &SlotMap, is_new: bool) {
        let stray = std::mem::take(&mut self.stray);
        let loose: Vec<_> = self.members.values().flat_map(|member| member.part.take_loose()).collect();
        if is_new {
            let topics: Vec<_> = self.topics.keys().cloned().collect();
            for topic in &topics {
                self.place(topic, slots, false);
            }
        }
        for topic in stray.iter().chain(&loose) {
            self.place(topic, slots, true);
        }
    }

    fn place(&mut self, topic: &TopicKey, slots: &SlotMap, is_loose: bool) {
        let Some(place) = self.topics.get_mut(topic) else { return };
        let owner = slots.owner(place.slot).and_then(|owner| self.members.get(&**owner));
        let next = match (&place.holder, owner) {
            (Some(holder), Some(owner)) if Arc::ptr_eq(holder, &owner.part) => {
                if is_loose || !owner.part.is_settled() {
                    owner.part.want(topic);
                }
                return;
            }
            (Some(holder), Some(owner)) => {
                if !holder.release(topic) {
                    return;
                }
                &owner.part
            }
            (None, Some(owner)) => &owner.part,
            (_, None) => {
                if is_loose {
                    self.stray.insert(topic.clone());
                }
                return;
            }
        };
        next.want(topic);
        place.holder = Some(Arc::clone(next));
    }

    /// Forgets the primaries that have no slots and nothing of the node's.
    pub(super) fn forget_idle(&mut self, slots: &SlotMap) {
        let serving: HashSet<_> = slots.primaries().collect();
        self.members.retain(|_, member| {
            serving.contains(&member.endpoint) || !member.part.is_empty() || member.start_time().elapsed() < IDLE
        });
    }

    /// The primaries that the node's topics come from; all that serve slots if there are none.
    pub(super) fn relevant(&self, slots: &SlotMap) -> Vec<Arc<Part>> {
        let serving: Vec<_> = slots.primaries().filter_map(|primary| self.members.get(&**primary)).collect();
        let used: Vec<_> = serving.iter().filter(|member| !member.part.is_empty()).collect();
        let parts = |member: &&Arc<Member>| Arc::clone(&member.part);
        if used.is_empty() { serving.iter().map(parts).collect() } else { used.into_iter().map(parts).collect() }
    }

    /// Whether every topic is where it belongs, and every primary is connected to.
    pub(super) fn is_calm(&self, slots: &SlotMap) -> bool {
        let is_calm = |member: &Arc<Member>| {
            let is_away = matches!(member.part.state(), State::Connecting { .. } | State::Down { .. });
            member.part.is_settled() && !is_away
        };
        self.stray.is_empty()
            && slots.primaries().all(|primary| self.members.get(&**primary).is_some_and(is_calm))
            && self.members.values().all(|member| member.part.is_settled())
    }

    /// Topics that no primary has.
    pub(super) fn strays(&self) -> usize {
        self.stray.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::inbox::{Inbox, InboxLimits};

    #[test]
    fn a_topic_that_no_primary_has_is_astray_once_and_only_while_it_is_wanted() {
        let (sender, _inbox) = Inbox::new(InboxLimits::default());
        let (mut table, common) = (Table::default(), Common::new(sender));
        let topic = TopicKey::parse("acme:channel:orders").unwrap();
        table.want(&topic, &Prefix::default(), None);
        table.settle(&SlotMap::agreed(&[]), true);
        assert_eq!(table.strays(), 1);
        table.unwant(&topic, &common);
        assert_eq!(table.strays(), 0);
        table.want(&topic, &Prefix::default(), None);
        assert_eq!(table.strays(), 1);
    }
}
