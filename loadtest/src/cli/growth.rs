//! The command line of growth: what a delivery and a connection cost as there are more of them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{CommonArgs, LoadArgs, positive};

#[derive(Args)]
#[command(
    mut_arg("target", |arg| arg.hide(true)),
    mut_arg("compare", |arg| arg.hide(true)),
    mut_arg("url", |arg| arg.hide(true)),
    mut_arg("redis", |arg| arg.hide(true)),
    mut_arg("server_pid", |arg| arg.hide(true)),
    mut_arg("duration", |arg| arg.default_value("3")),
    after_help = "\
The same deliveries a second, to more and more subscribers of one channel, each step on a node of its own; its memory is \
read when all are subscribed and nothing is published yet. Then the same with several nodes that share the server's \
processors and the clients, and once with the plain floor server. Costs should be flat and memory a line.

Examples:
  fanfare-loadtest growth --spawn --plots plots --json growth.json
  fanfare-loadtest growth --spawn --only nodes
  fanfare-loadtest growth --spawn --only subscribers --floors
  fanfare-loadtest growth --spawn --only subscribers --subscribers 100,1000,10000 --duration 5"
)]
pub(crate) struct GrowthArgs {
    /// Subscribers on one node, one step after the other
    #[arg(long, value_delimiter = ',', default_value = "100,300,1000,3000,10000,19000",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) subscribers: Vec<u32>,
    /// Numbers of nodes, one step after the other
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4",
          value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) nodes: Vec<u32>,
    /// Subscribers of all nodes together, and of the floor server
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub(crate) together: u32,
    /// Measure the floor server at each number of subscribers too: what of the growth is the machine's
    #[arg(long)]
    pub(crate) floors: bool,
    /// Deliveries per second; there are as many events as that takes
    #[arg(long, default_value_t = 100_000.0, value_parser = positive)]
    pub(crate) deliveries: f64,
    /// Only one half of it
    #[arg(long, value_enum)]
    pub(crate) only: Option<Half>,
    /// Draw the figures as SVG files in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) plots: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Half {
    /// More and more subscribers on one node
    Subscribers,
    /// More and more nodes, and the floor server
    Nodes,
}
