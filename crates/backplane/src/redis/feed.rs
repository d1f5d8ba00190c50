//! From a push of Redis to a notice in the inbox. Runs inside the driver, once for each message: it must not wait, and
//! every nanosecond counts. Payloads are moved, never copied.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use redis::{PushInfo, PushKind, Value};

use super::echo::Echo;
use super::line::Line;
use super::subscriber::Wanted;
use super::subscriptions::Confirmation;
use crate::inbox::InboxSender;
use crate::keyspace::Prefix;
use crate::notice::Notice;

/// What one connection pushes goes through one feed.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) prefix: Prefix,
    pub(super) wanted: Arc<Wanted>,
    pub(super) inbox: InboxSender,
    pub(super) line: Arc<Line>,
    pub(super) echo: Arc<Echo>,
}

impl Feed {
    /// Takes one push. The consumer is woken when all that was read together has been taken.
    pub(super) fn take(&self, push: PushInfo) {
        let mut data = push.data.into_iter();
        let Some(Value::BulkString(channel)) = data.next() else {
            // Only the library's own note of a broken connection has no channel, and the driver's end tells that.
            return;
        };
        let mut topic = Bytes::from(channel);
        let Some(prefix_len) = self.prefix.len_in(&topic) else {
            self.line.fail("Redis sent a channel that was never asked for");
            return;
        };
        topic.advance(prefix_len);
        if self.echo.is_its(&topic) {
            self.echo(push.kind, data.next());
            return;
        }
        match push.kind {
            PushKind::Message => {
                if let Some(Value::BulkString(payload)) = data.next() {
                    let payload = Bytes::from(payload);
                    self.inbox.push(Notice::Message { topic, payload, received: self.line.last_read() });
                }
            }
            PushKind::Subscribe => self.confirm(&topic),
            PushKind::Unsubscribe => self.leave(&topic),
            _ => {}
        }
    }

    fn echo(&self, kind: PushKind, payload: Option<Value>) {
        match (kind, payload) {
            (PushKind::Message, Some(Value::BulkString(payload))) => self.echo.take(&payload, self.line.last_read()),
            (PushKind::Unsubscribe, _) => self.line.fail("Redis ended the subscription of this node's probes"),
            _ => {}
        }
    }

    fn confirm(&self, topic: &[u8]) {
        // Held until the notice is in the inbox, or it could pass what `want` and the end of the connection put there.
        let mut subscriptions = self.wanted.subscriptions.lock();
        match std::str::from_utf8(topic).map(|topic| subscriptions.confirmed(topic)) {
            Ok(Confirmation::Tell(topic)) => self.inbox.push_confirmed(topic),
            Ok(Confirmation::Unwanted) => self.wanted.changed.notify_one(),
            Ok(Confirmation::Unexpected) | Err(_) => {
                self.line.fail("Redis confirmed a subscription that was never sent");
            }
        }
    }

    fn leave(&self, topic: &[u8]) {
        let is_expected = std::str::from_utf8(topic).is_ok_and(|topic| self.wanted.subscriptions.lock().left(topic));
        if is_expected {
            self.wanted.changed.notify_one();
        } else {
            self.line.fail("Redis ended a subscription that is still wanted");
        }
    }
}
