//! One task that watches over all sessions: pings the silent, closes the dead and those whose token ran out. A timer for
//! each connection would cost more than the connection.

use std::sync::Arc;
use std::time::Duration;

use fanfare_core::session::Pulse;
use fanfare_core::wheel::Wheel;
use fanfare_core::{Farewell, Millis, Session, SessionId};
use fanfare_protocol::{CloseCode, ServerFrame};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::sessions::Sessions;

/// The wheel turns at most so often, and at least `ping_ms / 64`.
const TICK_MS: std::ops::RangeInclusive<u64> = 10..=100;

/// Sessions by the time at which they have to be looked at.
#[derive(Debug)]
pub struct Heartbeat {
    wheel: Mutex<Wheel<(SessionId, Millis)>>,
    tick_ms: u64,
}

impl Heartbeat {
    /// A heartbeat fine enough for `ping_ms`.
    pub fn new(ping_ms: u64, now: Millis) -> Self {
        let tick_ms = (ping_ms / 64).clamp(*TICK_MS.start(), *TICK_MS.end());
        Self { wheel: Mutex::new(Wheel::new(tick_ms, now)), tick_ms }
    }

    /// Looks at `session` at `due` instead of when it would have, and from then on whenever its pulse says.
    pub fn watch(&self, session: &Session, due: Millis) {
        session.check_at(due);
        self.wheel.lock().insert(due, (session.id(), due));
    }

    /// Runs for ever.
    pub async fn run(&self, sessions: Arc<Sessions>, clock: Arc<Clock>) {
        let mut ticks = tokio::time::interval(Duration::from_millis(self.tick_ms));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut due = Vec::new();
        loop {
            ticks.tick().await;
            let now = clock.now();
            self.wheel.lock().advance(now, &mut due);
            for (id, at) in due.drain(..) {
                // Those that have gone are not in the table any more; those that are watched anew have another entry.
                let Some(session) = sessions.get(id).filter(|session| session.is_checked_at(at)) else { continue };
                match session.pulse(now) {
                    Pulse::Quiet(next) => self.watch(&session, next),
                    Pulse::Ping(next) => {
                        session.send(&ServerFrame::Ping, now);
                        self.watch(&session, next);
                    }
                    Pulse::Dead => {
                        session.close(&Farewell::new(CloseCode::HeartbeatMissed, "two pings unanswered"));
                    }
                    Pulse::Ended(CloseCode::TokenExpired) => {
                        session.close(&Farewell::new(CloseCode::TokenExpired, "token expired"));
                    }
                    Pulse::Ended(code) => {
                        session.close(&Farewell::new(code, "not authenticated in time (auth_timeout_ms)"));
                    }
                }
            }
        }
    }
}
