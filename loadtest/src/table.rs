//! The figures as a table: a line for each, a column for each target.

use std::fmt::Write as _;

use crate::figures::{float, thousands, whole};
use crate::histogram::Quantiles;
use crate::redis_info::Subscribing;
use crate::report::{Delivery, Document, Ratio, Report, Round, SlowClients};

const NAME_WIDTH: usize = 40;
const COLUMN_WIDTH: usize = 20;

/// The whole text, with a line end.
pub(crate) fn render(document: &Document) -> String {
    let mut text = String::new();
    let runs = &document.runs;
    let Some(first) = runs.first() else { return text };
    let _ = writeln!(text, "\n{}", title(first));
    line(&mut text, "", runs.iter().map(|run| run.target.to_owned()));
    connecting(&mut text, runs);
    row(&mut text, "subscribing all, s", runs, |run| run.subscribe_s.map(decimals));
    deliveries(&mut text, runs);
    slow_clients(&mut text, runs);
    memory(&mut text, runs);
    for ratio in &document.ratios {
        ratio_lines(&mut text, ratio);
    }
    for run in runs {
        for aim in &run.aims {
            let _ = writeln!(text, "{}", aim.line(run.target));
        }
        for warning in &run.warnings {
            let _ = writeln!(text, "warning: {}: {warning}", run.target);
        }
        for failure in &run.failures {
            let _ = writeln!(text, "FAILED: {}: {failure}", run.target);
        }
    }
    if document.all_is_well() && runs.iter().any(|run| run.delivery.is_some()) {
        let whom = if runs.iter().any(|run| run.slow.is_some()) { ", at all that went on reading" } else { "" };
        let _ = writeln!(text, "Everything arrived once and in order, or a gap notice covered it{whom}.");
    }
    text
}

fn title(run: &Report) -> String {
    let load = &run.load;
    let mode = run.mode.map(|mode| format!(" {mode}")).unwrap_or_default();
    let mut title = format!("{}{mode}: {} clients", run.scenario, thousands(load.clients.into()));
    if let Some(slow) = &run.slow {
        let _ = write!(title, ", {} of them slow,", thousands(slow.clients.into()));
    }
    let _ = match load.channels {
        1 => write!(title, " on one channel"),
        channels => write!(title, " on {} channels", thousands(channels.into())),
    };
    if load.tenants > 1 {
        let _ = write!(title, " of {} tenants", load.tenants);
    }
    if !matches!(load.codec, "" | "json") {
        let _ = write!(title, ", {}", load.codec);
    }
    if let Some(rate) = load.events_per_s {
        let _ = write!(title, ", {} events/s", thousands(whole(rate)));
    }
    if let Some(events) = load.events_per_burst {
        let _ = write!(title, ", {} events at once", thousands(events));
    }
    if let Some(bytes) = load.event_bytes {
        let _ = write!(title, " of {bytes} bytes");
    }
    title
}

fn connecting(text: &mut String, runs: &[Report]) {
    let rounds = runs.iter().map(|run| run.rounds.len()).max().unwrap_or_default();
    for number in 0..rounds {
        let of_round =
            |figure: fn(&Round) -> Option<String>| move |run: &Report| run.rounds.get(number).and_then(figure);
        let name = |name: &str| if rounds > 1 { format!("round {}: {name}", number + 1) } else { name.to_owned() };
        row(text, &name("connected"), runs, of_round(|round| Some(thousands(round.connected))));
        row(text, &name("refused"), runs, of_round(|round| (round.refused > 0).then(|| thousands(round.refused))));
        row(text, &name("connecting all, s"), runs, of_round(|round| Some(decimals(round.seconds))));
        row(text, &name("connect p50 / p99 / max, ms"), runs, of_round(|round| Some(spread(&round.connect_us))));
        row(text, &name("server CPU per connect, µs"), runs, of_round(|round| round.cpu_us_per_connect.map(decimals)));
        row(
            text,
            &name("server CPU per disconnect, µs"),
            runs,
            of_round(|round| round.cpu_us_per_disconnect.map(decimals)),
        );
        let spread_of = |latency: fn(&Round) -> Option<&Quantiles>| {
            move |run: &Report| run.rounds.get(number).and_then(latency).map(spread)
        };
        let bystanders = "bystanders p50/p99/max, ms";
        row(text, &name(bystanders), runs, spread_of(|round| round.bystanders_us.as_ref()));
        row(text, &name("the same, calm"), runs, spread_of(|round| round.calm_us.as_ref()));
        row(text, &name("Redis: SUBSCRIBE / topics"), runs, of_round(|round| round.subscribing.map(subscribing)));
        for run in runs {
            for (reason, count) in run.rounds.get(number).into_iter().flat_map(|round| &round.reasons) {
                let _ = writeln!(text, "    {}: {} × {reason}", run.target, thousands(*count));
            }
        }
    }
}

fn subscribing(done: Subscribing) -> String {
    format!("{} / {}", thousands(done.commands), thousands(done.topics))
}

fn deliveries(text: &mut String, runs: &[Report]) {
    let counted =
        |figure: fn(&Delivery) -> u64| move |run: &Report| run.delivery.as_ref().map(|one| thousands(figure(one)));
    let given = |figure: fn(&Delivery) -> Option<String>| move |run: &Report| run.delivery.as_ref().and_then(figure);
    row(text, "deliveries measured", runs, counted(|one| one.deliveries));
    row(text, "deliveries/s", runs, given(|one| one.deliveries_per_s.map(|rate| thousands(whole(rate)))));
    row(text, "kept up", runs, given(|one| one.kept_up.map(|kept| if kept { "yes" } else { "NO" }.to_owned())));
    row(text, "last event due to delivered, s", runs, given(|one| Some(decimals(one.drain_s))));
    row(text, "server CPU per delivery, µs", runs, given(|one| one.server_cpu_us_per_delivery.map(decimals)));
    let cost = |paced: &Delivery| paced.server_cpu_us_per_delivery.map(decimals);
    row(text, "  the same of paced beside it, µs", runs, |run| run.paced.as_ref().and_then(cost));
    row(text, "latency p50, ms", runs, given(|one| Some(millis(one.latency_us.p50))));
    row(text, "latency p90, ms", runs, given(|one| Some(millis(one.latency_us.p90))));
    row(text, "latency p99, ms", runs, given(|one| Some(millis(one.latency_us.p99))));
    row(text, "latency p99.9, ms", runs, given(|one| Some(millis(one.latency_us.p999))));
    row(text, "latency max, ms", runs, given(|one| Some(millis(one.latency_us.max))));
    row(text, "publish lag p50 / p99 / max, ms", runs, given(|one| Some(spread(&one.publish_lag_us))));
    row(text, "generator, processors busy", runs, given(|one| one.generator_cores.map(decimals)));
    row(text, "other programs, processors busy", runs, given(|one| one.other_cores.map(decimals)));
    row(text, "lost", runs, counted(|one| one.counts.lost));
    row(text, "duplicated", runs, counted(|one| one.counts.duplicated));
    row(text, "disordered", runs, counted(|one| one.counts.disordered));
    row(text, "gap frames", runs, counted(|one| one.counts.gap_frames));
    row(text, "missing, covered by a gap", runs, counted(|one| one.counts.covered_by_gap));
}

fn slow_clients(text: &mut String, runs: &[Report]) {
    let given = |figure: fn(&SlowClients) -> String| move |run: &Report| run.slow.as_ref().map(figure);
    row(text, "without the slow p50/p99/max, ms", runs, given(|slow| spread(&slow.calm_us)));
    row(text, "slow clients", runs, given(|slow| thousands(slow.clients.into())));
    row(text, "slow clients closed", runs, given(|slow| thousands(slow.closed)));
    row(text, "slow clients still held", runs, given(|slow| thousands(slow.still_held)));
    row(text, "deliveries slow clients read", runs, given(|slow| thousands(slow.received)));
    for run in runs {
        for (reason, count) in run.slow.iter().flat_map(|slow| &slow.reasons) {
            let _ = writeln!(text, "    {}: {} × {reason}", run.target, thousands(*count));
        }
    }
}

fn memory(text: &mut String, runs: &[Report]) {
    let of_memory = |figure: fn(&crate::report::MemoryFigures) -> Option<String>| {
        move |run: &Report| run.memory.as_ref().and_then(figure)
    };
    row(text, "server RSS before, KB", runs, of_memory(|memory| Some(thousands(memory.before.rss_kb))));
    row(text, "server RSS connected, KB", runs, of_memory(|memory| Some(thousands(memory.connected.rss_kb))));
    row(text, "server RSS at the end, KB", runs, of_memory(|memory| Some(thousands(memory.end.rss_kb))));
    row(text, "RSS per connection, KB", runs, of_memory(|memory| memory.rss_kb_per_connection.map(decimals)));
    row(
        text,
        "private memory per connection, KB",
        runs,
        of_memory(|memory| memory.private_kb_per_connection.map(decimals)),
    );
}

fn ratio_lines(text: &mut String, ratio: &Ratio) {
    let figures = [
        ("CPU per delivery", ratio.cpu_per_delivery),
        ("latency p50", ratio.latency_p50),
        ("latency p99", ratio.latency_p99),
        ("deliveries/s", ratio.deliveries_per_s),
        ("CPU per connect", ratio.cpu_per_connect),
        ("RSS per connection", ratio.rss_per_connection),
    ];
    let told: Vec<String> =
        figures.iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value:.2}"))).collect();
    let _ = writeln!(text, "{} ÷ {}: {}", ratio.of, ratio.to, told.join(", "));
}

/// A line is left out when no run has the figure.
fn row(text: &mut String, name: &str, runs: &[Report], figure: impl Fn(&Report) -> Option<String>) {
    let cells: Vec<Option<String>> = runs.iter().map(figure).collect();
    if cells.iter().any(Option::is_some) {
        line(text, name, cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".to_owned())));
    }
}

pub(crate) fn line(text: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let _ = write!(text, "  {name:<NAME_WIDTH$}");
    for cell in cells {
        let _ = write!(text, "{cell:>COLUMN_WIDTH$}");
    }
    text.push('\n');
}

/// As many decimals as tell something.
pub(crate) fn decimals(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

pub(crate) fn millis(us: u64) -> String {
    decimals(float(us) / 1_000.0)
}

pub(crate) fn spread(us: &Quantiles) -> String {
    format!("{} / {} / {}", millis(us.p50), millis(us.p99), millis(us.max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::Counts;

    #[test]
    fn a_table_names_its_targets_failures_and_ratios() {
        let run = |target, lost| {
            let counts = Counts { lost, ..Counts::default() };
            let server_cpu_us_per_delivery = Some(7.0);
            let delivery =
                Delivery { deliveries: 1_000_000, counts, server_cpu_us_per_delivery, ..Delivery::default() };
            let failures = delivery.failures();
            Report { scenario: "fanout", target, delivery: Some(delivery), failures, ..Report::default() }
        };
        let text = render(&Document::new(vec![run("fanfare", 3), run("floor", 0)]));
        for expected in ["fanfare ÷ floor: CPU per delivery 1.00", "FAILED: fanfare: 3 deliveries lost", "1,000,000"] {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
        assert!(!text.contains("subscribing all"), "nobody measured it: {text}");
        assert!(!text.contains("Everything arrived"), "{text}");
    }

    #[test]
    fn small_figures_keep_their_digits() {
        assert_eq!(decimals(1234.5), "1234");
        assert_eq!(decimals(12.34), "12.3");
        assert_eq!(decimals(0.0876), "0.088");
        assert_eq!(millis(1_500), "1.50");
    }
}
