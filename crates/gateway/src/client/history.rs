//! A client asks for a page of a topic's history. Read from the backplane, beside the events that come live.

use std::sync::Arc;

use fanfare_backplane::{Page, ReadLimits, Stored};
use fanfare_core::{Farewell, frame};
use fanfare_protocol::{Codec, ErrorCode, Event, Kept, Position, ServerFrame, Topic, TopicKey, assemble};
use futures_util::FutureExt;

use super::{Busy, Client, Done, Refused};
use crate::access::Access;
use crate::auth::Principal;
use crate::hub::{self, Allowance};
use crate::node::Node;

/// Events on one page at most.
const EVENTS_MAX: u64 = 1_000;

/// What a client asks for, as it was written.
pub(crate) struct Wanted {
    /// The topic.
    pub(crate) topic: String,
    /// How many events at most.
    pub(crate) limit: u64,
    /// Only events before this position.
    pub(crate) before: Option<String>,
}

/// A page that its client may read.
pub(crate) struct History {
    key: TopicKey,
    before: Option<Position>,
    events_max: usize,
    event_bytes_max: usize,
}

impl History {
    /// Judges what `principal` wants to read.
    pub(crate) fn check(node: &Node, principal: &Principal, wanted: &Wanted) -> Result<Self, Refused> {
        let topic =
            Topic::parse(&wanted.topic).map_err(|error| Refused::new(ErrorCode::InvalidTopic, error.to_string()))?;
        let before = wanted.before.as_deref().map(str::parse).transpose();
        let before = before.map_err(|_| Refused::new(ErrorCode::BadFrame, "before is no position"))?;
        let access = Access::new(principal, &node.config.rules, &topic);
        if !access.history().is_allowed() {
            return Err(Refused::new(ErrorCode::Forbidden, "this token may not subscribe to this topic"));
        }
        let key = TopicKey::new(&principal.tenant, &topic);
        let events_max = usize::try_from(wanted.limit.min(EVENTS_MAX)).unwrap_or(usize::MAX);
        Ok(Self { key, before, events_max, event_bytes_max: access.rule().event_bytes_max })
    }

    /// Reads it from the backplane.
    pub(crate) async fn read(&self, node: &Node) -> Result<Page, Refused> {
        let limits = ReadLimits { events_max: self.events_max, bytes_max: node.config.outbox_bytes_max / 2 };
        node.backplane.history(&self.key, self.before, limits).await.map_err(|error| {
            node.metrics.history_unreadable(&self.key, &error);
            Refused::unread(&error)
        })
    }

    /// The answer. The newest events come first onto the page, as far as `bytes_max` have room for them.
    pub(crate) fn answer(
        &self,
        node: &Node,
        page: Page,
        (id, codec): (Option<i64>, Codec),
        bytes_max: usize,
    ) -> Vec<u8> {
        let mut allowance = Allowance::new(codec, bytes_max);
        let mut more = page.more;
        let events = checked(node, &self.key, page.events, self.event_bytes_max);
        let mut shown = Vec::with_capacity(events.len());
        for event in events.into_iter().rev() {
            if !allowance.admits(&event) {
                more = true;
                break;
            }
            shown.push(event.encode(codec));
        }
        shown.reverse();
        let mut answer = ServerFrame::History { id, topic: self.key.topic(), more }.encode(codec);
        assemble::add_field(codec, &mut answer, "events", &assemble::list(codec, shown));
        answer
    }
}

/// Events that are not valid are left out and counted: there is nothing of them to show.
pub(crate) fn checked(node: &Node, key: &TopicKey, events: Vec<Stored>, event_bytes_max: usize) -> Vec<Kept> {
    let check = |stored: Stored| match hub::checked(stored.envelope, event_bytes_max) {
        Ok(event) => Kept::new(&Event { position: Some(stored.position), ..event }),
        Err((error, traceparent)) => {
            node.metrics.event_invalid(key, &error, traceparent.into());
            None
        }
    };
    events.into_iter().filter_map(check).collect()
}

impl Client {
    pub(super) fn history(&self, id: Option<i64>, wanted: Wanted) -> Result<Option<Busy>, Farewell> {
        let Some(principal) = self.principal() else { return Ok(None) };
        let history = match History::check(&self.node, principal, &wanted) {
            Ok(history) => history,
            Err(refused) => return self.refuse(id, Some(&wanted.topic), refused.code, &refused.message),
        };
        let (node, session) = (Arc::clone(&self.node), Arc::clone(&self.session));
        let reading = async move {
            let codec = session.codec();
            let answer = match history.read(&node).await {
                Ok(page) => {
                    let room = session.outbox().bytes_max().saturating_sub(session.outbox().waiting_bytes());
                    history.answer(&node, page, (id, codec), room / 2)
                }
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
