//! How a node leaves: first it says that it is not ready and still takes clients, since balancers learn late; then it
//! sends its clients away, no faster than the other nodes can take them ([`crate::pace`]); then it is gone.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::{Farewell, Session};
use fanfare_protocol::CloseCode;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::DrainConfig;
use crate::lifecycle::Phase;
use crate::node::Node;
use crate::pace::{self, Pace};
use crate::peers::{self, Peer};
use crate::report;

/// The part of the drain in which clients are sent away: the last ones need time for their farewell.
const SENDING: f32 = 0.8;

/// How long the first look at the other nodes is waited for when there was no delay to have it in.
const FIRST_LOOK: Duration = Duration::from_millis(500);

/// For Redis to hear that nobody of this node is there any more, and what became of its clients.
const END: Duration = Duration::from_secs(2);

/// How often it is looked whether everybody has gone; what is due sooner is done at once.
const TICK: Duration = Duration::from_millis(20);

/// How long it isn't looked at what other nodes say.
const LOOK: Duration = Duration::from_secs(1);

/// What was not done in time is made up for so far: else a node that stood still would send many away at once.
const ARREARS: Duration = Duration::from_millis(100);

/// Other nodes, as far as it is known.
type Peers = watch::Receiver<Option<Vec<Peer>>>;

/// Leaves, and returns within `config.delay + config.within` and two seconds.
pub async fn drain(node: &Arc<Node>, config: DrainConfig) {
    node.lifecycle.advance(Phase::Leaving);
    tracing::info!(delay_s = config.delay.as_secs(), "not ready any more, still taking clients");
    let (told, peers) = watch::channel(None);
    tokio::select! {
        () = peers::watch(node, told) => {}
        () = leave(node, config, peers) => {}
    }
}

async fn leave(node: &Arc<Node>, config: DrainConfig, mut peers: Peers) {
    tokio::time::sleep(config.delay).await;
    node.lifecycle.advance(Phase::Draining);
    let started = Instant::now();
    // Nothing may be known for as long as Redis is away.
    let _ = tokio::time::timeout(FIRST_LOOK.min(config.within / 4), peers.wait_for(Option::is_some)).await;
    let left = tokio::time::timeout_at(started + config.within, async {
        send_away(node, started + config.within.mul_f32(SENDING), &peers).await;
        // Commands over HTTP have places and no sessions.
        while connections(node) > 0 {
            tokio::time::sleep(TICK).await;
        }
    });
    if left.await.is_ok() {
        tracing::info!("all clients have gone");
    }
    // The others need not wait until they forget this node: it holds nobody any more that comes to them.
    let farewell = async { tokio::join!(tell_forced_closes(node), report::tell(node)) };
    tokio::join!(node.presence.end(END), async { tokio::time::timeout(END, farewell).await.ok() });
}

/// Tells every client to leave, the last one at `until`.
async fn send_away(node: &Arc<Node>, until: Instant, peers: &Peers) {
    let mut sessions = node.sessions.all();
    let mut due = Instant::now();
    let mut told = Told::default();
    loop {
        let pace = pace_of(node, peers, sessions.len(), until.saturating_duration_since(Instant::now()));
        told.tell(sessions.len(), pace, peers);
        let Some(session) = sessions.pop() else { return };
        // Who has gone by itself takes nobody's place.
        if session.close(&farewell(&session)) && !sessions.is_empty() {
            let last = due.max(Instant::now() - ARREARS);
            due = turn(node, (sessions.len(), until), peers, last).await;
        }
    }
}

/// Waits until the next of `waiting` clients has to go, the one before it having gone at `last`. Returns when that was due.
async fn turn(node: &Node, (waiting, until): (usize, Instant), peers: &Peers, last: Instant) -> Instant {
    loop {
        let now = Instant::now();
        let due = last + pace_of(node, peers, waiting, until.saturating_duration_since(now)).gap;
        if due <= now + TICK || node.sessions.is_empty() {
            return due;
        }
        // By then the others may say something else, or all may have gone by themselves.
        tokio::time::sleep_until(due.min(now + LOOK)).await;
    }
}

fn pace_of(node: &Node, peers: &Peers, waiting: usize, left: Duration) -> Pace {
    let peers = peers.borrow();
    pace::of_drain(waiting, node.config.accept_budget_per_s, peers.as_deref().unwrap_or_default(), left)
}

/// What the log has said already.
#[derive(Default)]
struct Told {
    start: bool,
    forced: bool,
}

impl Told {
    fn tell(&mut self, clients: usize, pace: Pace, peers: &Peers) {
        let gap_ms = pace.gap.as_secs_f64() * 1_000.0;
        if !self.start {
            let nodes = peers.borrow().iter().flatten().filter(|peer| peer.serves()).count();
            tracing::info!(clients, gap_ms, nodes, "sending clients away");
            self.start = true;
        }
        if pace.is_forced && !self.forced {
            let advice = "clients go faster than the other nodes are ready to take them: raise drain_s, or \
                          accept_budget_per_s or connections_max of the other nodes";
            tracing::warn!(clients, gap_ms, "{advice}");
            self.forced = true;
        }
    }
}

/// Clients that are still connected, one way or another.
fn connections(node: &Node) -> usize {
    node.sessions.len().max(node.admission.connections())
}

/// Nobody reads this node's counters any more, so the others count whom it cuts off.
async fn tell_forced_closes(node: &Arc<Node>) {
    let clients = connections(node);
    if clients == 0 {
        return;
    }
    tracing::warn!(clients, "clients cut off: drain_s is over");
    if let Err(error) = node.control.tell_forced_closes(clients as u64).await {
        tracing::warn!(%error, "the other nodes don't count them");
    }
}

/// What a client is told that has to go to another node.
pub fn farewell(session: &Session) -> Farewell {
    pace::farewell(session, CloseCode::Draining.reason())
}
