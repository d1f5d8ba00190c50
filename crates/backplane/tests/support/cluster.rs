//! A real Redis Cluster: three primaries with a replica each, killed when dropped.

use std::sync::{Arc, Mutex, Weak};

use super::redis_server::{RedisProcess, free_port, wait_until};

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

/// Nodes 0 to 2 begin as primaries, 3 to 5 as their replicas in that order.
pub(crate) struct ClusterProcess {
    pub(crate) nodes: Vec<RedisProcess>,
}

impl ClusterProcess {
    /// Starts all six and waits until the cluster works. A primary is replaced when [`ClusterProcess::take_over`] says so: a vote
    /// would take long, or else replace one that a busy machine let wait.
    pub(crate) fn start() -> ClusterProcess {
        ClusterProcess::start_with(2 * PRIMARIES, &["--cluster-node-timeout", "5000"])
    }

    /// Without replicas, which starts sooner; with more arguments for each server. Nobody could replace a primary, so a busy
    /// machine gets more time before one is given up.
    pub(crate) fn start_primaries(arguments: &[&str]) -> ClusterProcess {
        ClusterProcess::start_with(PRIMARIES, &[&["--cluster-node-timeout", "5000"], arguments].concat())
    }

    fn start_with(count: usize, arguments: &[&str]) -> ClusterProcess {
        let buses: Vec<_> = (0..count).map(|_| free_port().to_string()).collect();
        let start = |bus: &String| {
            let own = [
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                bus,
                "--repl-diskless-sync-delay",
                "0",
                "--cluster-replica-validity-factor",
                "0",
            ];
            RedisProcess::start_with(&[&own, arguments].concat())
        };
        let nodes: Vec<_> = buses.iter().map(start).collect();
        let cluster = ClusterProcess { nodes };
        for (number, node) in cluster.nodes.iter().enumerate() {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            if number < PRIMARIES {
                let (start, end) = (number * SLOTS / PRIMARIES, (number + 1) * SLOTS / PRIMARIES - 1);
                node.command(&["CLUSTER", "ADDSLOTSRANGE", &start.to_string(), &end.to_string()]);
            }
            if number > 0 {
                let port = node.port().to_string();
                cluster.nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &buses[number]]);
            }
        }
        let known = format!("cluster_known_nodes:{count}");
        wait_until("all nodes have met", || {
            cluster.nodes.iter().all(|node| {
                node.command(&["CLUSTER", "INFO"]).contains(&known)
                    && !node.command(&["CLUSTER", "NODES"]).contains("handshake")
            })
        });
        for number in PRIMARIES..count {
            let primary = cluster.id(number - PRIMARIES);
            cluster.nodes[number].command(&["CLUSTER", "REPLICATE", &primary]);
        }
        cluster.until_ok();
        for number in PRIMARIES..count {
            wait_until("the replicas follow", || cluster.is_following(number));
        }
        // Only a replica that the others know as one gets their votes.
        let replicas = count - PRIMARIES;
        wait_until("all nodes know all replicas", || {
            cluster.nodes.iter().all(|node| node.command(&["CLUSTER", "NODES"]).matches("slave ").count() == replicas)
        });
        cluster
    }

    /// One for all stories that run at the same time; each has to use a prefix of its own.
    pub(crate) fn shared() -> Arc<ClusterProcess> {
        static SHARED: Mutex<Weak<ClusterProcess>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().expect("a cluster that starts");
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(ClusterProcess::start_primaries(&[]));
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// `redis+cluster://127.0.0.1:port,…` with the addresses of all nodes.
    pub(crate) fn url(&self) -> String {
        self.url_with("")
    }

    /// The same with `user:password@`.
    pub(crate) fn url_with(&self, login: &str) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{login}{}", hosts.join(","))
    }

    /// What the cluster calls a node.
    pub(crate) fn id(&self, node: usize) -> String {
        self.nodes[node].command(&["CLUSTER", "MYID"])
    }

    /// How many subscribers a channel has at a node.
    pub(crate) fn subscribers(&self, node: usize, channel: &str) -> usize {
        let answer = self.nodes[node].command(&["PUBSUB", "SHARDNUMSUB", channel]);
        answer.lines().last().and_then(|count| count.parse().ok()).expect("a count")
    }

    /// Waits until all running nodes say that the cluster works.
    pub(crate) fn until_ok(&self) {
        wait_until("the cluster works", || {
            let mut running = self.nodes.iter().filter(|node| node.is_running());
            running.all(|node| node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        });
    }

    /// A replica becomes the primary, whatever became of the one it follows.
    pub(crate) fn take_over(&self, node: usize) {
        assert_eq!(self.nodes[node].command(&["CLUSTER", "FAILOVER", "TAKEOVER"]), "OK");
        wait_until("the replica has taken over", || self.nodes[node].command(&["ROLE"]).starts_with("master"));
    }

    /// Whether a node has all that its primary has.
    pub(crate) fn is_following(&self, node: usize) -> bool {
        self.nodes[node].command(&["INFO", "replication"]).contains("master_link_status:up")
    }

    /// A slot begins to move: new keys are made at `to`.
    pub(crate) fn begin_to_move(&self, slot: usize, from: usize, to: usize) {
        let slot = slot.to_string();
        self.nodes[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]);
        self.nodes[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]);
    }

    /// Moves keys of a slot, at most this many. Returns how many there were.
    pub(crate) fn move_keys(&self, slot: usize, from: usize, to: usize, max: usize) -> usize {
        let keys = self.nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &max.to_string()]);
        let keys: Vec<_> = keys.lines().filter(|key| !key.is_empty()).collect();
        let port = self.nodes[to].port().to_string();
        if !keys.is_empty() {
            // In one go: each command is a process of its own.
            let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            let moved = self.nodes[from].command(&[&migrate, &keys[..]].concat());
            // Those that have expired meanwhile are no keys.
            assert!(moved == "OK" || moved == "NOKEY", "{moved}");
        }
        keys.len()
    }

    /// The slot has moved. The primaries among the first three are told.
    pub(crate) fn end_move(&self, slot: usize, from: usize, to: usize) {
        let (id, slot) = (self.id(to), slot.to_string());
        let others = (0..PRIMARIES).filter(|node| ![from, to].contains(node));
        for node in [to, from].into_iter().chain(others) {
            self.nodes[node].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        }
    }

    /// Moves a slot with all its keys.
    pub(crate) fn move_slot(&self, slot: usize, from: usize, to: usize) {
        self.begin_to_move(slot, from, to);
        while self.move_keys(slot, from, to, 10) > 0 {}
        self.end_move(slot, from, to);
    }
}

/// The slot of a key without braces, as the cluster's specification has it.
pub(crate) fn slot_of(key: &str) -> usize {
    let mut crc = 0_u16;
    for byte in key.bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    usize::from(crc) % SLOTS
}

/// The node that has a slot at the start.
pub(crate) fn first_owner(slot: usize) -> usize {
    (0..PRIMARIES).find(|number| slot < (number + 1) * SLOTS / PRIMARIES).expect("below the number of slots")
}
