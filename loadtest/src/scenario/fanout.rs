//! Many clients on one channel, of which some may stop reading.

use std::time::Duration;

use anyhow::ensure;

use super::Stage;
use super::delivery::{self, Shape, Spec};
use super::session::Clients;
use crate::cli::{FanoutArgs, Kind, Mode};
use crate::figures::thousands;
use crate::report::Report;

/// Whether what is asked for goes together.
pub(crate) fn check(args: &FanoutArgs) -> anyhow::Result<()> {
    if args.slow == 0 {
        return Ok(());
    }
    let is_fanfare_alone = args.common.target.kinds().into_iter().all(|kind| kind == Kind::Fanfare);
    ensure!(is_fanfare_alone, "other servers have bounds of their own for slow clients: --slow measures Fanfare alone");
    let (_, clients, _) = defaults(args.mode);
    let clients = args.clients.unwrap_or(clients);
    ensure!(
        args.slow < clients,
        "--slow {} leaves none of {} clients to be measured: make --clients greater",
        args.slow,
        thousands(clients.into())
    );
    Ok(())
}

pub(crate) fn run(stage: &Stage<'_>, args: &FanoutArgs) -> anyhow::Result<Report> {
    let (mode, clients, events_per_s) = defaults(args.mode);
    let shape = match args.mode {
        Mode::Paced | Mode::Stream => Shape::Paced { events_per_s: args.rate.unwrap_or(events_per_s) },
        Mode::Burst => {
            Shape::Burst { events: args.events, bursts: args.bursts, pause: Duration::from_secs_f64(args.pause) }
        }
    };
    let count = args.clients.unwrap_or(clients) - args.slow;
    let clients = Clients { count, channels: 1, rounds: 1, subscribe_at_once: true };
    let spec = Spec { scenario: "fanout", mode: Some(mode), clients, shape, slow: args.slow, load: &args.load };
    delivery::run(stage, &spec)
}

/// The mode's name, clients, and events per second.
fn defaults(mode: Mode) -> (&'static str, u32, f64) {
    match mode {
        Mode::Paced => ("paced", 5_000, 20.0),
        Mode::Stream => ("stream", 1_000, 1_000.0),
        Mode::Burst => ("burst", 5_000, 0.0),
    }
}
