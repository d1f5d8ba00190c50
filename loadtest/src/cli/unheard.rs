//! The command line of messages that nobody on the node wants any more.

use clap::Args;

use super::{CommonArgs, positive};

#[derive(Args)]
#[command(after_help = "\
One client for each channel subscribes and leaves. The node keeps its subscriptions on Redis for a while, in case the \
client comes back, and has to read and drop what is published meanwhile: that is what is measured. A floor server keeps \
its subscriptions too, so --compare tells what reading alone costs.

With --spawn the node gets FANFARE_UNSUBSCRIBE_DELAY_MS=600000, which --env may change. A node of your own needs a delay \
that is longer than the run; that Redis had a subscriber for every event is checked.

Examples:
  fanfare-loadtest unheard --spawn --compare=fanfare,floor
  fanfare-loadtest unheard --spawn --bytes 1024,16384 --rate 20000
  fanfare-loadtest unheard --spawn --at-once 1          each event wakes the node by itself
  fanfare-loadtest unheard --spawn --channels 10000")]
pub(crate) struct UnheardArgs {
    /// Channels, round which the events go
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub(crate) channels: u32,
    /// Events per second
    #[arg(long, default_value_t = 100_000.0, value_parser = positive)]
    pub(crate) rate: f64,
    /// Events in one write to Redis: what it reads together, the node reads together
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) at_once: u64,
    /// Seconds of publishing for each size
    #[arg(long, default_value_t = 4.0, value_parser = positive)]
    pub(crate) duration: f64,
    /// Bytes of one event's envelope; several are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "128", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) bytes: Vec<u32>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}
