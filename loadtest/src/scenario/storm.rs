//! Everyone connects at once, leaves at once, and comes again, as after a restart: what a connection costs the server
//! (accept, upgrade, token, subscription), how long it takes, what Redis is asked for, and what those notice who were connected
//! before. Refusals are a figure here, not an error.

use std::time::Duration;

use anyhow::ensure;

use super::Stage;
use super::bystanders::{Bystanders, Crowd};
use super::session::{Clients, Session};
use crate::aim::Aim;
use crate::cli::StormArgs;
use crate::figures::{float, ratio, thousands};
use crate::redis_info::Subscribing;
use crate::redis_link::RedisLink;
use crate::report::{MemoryFigures, Report, Round};

/// How long bystanders are watched before each storm.
const CALM: Duration = Duration::from_secs(1);
const BYSTANDERS_P99_MS: f64 = 250.0;
const CONNECT_CPU_US: f64 = 120.0;

pub(crate) fn run(stage: &Stage<'_>, args: &StormArgs) -> anyhow::Result<Report> {
    // Of each tenant.
    let channels = if args.own_channels { args.clients.div_ceil(args.common.mix.tenants) } else { 1 };
    let clients = Clients { count: args.clients, channels, rounds: args.rounds, subscribe_at_once: true };
    let mut storm = Storm { bystanders: bystanders(stage, args)?, session: Session::start(stage, &clients)?, stage };
    let before = storm.session.server_memory()?;
    let mut report = Report {
        scenario: "storm",
        target: stage.target.kind.name(),
        server_pid: stage.target.pid,
        load: storm.session.load(),
        ..Report::default()
    };
    let mut connected = None;
    for _ in 0..args.rounds {
        let mut round = storm.round()?;
        connected = storm.session.server_memory()?;
        round.cpu_us_per_disconnect = storm.leave(round.connected)?;
        report.rounds.push(round);
    }
    report.failures = storm.failures()?;
    if let (Some(before), Some(connected), Some(end)) = (before, connected, storm.session.server_memory()?) {
        let mut memory = MemoryFigures::new(before, connected, end, u64::from(args.clients));
        // At the end all are gone: what is left is no connection's.
        (memory.rss_kb_per_connection, memory.private_kb_per_connection) = (None, None);
        report.memory = Some(memory);
    } else {
        let text = "the server's process was not found, so its CPU time is not known: give --server-pid";
        report.warnings.push(text.to_owned());
    }
    report.aims = aims(&report.rounds);
    Ok(report)
}

struct Storm<'a> {
    stage: &'a Stage<'a>,
    session: Session<'a>,
    bystanders: Option<Bystanders<'a>>,
}

impl Storm<'_> {
    /// All connect, while the bystanders are watched.
    fn round(&mut self) -> anyhow::Result<Round> {
        let mut calm_us = None;
        if let Some(bystanders) = &mut self.bystanders {
            bystanders.begin();
            self.session.rest(CALM)?;
            calm_us = Some(bystanders.take_latency()?);
        }
        let mut link = RedisLink::connect(&self.stage.ground.redis)?;
        let before = Subscribing::read(&mut link)?;
        let mut round = self.session.connect()?;
        round.subscribing = Some(Subscribing::read(&mut link)?.since(&before));
        round.calm_us = calm_us;
        round.bystanders_us = self.bystanders.as_mut().map(Bystanders::end).transpose()?;
        let reasons = || round.reasons.keys().cloned().collect::<Vec<_>>().join(", ");
        ensure!(round.connected > 0, "not one client could connect: {}", reasons());
        Ok(round)
    }

    /// All leave. Returns what each of them cost the server, in microseconds of CPU time.
    fn leave(&mut self, connected: u64) -> anyhow::Result<Option<f64>> {
        let before = self.session.wait_until_quiet()?;
        self.session.disconnect()?;
        let after = self.session.wait_until_quiet()?;
        Ok(before.zip(after).and_then(|(before, after)| ratio(float(after - before), float(connected))))
    }

    fn failures(&mut self) -> anyhow::Result<Vec<String>> {
        let mut failures = Vec::new();
        if self.session.dropped() > 0 {
            let dropped = thousands(self.session.dropped());
            failures.push(format!("{dropped} connections ended after they were subscribed, before they were told to"));
        }
        if let Some(bystanders) = &mut self.bystanders {
            let delivery = bystanders.conclude()?;
            failures.extend(delivery.failures().into_iter().map(|failure| format!("bystanders: {failure}")));
        }
        Ok(failures)
    }
}

fn bystanders<'a>(stage: &'a Stage<'a>, args: &StormArgs) -> anyhow::Result<Option<Bystanders<'a>>> {
    let crowd = Crowd { clients: args.bystanders, channels: 1, events_per_s: args.bystander_rate };
    (crowd.clients > 0).then(|| Bystanders::connect(stage, crowd)).transpose()
}

/// Of the worst round.
fn aims(rounds: &[Round]) -> Vec<Aim> {
    let worst = |figure: &dyn Fn(&Round) -> Option<f64>| rounds.iter().filter_map(figure).reduce(f64::max);
    let p99_ms = worst(&|round| round.bystanders_us.map(|latency| float(latency.p99) / 1_000.0));
    [
        ("bystanders' latency p99 in the storm, ms", p99_ms, BYSTANDERS_P99_MS),
        ("connections refused", worst(&|round| Some(float(round.refused))), 0.0),
        ("server CPU per connect, µs", worst(&|round| round.cpu_us_per_connect), CONNECT_CPU_US),
    ]
    .into_iter()
    .filter_map(|(name, value, at_most)| Some(Aim::new(name, value?, at_most)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Quantiles;

    #[test]
    fn the_worst_round_counts_and_what_was_not_measured_has_no_aim() {
        let round = |refused, p99| {
            let bystanders_us = Some(Quantiles { p99, ..Quantiles::default() });
            Round { refused, bystanders_us, ..Round::default() }
        };
        let told: Vec<String> = aims(&[round(0, 251_000), round(1, 9_000)]).iter().map(|aim| aim.line("x")).collect();
        assert_eq!(told.len(), 2, "nobody knows the CPU time: {told:?}");
        assert!(told[0].contains(": 251, at most 250: NOT MET"), "{told:?}");
        assert!(told[1].contains("refused: 1.00, at most 0.000: NOT MET"), "{told:?}");
        assert!(aims(&[round(0, 1)]).iter().all(|aim| aim.line("x").ends_with(": met")));
    }
}
