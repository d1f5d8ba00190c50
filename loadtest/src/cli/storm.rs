//! The command line of the connection storm.

use clap::Args;

use super::{CommonArgs, positive};

#[derive(Args)]
#[command(after_help = "\
Everyone connects at once, leaves at once, and comes again. A calm crowd that was connected before, on a channel of its \
own, gets events all the while; what it notices of the storm is the latency of those events. Where Redis is asked for \
subscriptions, it tells how many commands that took and for how many topics.

Examples:
  fanfare-loadtest storm --spawn                     15,000 clients on one channel, beside 200 bystanders
  fanfare-loadtest storm --spawn --own-channels      each on a channel of its own, so Redis takes part in the storm
  fanfare-loadtest storm --spawn --clients 5000 --rounds 3 --connect-concurrency 1000 --compare")]
pub(crate) struct StormArgs {
    /// Clients, all on one channel
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) clients: u32,
    /// Give each client a channel of its own
    #[arg(long)]
    pub(crate) own_channels: bool,
    /// How often all connect; between rounds all disconnect at once
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// Clients that were connected before and stay; 0: nobody looks on
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=19_000))]
    pub(crate) bystanders: u32,
    /// Events per second to the bystanders, each event to all of them
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    pub(crate) bystander_rate: f64,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}
