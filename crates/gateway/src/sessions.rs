//! All sessions of the node and whose they are, for what concerns each of them: the heartbeat, the drain, a node short of
//! memory, an order to disconnect somebody.

use std::collections::HashMap;
use std::sync::Arc;

use fanfare_core::{Budget, Session, SessionId};
use parking_lot::Mutex;

use crate::auth::Principal;

/// The table of live sessions.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<SessionId, Entry>>);

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    /// None before its client has said who it is.
    owner: Option<Arc<Principal>>,
}

/// A session's entry; dropping it takes the session out.
#[derive(Debug)]
pub struct Listed {
    sessions: Arc<Sessions>,
    id: SessionId,
}

impl Sessions {
    /// Enters a session for as long as the result lives.
    pub fn list(self: &Arc<Self>, session: &Arc<Session>) -> Listed {
        self.0.lock().insert(session.id(), Entry { session: Arc::clone(session), owner: None });
        Listed { sessions: Arc::clone(self), id: session.id() }
    }

    /// From now on the session is this one's.
    pub fn own(&self, id: SessionId, owner: &Arc<Principal>) {
        if let Some(entry) = self.0.lock().get_mut(&id) {
            entry.owner = Some(Arc::clone(owner));
        }
    }

    /// A session by its number.
    pub fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        self.0.lock().get(&id).map(|entry| Arc::clone(&entry.session))
    }

    /// The sessions of owners for which this holds. Looks at all of them: about a millisecond for 20,000.
    pub fn owned_by(&self, holds: impl Fn(&Principal) -> bool) -> Vec<Arc<Session>> {
        let sessions = self.0.lock();
        let owned = sessions.values().filter(|entry| entry.owner.as_deref().is_some_and(&holds));
        owned.map(|entry| Arc::clone(&entry.session)).collect()
    }

    /// The sessions whose tokens have a `jti`, with their owners.
    pub fn owners_with_token_ids(&self) -> Vec<(Arc<Session>, Arc<Principal>)> {
        let sessions = self.0.lock();
        let with_token_id = |entry: &Entry| {
            let owner = entry.owner.as_ref().filter(|owner| owner.token_id.is_some())?;
            Some((Arc::clone(&entry.session), Arc::clone(owner)))
        };
        sessions.values().filter_map(with_token_id).collect()
    }

    /// All sessions, in no particular order.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.0.lock().values().map(|entry| Arc::clone(&entry.session)).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes sessions, those with the most waiting bytes first, until what waits is within `budget` again. Returns how
    /// many were closed.
    pub fn shed(&self, budget: &Budget) -> usize {
        let mut by_size: Vec<_> =
            self.all().into_iter().map(|session| (session.outbox().waiting_bytes(), session)).collect();
        by_size.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut closed = 0;
        for (_, session) in by_size {
            if budget.excess_bytes() == 0 {
                break;
            }
            closed += usize::from(session.close_slow("node's outboxes full (outbox_node_bytes_max)"));
        }
        closed
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.sessions.0.lock().remove(&self.id);
    }
}
