//! From a push of a cluster's primary to a notice in the inbox. Runs inside the driver, once for each message: it must not
//! wait. Payloads are moved, never copied.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use redis::{PushKind, Value};

use super::part::Part;
use super::probe::Echo;
use crate::keyspace::Prefix;
use crate::notice::Notice;
use crate::redis::line::Line;

/// What one connection pushes goes through one feed.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) prefix: Prefix,
    pub(super) part: Arc<Part>,
    pub(super) line: Arc<Line>,
    pub(super) echo: Arc<Echo>,
}

impl Feed {
    /// Takes one push. The consumer is woken when all that was read together has been taken.
    pub(super) fn take(&self, kind: &PushKind, data: Vec<Value>) {
        let mut data = data.into_iter();
        let Some(Value::BulkString(channel)) = data.next() else { return };
        let mut topic = Bytes::from(channel);
        let Some(prefix_len) = self.prefix.len_in(&topic) else {
            self.line.fail("Redis sent a channel that was never asked for");
            return;
        };
        topic.advance(prefix_len);
        let is_probe = self.echo.is_its(&topic);
        match (kind, data.next()) {
            (PushKind::SMessage, Some(Value::BulkString(payload))) if is_probe => {
                self.echo.take(&payload, self.line.last_read());
            }
            (PushKind::SUnsubscribe, _) if is_probe => self.echo.end(&topic),
            _ if is_probe => {}
            (PushKind::SMessage, Some(Value::BulkString(payload))) => {
                let payload = Bytes::from(payload);
                self.part.common.inbox.push(Notice::Message { topic, payload, received: self.line.last_read() });
            }
            (PushKind::SSubscribe, _) => self.confirm(&topic),
            (PushKind::SUnsubscribe, _) => self.end(&topic),
            _ => {}
        }
    }

    fn confirm(&self, topic: &[u8]) {
        if !std::str::from_utf8(topic).is_ok_and(|topic| self.part.confirmed(topic)) {
            self.line.fail("Redis confirmed a subscription that was never sent");
        }
    }

    fn end(&self, topic: &[u8]) {
        if let Ok(topic) = std::str::from_utf8(topic) {
            self.part.ended(topic);
        }
    }
}
