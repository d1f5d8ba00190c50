//! All sessions of the node, for what concerns each of them: the heartbeat, the drain, a node short of memory.

use std::collections::HashMap;
use std::sync::Arc;

use fanfare_core::{Budget, Session, SessionId};
use parking_lot::Mutex;

/// The table of live sessions.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<SessionId, Arc<Session>>>);

/// A session's entry; dropping it takes the session out.
#[derive(Debug)]
pub struct Listed {
    sessions: Arc<Sessions>,
    id: SessionId,
}

impl Sessions {
    /// Enters a session for as long as the result lives.
    pub fn list(self: &Arc<Self>, session: &Arc<Session>) -> Listed {
        self.0.lock().insert(session.id(), Arc::clone(session));
        Listed { sessions: Arc::clone(self), id: session.id() }
    }

    /// A session by its number.
    pub fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        self.0.lock().get(&id).cloned()
    }

    /// All sessions, in no particular order.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.0.lock().values().cloned().collect()
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
