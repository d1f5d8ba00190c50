//! The command line: what can be said and what it means. Addresses are checked here; everything else where it is used.

mod channels;
mod churn;
mod compare;
mod durable;
mod fanout;
mod growth;
mod mix;
mod storm;
mod unheard;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::channels::ChannelsArgs;
pub(crate) use self::churn::ChurnArgs;
pub(crate) use self::compare::{CompareArgs, PEERS, PeerArgs, Trial};
pub(crate) use self::durable::{
    Fault, PublishArgs, RecoverArgs, RedisRestartArgs, RollingRestartArgs, ScaleOutArgs, TrafficArgs,
};
pub(crate) use self::fanout::{FanoutArgs, Mode};
pub(crate) use self::growth::{GrowthArgs, Half};
pub(crate) use self::mix::MixArgs;
pub(crate) use self::storm::StormArgs;
pub(crate) use self::unheard::UnheardArgs;
use crate::address::{Loopback, RedisUrl, WebSocketUrl};

const EXAMPLES: &str = "\
Examples:
  Everything started and stopped for you, Fanfare beside the two floor servers, figures as JSON too:
    cargo build --release
    fanfare-loadtest fanout --mode paced --spawn --compare --json paced.json

  Against a node and a Redis that run already:
    fanfare-loadtest fanout --mode burst --url ws://127.0.0.1:8080/ws --secret s3cret

  What becomes of durable events when clients, nodes and Redis go and come:
    fanfare-loadtest recover --spawn
    fanfare-loadtest rolling-restart --spawn
    fanfare-loadtest scale-out --spawn
    fanfare-loadtest redis-restart --spawn

  Fanfare and the floors beside NATS, nchan, Socket.IO and Centrifugo, as a table for the documentation:
    loadtest/peers/install
    fanfare-loadtest compare --table comparison.md

  What a delivery and a connection cost as there are more of them, drawn as SVG:
    fanfare-loadtest growth --spawn --plots plots

  Memory of 30,000 idle connections; the node needs that many open files (ulimit -n):
    fanfare-loadtest idle --clients 30000 --processes 2 --source-addresses 2 --spawn

Exit code: 0 everything arrived once and in order, or a gap notice covered it; 1 it did not; 2 wrong usage or setup.
Load goes to loopback addresses only.";

/// Puts load on a Fanfare node and checks every event at every client.
#[derive(Parser)]
#[command(name = "fanfare-loadtest", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Many clients on one channel: paced, as a stream, or in bursts
    Fanout(FanoutArgs),
    /// Many channels with one client each; also times the subscribing
    Channels(ChannelsArgs),
    /// Connections that say nothing: the server's memory for each
    Idle(IdleArgs),
    /// Everyone connects at once, leaves at once, and comes again, beside clients that were there before
    Storm(StormArgs),
    /// Clients subscribe and unsubscribe all the time on a node that knows many topics
    Churn(ChurnArgs),
    /// Events of topics that nobody on the node wants any more: what each costs to read and drop
    Unheard(UnheardArgs),
    /// More and more subscribers, then nodes: whether costs stay flat and memory is a line; also as plots
    Growth(GrowthArgs),
    /// The same scenarios on Fanfare, the floors, NATS, nchan, Socket.IO and Centrifugo, side by side
    Compare(CompareArgs),
    /// Clients are cut off and all come back at once for the durable events they missed
    Recover(RecoverArgs),
    /// Nodes are drained and replaced one after the other under traffic; also from one program to another and back
    RollingRestart(RollingRestartArgs),
    /// A node is added under traffic, and the others shed clients to it
    ScaleOut(ScaleOutArgs),
    /// Redis is cut off, killed, emptied and frozen under traffic
    RedisRestart(RedisRestartArgs),
    /// What a durable publish costs Redis, beside its own PUBLISH
    Publish(PublishArgs),
    /// A floor server: the least a fan-out over Redis can cost, to measure against
    Floor(FloorArgs),
    /// A client process; started by the other commands
    #[command(hide = true)]
    Worker,
    /// Becomes a server that ends with its parent; started by the other commands
    #[command(hide = true)]
    Launch(LaunchArgs),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  fanfare-loadtest idle --spawn
  fanfare-loadtest idle --clients 30000 --url ws://127.0.0.1:8080/ws --secret s3cret")]
pub(crate) struct IdleArgs {
    /// Clients, all on one channel
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) clients: u32,
    /// Seconds to rest before memory is read again
    #[arg(long, default_value_t = 10.0, value_parser = not_negative)]
    pub(crate) duration: f64,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// What is published.
#[derive(Args, Clone)]
pub(crate) struct LoadArgs {
    /// Seconds of publishing that are measured (not bursts, which are counted)
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub(crate) duration: f64,
    /// Seconds of publishing before the measurement (bursts: one burst unless 0)
    #[arg(long, default_value_t = 1.0, value_parser = not_negative)]
    pub(crate) warmup: f64,
    /// Bytes of one event's envelope as published
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) bytes: u32,
    /// Seconds without any delivery after which what is missing counts as lost
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    pub(crate) settle: f64,
    /// Seconds after publishing in which everything must have arrived, progress or not
    #[arg(long, default_value_t = 120.0, value_parser = positive)]
    pub(crate) drain: f64,
}

#[derive(Args)]
pub(crate) struct CommonArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) clients: ClientArgs,
    #[command(flatten)]
    pub(crate) mix: MixArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What is measured. Nothing is started that these flags don't ask for.
#[derive(Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArgs {
    /// What to measure; a floor is started here unless --url says where it runs, another server always
    #[arg(long, value_enum, default_value_t = Kind::Fanfare)]
    pub(crate) target: Kind,
    /// Measure several, one after the other, and print the ratios [without a list: all three]. Floors run on one
    /// processor: start a node of your own there too (taskset -c 0), or use --spawn
    #[arg(long, value_enum, value_delimiter = ',', num_args = 0.., require_equals = true,
          default_missing_value = "fanfare,floor,floor-coalescing", conflicts_with = "target")]
    pub(crate) compare: Vec<Kind>,
    /// Where the node listens for clients; loopback only [default: `ws://127.0.0.1:8080/ws`]
    #[arg(long, conflicts_with = "spawn")]
    pub(crate) url: Option<WebSocketUrl>,
    /// The node's Redis; loopback only [default: `redis://127.0.0.1:6379`]
    #[arg(long, conflicts_with = "spawn")]
    pub(crate) redis: Option<RedisUrl>,
    /// The channel's name; where there are many, each has a number behind it
    #[arg(long, default_value = "load")]
    pub(crate) channel: String,
    /// The server's process, for CPU time and memory [default: who listens on the port]
    #[arg(long)]
    pub(crate) server_pid: Option<u32>,
    /// Processors for the server started here; the rest is for clients, publisher and Redis
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) server_cores: u32,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
}

/// Servers that are started here, and how their clients are called.
#[derive(Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct NodeArgs {
    /// Start a redis-server and `fanfare serve` on free ports, and stop both at the end
    #[arg(long)]
    pub(crate) spawn: bool,
    /// The program that --spawn starts
    #[arg(long, default_value = "target/release/fanfare")]
    pub(crate) fanfare: PathBuf,
    /// A setting for the node that --spawn starts, such as `FANFARE_DRAIN_S=1`; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) environment: Vec<(String, String)>,
    /// The node's HS256 secret, to mint tokens with [default: from `FANFARE_JWT_HS256_SECRET`]
    #[arg(long)]
    pub(crate) secret: Option<String>,
    #[arg(long, default_value = "acme", help = "The tenant of all clients")]
    pub(crate) tenant: String,
    /// The prefix of the Redis keyspace
    #[arg(long, default_value = "fanfare")]
    pub(crate) prefix: String,
    /// Leave it to the system which processor runs what
    #[arg(long)]
    pub(crate) no_pin: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A Fanfare node
    Fanfare,
    /// One send(2) for each delivery and nothing else
    Floor,
    /// One send(2) for each connection and all that has arrived
    FloorCoalescing,
    /// nats-server's WebSocket listener
    Nats,
    /// nginx's nchan module
    Nchan,
    /// Socket.IO with its Redis adapter
    #[value(name = "socket.io")]
    SocketIo,
    /// Centrifugo with its memory engine
    Centrifugo,
}

/// How the clients are made.
#[derive(Args)]
#[command(next_help_heading = "Clients")]
pub(crate) struct ClientArgs {
    /// Client processes [default: one for each 19,000 clients]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) processes: Option<u32>,
    /// Source addresses, all in 127.0.0.0/8; 1: as the system chooses [default: one for each 12,000 connections]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) source_addresses: Option<u32>,
    /// Connections on their way at the same time
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) connect_concurrency: u32,
    /// Seconds in which all clients must be connected, and then subscribed
    #[arg(long, default_value_t = 60.0, value_parser = positive)]
    pub(crate) connect_timeout: f64,
}

/// What is told.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Also write the figures as JSON; - is standard output, and the table then goes to standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// No progress lines
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Args)]
#[command(after_help = "\
A floor server knows one channel per connection, one thread, no tokens and no limits. It listens on loopback only.

Example:
  fanfare-loadtest floor --listen 127.0.0.1:9000 --coalesce &
  fanfare-loadtest fanout --target floor-coalescing --url ws://127.0.0.1:9000/ws")]
pub(crate) struct FloorArgs {
    /// Where to listen; port 0 takes a free one and prints it
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub(crate) listen: Loopback,
    /// One send for all that has arrived, instead of one for each event
    #[arg(long)]
    pub(crate) coalesce: bool,
    #[arg(long, default_value = "redis://127.0.0.1:6379", help = "Where events come from")]
    pub(crate) redis: RedisUrl,
    #[arg(long, default_value = "acme", help = "The tenant of all clients")]
    pub(crate) tenant: String,
    /// The prefix of the Redis keyspace
    #[arg(long, default_value = "fanfare")]
    pub(crate) prefix: String,
    #[command(flatten)]
    pub(crate) faults: FaultArgs,
}

/// Deliberate faults, to prove that the load generator sees them. Of the plain floor only.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct FaultArgs {
    /// Leave out every N-th delivery
    #[arg(long, hide = true, default_value_t = 0, conflicts_with = "coalesce")]
    pub(crate) drop_every: u64,
    /// Tell the client of what was left out with a gap notice
    #[arg(long, hide = true, requires = "drop_every")]
    pub(crate) admit_drops: bool,
    /// Send every N-th delivery twice
    #[arg(long, hide = true, default_value_t = 0, conflicts_with = "coalesce")]
    pub(crate) repeat_every: u64,
}

#[derive(Args)]
pub(crate) struct LaunchArgs {
    #[arg(long)]
    pub(crate) parent: i32,
    #[arg(long = "processor")]
    pub(crate) processors: Vec<usize>,
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

fn positive(text: &str) -> Result<f64, String> {
    not_negative(text).and_then(|value| if value > 0.0 { Ok(value) } else { Err("must be more than 0".to_owned()) })
}

/// A day is the most: everything here is bounded.
fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=10_000_000.0).contains(&value) => Ok(value),
        Ok(_) => Err("must be from 0 to 10,000,000".to_owned()),
        Err(_) => Err("is not a number".to_owned()),
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn compare_alone_means_all_three() {
        let cli =
            Cli::try_parse_from(["x", "fanout", "--compare", "--spawn"]).unwrap_or_else(|error| panic!("{error}"));
        let Command::Fanout(args) = cli.command else { panic!("fanout") };
        assert_eq!(args.common.target.compare, [Kind::Fanfare, Kind::Floor, Kind::FloorCoalescing]);
    }

    #[test]
    fn other_machines_are_refused() {
        for arguments in [
            ["x", "fanout", "--url", "ws://10.0.0.1/ws"],
            ["x", "idle", "--redis", "redis://10.0.0.1"],
            ["x", "floor", "--listen", "0.0.0.0:80"],
        ] {
            assert!(Cli::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
    }
}
