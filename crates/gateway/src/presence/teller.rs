//! The task that tells Redis who is there: what has changed, in batches, and every third of a lifetime that all the others
//! are still there. One call at a time, so that what concerns a user is done in its order. Deliberately without giving up:
//! what could not be told is told later, and Redis lets go of whom it hears nothing of.

use std::sync::Arc;
use std::time::Duration;

use fanfare_backplane::{PRESENCE_USERS_MAX, PresenceUsers, PublishError, Refreshed};
use fanfare_protocol::TopicKey;
use tokio::time::Instant;

use super::Presence;
use super::table::Changes;

/// Before what could not be told is told again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Topics in one call of a refresh.
const REFRESH_TOPICS_MAX: usize = 256;

/// Calls that take out who has not been heard of, 1,000 users each, in one refresh of a topic.
const PURGES_MAX: usize = 64;

/// All users of the node, on their way through a refresh.
struct Round {
    begun: Instant,
    /// Takes out who has not been heard of.
    purges: bool,
    /// Those that are not through, the next one last.
    topics: Vec<TopicKey>,
    /// Of the next topic, the users up to this one are through.
    after: Option<Arc<str>>,
}

/// What is due when.
struct Due {
    refresh: Instant,
    /// Redis was away: its first refresh takes nobody out, since other nodes are on their way back, too.
    is_back: bool,
    retry: Option<Instant>,
}

impl Presence {
    /// Runs as long as the node.
    pub async fn run(self: Arc<Self>) {
        let mut state = self.backplane.state();
        let mut due = Due { refresh: Instant::now() + self.voucher.ttl / 3, is_back: false, retry: None };
        let mut round: Option<Round> = None;
        loop {
            let now = Instant::now();
            if due.retry.is_some_and(|retry| retry <= now) {
                due.retry = None;
                self.table.lock().wake();
            }
            if due.refresh <= now && round.is_none() {
                let topics = self.table.lock().topics();
                round = Some(Round { begun: now, purges: !due.is_back, topics, after: None });
                due.refresh = now + self.voucher.ttl / 3;
            }
            let changes = self.table.lock().take_changes(PRESENCE_USERS_MAX);
            if changes.is_empty() && round.is_none() {
                let next = due.retry.map_or(due.refresh, |retry| retry.min(due.refresh));
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(next) => {}
                    Ok(()) = state.changed() => {
                        // Redis may have come back empty.
                        if state.borrow_and_update().is_up() {
                            (due.refresh, due.is_back) = (Instant::now(), true);
                        }
                    }
                }
                continue;
            }
            if !changes.is_empty() && !self.tell(changes).await {
                due.retry.get_or_insert(Instant::now() + RETRY_PAUSE);
            }
            if let Some(going) = &mut round {
                match self.refresh(going).await {
                    Ok(true) => {}
                    Ok(false) => {
                        self.metrics.presence_refreshed(going.begun.elapsed());
                        (round, due.is_back) = (None, false);
                    }
                    Err(()) => {
                        (round, due.is_back) = (None, true);
                        due.refresh = due.refresh.min(Instant::now() + RETRY_PAUSE);
                    }
                }
            }
        }
    }

    /// Tells Redis who has gone and who has come. Returns whether all of it was done.
    async fn tell(&self, changes: Changes) -> bool {
        let left = self.backplane.presence_leave(&self.voucher, &changes.leaves).await;
        let is_left = self.settle(&changes.leaves, left, false);
        let joined = self.backplane.presence_join(&self.voucher, &changes.joins).await;
        self.settle(&changes.joins, joined, true) && is_left
    }

    fn settle(&self, topics: &[PresenceUsers], results: Vec<Result<(), PublishError>>, is_join: bool) -> bool {
        let mut is_done = true;
        let mut table = self.table.lock();
        for (users, result) in topics.iter().zip(results) {
            match result {
                Ok(()) => {
                    table.settle(users, Some(is_join));
                    self.metrics.presence_changed(is_join, users.users.len() as u64);
                }
                Err(error) => {
                    table.settle(users, None);
                    self.metrics.presence_untold(&users.topic, &error);
                    is_done = false;
                }
            }
        }
        is_done
    }

    /// Refreshes a part of all users. Returns whether there is more; an error when Redis took none of it.
    async fn refresh(&self, round: &mut Round) -> Result<bool, ()> {
        let (whole, begun) = self.next_part(round);
        // Only with a topic's last users is it looked who has not been heard of.
        let mut reached = whole.is_empty() && begun.is_none();
        for (topics, purge) in [(whole, round.purges), (begun.into_iter().collect(), false)] {
            if topics.is_empty() {
                continue;
            }
            let results = self.backplane.presence_refresh(&self.voucher, &topics, purge).await;
            for (users, result) in topics.iter().zip(results) {
                match result {
                    Ok(Refreshed { missing, more }) => {
                        reached = true;
                        let names = missing.iter().filter_map(|&at| users.users.get(at)).map(|user| &user.user);
                        self.table.lock().miss(&users.topic, names);
                        if more {
                            self.purge(&users.topic).await;
                        }
                    }
                    Err(error) => self.metrics.presence_untold(&users.topic, &error),
                }
            }
        }
        if reached { Ok(!round.topics.is_empty()) } else { Err(()) }
    }

    /// Takes out who has not been heard of, where that takes several calls.
    async fn purge(&self, topic: &TopicKey) {
        let nobody = [PresenceUsers { topic: topic.clone(), users: Vec::new() }];
        for _ in 0..PURGES_MAX {
            let results = self.backplane.presence_refresh(&self.voucher, &nobody, true).await;
            if !matches!(results[..], [Ok(Refreshed { more: true, .. })]) {
                return;
            }
        }
    }

    /// The next users: topics that come to their end with them, and one that doesn't.
    fn next_part(&self, round: &mut Round) -> (Vec<PresenceUsers>, Option<PresenceUsers>) {
        let table = self.table.lock();
        let (mut whole, mut room) = (Vec::new(), PRESENCE_USERS_MAX);
        while whole.len() < REFRESH_TOPICS_MAX
            && room > 0
            && let Some(topic) = round.topics.pop()
        {
            let (users, more) = table.told_users(&topic, round.after.take().as_deref(), room);
            room -= users.len();
            let users = PresenceUsers { topic, users };
            if more {
                round.after = users.users.last().map(|user| Arc::clone(&user.user));
                round.topics.push(users.topic.clone());
                return (whole, Some(users));
            }
            whole.push(users);
        }
        (whole, None)
    }
}
