//! The users who are there by connections of this node, in each topic; what Redis was told of them, and what it has to be
//! told. A state without I/O: what is to be told is taken out in batches, and what came of a batch is handed in.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use fanfare_backplane::{PresenceUser, PresenceUsers};
use fanfare_core::SessionId;
use fanfare_protocol::{Info, TopicKey};

/// Topics in one batch.
const BATCH_TOPICS_MAX: usize = 256;

/// All topics in which somebody is there, or whose last one Redis still has to be told about.
#[derive(Debug, Default)]
pub(super) struct Table {
    topics: HashMap<TopicKey, Here>,
    members: usize,
    /// Topics with something to tell, the one that has waited longest first. What stands in a wrong place is passed over.
    queue: VecDeque<TopicKey>,
    /// Topics of which Redis could not be told: they wait for [`Table::wake`].
    resting: Vec<TopicKey>,
    /// Nobody comes any more.
    has_ended: bool,
}

/// One topic.
#[derive(Debug, Default)]
struct Here {
    users: BTreeMap<Arc<str>, User>,
    /// Of whom Redis may have to be told. The topic is queued or resting while there are any.
    changed: BTreeSet<Arc<str>>,
    place: Place,
}

/// Where a topic waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Nowhere,
    Queue,
    Resting,
}

/// One user in one topic.
#[derive(Debug)]
struct User {
    sessions: Sessions,
    info: Option<Arc<str>>,
    /// The info is another one than Redis has.
    has_new_info: bool,
    told: Told,
}

/// Most users have one.
#[derive(Debug)]
enum Sessions {
    None,
    One(SessionId),
    Many(Vec<SessionId>),
}

/// Whether Redis has the user by this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
    /// It was being told something, and nobody knows whether it was done.
    Unknown,
}

/// What Redis has to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) leaves: Vec<PresenceUsers>,
    pub(super) joins: Vec<PresenceUsers>,
    /// Topics wait that were not looked at.
    more: bool,
}

impl Table {
    /// A session is there. Returns whether there is something to tell.
    pub(super) fn enter(&mut self, topic: &TopicKey, name: &str, session: SessionId, info: Option<&Info>) -> bool {
        if self.has_ended {
            return false;
        }
        let here = self.topics.entry(topic.clone()).or_default();
        if let Some(user) = here.users.get_mut(name) {
            let was_there = user.is_there();
            user.sessions.add(session);
            if was_there {
                return false;
            }
            let info = info.map(Info::shared);
            user.has_new_info |= user.info != info;
            user.info = info;
        } else {
            let (sessions, info) = (Sessions::One(session), info.map(Info::shared));
            here.users.insert(name.into(), User { sessions, info, has_new_info: false, told: Told::No });
        }
        self.members += 1;
        self.mark(topic, name)
    }

    /// A session is there no more. Returns whether there is something to tell.
    pub(super) fn leave(&mut self, topic: &TopicKey, name: &str, session: SessionId) -> bool {
        let Some(here) = self.topics.get_mut(topic) else { return false };
        let Some(user) = here.users.get_mut(name) else { return false };
        if !user.sessions.remove(session) {
            return false;
        }
        self.members -= 1;
        if user.told == Told::No {
            // Redis never heard of her. While it is away, nothing is kept of those who come and go.
            here.users.remove(name);
            here.changed.remove(name);
        }
        self.mark(topic, name)
    }

    /// All have gone, and nobody comes any more.
    pub(super) fn end(&mut self) -> bool {
        self.has_ended = true;
        self.members = 0;
        let mut all = Vec::new();
        for (topic, here) in &mut self.topics {
            for (name, user) in &mut here.users {
                user.sessions = Sessions::None;
                all.push((topic.clone(), Arc::clone(name)));
            }
        }
        all.iter().filter(|(topic, name)| self.mark(topic, name)).count() > 0
    }

    /// The sessions by which a user is there.
    pub(super) fn sessions(&self, topic: &TopicKey, name: &str) -> Vec<SessionId> {
        let user = self.topics.get(topic).and_then(|here| here.users.get(name));
        user.map_or_else(Vec::new, |user| user.sessions.all().to_vec())
    }

    /// How many users are there, in all topics together.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// Whether nobody is there and Redis knows.
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Takes out what Redis has to be told, up to so many users. They count as unknown until the outcome is handed in.
    pub(super) fn take_changes(&mut self, users_max: usize) -> Changes {
        let (mut changes, mut room) = (Changes::default(), users_max);
        for _ in 0..BATCH_TOPICS_MAX {
            if room == 0 {
                break;
            }
            let Some(topic) = self.queue.pop_front() else { break };
            let Some(here) = self.topics.get_mut(&topic).filter(|here| here.place == Place::Queue) else { continue };
            here.place = Place::Nowhere;
            let (joins, leaves) = here.take_changes(room);
            room -= joins.len() + leaves.len();
            changes.add(&topic, joins, leaves);
            self.queue_if_changed(&topic);
        }
        changes.more = !self.queue.is_empty();
        changes
    }

    /// What came of a join or a leave of these users: whether Redis has them now; none when nobody knows.
    pub(super) fn settle(&mut self, users: &PresenceUsers, has_them: Option<bool>) {
        let Some(here) = self.topics.get_mut(&users.topic) else { return };
        for PresenceUser { user: name, .. } in &users.users {
            let Some(user) = here.users.get_mut(name) else { continue };
            user.told = match has_them {
                Some(true) => Told::Yes,
                Some(false) => Told::No,
                None => Told::Unknown,
            };
            match (user.is_there(), user.told) {
                (true, Told::Yes) => {}
                (false, Told::No) => _ = here.users.remove(name),
                _ => _ = here.changed.insert(Arc::clone(name)),
            }
        }
        if has_them.is_none() && here.place != Place::Resting {
            here.place = Place::Resting;
            self.resting.push(users.topic.clone());
        }
        self.queue_if_changed(&users.topic);
    }

    /// Redis has these users no more.
    pub(super) fn miss<'a>(&mut self, topic: &TopicKey, names: impl Iterator<Item = &'a Arc<str>>) {
        for name in names {
            let user = self.topics.get_mut(topic).and_then(|here| here.users.get_mut(name));
            if let Some(user) = user.filter(|user| user.told == Told::Yes) {
                user.told = Told::No;
                self.mark(topic, name);
            }
        }
    }

    /// Tries again with the topics of which Redis could not be told.
    pub(super) fn wake(&mut self) {
        for topic in std::mem::take(&mut self.resting) {
            if let Some(here) = self.topics.get_mut(&topic).filter(|here| here.place == Place::Resting) {
                here.place = Place::Nowhere;
                self.queue_if_changed(&topic);
            }
        }
    }

    /// All topics, as they are now.
    pub(super) fn topics(&self) -> Vec<TopicKey> {
        self.topics.keys().cloned().collect()
    }

    /// Users that are there and that Redis has of a topic, behind `after` in a fixed order, up to so many of those who are looked at.
    /// Whether there are more behind them stands beside.
    pub(super) fn told_users(&self, topic: &TopicKey, after: Option<&str>, max: usize) -> (Vec<PresenceUser>, bool) {
        let Some(here) = self.topics.get(topic) else { return (Vec::new(), false) };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut users = here.users.range::<str, _>((start, Bound::Unbounded));
        // Who has gone is not vouched for any longer, even if Redis can't be told.
        let is_told = |(_, user): &(&Arc<str>, &User)| user.told == Told::Yes && user.is_there();
        let told = users.by_ref().filter(is_told).take(max);
        let told = told.map(|(name, _)| PresenceUser { user: Arc::clone(name), info: None }).collect();
        (told, users.next().is_some())
    }

    /// Notes that Redis may have to be told of a user. Returns whether the topic has been queued for it.
    fn mark(&mut self, topic: &TopicKey, name: &str) -> bool {
        let Some(here) = self.topics.get_mut(topic) else { return false };
        let name = here.users.get_key_value(name).map(|(name, _)| Arc::clone(name));
        here.changed.extend(name);
        self.queue_if_changed(topic)
    }

    /// Queues a topic that waits nowhere and has changes; forgets one that has nothing more. One that waits is forgotten when
    /// its turn comes, so that it never waits twice.
    fn queue_if_changed(&mut self, topic: &TopicKey) -> bool {
        let Some(here) = self.topics.get_mut(topic) else { return false };
        if here.users.is_empty() && here.place == Place::Nowhere {
            self.topics.remove(topic);
            return false;
        }
        let is_queued = here.place == Place::Nowhere && !here.changed.is_empty();
        if is_queued {
            here.place = Place::Queue;
            self.queue.push_back(topic.clone());
        }
        is_queued
    }
}

impl Here {
    /// Who has come and who has gone since Redis was told, so many at most.
    fn take_changes(&mut self, users_max: usize) -> (Vec<PresenceUser>, Vec<PresenceUser>) {
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        while joins.len() + leaves.len() < users_max
            && let Some(name) = self.changed.pop_first()
        {
            let Some(user) = self.users.get_mut(&name) else { continue };
            match (user.is_there(), user.told) {
                (true, Told::Yes) if !user.has_new_info => continue,
                (false, Told::No) => {
                    self.users.remove(&name);
                    continue;
                }
                _ => {}
            }
            (user.told, user.has_new_info) = (Told::Unknown, false);
            let info = user.info.clone();
            if user.is_there() {
                joins.push(PresenceUser { user: name, info });
            } else {
                leaves.push(PresenceUser { user: name, info: None });
            }
        }
        (joins, leaves)
    }
}

impl Changes {
    /// Whether there is nothing to do before something changes.
    pub(super) fn is_empty(&self) -> bool {
        self.leaves.is_empty() && self.joins.is_empty() && !self.more
    }

    fn add(&mut self, topic: &TopicKey, joins: Vec<PresenceUser>, leaves: Vec<PresenceUser>) {
        for (of, users) in [(&mut self.joins, joins), (&mut self.leaves, leaves)] {
            if !users.is_empty() {
                of.push(PresenceUsers { topic: topic.clone(), users });
            }
        }
    }
}

impl User {
    fn is_there(&self) -> bool {
        !self.sessions.all().is_empty()
    }
}

impl Sessions {
    fn all(&self) -> &[SessionId] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn add(&mut self, session: SessionId) {
        match self {
            Self::None => *self = Self::One(session),
            Self::One(one) => *self = Self::Many(vec![*one, session]),
            Self::Many(many) => many.push(session),
        }
    }

    /// Says whether it was the last one.
    fn remove(&mut self, session: SessionId) -> bool {
        match self {
            Self::One(one) if *one == session => *self = Self::None,
            Self::Many(many) => {
                many.retain(|other| *other != session);
                if let [one] = many[..] {
                    *self = Self::One(one);
                }
                return false;
            }
            _ => return false,
        }
        true
    }
}
