//! Is this node ready? There are two answers: whether it delivers now, for who wants to know; and whether a balancer
//! should send clients here. An outage of Redis hits every node, and must not leave the service without any.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use fanfare_backplane::State;
use parking_lot::Mutex;

use crate::lifecycle::Phase;
use crate::node::Node;

/// How often it is looked whether Redis answers while nothing is delivered here.
const LOOK: Duration = Duration::from_millis(500);

/// How long that may last before a balancer is told. Connecting again takes less.
const UNDELIVERED_MAX: Duration = Duration::from_secs(3);

/// Judges one node.
pub struct Readiness {
    node: Arc<Node>,
    /// Since when Redis takes what is published and this node gets nothing of it.
    undelivered_since: Mutex<Option<Instant>>,
}

/// Why a node is not ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The backplane was never up.
    #[error("{}", connecting(.0.as_deref()))]
    Connecting(Option<String>),
    /// The backplane was up and is away.
    #[error("the backplane is away: {0}")]
    Away(String),
    /// The backplane answers, and this node's delivery doesn't work.
    #[error("the backplane answers, but delivers nothing to this node: {0}")]
    Undelivered(String),
    /// The backplane seems to work, and that it delivers to this node can't be proved.
    #[error("nothing proves that the backplane delivers to this node: {0}")]
    Unproven(String),
    /// The node is about to stop.
    #[error("the node is shutting down")]
    ShuttingDown,
}

impl Readiness {
    /// Starts to watch `node`, for as long as somebody keeps the result.
    pub fn watch(node: Arc<Node>) -> Arc<Self> {
        let readiness = Arc::new(Self { node, undelivered_since: Mutex::default() });
        tokio::spawn(look(Arc::downgrade(&readiness)));
        readiness
    }

    /// Does this node deliver what the backplane takes?
    pub fn delivers(&self) -> Result<(), NotReady> {
        delivers(self.node.lifecycle.phase(), &self.state())
    }

    /// Should a balancer send clients here?
    pub fn takes_clients(&self) -> Result<(), NotReady> {
        let undelivered = self.undelivered_since.lock().map(|since| since.elapsed());
        takes_clients(self.node.lifecycle.phase(), &self.state(), undelivered)
    }

    fn state(&self) -> State {
        self.node.backplane.state().borrow().clone()
    }

    fn look(&self) {
        // What can't be proved may well be delivered, and what hinders it hits every node.
        let may_be_delivered = matches!(self.state(), State::Up | State::Unproven { .. });
        let is_undelivered = !may_be_delivered && self.node.backplane.can_publish();
        let mut since = self.undelivered_since.lock();
        *since = if is_undelivered { since.or_else(|| Some(Instant::now())) } else { None };
    }
}

async fn look(readiness: Weak<Readiness>) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        let Some(readiness) = readiness.upgrade() else { return };
        readiness.look();
    }
}

fn delivers(phase: Phase, state: &State) -> Result<(), NotReady> {
    match state {
        _ if phase > Phase::Serving => Err(NotReady::ShuttingDown),
        State::Up => Ok(()),
        State::Connecting { error } => Err(NotReady::Connecting(error.clone())),
        State::Down { error } => Err(NotReady::Away(error.clone())),
        State::Undelivered { error } => Err(NotReady::Undelivered(error.clone())),
        State::Unproven { error } => Err(NotReady::Unproven(error.clone())),
    }
}

fn takes_clients(phase: Phase, state: &State, undelivered: Option<Duration>) -> Result<(), NotReady> {
    match (delivers(phase, state), undelivered) {
        (Err(NotReady::Away(error) | NotReady::Undelivered(error)), Some(duration)) if duration > UNDELIVERED_MAX => {
            Err(NotReady::Undelivered(error))
        }
        (Err(NotReady::Away(_) | NotReady::Undelivered(_) | NotReady::Unproven(_)), _) => Ok(()),
        (judged, _) => judged,
    }
}

fn connecting(error: Option<&str>) -> String {
    let error = error.map(|error| format!(": {error}"));
    format!("not connected to the backplane yet{}", error.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> State {
        State::Down { error: "connection refused".to_owned() }
    }

    #[test]
    fn an_outage_of_redis_makes_a_node_unready_and_does_not_take_it_from_the_balancer() {
        assert_eq!(delivers(Phase::Serving, &down()), Err(NotReady::Away("connection refused".to_owned())));
        assert_eq!(takes_clients(Phase::Serving, &down(), None), Ok(()));
        // Both connections come back, one a moment before the other.
        assert_eq!(takes_clients(Phase::Serving, &down(), Some(Duration::from_secs(1))), Ok(()));
        assert_eq!(takes_clients(Phase::Serving, &State::Up, None), Ok(()));
    }

    #[test]
    fn a_node_that_alone_gets_nothing_is_taken_from_the_balancer() {
        let undelivered = Some(UNDELIVERED_MAX + Duration::from_millis(1));
        let judged = takes_clients(Phase::Serving, &down(), undelivered).map_err(|reason| reason.to_string());
        let reason = "the backplane answers, but delivers nothing to this node: connection refused";
        assert_eq!(judged, Err(reason.to_owned()));
    }

    #[test]
    fn a_loss_of_delivery_is_told_at_once_and_to_the_balancer_when_it_lasts() {
        let state = State::Undelivered { error: "no probe".to_owned() };
        let lost = Err(NotReady::Undelivered("no probe".to_owned()));
        assert_eq!(delivers(Phase::Serving, &state), lost);
        assert_eq!(takes_clients(Phase::Serving, &state, Some(Duration::from_secs(1))), Ok(()));
        assert_eq!(takes_clients(Phase::Serving, &state, Some(UNDELIVERED_MAX + Duration::from_millis(1))), lost);
    }

    #[test]
    fn what_only_cant_be_proved_is_no_reason_for_a_balancer() {
        let state = State::Unproven { error: "NOPERM".to_owned() };
        assert_eq!(delivers(Phase::Serving, &state), Err(NotReady::Unproven("NOPERM".to_owned())));
        assert_eq!(takes_clients(Phase::Serving, &state, Some(UNDELIVERED_MAX * 2)), Ok(()));
    }

    #[test]
    fn before_the_first_connection_and_at_the_end_both_say_no() {
        for error in [None, Some("WRONGPASS".to_owned())] {
            let state = State::Connecting { error: error.clone() };
            assert_eq!(delivers(Phase::Serving, &state), Err(NotReady::Connecting(error.clone())));
            assert_eq!(takes_clients(Phase::Serving, &state, None), Err(NotReady::Connecting(error)));
        }
        for phase in [Phase::Leaving, Phase::Draining] {
            assert_eq!(delivers(phase, &State::Up), Err(NotReady::ShuttingDown));
            assert_eq!(takes_clients(phase, &State::Up, None), Err(NotReady::ShuttingDown));
        }
    }
}
