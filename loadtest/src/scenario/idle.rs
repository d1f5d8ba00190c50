//! Connections that say nothing: what each costs the server in memory.

use std::time::Duration;

use anyhow::Context as _;

use super::Stage;
use super::session::{Clients, Session};
use crate::cli::IdleArgs;
use crate::report::{MemoryFigures, Report};

pub(crate) fn run(stage: &Stage<'_>, args: &IdleArgs) -> anyhow::Result<Report> {
    let clients = Clients { count: args.clients, channels: 1, rounds: 1, subscribe_at_once: true };
    let mut session = Session::start(stage, &clients)?;
    let unknown = "the server's process was not found, and its memory is what is to be measured: give --server-pid";
    let before = session.server_memory()?.context(unknown)?;
    let round = session.connect_all()?;
    let connected = session.server_memory()?.context(unknown)?;
    session.rest(Duration::from_secs_f64(args.duration))?;
    let end = session.server_memory()?.context(unknown)?;
    let (clients_report, _) = session.report(crate::orders::Published::default())?;
    let mut report = Report {
        scenario: "idle",
        target: stage.target.kind.name(),
        server_pid: stage.target.pid,
        load: session.load(),
        memory: Some(MemoryFigures::new(before, connected, end, round.connected)),
        rounds: vec![round],
        ..Report::default()
    };
    if clients_report.dropped > 0 {
        report.failures.push(format!("{} connections ended while they were idle", clients_report.dropped));
        report.warnings.extend(clients_report.ends.iter().map(|(reason, count)| format!("{count} × {reason}")));
    }
    Ok(report)
}
