//! Many clients on one channel.

use std::time::Duration;

use super::Stage;
use super::delivery::{self, Shape, Spec};
use super::session::Clients;
use crate::cli::{FanoutArgs, Mode};
use crate::report::Report;

pub(crate) fn run(stage: &Stage<'_>, args: &FanoutArgs) -> anyhow::Result<Report> {
    let (mode, clients, events_per_s) = match args.mode {
        Mode::Paced => ("paced", 5_000, 20.0),
        Mode::Stream => ("stream", 1_000, 1_000.0),
        Mode::Burst => ("burst", 5_000, 0.0),
    };
    let shape = match args.mode {
        Mode::Paced | Mode::Stream => Shape::Paced { events_per_s: args.rate.unwrap_or(events_per_s) },
        Mode::Burst => {
            Shape::Burst { events: args.events, bursts: args.bursts, pause: Duration::from_secs_f64(args.pause) }
        }
    };
    let clients = Clients { count: args.clients.unwrap_or(clients), channels: 1, rounds: 1, subscribe_at_once: true };
    delivery::run(stage, &Spec { scenario: "fanout", mode: Some(mode), clients, shape, load: &args.load })
}
