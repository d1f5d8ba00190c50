//! A client asks for a page of a topic's history. Read from the backplane, beside the events that come live.

use std::sync::Arc;

use fanfare_backplane::{ReadError, ReadLimits, Stored};
use fanfare_core::{Farewell, Session, frame};
use fanfare_protocol::{ErrorCode, Event, Kept, ServerFrame, Tenant, Topic, TopicKey, assemble};
use futures_util::FutureExt;

use super::{Busy, Client, Done};
use crate::hub::{self, Allowance};
use crate::node::Node;

/// Events on one page at most.
const EVENTS_MAX: u64 = 1_000;

impl Client {
    pub(super) fn history(
        &self,
        id: Option<i64>,
        topic: String,
        limit: u64,
        before: Option<&str>,
        tenant: &Tenant,
    ) -> Result<Option<Busy>, Farewell> {
        let refuse = |code, message: &str| self.refuse(id, Some(&topic), code, message);
        let parsed = match Topic::parse(&topic) {
            Ok(parsed) => parsed,
            Err(error) => return refuse(ErrorCode::InvalidTopic, &error.to_string()),
        };
        let Ok(before) = before.map(str::parse).transpose() else {
            return refuse(ErrorCode::BadFrame, "before is no position");
        };
        let key = TopicKey::new(tenant, &parsed);
        let Some(access) = self.access(&parsed).filter(|access| access.history().is_allowed()) else {
            return refuse(ErrorCode::Forbidden, "this token may not subscribe to this topic");
        };
        let events_max = usize::try_from(limit.min(EVENTS_MAX)).unwrap_or(usize::MAX);
        let limits = ReadLimits { events_max, bytes_max: self.node.config.outbox_bytes_max / 2 };
        let event_bytes_max = access.rule().event_bytes_max;
        let (node, session) = (Arc::clone(&self.node), Arc::clone(&self.session));
        let reading = async move {
            let answer = match node.backplane.history(&key, before, limits).await {
                Ok(page) => {
                    let events = checked(&node, &key, page.events, event_bytes_max);
                    encode(&session, (id, &topic), events, page.more)
                }
                Err(error) => {
                    let (code, message) = read_code(&error);
                    node.metrics.history_unreadable(&key, &error);
                    ServerFrame::Error { id, topic: Some(&topic), code, message }.encode(session.codec())
                }
            };
            let pushed = session.send_bytes(frame::message(session.codec(), &answer), node.clock.now());
            node.metrics.answered(pushed);
            Done::Answered
        };
        Ok(Some(reading.boxed()))
    }
}

/// Events that are not valid are left out and counted: there is nothing of them to show.
fn checked(node: &Node, key: &TopicKey, events: Vec<Stored>, event_bytes_max: usize) -> Vec<Kept> {
    let check = |stored: Stored| match hub::checked(stored.envelope, event_bytes_max) {
        Ok(event) => Kept::new(&Event { position: Some(stored.position), ..event }),
        Err(error) => {
            node.metrics.event_invalid(key, &error);
            None
        }
    };
    events.into_iter().filter_map(check).collect()
}

/// The newest events come first onto the page, as far as it has room in the client's encoding.
fn encode(session: &Session, (id, topic): (Option<i64>, &str), events: Vec<Kept>, mut more: bool) -> Vec<u8> {
    let codec = session.codec();
    let room = session.outbox().bytes_max().saturating_sub(session.outbox().waiting_bytes());
    let mut allowance = Allowance::new(codec, room / 2);
    let mut shown = Vec::with_capacity(events.len());
    for event in events.into_iter().rev() {
        if !allowance.admits(&event) {
            more = true;
            break;
        }
        shown.push(event.encode(codec));
    }
    shown.reverse();
    let mut answer = ServerFrame::History { id, topic, more }.encode(codec);
    assemble::add_field(codec, &mut answer, "events", &assemble::list(codec, shown));
    answer
}

fn read_code(error: &ReadError) -> (ErrorCode, &'static str) {
    match error {
        ReadError::Unavailable => (ErrorCode::Unavailable, "the backplane is away: try again later"),
        ReadError::Timeout => (ErrorCode::Timeout, "the backplane did not answer: try again later"),
        ReadError::Refused(_) => (ErrorCode::Internal, "the backplane refused it; the node's log says why"),
    }
}
