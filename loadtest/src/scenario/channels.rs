//! Many channels with one client each: all connect, then all subscribe at the same moment, then events go round. What that costs is
//! told beside the paced fan-out with as many deliveries a second, if that is wanted: there each event is for all. Several tenants
//! share the channels.

use anyhow::ensure;

use super::Stage;
use super::delivery::{self, Shape, Spec};
use super::session::Clients;
use crate::aim::Aim;
use crate::cli::ChannelsArgs;
use crate::figures::ratio;
use crate::report::Report;

/// The clients of the paced fan-out.
const PACED_CLIENTS: u32 = 5_000;
/// What a delivery may cost, as a multiple of the paced one.
const TIMES_PACED: f64 = 2.0;
/// Seconds in which so many topics should be subscribed on Redis.
const SUBSCRIBE_S: f64 = 1.0;
const SUBSCRIBED_TOPICS: u32 = 10_000;

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
    let spec = Spec { scenario: "channels", mode: None, clients, shape, slow: 0, load: &args.load };
    let mut report = delivery::run(stage, &spec)?;
    if args.channels <= SUBSCRIBED_TOPICS {
        let seconds = report.subscribe_s.unwrap_or_default();
        report.aims.push(Aim::new("subscribing all, s", seconds, SUBSCRIBE_S));
    }
    if args.paced {
        add_paced(&mut report, delivery::run(stage, &paced(args))?);
    }
    Ok(report)
}

/// The same deliveries a second, by events for all.
fn paced(args: &ChannelsArgs) -> Spec<'_> {
    let clients = Clients { count: PACED_CLIENTS, channels: 1, rounds: 1, subscribe_at_once: true };
    let shape = Shape::Paced { events_per_s: args.rate / f64::from(PACED_CLIENTS) };
    Spec { scenario: "fanout", mode: Some("paced"), clients, shape, slow: 0, load: &args.load }
}

fn add_paced(report: &mut Report, paced: Report) {
    let prefixed = |texts: Vec<String>| texts.into_iter().map(|text| format!("paced: {text}"));
    report.warnings.extend(prefixed(paced.warnings));
    report.failures.extend(prefixed(paced.failures));
    report.paced = paced.delivery;
    let cost = |delivery: &Option<crate::report::Delivery>| delivery.as_ref()?.server_cpu_us_per_delivery;
    let times = cost(&report.delivery).zip(cost(&report.paced)).and_then(|(channels, paced)| ratio(channels, paced));
    report.aims.extend(times.map(|times| Aim::new("CPU per delivery ÷ paced", times, TIMES_PACED)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Delivery, Document};
    use crate::table;

    #[test]
    fn what_went_wrong_beside_it_goes_wrong() {
        let run = |cost, failures| {
            let delivery = Delivery { server_cpu_us_per_delivery: Some(cost), ..Delivery::default() };
            Report { target: "fanfare", delivery: Some(delivery), failures, ..Report::default() }
        };
        let mut report = run(11.0, Vec::new());
        add_paced(&mut report, run(5.0, vec!["1 deliveries came twice".to_owned()]));
        assert_eq!(report.failures, ["paced: 1 deliveries came twice"]);
        let text = table::render(&Document::new(vec![report]));
        assert!(text.contains("CPU per delivery ÷ paced: 2.20, at most 2.00: NOT MET"), "{text}");
    }
}
