//! What the parts of one node share, and how they are put together. Deliberately no listener: see [`crate::serve`].

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fanfare_backplane::{Backplane, Inbox};
use fanfare_core::admission::{Admission, AdmissionLimits, Place};
use fanfare_core::rate::FrameRate;
use fanfare_core::{Budget, Outbox, Session, SessionId, Wire};
use fanfare_protocol::Codec;
use futures_util::FutureExt;
use tokio::sync::mpsc;

use crate::auth::{AuthError, Principal, Verifier};
use crate::client::{Client, Credentials};
use crate::clock::Clock;
use crate::config::Rules;
use crate::connection::{Connection, End};
use crate::connection_name::ConnectionNames;
use crate::control::Control;
use crate::critical;
use crate::heartbeat::Heartbeat;
use crate::hub::{self, Hub, HubConfig};
use crate::lifecycle::{Lifecycle, Phase};
use crate::metrics::Metrics;
use crate::own_channels::OwnChannels;
use crate::presence::Presence;
use crate::refusal::{Refusal, Refused};
use crate::requests::{self, Requests, RequestsConfig};
use crate::sessions::{Listed, Sessions};
use crate::shard::{self, Shard};
use crate::socket::Socket;
use crate::traces::Traces;

/// The settings of what a node does with its clients.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Connections.
    pub admission: AdmissionLimits,
    /// Clients a second that it is ready to take over from other nodes.
    pub accept_budget_per_s: u32,
    /// Subscriptions of one connection, its own topics included.
    pub subscriptions_max: usize,
    /// Frames of one connection.
    pub frame_rate: FrameRate,
    /// Events that one connection publishes.
    pub publish_rate: FrameRate,
    /// A client's message, in bytes.
    pub message_bytes_max: usize,
    /// An envelope, in bytes; a rule may allow less.
    pub event_bytes_max: usize,
    /// What may wait for one client, in bytes.
    pub outbox_bytes_max: usize,
    /// What may wait for all clients together, in bytes.
    pub outbox_node_bytes_max: usize,
    /// Silence before a ping.
    pub ping_ms: u64,
    /// Until the first token.
    pub auth_timeout_ms: u64,
    /// After a token's expiry.
    pub token_expiry_grace_ms: u64,
    /// For the farewell to reach the client.
    pub close_timeout: Duration,
    /// Whether a connection is on its own `user:` topic.
    pub own_user_topic: bool,
    /// How long a topic outlives its last subscriber.
    pub unsubscribe_delay_ms: u64,
    /// How far gap notices are spread.
    pub gap_spread_ms: u64,
    /// How long at most more events are waited for, where that saves writes: see `hub::turns`.
    pub gather_max: Duration,
    /// Durable events kept for clients that come back, in bytes.
    pub recent_bytes_max: usize,
    /// What holds for which topics.
    pub rules: Arc<Rules>,
    /// Requests to backends.
    pub requests: RequestsConfig,
    /// How long the node's word for who is there holds on Redis.
    pub presence_ttl: Duration,
    /// Of a topic with more users only their number is told.
    pub presence_told_max: u64,
    /// Shards: tasks that write to clients.
    pub shards: usize,
}

/// One node.
pub struct Node {
    /// Its id, for people.
    pub id: Arc<str>,
    /// Its settings.
    pub config: NodeConfig,
    /// Its clock.
    pub clock: Arc<Clock>,
    /// The queue to its hub.
    pub hub: mpsc::Sender<hub::Command>,
    /// Where events come from and go to.
    pub backplane: Backplane,
    /// Who is there.
    pub presence: Arc<Presence>,
    /// Who is sent away.
    pub control: Arc<Control>,
    /// What clients ask backends.
    pub requests: Arc<Requests>,
    /// How many connections there may be.
    pub admission: Arc<Admission>,
    /// Of all outboxes together.
    pub budget: Arc<Budget>,
    /// All sessions.
    pub sessions: Arc<Sessions>,
    /// What watches over them.
    pub heartbeat: Arc<Heartbeat>,
    /// What they are called.
    pub names: Arc<ConnectionNames>,
    /// Who may connect.
    pub verifier: Verifier,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is traced.
    pub traces: Traces,
    /// Whether it takes clients.
    pub lifecycle: Lifecycle,
    next_session: AtomicU64,
}

impl Node {
    /// Puts a node together and starts its tasks.
    pub fn start(
        id: &str,
        config: NodeConfig,
        (backplane, inbox): (Backplane, Inbox),
        verifier: Verifier,
        (metrics, traces): (Arc<Metrics>, Traces),
    ) -> Arc<Self> {
        let clock = Arc::new(Clock::start());
        let budget = Arc::new(Budget::new(config.outbox_node_bytes_max));
        let sessions = Arc::new(Sessions::default());
        let names = Arc::new(ConnectionNames::new());
        let around = shard::Around {
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            sessions: Arc::clone(&sessions),
            budget: Arc::clone(&budget),
            gap_spread_ms: config.gap_spread_ms,
            outbox_bytes_max: config.outbox_bytes_max,
        };
        let (shards, tasks): (Vec<_>, Vec<_>) = (0..config.shards).map(|_| Shard::new(around.clone())).unzip();
        for shard in tasks {
            critical::spawn("shard", shard.run());
        }
        let own_channels = Arc::new(OwnChannels::new(backplane.clone()));
        let presence = Presence::new(id, config.presence_ttl, backplane.clone(), Arc::clone(&metrics));
        let presence = Arc::new(presence);
        critical::spawn("presence", Arc::clone(&presence).run());
        let hub_config = HubConfig {
            batch_bytes_max: config.outbox_bytes_max / 4,
            unsubscribe_delay_ms: config.unsubscribe_delay_ms,
            recent_bytes_max: config.recent_bytes_max,
            rules: Arc::clone(&config.rules),
            outbox_bytes_max: config.outbox_bytes_max,
            presence_told_max: config.presence_told_max,
            gather_max: config.gather_max,
        };
        let around = hub::Around {
            backplane: backplane.clone(),
            inbox,
            shards,
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            names: Arc::clone(&names),
            own_channels: Arc::clone(&own_channels),
            presence: Arc::clone(&presence),
            traces: traces.clone(),
        };
        let (hub, task) = Hub::new(hub_config, around);
        critical::spawn("hub", task.run());
        let id: Arc<str> = id.into();
        let control = Control::new(&id, backplane.clone(), Arc::clone(&sessions), Arc::clone(&metrics));
        critical::spawn("control", Arc::clone(&control).run(Arc::clone(&own_channels)));
        let heartbeat = Arc::new(Heartbeat::new(config.ping_ms, clock.now()));
        let watching = Arc::clone(&heartbeat);
        let (watched, time) = (Arc::clone(&sessions), Arc::clone(&clock));
        critical::spawn("heartbeat", async move { watching.run(watched, time).await });
        Arc::new(Self {
            requests: Arc::new(requests(&id, &config, (&backplane, &own_channels), (&metrics, &traces))),
            id,
            admission: Admission::new(config.admission),
            config,
            clock,
            hub,
            backplane,
            presence,
            control,
            budget,
            sessions,
            heartbeat,
            names,
            verifier,
            metrics,
            traces,
            lifecycle: Lifecycle::default(),
            next_session: AtomicU64::new(1),
        })
    }

    /// Who a token makes its bearer.
    ///
    /// # Errors
    /// Why it is refused; that it was revoked is known only while the backplane answers.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, AuthError> {
        let principal = self.verifier.verify(token).await?;
        if self.control.is_revoked(&principal).await { Err(AuthError::Revoked) } else { Ok(principal) }
    }

    /// A session for a socket that has been upgraded.
    pub fn session(&self, socket: &Socket, codec: Codec) -> Arc<Session> {
        self.session_over(socket.wire(), codec)
    }

    /// A session whose client is reached by `wire`.
    pub(crate) fn session_over(&self, wire: Arc<dyn Wire>, codec: Codec) -> Arc<Session> {
        let id = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        let outbox = Outbox::new(wire, codec, self.config.outbox_bytes_max, Arc::clone(&self.budget));
        Arc::new(Session::new(id, outbox, self.config.ping_ms, self.clock.now()))
    }

    /// Serves one client from the upgrade to its end, in a task of its own. `admitted` is what the upgrade found out about
    /// it, or why it can't stay: then it is told so first.
    pub fn serve(
        self: &Arc<Self>,
        socket: Socket,
        codec: Codec,
        address: IpAddr,
        admitted: Result<(Place, Credentials), Refusal>,
    ) {
        let session = self.session(&socket, codec);
        self.metrics.connection_opened();
        let listed = self.sessions.list(&session);
        // Who was let in before the drain and is listed after its start would be sent away by nobody.
        let is_late = self.lifecycle.phase() >= Phase::Draining;
        let admitted = if is_late { Err(Refusal::Draining) } else { admitted };
        let client = admitted
            .map_err(|refusal| refusal.farewell(&session))
            .map(|(place, credentials)| Client::new(self, &session, credentials, place));
        match client {
            Ok((client, busy)) => {
                let connection = Connection::new(socket, session, client, busy);
                tokio::spawn(stay(Arc::clone(self), connection, listed, address));
            }
            Err(farewell) => {
                tracing::debug!(code = farewell.code.as_u16(), reason = farewell.reason, "connection refused");
                session.close(&farewell);
                let connection = Connection::new(socket, session, Refused, None);
                tokio::spawn(turn_away(Arc::clone(self), connection, listed));
            }
        }
    }
}

/// What clients ask backends over this backplane.
fn requests(
    id: &Arc<str>,
    config: &NodeConfig,
    (backplane, own_channels): (&Backplane, &Arc<OwnChannels>),
    (metrics, traces): (&Arc<Metrics>, &Traces),
) -> Requests {
    let around = requests::Around {
        backplane: backplane.clone(),
        own_channels: Arc::clone(own_channels),
        node_id: Arc::clone(id),
        metrics: Arc::clone(metrics),
        traces: traces.clone(),
        data_bytes_max: config.event_bytes_max,
        idle: Duration::from_millis(config.unsubscribe_delay_ms),
    };
    Requests::new(config.requests, around)
}

/// A client's stay. This future is what an idle connection costs, so it holds nothing that only a part of the way needs. Not an
/// `async fn`, which would keep the connection twice: as its argument, and where it is used (by
/// `-Zprint-type-sizes` 1,112 bytes, and now 536).
#[expect(clippy::manual_async_fn, reason = "half of the memory")]
fn stay(
    node: Arc<Node>,
    mut connection: Connection<Client>,
    listed: Listed,
    address: IpAddr,
) -> impl Future<Output = ()> + Send {
    async move {
        // Should handling a message panic, what the client holds on the node is given back all the same.
        let run = AssertUnwindSafe(connection.run(node.config.close_timeout));
        let end = run.catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(%address, "a client's task panicked");
            End::Gone
        });
        log_end(connection.handler(), address, end);
        let (client, busy) = connection.into_handler();
        Box::pin(client.leave(busy)).await;
        drop(listed);
        node.metrics.connection_ended(end);
    }
}

/// The farewell of a client for which there is no place.
async fn turn_away(node: Arc<Node>, mut connection: Connection<Refused>, listed: Listed) {
    let end = connection.run(node.config.close_timeout).await;
    drop(listed);
    node.metrics.connection_ended(end);
}

/// A line for each connection, at debug: at info there is a summary.
pub(crate) fn log_end(client: &Client, address: IpAddr, end: End) {
    let principal = client.principal();
    tracing::debug!(
        %address,
        tenant = principal.map(|principal| principal.tenant.as_str()),
        user = principal.map(|principal| &*principal.user),
        code = end.code(),
        "connection ended"
    );
}
