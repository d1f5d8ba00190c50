//! What happens in a world, and when: all of it follows from the seed. Pure, so that a schedule can be printed before anything
//! has happened.

use std::fmt;

use crate::random::Random;

/// The topics, by tenant, and how each is used.
pub(crate) const TOPICS: &[(&str, &str, Use)] = &[
    ("acme", "tenant", Use::Mixed),
    ("acme", "user:1", Use::Mixed),
    ("acme", "user:2", Use::Durable),
    ("acme", "channel:orders", Use::Mixed),
    ("acme", "channel:bulk", Use::Durable),
    ("acme", "channel:cursors", Use::Ephemeral),
    ("globex", "tenant", Use::Ephemeral),
    ("globex", "user:1", Use::Mixed),
    ("globex", "channel:orders", Use::Mixed),
];

/// What is published to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Ephemeral events.
    Ephemeral,
    /// Durable events, of which some are not valid.
    Durable,
    /// Both.
    Mixed,
}

/// A world and its faults.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// From which all of it follows.
    pub(crate) seed: u64,
    /// How many nodes.
    pub(crate) nodes: usize,
    /// How many clients.
    pub(crate) clients: usize,
    /// What Redis keeps on its disk.
    pub(crate) keeps: Keeps,
    /// When, in milliseconds, and what.
    pub(crate) actions: Vec<(u64, Action)>,
}

/// What Redis keeps on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Nothing.
    Nothing,
    /// A snapshot now and then.
    Snapshots,
    /// Every write.
    Everything,
}

/// What a proxy between a node and Redis does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Forwards.
    Pass,
    /// Forwards everything later: by no time, by so many milliseconds, or by twice as many, depending on the connection.
    Delay(u64),
    /// Ends all connections and takes no new ones.
    Refuse,
    /// What Redis says is lost; its connections look as if nothing were.
    SwallowToNode,
    /// What the node says is lost.
    SwallowToRedis,
}

/// One thing that happens. Numbers are those of nodes, of clients, and of [`TOPICS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    KillNode(usize),
    /// SIGTERM: it sends its clients away and ends.
    DrainNode(usize),
    StartNode(usize),
    FreezeNode(usize),
    ThawNode(usize),
    KillRedis,
    /// With what it has on its disk.
    StartRedis,
    StartRedisEmpty,
    FreezeRedis,
    ThawRedis,
    /// Takes a snapshot.
    Save,
    /// `CLIENT KILL TYPE pubsub`.
    KillSubscribers,
    /// `CLIENT KILL TYPE normal`: backends, and the nodes' connections for commands.
    KillCallers,
    Proxy(usize, Mode),
    /// Ends all connections through the proxy, once.
    Cut(usize),
    /// The client closes and comes back.
    Close(usize),
    /// The client is gone with a RST and comes back.
    Reset(usize),
    /// One client more, which has no positions.
    NewClient,
    /// All clients are gone and come back, all at once.
    ResetAll,
    /// The client unsubscribes its channels and subscribes them again.
    Resubscribe(usize),
    /// The client subscribes again what it is subscribed to.
    AskAgain(usize),
    StopReading(usize),
    ReadOn(usize),
    /// Many large events.
    Burst(usize),
    DeleteStream(usize),
    DeleteHistory(usize),
    ExpireHistory(usize),
    Trim(usize),
    FlushFunctions,
    /// An entry that is in the stream and never published.
    XaddOnly(usize),
    /// A message that claims a position beyond the stream.
    Forge(usize),
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Plan {
        let mut random = Random::new(seed, 0);
        let nodes = random.index(2) + 2;
        let clients = random.index(5) + 6;
        let keeps = [Keeps::Nothing, Keeps::Snapshots, Keeps::Everything][random.index(3)];
        // A third of the seeds harms no history: there every durable event must come.
        let is_harmless = random.percent(33);
        let mut plan = Plan { seed, nodes, clients, keeps, actions: Vec::new() };
        let mut now = 600;
        for _ in 0..random.within(8, 15) {
            plan.add_fault(now, is_harmless, &mut random);
            now += random.within(30, 800);
        }
        for _ in 0..random.within(4, 12) {
            plan.add_unrest(random.within(300, now), &mut random);
        }
        plan.actions.sort_by_key(|(at, _)| *at);
        plan
    }

    /// What is no fault, and what costs nothing: clients come and go, and somebody meddles with channels and streams.
    fn add_unrest(&mut self, now: u64, random: &mut Random) {
        let client = random.index(self.clients);
        let durable = [0, 1, 2, 3, 4, 7, 8][random.index(7)];
        self.actions.push(match random.within(0, 9) {
            0 | 1 => (now, Action::XaddOnly(durable)),
            2 | 3 => (now, Action::Forge(durable)),
            4 => (now, Action::Close(client)),
            5 => (now, Action::Reset(client)),
            6 => (now, Action::Resubscribe(client)),
            7 => (now, Action::AskAgain(client)),
            _ => (now, Action::NewClient),
        });
    }

    fn add_fault(&mut self, now: u64, is_harmless: bool, random: &mut Random) {
        let node = random.index(self.nodes);
        let client = random.index(self.clients);
        let topic = random.index(TOPICS.len());
        let later = now + if random.percent(15) { random.within(1_500, 3_500) } else { random.within(100, 1_500) };
        let clients = self.clients;
        let mut at = |at: u64, action: Action| self.actions.push((at, action));
        match random.within(0, if is_harmless { 14 } else { 22 }) {
            0 => {
                at(now, Action::KillNode(node));
                at(later, Action::StartNode(node));
            }
            1 => {
                at(now, Action::FreezeNode(node));
                at(later, Action::ThawNode(node));
            }
            2 => {
                at(now, Action::FreezeRedis);
                at(later, Action::ThawRedis);
            }
            3 => at(now, Action::KillSubscribers),
            4 => at(now, Action::KillCallers),
            5 => {
                let mode = Mode::Delay(random.within(5, 120));
                at(now, Action::Proxy(node, mode));
                at(later, Action::Proxy(node, Mode::Pass));
            }
            6 => {
                at(now, Action::Proxy(node, Mode::Refuse));
                at(later, Action::Proxy(node, Mode::Pass));
            }
            7 => {
                at(now, Action::Proxy(node, Mode::SwallowToNode));
                at(later, Action::Proxy(node, Mode::Pass));
            }
            8 => {
                at(now, Action::Proxy(node, Mode::SwallowToRedis));
                at(later, Action::Proxy(node, Mode::Pass));
            }
            9 => at(now, Action::Cut(node)),
            10 => {
                // A topic that all clients of the tenant are on.
                let client = client - usize::from(client % 4 == 3);
                at(now, Action::StopReading(client));
                at(now + 50, Action::Burst(0));
                // Others leave in the middle of it and have much to catch up.
                at(now + 150, Action::Reset((client + 1) % clients));
                at(now + 250, Action::Close((client + 2) % clients));
                at(later + 500, Action::ReadOn(client));
            }
            11 => at(now, Action::FlushFunctions),
            12 => at(now, Action::ResetAll),
            13 => {
                at(now, Action::DrainNode(node));
                at(later, Action::StartNode(node));
            }
            14 => at(now, Action::DeleteStream(topic)),
            15 => at(now, Action::DeleteHistory(topic)),
            16 => at(now, Action::ExpireHistory(topic)),
            17 => at(now, Action::Trim(topic)),
            18 => {
                at(now, Action::KillRedis);
                at(later, Action::StartRedisEmpty);
            }
            _ => {
                at(now.saturating_sub(random.within(0, 1_000)), Action::Save);
                at(now, Action::KillRedis);
                at(later, Action::StartRedis);
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, nodes, clients, keeps, actions } = self;
        writeln!(f, "seed {seed}: {nodes} nodes, {clients} clients, Redis keeps {keeps:?}")?;
        for (number, (tenant, topic, of)) in TOPICS.iter().enumerate() {
            writeln!(f, "  topic {number} is {tenant}:{topic}, {of:?}")?;
        }
        for (at, action) in actions {
            writeln!(f, "  {at:>6} ms {action:?}")?;
        }
        Ok(())
    }
}
