//! Sends clients away while this node has well more than the mean of all nodes, so that nodes that were added get some of
//! them: slowly, bounded by what the emptier nodes say they are ready to take, and never while a node leaves or one isn't
//! heard of. Where clients go is the balancer's affair; it is noticed when they come back here, and then left alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::IndexedRandom as _;
use tokio::time::{Instant, MissedTickBehavior};

use crate::lifecycle::Phase;
use crate::node::Node;
use crate::pace;
use crate::peers::{self, Peer};

/// Between two looks at the nodes: each has reported at least once more by then.
const LOOK: Duration = Duration::from_secs(5);

/// Less than this above the mean is left alone, whatever the setting.
const DIFFERENCE_MIN: u64 = 20;

/// Who sheds goes on until it is nearer to the mean than what made it begin, by this factor.
const NEAR: u64 = 4;

/// With `k` nodes, of `k` clients that are sent away one may go where it is wanted. After so many times more, they don't go.
const IN_VAIN: u64 = 4;

/// How long a node whose clients don't go to others leaves them alone.
const REST: Duration = Duration::from_mins(10);

/// What a client is told.
const REASON: &str = "rebalancing";

/// Sheds until the node leaves. `above_percent` of the mean is too much.
pub(crate) async fn run(node: Arc<Node>, above_percent: u32) {
    let mut shedder = Shedder::new(above_percent.into());
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while node.lifecycle.phase() == Phase::Serving {
        ticks.tick().await;
        let peers = peers::read(&node).await;
        if let Some(step) = shedder.look(node.sessions.len() as u64, peers.as_deref(), Instant::now()) {
            send_away(&node, step).await;
        }
    }
}

/// Sends some clients away, chosen by chance, in less than the time to the next look.
async fn send_away(node: &Node, step: Step) {
    let all = node.sessions.all();
    let until = Instant::now() + LOOK.mul_f32(0.9);
    let count = usize::try_from(step.clients).unwrap_or(usize::MAX);
    let chosen: Vec<_> = all.choose_multiple(&mut rand::rng(), count).cloned().collect();
    for session in chosen {
        if node.lifecycle.phase() > Phase::Serving || Instant::now() + step.gap > until {
            return;
        }
        if session.close(&pace::farewell(&session, REASON)) {
            node.metrics.shed();
            tokio::time::sleep(step.gap).await;
        }
    }
}

/// What is to be done until the next look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    /// At most so many go.
    clients: u64,
    /// One after the other, with so much time between.
    gap: Duration,
}

/// Decides.
#[derive(Debug)]
struct Shedder {
    above_percent: u64,
    /// The last report of each node, by its uptime.
    heard: HashMap<String, u64>,
    round: Option<Round>,
    rests_until: Option<Instant>,
}

/// From the look that found too many clients here to the one that finds it near the mean.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// Clients to be sent away so far.
    sent: u64,
    /// Beyond that they come back here.
    sent_max: u64,
}

impl Shedder {
    fn new(above_percent: u64) -> Self {
        Self { above_percent, heard: HashMap::new(), round: None, rests_until: None }
    }

    /// What to do now with `here` clients, when the other nodes are those; None for nothing.
    fn look(&mut self, here: u64, peers: Option<&[Peer]>, now: Instant) -> Option<Step> {
        let peers = peers.unwrap_or_default();
        let is_known = self.has_heard_all(peers) && peers.iter().all(|peer| peer.phase == Some(Phase::Serving));
        let is_resting = self.rests_until.is_some_and(|until| now < until);
        if !is_known || is_resting {
            self.end(here);
            return None;
        }
        let nodes = peers.len() as u64 + 1;
        let mean = (here + peers.iter().map(|peer| peer.connections).sum::<u64>()) / nodes;
        let above = here.saturating_sub(mean);
        let much = (mean * (self.above_percent - 100) / 100).max(DIFFERENCE_MIN);
        if above <= if self.round.is_some() { much / NEAR } else { much } {
            self.end(here);
            return None;
        }
        let takers: Vec<&Peer> = peers.iter().filter(|peer| peer.connections < mean).collect();
        let all_above = above + peers.iter().map(|peer| peer.connections.saturating_sub(mean)).sum::<u64>();
        let gap = pace::of_shedding(&takers, pace::float(above) / pace::float(all_above));
        if self.round.is_none() {
            tracing::info!(connections = here, mean, nodes, "more clients than other nodes have: sending some away");
        }
        let round = self.round.get_or_insert(Round { sent: 0, sent_max: IN_VAIN * nodes * above });
        if round.sent > round.sent_max {
            let advice = "clients that were sent away came back here: does the balancer know the other nodes, and is it \
                          free to choose?";
            tracing::warn!(connections = here, mean, sent = round.sent, rest_s = REST.as_secs(), "{advice}");
            self.rests_until = Some(now + REST);
            self.round = None;
            return None;
        }
        // Half of what is too much: those that were sent away a moment ago are counted nowhere yet.
        let clients = above.div_ceil(2).min(fitting(gap));
        round.sent += clients;
        let spread = LOOK.checked_div(u32::try_from(clients).unwrap_or(u32::MAX));
        (clients > 0).then(|| Step { clients, gap: gap.max(spread.unwrap_or(LOOK).mul_f32(0.8)) })
    }

    /// Whether there are others, and each has reported since the last look.
    fn has_heard_all(&mut self, peers: &[Peer]) -> bool {
        let is_new = |peer: &Peer| self.heard.get(&peer.node).is_some_and(|uptime_s| *uptime_s != peer.uptime_s);
        let are_new = !peers.is_empty() && peers.iter().all(is_new);
        self.heard = peers.iter().map(|peer| (peer.node.clone(), peer.uptime_s)).collect();
        are_new
    }

    fn end(&mut self, here: u64) {
        if let Some(round) = self.round.take() {
            tracing::info!(connections = here, sent = round.sent, "no more clients are sent to other nodes");
        }
    }
}

/// Clients that can go until the next look.
fn fitting(gap: Duration) -> u64 {
    LOOK.as_micros().checked_div(gap.as_micros()).map_or(u64::MAX, |count| u64::try_from(count).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET_PER_S: u32 = 500;

    fn peer(node: usize, connections: u64, uptime_s: u64) -> Peer {
        Peer {
            node: node.to_string(),
            uptime_s,
            phase: Some(Phase::Serving),
            connections,
            room: 100_000,
            accept_budget_per_s: BUDGET_PER_S,
        }
    }

    /// A shedder that has heard all, and so decides at its next look.
    fn attentive(peers: &[Peer]) -> Shedder {
        let mut shedder = Shedder::new(110);
        let before: Vec<Peer> = peers.iter().map(|peer| Peer { uptime_s: 0, ..peer.clone() }).collect();
        assert_eq!(shedder.look(0, Some(&before), Instant::now()), None);
        shedder
    }

    fn look(here: u64, peers: &[Peer]) -> Option<Step> {
        attentive(peers).look(here, Some(peers), Instant::now())
    }

    #[test]
    fn only_who_has_well_more_than_the_mean_gives_some_up() {
        let peers = [peer(1, 1_000, 9), peer(2, 1_000, 9)];
        for few in [0, 1_000, 1_150] {
            assert_eq!(look(few, &peers), None, "{few}");
        }
        let step = look(1_180, &peers);
        assert_eq!(step.map(|step| step.clients), Some(60), "half of what is above the mean of 1,060");
        // Ten times the mean, and yet hardly worth it.
        assert_eq!(look(19, &[peer(1, 0, 9), peer(2, 0, 9)]), None);
    }

    #[test]
    fn it_is_bounded_by_what_the_emptier_nodes_take_and_shared() {
        let alone = look(20_000, &[peer(1, 0, 9)]);
        assert_eq!(alone.map(|step| step.clients), Some(350 * 5));
        let together = look(20_000, &[peer(1, 0, 9), peer(2, 20_000, 9)]);
        assert_eq!(together.map(|step| step.clients), Some(350 * 5 / 2));
        let full = Peer { room: 0, ..peer(1, 0, 9) };
        assert_eq!(look(20_000, &[full]), None);
    }

    #[test]
    fn while_a_node_leaves_or_is_not_heard_of_nobody_is_sent_away() {
        let peers = [peer(1, 0, 9), peer(2, 1_000, 9)];
        assert!(look(1_000, &peers).is_some());
        for phase in [Some(Phase::Leaving), Some(Phase::Draining), None] {
            let leaving = Peer { phase, ..peer(2, 1_000, 9) };
            assert_eq!(look(1_000, &[peer(1, 0, 9), leaving]), None, "{phase:?}");
        }
        let mut shedder = attentive(&peers);
        assert_eq!(shedder.look(1_000, None, Instant::now()), None, "nothing can be read");
        assert_eq!(shedder.look(1_000, Some(&peers), Instant::now()), None, "all are new, and may have died long ago");
        let one_is_silent = [peer(1, 0, 11), peer(2, 1_000, 9)];
        assert_eq!(shedder.look(1_000, Some(&one_is_silent), Instant::now()), None);
        assert_eq!(look(1_000, &[]), None, "nobody else is there");
    }

    #[test]
    fn clients_that_come_back_are_left_alone() {
        let started = Instant::now();
        let mut shedder = attentive(&[peer(1, 0, 1)]);
        let mut uptime_s = 1;
        let mut look = |after| {
            uptime_s += 5;
            shedder.look(1_000, Some(&[peer(1, 0, uptime_s)]), started + after)
        };
        let sent: u64 = std::iter::from_fn(|| look(Duration::ZERO)).map(|step| step.clients).sum();
        assert!((4_000..5_000).contains(&sent), "{sent}");
        assert_eq!(look(LOOK), None);
        assert_eq!(look(REST / 2), None);
        assert!(look(REST).is_some());
    }

    /// Where a balancer sends who comes.
    #[derive(Clone, Copy, Debug)]
    enum Balancer {
        LeastConnections,
        Turns,
    }

    /// Nodes that shed behind a balancer, one look after the other.
    struct World {
        balancer: Balancer,
        nodes: Vec<(u64, Shedder)>,
        looks: u64,
        turn: usize,
        sent: u64,
    }

    impl World {
        fn new(balancer: Balancer, held: &[u64]) -> Self {
            let nodes = held.iter().map(|held| (*held, Shedder::new(110))).collect();
            Self { balancer, nodes, looks: 0, turn: 0, sent: 0 }
        }

        /// All look, at what the others told last.
        fn look(&mut self) {
            self.looks += 1;
            let now = Instant::now();
            let told: Vec<Peer> =
                self.nodes.iter().enumerate().map(|(node, (held, _))| peer(node, *held, self.looks * 5)).collect();
            let mut sent = 0;
            for (node, (held, shedder)) in self.nodes.iter_mut().enumerate() {
                let others: Vec<Peer> = told.iter().filter(|peer| peer.node != node.to_string()).cloned().collect();
                let step = shedder.look(*held, Some(&others), now);
                let clients = step.map_or(0, |step| step.clients.min(fitting(step.gap)));
                *held -= clients;
                sent += clients;
            }
            self.sent += sent;
            for _ in 0..sent {
                self.turn = match self.balancer {
                    Balancer::Turns => (self.turn + 1) % self.nodes.len(),
                    Balancer::LeastConnections => {
                        (0..self.nodes.len()).min_by_key(|node| self.nodes[*node].0).unwrap_or(0)
                    }
                };
                self.nodes[self.turn].0 += 1;
            }
            assert!(sent <= 350 * 5 * self.nodes.len() as u64, "{sent} in one look");
        }

        fn greatest_above_mean(&self) -> f64 {
            let held = self.nodes.iter().map(|(held, _)| *held);
            pace::float(held.clone().max().unwrap_or_default()) * pace::float(self.nodes.len() as u64)
                / pace::float(held.sum())
        }
    }

    #[test]
    fn whatever_the_balancer_an_added_node_gets_its_part_in_two_minutes_and_then_it_is_quiet() {
        for balancer in [Balancer::LeastConnections, Balancer::Turns] {
            for held in [&[2_000, 2_000, 2_000, 0][..], &[3_000, 0], &[500, 500, 500, 0, 0], &[6_000, 0, 0]] {
                let mut world = World::new(balancer, held);
                while world.greatest_above_mean() > 1.2 {
                    world.look();
                    assert!(world.looks <= 24, "{balancer:?} {held:?}: {:?}", world.nodes);
                }
                (0..40).for_each(|_| world.look());
                let sent = world.sent;
                (0..100).for_each(|_| world.look());
                assert_eq!(world.sent, sent, "{balancer:?} {held:?}: {:?}", world.nodes);
                assert!(world.greatest_above_mean() < 1.1, "{balancer:?} {held:?}: {:?}", world.nodes);
            }
        }
    }
}
