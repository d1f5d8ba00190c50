//! The command line of many channels with one client each.

use clap::Args;

use super::{CommonArgs, LoadArgs, positive};

#[derive(Args)]
#[command(after_help = "\
Examples:
  fanfare-loadtest channels --spawn --paced
  fanfare-loadtest channels --channels 10000 --rate 20000 --duration 10 --spawn --compare")]
pub(crate) struct ChannelsArgs {
    /// Channels, each with one client
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub(crate) channels: u32,
    /// Events per second over all channels, round-robin. The default keeps one core of a server busy
    #[arg(long, default_value_t = 70_000.0, value_parser = positive)]
    pub(crate) rate: f64,
    /// Then measure the paced fan-out to 5,000 clients with as many deliveries a second, and tell the ratio
    #[arg(long)]
    pub(crate) paced: bool,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}
