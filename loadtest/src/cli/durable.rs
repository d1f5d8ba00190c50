//! The command line of the scenarios with durable events: what becomes of them when clients, nodes and Redis go and come.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{NodeArgs, OutputArgs, not_negative, positive};
use crate::address::{RedisUrl, WebSocketUrl};
use crate::herd::balancer::Balance;

#[derive(Args)]
#[command(after_help = "\
Clients are cut off, durable events are published meanwhile, and all clients come back at once with `since`. It counts \
what is recovered, lost, doubled and out of order, times each client from its reconnect to the answer for its last \
topic, and reads from Redis how many function calls and range reads that took.

Examples:
  fanfare-loadtest recover --spawn                   1,000 clients on one topic, 20 events missed
  fanfare-loadtest recover --spawn --nodes 2         on a node that didn't know the topic
  fanfare-loadtest recover --spawn --away 6          on one that has forgotten the topic meanwhile
  fanfare-loadtest recover --spawn --topics 10000    one client with `since` for each of its topics
  fanfare-loadtest recover --url ws://127.0.0.1:8080/ws --secret s3cret --clients 100")]
pub(crate) struct RecoverArgs {
    /// Clients [default: 1000; with --topics: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub(crate) clients: Option<u32>,
    /// Topics; each client is on all of them [default: 1; without a number: 10000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000), num_args = 0..=1,
          default_missing_value = "10000")]
    pub(crate) topics: Option<u32>,
    /// Durable events of each topic that are missed [default: 20; with --topics: 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    pub(crate) events: Option<u64>,
    /// Seconds for which all are away. A node forgets a topic that nobody wants after 5 s, and has to read it then
    #[arg(long, default_value_t = 0.5, value_parser = not_negative)]
    pub(crate) away: f64,
    /// Nodes that --spawn starts; with 2 or more all clients come back on another one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) nodes: u32,
    /// Where a node listens for clients; loopback only; may be repeated [default: `ws://127.0.0.1:8080/ws`]
    #[arg(long, conflicts_with_all = ["spawn", "nodes"])]
    pub(crate) url: Vec<WebSocketUrl>,
    /// The nodes' Redis; loopback only
    #[arg(long, conflicts_with = "spawn", default_value = "redis://127.0.0.1:6379")]
    pub(crate) redis: RedisUrl,
    /// Seconds after which what is missing counts as lost
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    pub(crate) settle: f64,
    /// Leave out every N-th event that counts as published, to prove that a loss is seen
    #[arg(long, hide = true, default_value_t = 0)]
    pub(crate) withhold_every: u64,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args)]
#[command(after_help = "\
Each node is told to leave (SIGTERM), ends, and is replaced, one after the other, under traffic. Its clients wait as \
long as `disconnect` tells them, go where the balancer sends them, and resume with `since`. No durable event may be lost \
in silence, come twice, or come out of order; ephemeral events are for who is connected, so those of a client's time \
away are only counted. All clients have to be back before the drain is over, and no node may get more clients in a \
second than the nodes announce (`accept_budget_per_s`).

Examples:
  fanfare-loadtest rolling-restart --spawn
  fanfare-loadtest rolling-restart --spawn --clients 6000 --topics 6000 --topics-each 5
  fanfare-loadtest rolling-restart --spawn --nodes 2 --clients 1000 --env FANFARE_DRAIN_S=10
  fanfare-loadtest rolling-restart --spawn --binary-before old/fanfare --binary-after new/fanfare")]
pub(crate) struct RollingRestartArgs {
    /// Nodes on one Redis
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=8))]
    pub(crate) nodes: u32,
    /// Seconds between a new node's start and the next one's end
    #[arg(long, default_value_t = 1.0, value_parser = not_negative)]
    pub(crate) pause: f64,
    /// A rolling upgrade and back: the program that all nodes are at first, and in the end again. If it knows no durable
    /// events, it tells each of its clients so (`recovered:false`)
    #[arg(long, value_name = "PATH", requires = "binary_after", conflicts_with = "fanfare")]
    pub(crate) binary_before: Option<PathBuf>,
    /// The program that all nodes are upgraded to; it loads the function library
    #[arg(long, value_name = "PATH", requires = "binary_before")]
    pub(crate) binary_after: Option<PathBuf>,
    /// Which of the nodes that are ready gets a client
    #[arg(long, value_enum, default_value_t = Balance::LeastConnections)]
    pub(crate) balance: Balance,
    #[command(flatten)]
    pub(crate) traffic: TrafficArgs,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args)]
#[command(after_help = "\
A node is added under traffic to nodes that shed (`shed = true`): those with well more clients than the mean send some \
away, and the balancer sends them where it sends everybody. It counts how long it takes until no node has more than 1.2 \
times the mean, which has to be 120 s at most, and goes on until nobody is sent away any more. No event may be lost in \
silence, come twice, or come out of order, and no node may get more clients in a second than the nodes announce.

Examples:
  fanfare-loadtest scale-out --spawn --clients 6000 --topics 6000 --topics-each 5
  fanfare-loadtest scale-out --spawn --clients 6000 --topics 6000 --topics-each 5 --balance round-robin")]
pub(crate) struct ScaleOutArgs {
    /// Nodes at first
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=7))]
    pub(crate) nodes: u32,
    /// Seconds of traffic before the node is added
    #[arg(long, default_value_t = 2.0, value_parser = not_negative)]
    pub(crate) pause: f64,
    /// Seconds without a client that is sent away after which that counts as over
    #[arg(long, default_value_t = 15.0, value_parser = not_negative)]
    pub(crate) quiet_for: f64,
    /// Which of the nodes that are ready gets a client
    #[arg(long, value_enum, default_value_t = Balance::LeastConnections)]
    pub(crate) balance: Balance,
    #[command(flatten)]
    pub(crate) traffic: TrafficArgs,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args)]
#[command(after_help = "\
Redis goes away under traffic and comes back, in four ways, each with a Redis and nodes of its own. Every event has to \
arrive once and in order, or a gap notice has to tell of it.

Examples:
  fanfare-loadtest redis-restart --spawn
  fanfare-loadtest redis-restart --spawn --faults empty,data --outage 3
  fanfare-loadtest redis-restart --spawn --faults freeze --freeze 8 --clients 20 --topics 20")]
pub(crate) struct RedisRestartArgs {
    /// What happens to Redis, one after the other
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cut,empty,data,freeze")]
    pub(crate) faults: Vec<Fault>,
    /// Nodes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) nodes: u32,
    /// Seconds for which a killed Redis is away
    #[arg(long, default_value_t = 1.0, value_parser = not_negative)]
    pub(crate) outage: f64,
    /// Seconds for which a frozen Redis is frozen
    #[arg(long, default_value_t = 4.0, value_parser = positive)]
    pub(crate) freeze: f64,
    /// Seconds of traffic before the fault, and again after it
    #[arg(long, default_value_t = 2.0, value_parser = not_negative)]
    pub(crate) pause: f64,
    #[command(flatten)]
    pub(crate) traffic: TrafficArgs,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// All its connections are cut (CLIENT KILL)
    Cut,
    /// Killed, and started without its data
    Empty,
    /// Killed, and started with its data (appendfsync always)
    Data,
    /// Stopped for some seconds (SIGSTOP), its connections open
    Freeze,
}

#[derive(Args)]
#[command(after_help = "\
Publishes the same events with PUBLISH and with FCALL fanfare_publish, in turns, and reads from INFO cpu what they cost \
Redis. Nobody is subscribed. Redis is bound to no processor: use a quiet machine.

Examples:
  fanfare-loadtest publish --spawn
  fanfare-loadtest publish --redis redis://127.0.0.1:6379 --calls 100000 --json -")]
pub(crate) struct PublishArgs {
    /// Calls of each kind in a round, pipelined; a quarter of it one at a time
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(16..=10_000_000))]
    pub(crate) calls: u32,
    /// How often each kind has its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// Calls on their way at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub(crate) pipeline: u32,
    /// Bytes of one event's envelope
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) bytes: u32,
    /// A Redis that has the function library already; loopback only
    #[arg(long, conflicts_with = "spawn", default_value = "redis://127.0.0.1:6379")]
    pub(crate) redis: RedisUrl,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Clients and events while something fails.
#[derive(Args)]
#[command(next_help_heading = "Traffic")]
pub(crate) struct TrafficArgs {
    /// Clients, spread over the nodes
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub(crate) clients: u32,
    /// Topics
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) topics: u32,
    /// Topics of each client
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) topics_each: u32,
    /// Durable events per second over all topics
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub(crate) durable_rate: f64,
    /// Ephemeral events per second over all topics
    #[arg(long, default_value_t = 100.0, value_parser = not_negative)]
    pub(crate) ephemeral_rate: f64,
    /// Seconds after which what is missing, and no gap notice covers, counts as lost. Gap notices are spread over 5 s
    #[arg(long, default_value_t = 15.0, value_parser = positive)]
    pub(crate) settle: f64,
}
