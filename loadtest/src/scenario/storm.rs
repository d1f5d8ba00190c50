//! Everyone connects at once, leaves at once, and comes again, as after a restart: what a connection costs the server
//! (accept, upgrade, token, subscription), and how long it takes. Refusals are a figure here, not an error.

use anyhow::ensure;

use super::Stage;
use super::session::{Clients, Session};
use crate::cli::StormArgs;
use crate::figures::{float, ratio, thousands};
use crate::report::{MemoryFigures, Report};

pub(crate) fn run(stage: &Stage<'_>, args: &StormArgs) -> anyhow::Result<Report> {
    let clients = Clients { count: args.clients, channels: 1, rounds: args.rounds, subscribe_at_once: true };
    let mut session = Session::start(stage, &clients)?;
    let before = session.server_memory()?;
    let mut report = Report {
        scenario: "storm",
        target: stage.target.kind.name(),
        server_pid: stage.target.pid,
        load: session.load(),
        ..Report::default()
    };
    let mut connected = None;
    for _ in 0..args.rounds {
        let mut round = session.connect()?;
        let reasons = || round.reasons.keys().cloned().collect::<Vec<_>>().join(", ");
        ensure!(round.connected > 0, "not one client could connect: {}", reasons());
        connected = session.server_memory()?;
        let cpu_before = session.wait_until_quiet()?;
        session.disconnect()?;
        let cpu_after = session.wait_until_quiet()?;
        round.cpu_us_per_disconnect =
            cpu_before.zip(cpu_after).and_then(|(before, after)| ratio(float(after - before), float(round.connected)));
        report.rounds.push(round);
    }
    if session.dropped() > 0 {
        let dropped = thousands(session.dropped());
        report
            .failures
            .push(format!("{dropped} connections ended after they were subscribed, before they were told to"));
    }
    if let (Some(before), Some(connected), Some(end)) = (before, connected, session.server_memory()?) {
        let mut memory = MemoryFigures::new(before, connected, end, u64::from(args.clients));
        // At the end all are gone: what is left is no connection's.
        (memory.rss_kb_per_connection, memory.private_kb_per_connection) = (None, None);
        report.memory = Some(memory);
    } else {
        let text = "the server's process was not found, so its CPU time is not known: give --server-pid";
        report.warnings.push(text.to_owned());
    }
    Ok(report)
}
