//! Many channels with one client each: all connect, then all subscribe at the same moment, then events go round. Several
//! tenants share them.

use anyhow::ensure;

use super::Stage;
use super::delivery::{self, Shape, Spec};
use super::session::Clients;
use crate::cli::ChannelsArgs;
use crate::report::Report;

pub(crate) fn run(stage: &Stage<'_>, args: &ChannelsArgs) -> anyhow::Result<Report> {
    let tenants = args.common.mix.tenants;
    ensure!(
        args.channels.is_multiple_of(tenants),
        "{} channels can't be shared evenly by {tenants} tenants: make --channels a multiple of --tenants",
        args.channels
    );
    let channels = args.channels / tenants;
    let clients = Clients { count: args.channels, channels, rounds: 1, subscribe_at_once: false };
    // Each event is published once to each tenant.
    let shape = Shape::Paced { events_per_s: args.rate / f64::from(tenants) };
    delivery::run(stage, &Spec { scenario: "channels", mode: None, clients, shape, load: &args.load })
}
