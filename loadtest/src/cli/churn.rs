//! The command line of the churn of subscriptions.

use clap::Args;

use super::{CommonArgs, not_negative, positive};

#[derive(Args)]
#[command(
    mut_arg("target", |arg| arg.hide(true)),
    mut_arg("compare", |arg| arg.hide(true)),
    after_help = "\
Clients wander from topic to topic: all together make --rate changes a second, every other one an unsubscribe, and hold \
--topics topics all the while. Nobody shares a topic, so each change is the topic's first or last subscriber on the node, \
and a dropped topic is away for long enough that Redis is asked for it again. Beside them a calm crowd gets events on 20 \
topics that stay subscribed; what the same events cost without the churn is measured first and taken off.

With --spawn the node gets these settings, which --env may change: FANFARE_UNSUBSCRIBE_DELAY_MS=1000, so that dropped \
topics leave Redis in time; FANFARE_FRAMES_PER_MINUTE and FANFARE_FRAMES_BURST, so that the rate is allowed; \
FANFARE_SUBSCRIPTIONS_PER_CONNECTION_MAX, so that a client may hold its share. A node of your own needs them too.

Examples:
  fanfare-loadtest churn --spawn
  fanfare-loadtest churn --spawn --clients 100 --topics 10000 --rate 1000 --duration 3
  fanfare-loadtest churn --url ws://127.0.0.1:8080/ws --secret s3cret --json churn.json"
)]
pub(crate) struct ChurnArgs {
    /// Clients that subscribe and unsubscribe
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub(crate) clients: u32,
    /// Topics that they hold, all together
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) topics: u32,
    /// Subscribes and unsubscribes a second, all together
    #[arg(long, default_value_t = 5_000.0, value_parser = positive)]
    pub(crate) rate: f64,
    /// Seconds for which a topic is away after it was dropped, at least
    #[arg(long, default_value_t = 2.0, value_parser = not_negative)]
    pub(crate) away: f64,
    /// Seconds of churn that are measured
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub(crate) duration: f64,
    /// Seconds of events without churn, and of churn before it is measured: until topics leave as fast as they come
    #[arg(long, default_value_t = 3.0, value_parser = positive)]
    pub(crate) warmup: f64,
    /// Clients whose topics stay subscribed, 10 a topic: a multiple of 20
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..=4_000))]
    pub(crate) bystanders: u32,
    /// Events per second to them, over all their topics
    #[arg(long, default_value_t = 200.0, value_parser = positive)]
    pub(crate) bystander_rate: f64,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}
