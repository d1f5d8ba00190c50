//! Who else is there: a client's subscribe may ask to be told, and a `presence` frame asks for the list. Whoever may subscribe
//! to a topic may ask, where the topic's rule has presence.

use std::sync::Arc;

use fanfare_backplane::{PresenceCursor, PresenceLimits, PresencePage};
use fanfare_core::{Farewell, frame};
use fanfare_protocol::{Codec, ErrorCode, ServerFrame, Topic, TopicKey};
use futures_util::FutureExt;

use super::{Busy, Client, Done, Refused};
use crate::access::{Access, Reason};
use crate::auth::Principal;
use crate::config::Presence;
use crate::join::Item;
use crate::node::Node;
use crate::presence::{self, PAGE_USERS_MAX};

/// Users on a page of a client that doesn't say how many.
const PAGE_USERS_DEFAULT: usize = 100;

/// The smallest page, in bytes, however much waits for the client.
const PAGE_BYTES_MIN: usize = 2_048;

/// What is said of a topic whose rule has no presence.
pub(super) const NO_PRESENCE: &str = "this topic has no presence";

/// What a client asks for, as it was written.
pub(crate) struct Wanted {
    /// The topic.
    pub(crate) topic: String,
    /// How many users at most.
    pub(crate) limit: Option<u64>,
    /// Where the list goes on.
    pub(crate) cursor: Option<String>,
}

/// A list that its client may read.
pub(crate) struct PresenceList {
    key: TopicKey,
    users_max: usize,
    cursor: PresenceCursor,
}

impl PresenceList {
    /// Judges what `principal` wants to read.
    pub(crate) fn check(node: &Node, principal: &Principal, wanted: &Wanted) -> Result<Self, Refused> {
        let topic =
            Topic::parse(&wanted.topic).map_err(|error| Refused::new(ErrorCode::InvalidTopic, error.to_string()))?;
        let cursor = wanted.cursor.as_deref().map(str::parse).transpose();
        let cursor = cursor.map_err(|_| Refused::new(ErrorCode::BadFrame, "cursor is none that a list has given"))?;
        let verdict = Access::new(principal, &node.config.rules, &topic).presence();
        if !verdict.is_allowed() {
            let message = match verdict.reason {
                Reason::RulePresenceOff => NO_PRESENCE,
                _ => "this token may not subscribe to this topic",
            };
            return Err(Refused::new(ErrorCode::Forbidden, message));
        }
        let key = TopicKey::new(&principal.tenant, &topic);
        let limit = wanted.limit.map_or(PAGE_USERS_DEFAULT, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let users_max = limit.min(PAGE_USERS_MAX);
        Ok(Self { key, users_max, cursor: cursor.unwrap_or_default() })
    }

    /// Reads a page of about `bytes_max` from the backplane.
    pub(crate) async fn read(&self, node: &Node, bytes_max: usize) -> Result<PresencePage, Refused> {
        let limits = PresenceLimits { users_max: self.users_max, bytes_max: bytes_max.max(PAGE_BYTES_MIN) };
        node.presence.list(&self.key, limits, &self.cursor).await.map_err(|error| {
            node.metrics.presence_untold(&self.key, &error);
            Refused::unread(&error)
        })
    }

    /// The answer.
    pub(crate) fn answer(&self, codec: Codec, id: Option<i64>, page: &PresencePage) -> Vec<u8> {
        presence::page_frame(codec, id, self.key.topic(), page)
    }
}

impl Client {
    /// What has to be joined beside a topic so that the client is told who comes and goes: by its wish, or by the rule.
    ///
    /// # Errors
    /// When it wishes what the rule doesn't have.
    pub(super) fn presence_item(
        &self,
        topic: &Topic,
        key: &TopicKey,
        is_wished: bool,
    ) -> Result<Option<Item>, Refused> {
        let is_wanted = match self.node.config.rules.of(topic.as_str()).presence {
            Presence::All => true,
            Presence::Asked => is_wished,
            Presence::Off if is_wished => return Err(Refused::new(ErrorCode::Forbidden, NO_PRESENCE)),
            Presence::Off => false,
        };
        let is_new = is_wanted && !self.presences.contains_key(&key.presence());
        Ok(is_new.then(|| Item::presence(topic, key)))
    }

    pub(super) fn presence(&self, id: Option<i64>, wanted: Wanted) -> Result<Option<Busy>, Farewell> {
        let Some(principal) = self.principal() else { return Ok(None) };
        let list = match PresenceList::check(&self.node, principal, &wanted) {
            Ok(list) => list,
            Err(refused) => return self.refuse(id, Some(&wanted.topic), refused.code, &refused.message),
        };
        let (node, session) = (Arc::clone(&self.node), Arc::clone(&self.session));
        let reading = async move {
            let codec = session.codec();
            let room = session.outbox().bytes_max().saturating_sub(session.outbox().waiting_bytes());
            // In MessagePack a page may take twice the room of its JSON.
            let answer = match list.read(&node, room / 4).await {
                Ok(page) => list.answer(codec, id, &page),
                Err(Refused { code, message }) => {
                    ServerFrame::Error { id, topic: Some(&wanted.topic), code, message: &message }.encode(codec)
                }
            };
            let pushed = session.send_bytes(frame::message(codec, &answer), node.clock.now());
            node.metrics.answered(pushed);
            Done::Answered
        };
        Ok(Some(reading.boxed()))
    }
}
