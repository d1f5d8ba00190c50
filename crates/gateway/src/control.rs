//! What concerns all nodes at once: users that a backend disconnects or counts, tokens that it revokes, and what a node says
//! as it ends. An order travels by Redis to every node, this one included; a revoked token is also remembered there, for who
//! connects later.
//!
//! While Redis is away a revoked token may get in: nobody could tell. It is found out as soon as Redis is back.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare_backplane::{Backplane, PublishError};
use fanfare_core::{Farewell, Session};
use fanfare_protocol::{CloseCode, Tenant, TopicKey};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};

use crate::auth::Principal;
use crate::metrics::Metrics;
use crate::own_channels::{Heard, OwnChannels};
use crate::sessions::Sessions;

/// Orders that wait to be carried out.
const QUEUE_MAX: usize = 1_024;

/// Revocations heard lately, for who was just connecting: it asked Redis before, and is listed after.
const RECENT_MAX: usize = 4_096;

/// For so long they count: much longer than it takes to be listed. Later only Redis knows what is still revoked.
const RECENT: Duration = Duration::from_mins(1);

/// Tokens asked about in one go when Redis is back.
const ASKED_AT_ONCE: usize = 1_000;

/// Before the tokens of all clients are asked about again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long nodes have to count.
const COUNTED_WITHIN: Duration = Duration::from_millis(500);

/// Answers to one question that wait to be taken.
const COUNTS_MAX: usize = 1_000;
/// Before they are asked about because Redis did not say whether somebody's token is revoked: much longer than it takes to be
/// listed, and many such are asked about together.
const ASK_LATER: Duration = Duration::from_secs(2);

const DISCONNECTED: &str = "disconnected by the backend";
const REVOKED: &str = "the token is revoked";

/// The part of a node that gives and carries out such orders.
#[derive(Debug)]
pub struct Control {
    backplane: Backplane,
    sessions: Arc<Sessions>,
    metrics: Arc<Metrics>,
    recent: Mutex<VecDeque<(Instant, Revoked)>>,
    /// Orders are heard again, and some were not.
    is_back: Notify,
    /// Somebody got in whose token Redis could not be asked about.
    has_unasked: Notify,
    node: Arc<str>,
    counts: Mutex<Counts>,
}

/// Where nodes' answers go, who and how many, by question.
type Counts = HashMap<Box<str>, mpsc::Sender<(String, u64)>>;

/// An open question. It is closed even when nobody waits for the answer any more.
struct Asking<'a> {
    counts: &'a Mutex<Counts>,
    count: Box<str>,
}

/// What every node does when it hears it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Order {
    Disconnect {
        tenant: Box<str>,
        user: Box<str>,
    },
    Revoke(Revoked),
    /// How many connections has this user?
    Count {
        count: Box<str>,
        tenant: Box<str>,
        user: Box<str>,
    },
    /// One node's answer to that.
    Counted {
        count: Box<str>,
        node: String,
        connections: u64,
    },
    /// A node that ends now cut so many clients off. Its own counters are read by nobody any more.
    ForcedCloses {
        node: String,
        clients: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Revoked {
    jti: Box<str>,
    /// Whose tokens only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<Box<str>>,
}

impl Control {
    /// Nothing is revoked yet.
    pub fn new(node: &Arc<str>, backplane: Backplane, sessions: Arc<Sessions>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            backplane,
            sessions,
            metrics,
            recent: Mutex::default(),
            is_back: Notify::new(),
            has_unasked: Notify::new(),
            node: Arc::clone(node),
            counts: Mutex::default(),
        })
    }

    /// Disconnects a user's connections on every node.
    ///
    /// # Errors
    /// When it is not known that the nodes will hear of it.
    pub async fn disconnect(&self, tenant: &Tenant, user: &str) -> Result<(), PublishError> {
        self.give(&Order::Disconnect { tenant: tenant.as_str().into(), user: user.into() }).await
    }

    /// Revokes the token with this `jti`, of one tenant or of any, for as long as `ttl`: its connections end on every
    /// node, and it opens no new ones.
    ///
    /// # Errors
    /// When either is not known to have worked; to revoke again does no harm.
    pub async fn revoke(&self, token_id: &str, tenant: Option<&Tenant>, ttl: Duration) -> Result<(), PublishError> {
        self.backplane.revoke(token_id, tenant, ttl).await?;
        let tenant = tenant.map(|tenant| tenant.as_str().into());
        self.give(&Order::Revoke(Revoked { jti: token_id.into(), tenant })).await
    }

    /// Asks all nodes how many connections a user has, until these have answered; those that did in time, with how many.
    ///
    /// # Errors
    /// When it is not known that the nodes will hear the question.
    pub async fn count(
        &self,
        tenant: &Tenant,
        user: &str,
        mut nodes: HashSet<&str>,
    ) -> Result<BTreeMap<String, u64>, PublishError> {
        let (sender, mut answers) = mpsc::channel(COUNTS_MAX);
        let asking = Asking { counts: &self.counts, count: format!("{:032x}", rand::random::<u128>()).into() };
        self.counts.lock().insert(asking.count.clone(), sender);
        let count = asking.count.clone();
        self.give(&Order::Count { count, tenant: tenant.as_str().into(), user: user.into() }).await?;
        let mut counted = BTreeMap::new();
        // Who doesn't answer in time is missing from the result.
        let _ = tokio::time::timeout(COUNTED_WITHIN, async {
            while !nodes.is_empty()
                && let Some((node, connections)) = answers.recv().await
            {
                nodes.remove(node.as_str());
                counted.insert(node, connections);
            }
        })
        .await;
        Ok(counted)
    }

    /// Tells the other nodes that this one ends, and cuts so many clients off.
    ///
    /// # Errors
    /// When it is not known that the nodes will hear of it.
    pub async fn tell_forced_closes(&self, clients: u64) -> Result<(), PublishError> {
        self.give(&Order::ForcedCloses { node: self.node.to_string(), clients }).await
    }

    /// Whether a principal's token is known to be revoked.
    pub async fn is_revoked(&self, principal: &Principal) -> bool {
        let Some(token_id) = &principal.token_id else { return false };
        match self.backplane.revoked(&[(token_id, &principal.tenant)]).await {
            Ok(revoked) => revoked == [true],
            Err(error) => {
                tracing::debug!(%error, "can't ask whether a token is revoked: it is found out when Redis is back");
                self.has_unasked.notify_one();
                false
            }
        }
    }

    /// Whether a principal's token was revoked a moment ago. Without a pause, for who has just been listed.
    pub fn was_just_revoked(&self, principal: &Principal) -> bool {
        if principal.token_id.is_none() {
            return false;
        }
        let mut recent = self.recent.lock();
        // Mostly there is none left, so that who connects looks at nothing.
        while recent.front().is_some_and(|(heard, _)| heard.elapsed() > RECENT) {
            recent.pop_front();
        }
        recent.iter().any(|(_, revoked)| revoked.concerns(principal))
    }

    /// How a client ends whose token is revoked.
    pub fn farewell_to_revoked() -> Farewell {
        Farewell::new(CloseCode::Forbidden, REVOKED)
    }

    /// Carries out what it hears, for as long as the node lives.
    pub async fn run(self: Arc<Self>, channels: Arc<OwnChannels>) {
        tokio::select! {
            () = self.hear_all(&channels) => {}
            () = self.ask_when_needed() => {}
        }
    }

    async fn hear_all(self: &Arc<Self>, channels: &Arc<OwnChannels>) {
        let (sender, mut heard) = mpsc::channel(QUEUE_MAX);
        let _listening = channels.listen(TopicKey::control(), sender);
        while let Some((_, heard)) = heard.recv().await {
            match heard {
                Heard::Message(payload) => self.hear(&payload),
                // What was said meanwhile is lost; what was revoked is remembered on Redis.
                Heard::Confirmed => self.is_back.notify_one(),
                Heard::Lost => {}
                Heard::Refused(error) => {
                    tracing::error!(error, "no order to disconnect or revoke reaches this node");
                }
            }
        }
    }

    async fn ask_when_needed(&self) {
        loop {
            tokio::select! {
                () = self.is_back.notified() => {}
                () = self.has_unasked.notified() => tokio::time::sleep(ASK_LATER).await,
            }
            // Who gets in unasked from here on has it done once more.
            self.end_revoked().await;
        }
    }

    async fn give(&self, order: &Order) -> Result<(), PublishError> {
        let order = serde_json::to_vec(order).expect("an order is plain data");
        self.backplane.publish(&TopicKey::control(), Bytes::from(order)).await
    }

    async fn answer(self: Arc<Self>, count: Box<str>, connections: u64) {
        let answer = Order::Counted { count, node: self.node.to_string(), connections };
        if let Err(error) = self.give(&answer).await {
            tracing::debug!(%error, "an answer to another node was not taken");
        }
    }

    fn hear(self: &Arc<Self>, payload: &[u8]) {
        match serde_json::from_slice(payload) {
            Ok(Order::Disconnect { tenant, user }) => {
                let is_theirs = |owner: &Principal| owner.tenant.as_str() == &*tenant && owner.user == user;
                self.end(is_theirs, DISCONNECTED);
            }
            Ok(Order::Revoke(revoked)) => {
                self.end(|owner| revoked.concerns(owner), REVOKED);
                let mut recent = self.recent.lock();
                if recent.len() == RECENT_MAX {
                    recent.pop_front();
                }
                recent.push_back((Instant::now(), revoked));
            }
            Ok(Order::Count { count, tenant, user }) => {
                let is_theirs = |owner: &Principal| owner.tenant.as_str() == &*tenant && owner.user == user;
                let connections = self.sessions.owned_by(is_theirs).len() as u64;
                tokio::spawn(Arc::clone(self).answer(count, connections));
            }
            Ok(Order::Counted { count, node, connections }) => {
                if let Some(asker) = self.counts.lock().get(&count) {
                    // More answers than there can be nodes are not waited for.
                    let _ = asker.try_send((node, connections));
                }
            }
            Ok(Order::ForcedCloses { node, clients }) => {
                tracing::warn!(node, clients, "a node has cut clients off: its drain_s was over");
                self.metrics.drain_forced_closes(clients);
            }
            // A newer node may say what this one doesn't know.
            Err(error) => tracing::debug!(%error, "an order that this node doesn't know"),
        }
    }

    fn end(&self, concerns: impl Fn(&Principal) -> bool, reason: &str) {
        let sessions = self.sessions.owned_by(concerns);
        if !sessions.is_empty() {
            tracing::info!(connections = sessions.len(), reason, "ending connections");
        }
        for session in sessions {
            session.close(&Farewell::new(CloseCode::Forbidden, reason));
        }
    }

    /// Asks about the tokens of all clients, until Redis has answered.
    async fn end_revoked(&self) {
        loop {
            // Orders may be heard again before Redis can be asked, and who connects meanwhile gets in unasked: so the clients
            // are looked up once it can be, and anew after each attempt that failed.
            if self.backplane.can_publish() {
                match self.end_those_revoked(&self.sessions.owners_with_token_ids()).await {
                    Ok(()) => return,
                    // That lasts until somebody allows it, and then the node connects anew.
                    Err(error @ PublishError::Refused(_)) => {
                        tracing::error!(%error, "Redis doesn't tell this node which tokens are revoked");
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "can't ask which tokens are revoked; asking again"),
                }
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn end_those_revoked(&self, clients: &[(Arc<Session>, Arc<Principal>)]) -> Result<(), PublishError> {
        for clients in clients.chunks(ASKED_AT_ONCE) {
            let token = |(_, owner): &'_ (_, Arc<Principal>)| owner.token_id.clone().unwrap_or_default();
            let ids: Vec<_> = clients.iter().map(token).collect();
            let tokens: Vec<_> =
                ids.iter().map(|id| &**id).zip(clients.iter().map(|(_, owner)| &owner.tenant)).collect();
            let revoked = self.backplane.revoked(&tokens).await?;
            for ((session, _), _) in clients.iter().zip(revoked).filter(|(_, is_revoked)| *is_revoked) {
                session.close(&Self::farewell_to_revoked());
            }
        }
        Ok(())
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.counts.lock().remove(&self.count);
    }
}

impl Revoked {
    fn concerns(&self, owner: &Principal) -> bool {
        owner.token_id.as_ref() == Some(&self.jti)
            && self.tenant.as_deref().is_none_or(|tenant| tenant == owner.tenant.as_str())
    }
}
