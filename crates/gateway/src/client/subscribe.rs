//! A client subscribes and unsubscribes: what it may is joined by the hub, which answers it.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::{Farewell, TopicId, frame};
use fanfare_protocol::{ErrorCode, ServerFrame, SubscribeItem, Tenant, Topic, TopicKey, TopicKind};
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::{Busy, Client, Done, Refused};
use crate::access::Access;
use crate::config::Presence;
use crate::hub;
use crate::join::{Item, Join, Joined};

impl Client {
    pub(super) fn subscribe(&mut self, id: Option<i64>, topics: &[SubscribeItem], tenant: &Tenant) -> Option<Busy> {
        let (mut new, mut new_presences) = (HashSet::new(), HashSet::new());
        let mut items = Vec::with_capacity(topics.len());
        for topic in topics {
            let (item, presence) = self.items(topic, tenant, &mut new);
            // Once for a topic that stands twice in the frame.
            let is_new = |presence: &Item| presence.key_if_wanted().is_some_and(|key| new_presences.insert(key));
            let presence = presence.filter(|_| item.key_if_wanted().is_some()).filter(is_new);
            items.push(item);
            items.extend(presence);
        }
        let (join, joined) = Join::client(Arc::clone(&self.session), Arc::clone(self.owner()?), id, items);
        Some(self.join(join, joined))
    }

    /// A topic, and its presence if that has to be joined, too.
    fn items(&self, item: &SubscribeItem, tenant: &Tenant, new: &mut HashSet<TopicKey>) -> (Item, Option<Item>) {
        // Without presence a topic is judged once only, below.
        let may_have = |topic: &Topic| {
            (item.presence || self.node.config.rules.of(topic.as_str()).presence == Presence::All)
                && self.access(topic).is_some_and(|access| access.subscribe().is_allowed())
        };
        let presence = match Topic::parse(&item.topic) {
            Ok(topic) if may_have(&topic) => self.presence_item(&topic, &TopicKey::new(tenant, &topic), item.presence),
            _ => Ok(None),
        };
        match presence {
            Ok(presence) => (self.item(item, tenant, new), presence),
            Err(Refused { code, message }) => (Item::refused(&item.topic, code, message), None),
        }
    }

    fn item(&self, item: &SubscribeItem, tenant: &Tenant, new: &mut HashSet<TopicKey>) -> Item {
        let topic = match Topic::parse(&item.topic) {
            Ok(topic) => topic,
            Err(error) => return Item::refused(&item.topic, ErrorCode::InvalidTopic, error.to_string()),
        };
        let Ok(since) = item.since.as_deref().map(str::parse).transpose() else {
            return Item::refused(&item.topic, ErrorCode::BadFrame, "since is no position");
        };
        if !self.access(&topic).is_some_and(|access| access.subscribe().is_allowed()) {
            return Item::refused(&item.topic, ErrorCode::Forbidden, "this token may not subscribe to this topic");
        }
        let key = TopicKey::new(tenant, &topic);
        if self.subscriptions.contains_key(&key) || new.contains(&key) {
            return Item::wanted(&topic, key, false, since);
        }
        let limit = self.node.config.subscriptions_max;
        if self.subscriptions.len() + new.len() >= limit {
            self.node.metrics.limit_reached("subscriptions_per_connection_max", 1);
            let message = format!("subscriptions_per_connection_max = {limit} reached");
            return Item::refused(&item.topic, ErrorCode::TooManySubscriptions, message);
        }
        new.insert(key.clone());
        Item::wanted(&topic, key, true, since)
    }

    pub(super) fn unsubscribe(
        &mut self,
        id: Option<i64>,
        topic: &str,
        tenant: &Tenant,
    ) -> Result<Option<Busy>, Farewell> {
        let parsed = match Topic::parse(topic) {
            Ok(parsed) => parsed,
            Err(error) => return self.refuse(id, Some(topic), ErrorCode::InvalidTopic, &error.to_string()),
        };
        let is_fixed = match parsed.kind() {
            TopicKind::Tenant => true,
            TopicKind::User(_) => self.node.config.own_user_topic,
            TopicKind::Channel(_) => false,
        };
        if is_fixed {
            let message = "a connection is always on its tenant and its user";
            return self.refuse(id, Some(topic), ErrorCode::Forbidden, message);
        }
        let told = ServerFrame::Unsubscribed { id, topic, code: None };
        let key = TopicKey::new(tenant, &parsed);
        match self.subscriptions.remove(&key) {
            None => self.answer(&told),
            Some(ended) => {
                let ended = [ended].into_iter().chain(self.presences.remove(&key.presence())).collect();
                let codec = self.session.codec();
                let answer = frame::message(codec, &told.encode(codec));
                Ok(Some(self.end(ended, answer).map(|()| Done::Answered).boxed()))
            }
        }
    }

    /// What the client may do with a topic; none before it is known.
    pub(super) fn access<'a>(&'a self, topic: &'a Topic) -> Option<Access<'a>> {
        self.principal().map(|principal| Access::new(principal, &self.node.config.rules, topic))
    }

    pub(super) fn join(&self, join: Join, joined: oneshot::Receiver<Joined>) -> Busy {
        let hub = self.node.hub.clone();
        async move {
            // Only a node that is shutting down has no hub.
            let _ = hub.send(hub::Command::Join(join)).await;
            let Ok(joined) = joined.await else { return Done::Answered };
            let _ = joined.done.await;
            Done::Joined(joined.topics)
        }
        .boxed()
    }

    pub(super) fn end(&self, topics: Vec<TopicId>, answer: Bytes) -> impl Future<Output = ()> + Send + use<> {
        let hub = self.node.hub.clone();
        let (session, owner) = (Arc::clone(&self.session), self.owner().cloned());
        let leave = hub::Command::Leave { session, owner, topics, answer };
        async move {
            let _ = hub.send(leave).await;
        }
    }
}
