//! Clients that stop reading beside those that are measured: what waits for them the server has to bound, by closing them, and the
//! others must not notice. What they miss by that is no loss; that they learn of it at the end is what counts.

use super::session::Session;
use crate::aim::Aim;
use crate::cli::LoadArgs;
use crate::figures::{float, ratio, thousands};
use crate::histogram::Quantiles;
use crate::orders::{Counts, Published, SwarmReport};
use crate::report::{Delivery, Report, SlowClients};

/// What the latency of the others may be, as a multiple of what it is without slow clients.
const TIMES_CALM: f64 = 2.0;
/// How a client that was too slow is closed.
const FAREWELL: &str = "close 4413";
/// What is left of the farewell when the server has stopped waiting for the client to take it.
const CUT_OFF: [&str; 2] = ["closed without a close frame", "read: Connection reset by peer"];

pub(crate) struct SlowCrowd<'a> {
    session: Session<'a>,
    clients: u32,
    calm_us: Quantiles,
}

impl<'a> SlowCrowd<'a> {
    /// Connects and subscribes them beside `others`, whose latency without them was `calm_us`; then they stop reading.
    pub(crate) fn connect(others: &Session<'a>, clients: u32, calm_us: Quantiles) -> anyhow::Result<SlowCrowd<'a>> {
        let mut session = others.start_slow(clients)?;
        session.connect_all()?;
        Ok(SlowCrowd { session, clients, calm_us })
    }

    /// They read what is left. Adds what they found to `report`, whose other clients have seen `delivery`.
    pub(crate) fn conclude(mut self, load: &LoadArgs, delivery: &Delivery, report: &mut Report) -> anyhow::Result<()> {
        self.session.read_on(load.settle, load.drain)?;
        let (found, _) = self.session.report(Published::default())?;
        report.failures.extend(failures(&found));
        let times = ratio(float(delivery.latency_us.p99), float(self.calm_us.p99));
        report.aims.extend(times.map(|times| Aim::new("latency p99 ÷ without slow clients", times, TIMES_CALM)));
        report.load.clients += self.clients;
        report.slow = Some(SlowClients {
            clients: self.clients,
            closed: found.dropped,
            still_held: u64::from(self.clients) - found.dropped,
            reasons: found.ends,
            received: found.received,
            calm_us: self.calm_us,
        });
        Ok(())
    }
}

/// What must not happen to slow clients. That they miss events is what they were made for.
fn failures(found: &SwarmReport) -> Vec<String> {
    let delivery = Delivery { counts: Counts { lost: 0, ..found.counts }, ..Delivery::default() };
    let mut failures: Vec<String> =
        delivery.failures().into_iter().map(|failure| format!("slow clients: {failure}")).collect();
    for (reason, count) in found.ends.iter().filter(|(reason, _)| !is_farewell(reason)) {
        failures.push(format!("slow clients: {} ended otherwise than as too slow: {reason}", thousands(*count)));
    }
    if found.dropped == 0 {
        let text = "the server closed no slow client, so this has shown nothing: give a greater --bytes, --rate or --duration, \
                    or the node a smaller FANFARE_OUTBOX_BYTES_MAX";
        failures.push(text.to_owned());
    }
    failures
}

fn is_farewell(reason: &str) -> bool {
    reason.starts_with(FAREWELL) || CUT_OFF.iter().any(|cut_off| reason.starts_with(cut_off))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(dropped: u64, ends: &[(&str, u64)]) -> SwarmReport {
        let ends = ends.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
        SwarmReport { dropped, ends, ..SwarmReport::default() }
    }

    #[test]
    fn to_be_closed_or_cut_off_as_too_slow_is_well_and_so_is_what_is_missing() {
        let ends = [
            ("close 4413 outbox full", 2),
            ("closed without a close frame", 1),
            ("read: Connection reset by peer (os error 104)", 1),
        ];
        let counts = Counts { lost: 1_000, ..Counts::default() };
        assert_eq!(failures(&SwarmReport { counts, ..found(4, &ends) }), Vec::<String>::new());
    }

    #[test]
    fn any_other_end_is_a_failure_and_so_is_a_run_without_any() {
        let other = failures(&found(3, &[("close 4413 outbox full", 1), ("close 1011 internal", 2)]));
        assert_eq!(other, ["slow clients: 2 ended otherwise than as too slow: close 1011 internal"]);
        let none = failures(&found(0, &[]));
        assert!(none.len() == 1 && none[0].contains("has shown nothing"), "{none:?}");
        let twice = Counts { duplicated: 3, ..Counts::default() };
        let twice = failures(&SwarmReport { counts: twice, ..found(1, &[("close 4413", 1)]) });
        assert_eq!(twice, ["slow clients: 3 deliveries came twice"]);
    }
}
