//! What a run found out: the figures, as they stand in the JSON, and whether they are a failure. The table for people
//! is [`crate::table`].

use std::collections::BTreeMap;

use serde::Serialize;

use crate::aim::Aim;
use crate::figures::{float, ratio, thousands};
use crate::histogram::Quantiles;
use crate::orders::Counts;
use crate::process::Memory;
use crate::reasons::Reasons;
use crate::redis_info::Subscribing;

/// All that one command found out.
#[derive(Serialize)]
pub(crate) struct Document {
    /// Of the form of this document.
    pub(crate) version: u32,
    pub(crate) runs: Vec<Report>,
    pub(crate) ratios: Vec<Ratio>,
}

/// One scenario on one target.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    pub(crate) mode: Option<&'static str>,
    pub(crate) target: &'static str,
    pub(crate) server_pid: Option<u32>,
    pub(crate) load: Load,
    /// Each time that all clients connected; all but `storm` do it once.
    pub(crate) rounds: Vec<Round>,
    /// From the order to the last `subscribed`, where clients connect first and subscribe then.
    pub(crate) subscribe_s: Option<f64>,
    pub(crate) delivery: Option<Delivery>,
    /// Of `channels`: the paced fan-out with as many deliveries a second.
    pub(crate) paced: Option<Delivery>,
    /// Of `fanout`: those that stopped reading; all other figures are of the others.
    pub(crate) slow: Option<SlowClients>,
    pub(crate) memory: Option<MemoryFigures>,
    pub(crate) aims: Vec<Aim>,
    pub(crate) warnings: Vec<String>,
    /// Why the exit code is 1; empty when all is well.
    pub(crate) failures: Vec<String>,
}

/// What was asked for.
#[derive(Default, Serialize)]
pub(crate) struct Load {
    pub(crate) clients: u32,
    /// Of all tenants.
    pub(crate) channels: u32,
    pub(crate) codec: &'static str,
    pub(crate) tenants: u32,
    pub(crate) processes: u32,
    pub(crate) source_addresses: u32,
    pub(crate) event_bytes: Option<u32>,
    pub(crate) events_per_s: Option<f64>,
    pub(crate) events_per_burst: Option<u64>,
}

/// All clients connect.
#[derive(Default, Serialize)]
pub(crate) struct Round {
    pub(crate) connected: u64,
    pub(crate) refused: u64,
    /// Why, and how many.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Until the last was ready.
    pub(crate) seconds: f64,
    pub(crate) connects_per_s: Option<f64>,
    /// From `connect` to `subscribed` (or `welcome`, where subscribing comes later).
    pub(crate) connect_us: Quantiles,
    pub(crate) cpu_us_per_connect: Option<f64>,
    /// The server's CPU time until it had nothing more to do after all left at once.
    pub(crate) cpu_us_per_disconnect: Option<f64>,
    /// What clients noticed that were connected before: the latency of their events in a calm moment, and while all connected.
    pub(crate) calm_us: Option<Quantiles>,
    pub(crate) bystanders_us: Option<Quantiles>,
    /// What Redis was asked for meanwhile.
    pub(crate) subscribing: Option<Subscribing>,
}

#[expect(clippy::struct_field_names, reason = "the JSON says per what the figure is")]
#[derive(Default, Serialize)]
pub(crate) struct Delivery {
    /// Events published in all, and in the measured part.
    pub(crate) published: u64,
    pub(crate) measured_events: u64,
    /// Of the measured part; each event counts once per client.
    pub(crate) deliveries: u64,
    pub(crate) expected: u64,
    pub(crate) seconds: f64,
    pub(crate) deliveries_per_s: Option<f64>,
    /// From when the last event was due to its last delivery.
    pub(crate) drain_s: f64,
    /// Not for bursts, which are meant to take their time.
    pub(crate) kept_up: Option<bool>,
    /// These are counted over the warm-up as well.
    #[serde(flatten)]
    pub(crate) counts: Counts,
    pub(crate) connections_dropped: u64,
    /// From when an event was due to when a client had read it.
    pub(crate) latency_us: Quantiles,
    /// From when an event was due to when it was written to Redis: the generator's own part of the latency.
    pub(crate) publish_lag_us: Quantiles,
    pub(crate) server_cpu_s: Option<f64>,
    pub(crate) server_cpu_us_per_delivery: Option<f64>,
    /// Processors that clients and publisher kept busy; near what they have, they are the limit and not the server.
    pub(crate) generator_cores: Option<f64>,
    /// The processors of clients, publisher and Redis had nothing left: rate and latency may be theirs.
    pub(crate) generator_is_full: bool,
    /// Processors that programs outside of this run kept busy: noise in every other figure.
    pub(crate) other_cores: Option<f64>,
}

/// What became of clients that stopped reading.
#[derive(Serialize)]
pub(crate) struct SlowClients {
    pub(crate) clients: u32,
    /// By the server; the others it still held when they read again.
    pub(crate) closed: u64,
    pub(crate) still_held: u64,
    /// How those were closed, as they found when they read again.
    pub(crate) reasons: Reasons,
    /// Deliveries they read in all.
    pub(crate) received: u64,
    /// The latency of the other clients before these came.
    pub(crate) calm_us: Quantiles,
}

#[derive(Default, Serialize)]
pub(crate) struct MemoryFigures {
    pub(crate) before: Memory,
    pub(crate) connected: Memory,
    pub(crate) end: Memory,
    /// At the end, over what it was before.
    pub(crate) rss_kb_per_connection: Option<f64>,
    pub(crate) private_kb_per_connection: Option<f64>,
}

/// One target against another of the same command.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) of: &'static str,
    pub(crate) to: &'static str,
    pub(crate) cpu_per_delivery: Option<f64>,
    pub(crate) latency_p50: Option<f64>,
    pub(crate) latency_p99: Option<f64>,
    pub(crate) deliveries_per_s: Option<f64>,
    pub(crate) cpu_per_connect: Option<f64>,
    pub(crate) rss_per_connection: Option<f64>,
}

impl Delivery {
    /// What must not happen, in words.
    pub(crate) fn failures(&self) -> Vec<String> {
        [
            (self.counts.lost, "deliveries lost that no gap notice covers"),
            (self.counts.duplicated, "deliveries came twice"),
            (self.counts.disordered, "deliveries came out of order"),
            (self.counts.misrouted, "deliveries reached a client of another channel"),
            (self.connections_dropped, "connections ended during the run"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", thousands(count)))
        .collect()
    }

    /// What makes the figures doubtful, in words.
    pub(crate) fn warnings(&self) -> Vec<String> {
        [
            (
                self.counts.unconfirmed,
                "missing deliveries of events that Redis never confirmed; they don't count as lost",
            ),
            (self.counts.foreign, "events that this run did not publish: is something else publishing to the channel?"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", thousands(count)))
        .collect()
    }
}

impl MemoryFigures {
    pub(crate) fn new(before: Memory, connected: Memory, end: Memory, connections: u64) -> Self {
        let each = |before: u64, end: u64| ratio(float(end) - float(before), float(connections));
        Self {
            rss_kb_per_connection: each(before.rss_kb, end.rss_kb),
            private_kb_per_connection: before
                .private_kb
                .zip(end.private_kb)
                .and_then(|(before, end)| each(before, end)),
            before,
            connected,
            end,
        }
    }
}

impl Document {
    /// The first run is compared with each of the others.
    pub(crate) fn new(runs: Vec<Report>) -> Self {
        let ratios = match runs.split_first() {
            Some((of, others)) => others.iter().map(|to| Ratio::new(of, to)).collect(),
            None => Vec::new(),
        };
        Self { version: 1, runs, ratios }
    }

    pub(crate) fn all_is_well(&self) -> bool {
        self.runs.iter().all(|run| run.failures.is_empty())
    }
}

impl Ratio {
    fn new(of: &Report, to: &Report) -> Self {
        let both =
            |figure: &dyn Fn(&Report) -> Option<f64>| figure(of).zip(figure(to)).and_then(|(of, to)| ratio(of, to));
        let of_delivery = |figure: fn(&Delivery) -> Option<f64>| both(&|run| run.delivery.as_ref().and_then(figure));
        Self {
            of: of.target,
            to: to.target,
            cpu_per_delivery: of_delivery(|delivery| delivery.server_cpu_us_per_delivery),
            latency_p50: of_delivery(|delivery| Some(float(delivery.latency_us.p50))),
            latency_p99: of_delivery(|delivery| Some(float(delivery.latency_us.p99))),
            deliveries_per_s: of_delivery(|delivery| delivery.deliveries_per_s),
            cpu_per_connect: both(&|run| run.rounds.last().and_then(|round| round.cpu_us_per_connect)),
            rss_per_connection: both(&|run| run.memory.as_ref().and_then(|memory| memory.rss_kb_per_connection)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_fails_and_a_covered_gap_does_not() {
        let with = |counts| Delivery { counts, ..Delivery::default() };
        let covered = with(Counts { covered_by_gap: 9, gap_frames: 1, ..Counts::default() });
        assert!(covered.failures().is_empty());
        let lost = with(Counts { lost: 1_234, ..Counts::default() });
        assert_eq!(lost.failures(), ["1,234 deliveries lost that no gap notice covers"]);
        let twice = Counts { duplicated: 1, disordered: 2, misrouted: 3, ..Counts::default() };
        let twice = Delivery { connections_dropped: 4, ..with(twice) };
        assert_eq!(twice.failures().len(), 4);
    }

    #[test]
    fn the_first_run_is_set_against_the_others() {
        let run = |target, cpu| {
            let delivery = Delivery { server_cpu_us_per_delivery: Some(cpu), ..Delivery::default() };
            Report { target, delivery: Some(delivery), ..Report::default() }
        };
        let document = Document::new(vec![run("fanfare", 7.7), run("floor", 7.0), run("floor-coalescing", 0.0)]);
        assert_eq!(document.ratios.len(), 2);
        assert!((document.ratios[0].cpu_per_delivery.unwrap_or_default() - 1.1).abs() < 1e-9);
        assert_eq!(document.ratios[1].cpu_per_delivery, None, "nothing is divided by zero");
        assert!(document.all_is_well());
    }
}
