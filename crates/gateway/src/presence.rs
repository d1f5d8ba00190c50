//! Who is there, as far as this node knows: its own connections, counted by topic and user, and what Redis was told of them.
//! The hub says who comes and goes ([`Presence::enter`], [`Presence::leave`]); one task tells Redis, many at a time. The list
//! of a topic is Redis's and is read from there.

mod table;
mod teller;

use std::sync::Arc;
use std::time::Duration;

use fanfare_backplane::{Backplane, PresenceCursor, PresenceLimits, PresencePage, ReadError, Voucher};
use fanfare_core::SessionId;
use fanfare_protocol::{Codec, Info, Present, ServerFrame, TopicKey, assemble};
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::table::Table;
use crate::metrics::Metrics;

/// Users on one page at most.
pub const PAGE_USERS_MAX: usize = 1_000;

/// How often it is looked whether all have left, at the end.
const END_TICK: Duration = Duration::from_millis(10);

/// The node's part in who is there.
#[derive(Debug)]
pub struct Presence {
    backplane: Backplane,
    voucher: Voucher,
    metrics: Arc<Metrics>,
    table: Mutex<Table>,
    /// There is something to tell.
    changed: Notify,
}

impl Presence {
    /// Nobody is there. `ttl`: how long the node's word holds on Redis.
    pub fn new(node: &str, ttl: Duration, backplane: Backplane, metrics: Arc<Metrics>) -> Self {
        let voucher = Voucher { node: node.into(), ttl };
        Self { backplane, voucher, metrics, table: Mutex::default(), changed: Notify::new() }
    }

    /// A user's session is there.
    pub fn enter(&self, topic: &TopicKey, user: &str, session: SessionId, info: Option<&Info>) {
        self.change(|table| table.enter(topic, user, session, info));
    }

    /// A user's session is there no more.
    pub fn leave(&self, topic: &TopicKey, user: &str, session: SessionId) {
        self.change(|table| table.leave(topic, user, session));
    }

    /// The sessions of this node by which a user is there.
    pub fn sessions(&self, topic: &TopicKey, user: &str) -> Vec<SessionId> {
        self.table.lock().sessions(topic, user)
    }

    /// Who is there, on all nodes: from the cursor on, or from the beginning.
    ///
    /// # Errors
    /// When the backplane is away or refuses.
    pub async fn list(
        &self,
        topic: &TopicKey,
        limits: PresenceLimits,
        cursor: &PresenceCursor,
    ) -> Result<PresencePage, ReadError> {
        self.backplane.presence_list(&self.voucher, topic, limits, cursor).await
    }

    /// Nobody of this node is there any more. Waits until Redis knows, but not longer than this.
    pub async fn end(&self, within: Duration) {
        self.change(Table::end);
        let told = tokio::time::timeout(within, async {
            while !self.table.lock().is_empty() {
                tokio::time::sleep(END_TICK).await;
            }
        });
        if told.await.is_err() {
            let users = self.table.lock().members();
            tracing::warn!(users, "Redis was not told that all have left: they leave when presence_ttl_ms is over");
        }
    }

    fn change(&self, change: impl FnOnce(&mut Table) -> bool) {
        let mut table = self.table.lock();
        let is_news = change(&mut table);
        self.metrics.presence_members(table.members());
        drop(table);
        if is_news {
            self.changed.notify_one();
        }
    }
}

/// The answer to who asks for a list: a `presence` frame without a WebSocket header.
pub fn page_frame(codec: Codec, id: Option<i64>, topic: &str, page: &PresencePage) -> Vec<u8> {
    let cursor = page.cursor.as_ref().map(ToString::to_string);
    let frame = ServerFrame::Presence { id, topic, count: page.count, cursor: cursor.as_deref() };
    let mut frame = frame.encode(codec);
    assemble::add_field(codec, &mut frame, "users", &users(codec, page));
    frame
}

/// The users of a page, an encoded list of `{"user","info"?}`.
pub fn users(codec: Codec, page: &PresencePage) -> Vec<u8> {
    let users = page.users.iter().map(|user| {
        // What is on Redis others could have written.
        let info = user.info.as_deref().and_then(|info| Info::parse(info).ok());
        Present { user: &user.user, info: info.as_ref() }.encode(codec)
    });
    assemble::list(codec, users)
}
