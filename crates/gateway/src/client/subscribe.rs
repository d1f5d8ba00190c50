//! A client subscribes and unsubscribes: what it may is joined by the hub, which answers it.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::{Farewell, TopicId, frame};
use fanfare_protocol::{ErrorCode, ServerFrame, SubscribeItem, Tenant, Topic, TopicKey, TopicKind};
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::{Busy, Client, Done};
use crate::access::Access;
use crate::hub;
use crate::join::{Item, Join, Joined};

impl Client {
    pub(super) fn subscribe(&mut self, id: Option<i64>, topics: &[SubscribeItem], tenant: &Tenant) -> Busy {
        let mut new = HashSet::new();
        let items = topics.iter().map(|item| self.item(item, tenant, &mut new)).collect();
        let (join, joined) = Join::client(Arc::clone(&self.session), id, items);
        self.join(join, joined)
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
        match self.subscriptions.remove(&TopicKey::new(tenant, &parsed)) {
            None => self.answer(&told),
            Some(ended) => {
                let codec = self.session.codec();
                let answer = frame::message(codec, &told.encode(codec));
                Ok(Some(self.end(vec![ended], answer).map(|()| Done::Answered).boxed()))
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
        let leave = hub::Command::Leave { session: Arc::clone(&self.session), topics, answer };
        async move {
            let _ = hub.send(leave).await;
        }
    }
}
