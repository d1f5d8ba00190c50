//! Arguments of the comparison with other servers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Kind, OutputArgs};

/// What --peers means when it isn't given.
pub(crate) const PEERS: [Kind; 4] = [Kind::Nats, Kind::Nchan, Kind::SocketIo, Kind::Centrifugo];

#[derive(Args)]
#[command(after_help = "\
Every server is started here, one after the other on the same processor, and stopped after. loadtest/peers/install installs
the peers. What each is configured with, and why, stands in loadtest/src/peer.

Examples:
  fanfare-loadtest compare --table table.md --json compare.json     all scenarios on all servers; takes about 20 minutes
  fanfare-loadtest compare --short --peers nats --scenarios paced   a trial of a few seconds
  fanfare-loadtest compare --peers nats,nchan --scenarios burst,idle

Exit code: 0 Fanfare and the floors delivered everything once and in order; 1 they did not; 2 wrong usage or setup, such as a
peer that is not installed. What a peer loses is a figure in the table.")]
pub(crate) struct CompareArgs {
    /// Servers to set beside Fanfare and the floors [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) peers: Vec<Kind>,
    /// What to measure [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) scenarios: Vec<Trial>,
    /// A trial: fewer clients and a few seconds each; says whether it runs, not how fast anything is
    #[arg(long)]
    pub(crate) short: bool,
    /// Writes the table of the documentation, in Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,
    /// Processors for the servers; the rest is for clients, publisher and Redis
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) server_cores: u32,
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    /// The program that is measured
    #[arg(long, default_value = "target/release/fanfare")]
    pub(crate) fanfare: PathBuf,
    /// Leave it to the system which processor runs what
    #[arg(long)]
    pub(crate) no_pin: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A scenario of the comparison, with its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Trial {
    /// 5,000 clients on one channel, 20 events a second
    Paced,
    /// 1,000 clients on one channel, 1,000 events a second
    Stream,
    /// 5,000 clients on one channel, 200 events at once
    Burst,
    /// 10,000 channels with one client each
    Channels,
    /// 15,000 connections that say nothing
    Idle,
    /// 5,000 clients come at once, go at once and come again
    Storm,
}

/// Where the peers are that no package of Debian installs.
#[derive(Args, Clone)]
#[command(next_help_heading = "Target")]
pub(crate) struct PeerArgs {
    /// The Centrifugo that is started
    #[arg(long, default_value = "target/peers/centrifugo")]
    pub(crate) centrifugo: PathBuf,
    /// The directory of the Socket.IO server that is started, with its packages
    #[arg(long, default_value = "loadtest/peers/socket-io")]
    pub(crate) socket_io: PathBuf,
}
