//! The command line of many clients on one channel.

use clap::{Args, ValueEnum};

use super::{CommonArgs, LoadArgs, not_negative, positive};

#[derive(Args)]
#[command(after_help = "\
Examples:
  fanfare-loadtest fanout --mode paced --spawn                   5,000 clients, 20 events/s
  fanfare-loadtest fanout --mode stream --spawn --compare        1,000 clients, 1,000 events/s, floors beside it
  fanfare-loadtest fanout --mode burst --spawn --bursts 20       5,000 clients, 200 events at once, 20 times
  fanfare-loadtest fanout --codec mixed --tenants 8 --spawn      half of them MessagePack, a channel in each of 8 tenants
  fanfare-loadtest fanout --mode stream --clients 500 --slow 50 --bytes 4096 --rate 300 --spawn
                                                                 50 of them stop reading, which must not hold up the others
  fanfare-loadtest fanout --clients 100 --rate 50 --duration 3 --url ws://127.0.0.1:8080/ws --secret s3cret")]
pub(crate) struct FanoutArgs {
    /// What the load looks like; sets the defaults of --clients, --rate, --events
    #[arg(long, value_enum, default_value_t = Mode::Paced)]
    pub(crate) mode: Mode,
    /// Clients [default: 5000; stream: 1000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) clients: Option<u32>,
    /// Of the clients, so many stop reading once they are subscribed: the server has to close them and the others must not
    /// notice. Before that, the others are measured for as long without them. At the end they read what is left and must find that
    /// they were closed (4413), or, later than the node's close timeout, cut off. Of a Fanfare node only. It has to buffer
    /// some 6 MB for each: --bytes × --rate × --duration must be more
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=19_000))]
    pub(crate) slow: u32,
    /// Events per second, paced and stream [default: 20; stream: 1000]
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Option<f64>,
    /// Events in one burst
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) events: u64,
    /// Bursts; the next one starts when all of the last has arrived
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) bursts: u64,
    /// Seconds between bursts
    #[arg(long, default_value_t = 0.2, value_parser = not_negative)]
    pub(crate) pause: f64,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Few events, many clients: what each write costs
    Paced,
    /// A steady stream: whether the server keeps up
    Stream,
    /// Many events at the same moment: whether they travel together
    Burst,
}
