//! Which requests are open, how many of whom, and what became of the last ones. Deliberately without time and without I/O:
//! one lock is around it, held for a moment.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fanfare_protocol::{RequestId, Tenant};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::RequestsConfig;
use super::outcome::Outcome;
use super::replies::{Replies, Standing};

/// Ended requests that are remembered, so that a late or a repeated answer can be told from a forged one.
const ENDED_MAX: usize = 4_096;

/// All requests of a node.
#[derive(Debug, Default)]
pub(super) struct Table {
    open: HashMap<RequestId, Open>,
    accounts: HashMap<(Tenant, Asker), Account>,
    tenants: HashMap<Tenant, TenantRequests>,
    ended: Ended,
}

#[derive(Debug)]
struct Open {
    tenant: Tenant,
    asker: Asker,
    answer: oneshot::Sender<Outcome>,
}

/// What a connection has open, or a user without one.
#[derive(Debug, Default)]
struct Account {
    open: usize,
    /// Ends when its last request stands in the stream, or never will.
    last_turn: Option<oneshot::Receiver<()>>,
}

/// A request that the table has opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) id: RequestId,
    pub(super) answer: oneshot::Receiver<Outcome>,
    /// Ends when the connection's request before this one stands in the stream, or never will.
    pub(super) previous: Option<oneshot::Receiver<()>>,
    /// The next one's turn comes when this is dropped.
    pub(super) turn: Option<oneshot::Sender<()>>,
}

/// What there is for a tenant while it has requests, and a while longer.
#[derive(Debug)]
struct TenantRequests {
    open: usize,
    replies: Replies,
    /// When the last one ended.
    idle_since: Instant,
}

/// On whose account a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    Connection(Arc<str>),
    User(Arc<str>),
}

/// There is no room for one more request.
#[derive(Debug)]
pub(super) struct Full {
    pub(super) setting: &'static str,
    pub(super) max: usize,
}

/// Why an answer reaches nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stray {
    /// No request of late has this id.
    Unknown,
    /// The request of another tenant has it.
    Foreign,
    /// The request was answered.
    Repeated,
    /// The request ended before: its time was over, or its client has gone.
    Late,
}

impl Stray {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Stray::Unknown => "unknown",
            Stray::Foreign => "foreign",
            Stray::Repeated => "repeated",
            Stray::Late => "late",
        }
    }
}

impl Table {
    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    pub(super) fn check_room(&self, tenant: &Tenant, asker: &Asker, config: &RequestsConfig) -> Result<(), Full> {
        let full = |setting, open, max| if open >= max { Err(Full { setting, max }) } else { Ok(()) };
        let of_asker = self.accounts.get(&(tenant.clone(), asker.clone())).map_or(0, |account| account.open);
        let of_tenant = self.tenants.get(tenant).map_or(0, |tenant| tenant.open);
        full("requests_per_connection_max", of_asker, config.per_connection_max)?;
        full("requests_per_tenant_max", of_tenant, config.per_tenant_max)
    }

    /// How the tenant's channel for answers stands, from now on. `listen` begins to listen to it.
    pub(super) fn replies(&mut self, tenant: &Tenant, listen: impl FnOnce() -> Replies) -> watch::Receiver<Standing> {
        let new = || TenantRequests { open: 0, replies: listen(), idle_since: Instant::now() };
        self.tenants.entry(tenant.clone()).or_insert_with(new).replies.watch()
    }

    /// Opens a request of a tenant whose channel is listened to.
    pub(super) fn open(&mut self, tenant: &Tenant, asker: Asker) -> Opened {
        let (sender, answer) = oneshot::channel();
        let (turn, its_turn) = oneshot::channel();
        let id = RequestId(rand::random());
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            tenant.open += 1;
        }
        let account = self.accounts.entry((tenant.clone(), asker.clone())).or_default();
        account.open += 1;
        let previous = account.last_turn.replace(its_turn);
        self.open.insert(id, Open { tenant: tenant.clone(), asker, answer: sender });
        Opened { id, answer, previous, turn: Some(turn) }
    }

    /// Hands a request its answer, which came over the channel of `tenant`.
    pub(super) fn answer(&mut self, tenant: &Tenant, id: RequestId, outcome: Outcome) -> Result<(), Stray> {
        match self.open.get(&id) {
            None => return Err(self.ended.find(id).unwrap_or(Stray::Unknown)),
            Some(open) if open.tenant != *tenant => return Err(Stray::Foreign),
            Some(_) => {}
        }
        if let Some(open) = self.remove(id) {
            self.ended.add(id, Stray::Repeated);
            // Who waited has gone at this very moment.
            let _ = open.answer.send(outcome);
        }
        Ok(())
    }

    /// Ends a request that was not answered. One that was stays as it is.
    pub(super) fn close(&mut self, id: RequestId) {
        if self.remove(id).is_some() {
            self.ended.add(id, Stray::Late);
        }
    }

    fn remove(&mut self, id: RequestId) -> Option<Open> {
        let open = self.open.remove(&id)?;
        if let Entry::Occupied(mut account) = self.accounts.entry((open.tenant.clone(), open.asker.clone())) {
            account.get_mut().open -= 1;
            if account.get().open == 0 {
                account.remove();
            }
        }
        if let Some(tenant) = self.tenants.get_mut(&open.tenant) {
            tenant.open -= 1;
            if tenant.open == 0 {
                tenant.idle_since = Instant::now();
                tenant.replies.fell_idle();
            }
        }
        Some(open)
    }

    /// What stands for the tenant's channel, for the one that listens to it.
    pub(super) fn replies_of(&mut self, tenant: &Tenant) -> Option<&mut Replies> {
        self.tenants.get_mut(tenant).map(|tenant| &mut tenant.replies)
    }

    /// Since when the tenant has had no request; none while it has one.
    pub(super) fn idle_since(&self, tenant: &Tenant) -> Option<Instant> {
        self.tenants.get(tenant).filter(|tenant| tenant.open == 0).map(|tenant| tenant.idle_since)
    }

    /// Stops listening for the tenant, unless a request came after `idle_since`.
    pub(super) fn stop_listening(&mut self, tenant: &Tenant, idle_since: Instant) -> bool {
        let is_idle = self.idle_since(tenant) == Some(idle_since);
        if is_idle {
            // Under the lock: whoever asks next subscribes after this.
            self.tenants.remove(tenant);
        }
        is_idle
    }
}

/// The last requests that ended, and what a further answer to one is.
#[derive(Debug, Default)]
struct Ended {
    order: VecDeque<RequestId>,
    strays: HashMap<RequestId, Stray>,
}

impl Ended {
    fn add(&mut self, id: RequestId, stray: Stray) {
        if self.order.len() == ENDED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.strays.remove(&oldest);
        }
        self.order.push_back(id);
        self.strays.insert(id, stray);
    }

    fn find(&self, id: RequestId) -> Option<Stray> {
        self.strays.get(&id).copied()
    }
}
