//! Many channels with one client each: all connect, then all subscribe at the same moment, then events go round.

use super::Stage;
use super::delivery::{self, Shape, Spec};
use super::session::Clients;
use crate::cli::ChannelsArgs;
use crate::report::Report;

pub(crate) fn run(stage: &Stage<'_>, args: &ChannelsArgs) -> anyhow::Result<Report> {
    let clients = Clients { count: args.channels, channels: args.channels, rounds: 1, subscribe_at_once: false };
    let shape = Shape::Paced { events_per_s: args.rate };
    delivery::run(stage, &Spec { scenario: "channels", mode: None, clients, shape, load: &args.load })
}
