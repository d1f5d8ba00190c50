//! Who is there, in memory, by the same rules as the function library's.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use fanfare_protocol::TopicKey;
use parking_lot::MutexGuard;

use super::{Hub, Node, PUBLISH_TIMEOUT, full_inbox, push};
use crate::backplane::PublishError;
use crate::inbox::InboxSender;
use crate::presence::{
    Each, PresenceCursor, PresenceLimits, PresencePage, PresenceUser, PresenceUsers, Refreshed, Voucher,
};

/// What a user takes on a page beside name and info, in bytes.
const AROUND_USER_BYTES: usize = 32;

/// The users of each topic.
#[derive(Debug, Default)]
pub(crate) struct Presences(HashMap<TopicKey, BTreeMap<Arc<str>, Held>>);

#[derive(Debug)]
struct Held {
    info: Option<Arc<str>>,
    /// Until when each node's word holds.
    nodes: HashMap<Arc<str>, Instant>,
}

impl Node {
    pub(crate) async fn presence_join(&self, voucher: &Voucher, topics: &[PresenceUsers]) -> Each<()> {
        self.tell_each(topics, |users, presences, told| presences.join(voucher, users, told)).await
    }

    pub(crate) async fn presence_leave(&self, voucher: &Voucher, topics: &[PresenceUsers]) -> Each<()> {
        self.tell_each(topics, |users, presences, told| presences.leave(&voucher.node, users, told)).await
    }

    pub(crate) async fn presence_refresh(
        &self,
        voucher: &Voucher,
        topics: &[PresenceUsers],
        purge: bool,
    ) -> Each<Refreshed> {
        let refresh = |users: &PresenceUsers, presences: &mut Presences, told: &mut Vec<String>| {
            let missing = presences.refresh(voucher, users);
            if purge {
                presences.purge(&users.topic, told);
            }
            Refreshed { missing, more: false }
        };
        self.tell_each(topics, refresh).await
    }

    pub(crate) fn presence_page(
        &self,
        topic: &TopicKey,
        limits: PresenceLimits,
        cursor: &PresenceCursor,
    ) -> (PresencePage, bool) {
        self.presences().page(topic, limits, cursor)
    }

    fn presences(&self) -> MutexGuard<'_, Presences> {
        self.seat.hub.presences.lock()
    }

    /// Changes each topic and publishes what that says, when there is room for it.
    async fn tell_each<T>(
        &self,
        topics: &[PresenceUsers],
        change: impl Fn(&PresenceUsers, &mut Presences, &mut Vec<String>) -> T,
    ) -> Each<T> {
        let mut answers = Vec::with_capacity(topics.len());
        for users in topics {
            let telling = async {
                loop {
                    match self.seat.hub.tell_presence(users, &change) {
                        Ok(answer) => return answer,
                        Err(full) => full.room().await,
                    }
                }
            };
            answers.push(tokio::time::timeout(PUBLISH_TIMEOUT, telling).await.map_err(|_| PublishError::Timeout));
        }
        answers
    }
}

impl Hub {
    /// Changes a topic and delivers what that says to every inbox; when one of them is full, does neither.
    fn tell_presence<T>(
        &self,
        users: &PresenceUsers,
        change: impl Fn(&PresenceUsers, &mut Presences, &mut Vec<String>) -> T,
    ) -> Result<T, InboxSender> {
        let channel = users.topic.presence();
        let table = self.topics.lock();
        let members = table.get(&channel).map_or(&[][..], Vec::as_slice);
        if let Some(full) = full_inbox(members) {
            return Err(full);
        }
        let mut told = Vec::new();
        let answer = change(users, &mut self.presences.lock(), &mut told);
        for message in told {
            push(members, &channel, &Bytes::from(message));
        }
        Ok(answer)
    }
}

impl Presences {
    fn join(&mut self, voucher: &Voucher, users: &PresenceUsers, told: &mut Vec<String>) {
        let here = self.0.entry(users.topic.clone()).or_default();
        let end = Instant::now() + voucher.ttl;
        for PresenceUser { user, info } in &users.users {
            let is_new = !here.contains_key(user);
            let held = here.entry(Arc::clone(user)).or_insert_with(|| Held { info: None, nodes: HashMap::new() });
            held.info.clone_from(info);
            held.nodes.insert(Arc::clone(&voucher.node), end);
            if is_new {
                told.push(message("joined", user, info.as_deref(), here.len()));
            }
        }
    }

    fn leave(&mut self, node: &str, users: &PresenceUsers, told: &mut Vec<String>) {
        let Some(here) = self.0.get_mut(&users.topic) else { return };
        for PresenceUser { user, .. } in &users.users {
            let Some(held) = here.get_mut(user) else { continue };
            if held.nodes.remove(node).is_some() && held.nodes.is_empty() {
                let info = here.remove(user).and_then(|held| held.info);
                told.push(message("left", user, info.as_deref(), here.len()));
            }
        }
        if here.is_empty() {
            self.0.remove(&users.topic);
        }
    }

    /// Returns who is not there.
    fn refresh(&mut self, voucher: &Voucher, users: &PresenceUsers) -> Vec<usize> {
        let end = Instant::now() + voucher.ttl;
        let mut here = self.0.get_mut(&users.topic);
        let mut is_missing = |user: &Arc<str>| {
            let held = here.as_mut().and_then(|here| here.get_mut(user)?.nodes.get_mut(&voucher.node));
            held.map(|held| *held = end).is_none()
        };
        (0..users.users.len()).filter(|&at| is_missing(&users.users[at].user)).collect()
    }

    /// Takes out whose time is over.
    fn purge(&mut self, topic: &TopicKey, told: &mut Vec<String>) {
        let Some(here) = self.0.get_mut(topic) else { return };
        let now = Instant::now();
        let mut left = Vec::new();
        for (user, held) in here.iter_mut() {
            held.nodes.retain(|_, end| *end > now);
            if held.nodes.is_empty() {
                left.push(Arc::clone(user));
            }
        }
        for user in left {
            let info = here.remove(&user).and_then(|held| held.info);
            told.push(message("left", &user, info.as_deref(), here.len()));
        }
        if here.is_empty() {
            self.0.remove(topic);
        }
    }

    fn page(&self, topic: &TopicKey, limits: PresenceLimits, cursor: &PresenceCursor) -> (PresencePage, bool) {
        let mut page = PresencePage { users: Vec::new(), count: 0, cursor: None };
        let Some(here) = self.0.get(topic) else { return (page, false) };
        let now = Instant::now();
        let is_there = |held: &Held| held.nodes.values().any(|end| *end > now);
        page.count = here.values().filter(|held| is_there(held)).count() as u64;
        let is_stale = here.values().any(|held| held.nodes.values().any(|end| *end <= now));
        let start = cursor.within.as_ref().map_or(Bound::Unbounded, |(_, after)| Bound::Excluded(&**after));
        let mut bytes = 0;
        for (user, held) in here.range::<str, _>((start, Bound::Unbounded)).filter(|(_, held)| is_there(held)) {
            bytes += 2 * user.len() + held.info.as_ref().map_or(0, |info| info.len()) + AROUND_USER_BYTES;
            let is_full = page.users.len() == limits.users_max || bytes > limits.bytes_max;
            if let Some(last) = page.users.last().filter(|_| is_full) {
                page.cursor = Some(PresenceCursor { scan: 0, within: Some((0, (&*last.user).into())) });
                break;
            }
            page.users.push(PresenceUser { user: Arc::clone(user), info: held.info.clone() });
        }
        (page, is_stale)
    }
}

/// As the function library writes it.
fn message(op: &str, user: &str, info: Option<&str>, count: usize) -> String {
    let name = user.replace('\\', r"\\").replace('"', r#"\""#);
    let mut message = format!(r#"{{"op":"{op}","user":"{name}""#);
    if let Some(info) = info {
        message.extend([r#","info":"#, info]);
    }
    // Writing to a string can't fail.
    let _ = write!(message, r#","count":{count}}}"#);
    message
}
