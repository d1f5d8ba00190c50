//! What stands between a herd and its nodes: it decides which node gets the next client, among those that say they are ready,
//! and counts how many each gets in a second. Deliberately no proxy: clients connect to the nodes themselves.

use std::collections::HashMap;

use clap::ValueEnum;

use crate::admin_port::Health;

const NS_PER_S: u64 = 1_000_000_000;

/// How a balancer chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Balance {
    /// The node with the fewest connections
    LeastConnections,
    /// Each in turn
    RoundRobin,
}

pub(crate) struct Balancer {
    balance: Balance,
    nodes: Vec<Target>,
    turn: usize,
}

struct Target {
    health: Health,
    connections: u64,
    /// Connects by second.
    connects: HashMap<u64, u64>,
}

impl Balance {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Balance::LeastConnections => "balanced by connections",
            Balance::RoundRobin => "balanced by turns",
        }
    }
}

impl Balancer {
    pub(crate) fn new(balance: Balance, nodes: impl IntoIterator<Item = Health>) -> Balancer {
        let mut balancer = Balancer { balance, nodes: Vec::new(), turn: 0 };
        nodes.into_iter().for_each(|health| balancer.add(health));
        balancer
    }

    /// One more node.
    pub(crate) fn add(&mut self, health: Health) {
        self.nodes.push(Target { health, connections: 0, connects: HashMap::new() });
    }

    /// The node for a client that connects now; none when none is ready.
    pub(crate) fn choose(&mut self) -> Option<usize> {
        let count = self.nodes.len();
        // Those that are equal have their turns.
        let from = self.turn;
        let ready = (0..count).map(|step| (from + step) % count).filter(|node| self.nodes[*node].health.is_up());
        let chosen = match self.balance {
            Balance::LeastConnections => ready.min_by_key(|node| self.nodes[*node].connections),
            Balance::RoundRobin => ready.into_iter().next(),
        }?;
        self.turn = (chosen + 1) % count;
        Some(chosen)
    }

    /// A client connects.
    pub(crate) fn opened(&mut self, node: usize, now_ns: u64) {
        self.nodes[node].connections += 1;
        *self.nodes[node].connects.entry(now_ns / NS_PER_S).or_default() += 1;
    }

    /// Its connection has ended, or did not come about.
    pub(crate) fn closed(&mut self, node: usize) {
        self.nodes[node].connections -= 1;
    }

    /// Connections of each node.
    pub(crate) fn connections(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.connections).collect()
    }

    /// The most connects of each node in one second since the last [`Balancer::forget_connects`].
    pub(crate) fn connects_max(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.connects.values().copied().max().unwrap_or_default()).collect()
    }

    pub(crate) fn forget_connects(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.connects.clear());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balancer(balance: Balance, are_up: &[bool]) -> Balancer {
        Balancer::new(balance, are_up.iter().copied().map(Health::fixed))
    }

    fn choices(balancer: &mut Balancer, count: usize) -> Vec<usize> {
        let mut choose = || {
            let node = balancer.choose()?;
            balancer.opened(node, 0);
            Some(node)
        };
        (0..count).filter_map(|_| choose()).collect()
    }

    #[test]
    fn a_node_that_is_not_ready_gets_nobody() {
        for balance in [Balance::LeastConnections, Balance::RoundRobin] {
            assert_eq!(choices(&mut balancer(balance, &[true, false, true]), 4), [0, 2, 0, 2], "{balance:?}");
            assert_eq!(balancer(balance, &[false, false]).choose(), None);
        }
    }

    #[test]
    fn an_empty_node_gets_all_or_its_turn() {
        for (balance, expected) in [(Balance::LeastConnections, [2, 2, 2]), (Balance::RoundRobin, [0, 1, 2])] {
            let mut balancer = balancer(balance, &[true, true]);
            choices(&mut balancer, 10);
            balancer.add(Health::fixed(true));
            balancer.turn = 0;
            assert_eq!(choices(&mut balancer, 3), expected, "{balance:?}");
        }
    }

    #[test]
    fn connects_are_counted_by_second() {
        let mut balancer = balancer(Balance::RoundRobin, &[true, true]);
        for (node, now_ns) in [(0, 0), (0, 999_999_999), (0, 1_000_000_000), (1, 2_000_000_000)] {
            balancer.opened(node, now_ns);
        }
        assert_eq!((balancer.connects_max(), balancer.connections()), (vec![2, 1], vec![3, 1]));
        balancer.closed(0);
        balancer.forget_connects();
        assert_eq!((balancer.connects_max(), balancer.connections()), (vec![0, 0], vec![2, 1]));
    }
}
