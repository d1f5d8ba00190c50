//! How a node leaves: first it says that it is not ready and still takes clients, since balancers learn late; then it
//! sends its clients away, a few at a time, so that the other nodes don't get them all at once; then it is gone.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::time::spread_ms;
use fanfare_core::{Farewell, Session};
use fanfare_protocol::CloseCode;

use crate::config::DrainConfig;
use crate::lifecycle::Phase;
use crate::node::Node;

/// Clients sent away in a second where the drain leaves time for it.
const CLIENTS_A_SECOND: u64 = 500;

/// A client is sent away at once, and comes back within this many milliseconds.
const RETURN_WITHIN_MS: u64 = 1_000;

/// For Redis to hear that nobody of this node is there any more.
const PRESENCE_END: Duration = Duration::from_secs(2);

/// How often it is looked whether everybody has gone.
const TICK: Duration = Duration::from_millis(20);

/// Leaves, and returns within `config.delay + config.spread` and two seconds.
pub async fn drain(node: &Arc<Node>, config: DrainConfig) {
    node.lifecycle.advance(Phase::Leaving);
    tracing::info!(delay_s = config.delay.as_secs(), "not ready any more, still taking clients");
    tokio::time::sleep(config.delay).await;
    node.lifecycle.advance(Phase::Draining);
    let left = tokio::time::timeout(config.spread, async {
        send_away(node, config.spread).await;
        // Commands over HTTP have places and no sessions.
        while !node.sessions.is_empty() || node.admission.connections() > 0 {
            tokio::time::sleep(TICK).await;
        }
    });
    if left.await.is_ok() {
        tracing::info!("all clients have gone");
    } else {
        tracing::warn!(clients = node.sessions.len(), "clients cut off: drain_s is over");
    }
    node.presence.end(PRESENCE_END).await;
}

/// Tells every client to leave, evenly over the first part of `within`.
async fn send_away(node: &Arc<Node>, within: Duration) {
    let sessions = node.sessions.all();
    let count = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
    let unhurried = Duration::from_millis(u64::from(count) * 1_000 / CLIENTS_A_SECOND);
    // The last ones need time for their farewell.
    let window = unhurried.min(within.mul_f32(0.8));
    tracing::info!(clients = count, window_ms = window.as_millis(), "sending clients away");
    let started = tokio::time::Instant::now();
    for (index, session) in (0_u32..).zip(sessions) {
        let due = started + window.mul_f64(f64::from(index) / f64::from(count.max(1)));
        if due > tokio::time::Instant::now() + TICK {
            tokio::time::sleep_until(due).await;
        }
        session.close(&farewell(&session));
    }
}

/// What a client is told that has to go to another node.
pub fn farewell(session: &Session) -> Farewell {
    Farewell {
        code: CloseCode::Draining,
        reason: CloseCode::Draining.reason().to_owned(),
        after_ms: spread_ms(session.id().0, RETURN_WITHIN_MS),
    }
}
