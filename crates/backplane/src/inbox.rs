//! The bounded queue between the backplane's reader and the one task that handles what arrives.
//!
//! Bounded in bytes. A message is never refused here: instead whoever brings messages asks for room **before** it takes
//! the next one from its source, so a full inbox stops the source (a socket that is not read, a publisher that waits).
//! It deliberately isn't a general channel: one consumer, and wake-ups are the producer's to batch.
//!
//! A queue under a mutex costs less than a channel: one lock, rarely contended, for a push; one for everything that the
//! consumer takes; and at most one wake-up for all that one read of the socket brought.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fanfare_protocol::TopicKey;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::notice::Notice;

/// The default of [`InboxLimits::bytes_max`]: 64 MiB.
pub const INBOX_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How much may wait in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxLimits {
    /// From this many bytes on (topics, payloads, and 256 bytes for each notice) nothing more is read until half of
    /// them are taken. What one read of the socket has brought, some KiB or one message, may go beyond.
    pub bytes_max: usize,
}

/// The receiving end: what happened, in the backplane's order. There is one for each node.
#[derive(Debug)]
pub struct Inbox {
    shared: Arc<Shared>,
}

/// The sending end.
#[derive(Debug, Clone)]
pub(crate) struct InboxSender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    queue: Mutex<Queue>,
    /// Something was announced, or the inbox was closed.
    filled: Notify,
    /// The inbox has room again.
    drained: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Queue {
    notices: VecDeque<Notice>,
    bytes: usize,
    /// How many notices were ever pushed.
    pushed: u64,
    /// How many of those that wait are confirmations or refusals.
    verdicts: usize,
    /// Topics that were given up while verdicts waited, with `pushed` at that time: a verdict from before is not told,
    /// or the node could take it for the answer to wanting the topic again. Empty when no verdict waits.
    given_up: HashMap<TopicKey, u64>,
    /// From reaching the limit until half of it is free, so that a full inbox doesn't stop and start with each notice.
    full: bool,
    /// Something was pushed that the consumer has not been woken for.
    unannounced: bool,
    closed: bool,
}

impl Default for InboxLimits {
    fn default() -> Self {
        InboxLimits { bytes_max: INBOX_BYTES_MAX }
    }
}

impl Inbox {
    pub(crate) fn new(limits: InboxLimits) -> (InboxSender, Inbox) {
        let shared = Arc::new(Shared {
            bytes_max: limits.bytes_max.max(1),
            queue: Mutex::default(),
            filled: Notify::new(),
            drained: Arc::default(),
        });
        (InboxSender { shared: Arc::clone(&shared) }, Inbox { shared })
    }

    /// Waits until there is something, then appends all of it to `into`, at most `limit` notices (at least one). Returns
    /// how many; 0 only when every handle of the backplane is gone and nothing is left.
    ///
    /// Cancel-safe: a dropped call has taken nothing.
    pub async fn recv_many(&mut self, into: &mut Vec<Notice>, limit: usize) -> usize {
        loop {
            if let Some(taken) = self.take(into, limit.max(1)) {
                return taken;
            }
            self.shared.filled.notified().await;
        }
    }

    /// How many bytes wait, counted as [`InboxLimits::bytes_max`] counts them.
    pub fn waiting_bytes(&self) -> usize {
        self.shared.queue.lock().bytes
    }

    fn take(&self, into: &mut Vec<Notice>, limit: usize) -> Option<usize> {
        let before = into.len();
        let mut queue = self.shared.queue.lock();
        into.reserve(limit.min(queue.notices.len()));
        while into.len() < before + limit
            && let Some(notice) = queue.notices.pop_front()
        {
            queue.bytes -= notice.cost_bytes();
            into.extend(queue.still_valid(notice));
        }
        let taken = into.len() - before;
        let is_over = queue.closed;
        let has_room_again = queue.full && queue.bytes <= self.shared.bytes_max / 2;
        if has_room_again {
            queue.full = false;
        }
        drop(queue);
        if has_room_again {
            self.shared.drained.notify_waiters();
        }
        (taken > 0 || is_over).then_some(taken)
    }
}

impl Drop for Inbox {
    /// Nobody reads any more: what waits is dropped, and what comes is not kept.
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        let notices = std::mem::take(&mut *queue).notices;
        queue.closed = true;
        drop(queue);
        self.shared.drained.notify_waiters();
        drop(notices);
    }
}

impl InboxSender {
    /// Appends a notice. The consumer learns of it with the next [`InboxSender::announce`].
    pub(crate) fn push(&self, notice: Notice) {
        let mut queue = self.shared.queue.lock();
        if !queue.closed {
            queue.push(notice, self.shared.bytes_max);
        }
    }

    /// Appends a confirmation, to the last notice when that is one too.
    pub(crate) fn push_confirmed(&self, topic: TopicKey) {
        let mut queue = self.shared.queue.lock();
        if queue.closed {
            return;
        }
        let is_given_up = queue.given_up.get(&topic) == Some(&queue.pushed);
        match queue.notices.back_mut() {
            Some(Notice::Confirmed(topics)) if !is_given_up => {
                topics.push(topic);
                queue.grow(Notice::CONFIRMED_TOPIC_BYTES, self.shared.bytes_max);
            }
            _ => queue.push(Notice::Confirmed(vec![topic]), self.shared.bytes_max),
        }
    }

    /// The node gives a topic up: a confirmation or refusal that still waits is not for whoever wants it next.
    pub(crate) fn give_up(&self, topic: &TopicKey) {
        let mut queue = self.shared.queue.lock();
        if queue.verdicts > 0 {
            let pushed = queue.pushed;
            queue.given_up.insert(topic.clone(), pushed);
        }
    }

    /// Wakes the consumer if something is new to it.
    pub(crate) fn announce(&self) {
        let unannounced = std::mem::take(&mut self.shared.queue.lock().unannounced);
        if unannounced {
            self.shared.filled.notify_one();
        }
    }

    /// The end of a batch: wakes the consumer if something is new to it, and when the inbox is full returns what
    /// becomes ready as soon as there is room again.
    pub(crate) fn end_batch(&self) -> Option<OwnedNotified> {
        let mut queue = self.shared.queue.lock();
        let unannounced = std::mem::take(&mut queue.unannounced);
        // Made under the lock: a wait that starts after the room was announced would never end.
        let wait = queue.full.then(|| Arc::clone(&self.shared.drained).notified_owned());
        drop(queue);
        if unannounced {
            self.shared.filled.notify_one();
        }
        wait
    }

    /// Waits until the inbox has room.
    pub(crate) async fn room(&self) {
        while let Some(wait) = self.end_batch() {
            wait.await;
        }
    }

    /// Is the inbox full?
    pub(crate) fn is_full(&self) -> bool {
        self.shared.queue.lock().full
    }

    /// Nothing comes any more.
    pub(crate) fn close(&self) {
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        queue.full = false;
        drop(queue);
        self.shared.filled.notify_one();
        self.shared.drained.notify_waiters();
    }
}

impl Queue {
    fn push(&mut self, notice: Notice, bytes_max: usize) {
        self.pushed += 1;
        self.verdicts += usize::from(notice.is_verdict());
        self.grow(notice.cost_bytes(), bytes_max);
        self.notices.push_back(notice);
    }

    fn grow(&mut self, bytes: usize, bytes_max: usize) {
        self.bytes += bytes;
        self.full |= self.bytes >= bytes_max;
        self.unannounced = true;
    }

    /// Takes out of a notice that has just left the queue what concerns a topic given up since.
    fn still_valid(&mut self, mut notice: Notice) -> Option<Notice> {
        if !notice.is_verdict() {
            return Some(notice);
        }
        // The position of this notice, counted as `pushed` counts: it was the last one when `pushed` became this.
        let position = self.pushed - self.notices.len() as u64;
        let is_valid = |topic: &TopicKey| self.given_up.get(topic).is_none_or(|&given_up| given_up < position);
        let is_any_valid = match &mut notice {
            Notice::Confirmed(topics) => {
                topics.retain(is_valid);
                !topics.is_empty()
            }
            Notice::Refused { topic, .. } => is_valid(topic),
            _ => true,
        };
        self.verdicts -= 1;
        if self.verdicts == 0 {
            self.given_up.clear();
        }
        is_any_valid.then_some(notice)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::time::Instant;

    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;

    fn message(payload: &'static str) -> Notice {
        Notice::Message {
            topic: Bytes::from_static(b"acme:tenant"),
            payload: Bytes::from_static(payload.as_bytes()),
            received: Instant::now(),
        }
    }

    fn topic(name: &str) -> TopicKey {
        TopicKey::parse(name).unwrap()
    }

    #[tokio::test]
    async fn takes_everything_in_order_and_at_most_the_limit() {
        let (sender, mut inbox) = Inbox::new(InboxLimits::default());
        for payload in ["a", "b", "c"] {
            sender.push(message(payload));
        }
        let mut taken = Vec::new();
        assert_eq!(inbox.recv_many(&mut taken, 2).await, 2);
        assert_eq!(inbox.recv_many(&mut taken, 9).await, 1);
        let payloads: Vec<_> = taken
            .iter()
            .map(|notice| match notice {
                Notice::Message { payload, .. } => payload.clone(),
                other => panic!("not a message: {other:?}"),
            })
            .collect();
        assert_eq!(payloads, ["a", "b", "c"]);
        assert_eq!(inbox.waiting_bytes(), 0);
    }

    #[tokio::test]
    async fn wakes_the_consumer_once_for_a_batch() {
        let (sender, mut inbox) = Inbox::new(InboxLimits::default());
        let mut taken = Vec::new();
        let mut receive = Box::pin(inbox.recv_many(&mut taken, 9));
        assert!(receive.as_mut().now_or_never().is_none());
        sender.push(message("a"));
        sender.push(message("b"));
        assert!(receive.as_mut().now_or_never().is_none(), "woken before the batch ended");
        sender.announce();
        assert_eq!(receive.await, 2);
    }

    #[tokio::test]
    async fn stays_full_until_half_is_taken() {
        let cost_bytes = message("a").cost_bytes();
        let (sender, mut inbox) = Inbox::new(InboxLimits { bytes_max: 4 * cost_bytes });
        for _ in 0..4 {
            assert!(!sender.is_full());
            sender.push(message("a"));
        }
        let mut room = Box::pin(sender.room());
        let mut taken = Vec::new();
        inbox.recv_many(&mut taken, 1).await;
        assert!(room.as_mut().now_or_never().is_none());
        inbox.recv_many(&mut taken, 1).await;
        assert!(room.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn joins_confirmations_that_follow_each_other() {
        let (sender, mut inbox) = Inbox::new(InboxLimits::default());
        sender.push_confirmed(topic("acme:channel:a"));
        sender.push_confirmed(topic("acme:channel:b"));
        sender.push(message("a"));
        sender.push_confirmed(topic("acme:channel:c"));
        let mut taken = Vec::new();
        assert_eq!(inbox.recv_many(&mut taken, 9).await, 3);
        assert!(matches!(&taken[0], Notice::Confirmed(topics) if topics.len() == 2));
        assert!(matches!(&taken[2], Notice::Confirmed(topics) if topics.len() == 1));
        assert_eq!(inbox.waiting_bytes(), 0);
    }

    #[tokio::test]
    async fn tells_no_verdict_from_before_a_topic_was_given_up() {
        let (sender, mut inbox) = Inbox::new(InboxLimits::default());
        let [one, two, three] = ["acme:channel:1", "acme:channel:2", "acme:channel:3"].map(topic);
        sender.push_confirmed(one.clone());
        sender.push_confirmed(two.clone());
        sender.push(Notice::Refused { topic: three.clone(), error: String::new() });
        sender.push_confirmed(three.clone());
        sender.give_up(&one);
        sender.give_up(&three);
        sender.push_confirmed(three.clone());
        sender.push_confirmed(one.clone());
        let mut taken = Vec::new();
        inbox.recv_many(&mut taken, 9).await;
        let confirmed: Vec<_> = taken
            .iter()
            .map(|notice| match notice {
                Notice::Confirmed(topics) => topics.as_slice(),
                other => panic!("not told any more: {other:?}"),
            })
            .collect();
        assert_eq!(confirmed, [&[two][..], &[three, one.clone()]]);

        sender.push_confirmed(one.clone());
        sender.give_up(&one);
        assert!(inbox.recv_many(&mut taken, 9).now_or_never().is_none(), "nothing is left to tell");
        sender.push_confirmed(one);
        assert_eq!(inbox.recv_many(&mut taken, 9).await, 1);
        assert_eq!(inbox.waiting_bytes(), 0);
    }

    #[tokio::test]
    async fn ends_when_the_backplane_is_gone_and_all_is_taken() {
        let (sender, mut inbox) = Inbox::new(InboxLimits::default());
        sender.push(message("a"));
        sender.close();
        let mut taken = Vec::new();
        assert_eq!(inbox.recv_many(&mut taken, 9).await, 1);
        assert_eq!(inbox.recv_many(&mut taken, 9).await, 0);
    }

    #[tokio::test]
    async fn keeps_nothing_when_nobody_reads() {
        let (sender, inbox) = Inbox::new(InboxLimits { bytes_max: 1 });
        sender.push(message("a"));
        assert!(sender.is_full());
        drop(inbox);
        sender.push(message("a"));
        assert!(!sender.is_full());
        sender.room().await;
    }
}
