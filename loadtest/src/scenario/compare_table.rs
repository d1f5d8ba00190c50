//! The table of a comparison, in Markdown for the documentation: a line for each figure, a column for each server.

use std::fmt::Write as _;

use super::compare::{Comparison, Part};
use crate::figures::{thousands, whole};
use crate::report::{Delivery, Report};
use crate::table::{decimals, millis};

const FULL: &str = "\\*";
const FAILED: &str = "failed";

pub(crate) fn render(comparison: &Comparison) -> String {
    let mut text = head(comparison);
    let _ = writeln!(text, "| | {} |", comparison.targets.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(comparison.targets.len()));
    for part in &comparison.scenarios {
        row(&mut text, part, "server CPU per delivery, µs", |run| {
            of_delivery(run, |delivery| delivery.server_cpu_us_per_delivery.map(decimals))
        });
        row(&mut text, part, "deliveries/s", |run| {
            of_delivery(run, |delivery| delivery.deliveries_per_s.map(|rate| marked(thousands(whole(rate)), delivery)))
        });
        row(&mut text, part, "latency p50 / p99, ms", |run| {
            of_delivery(run, |delivery| {
                let latency = &delivery.latency_us;
                Some(marked(format!("{} / {}", millis(latency.p50), millis(latency.p99)), delivery))
            })
        });
        row(&mut text, part, "lost", |run| of_delivery(run, |delivery| Some(thousands(delivery.counts.lost))));
        if part.name == "idle" {
            row(&mut text, part, "RSS per connection, KB", |run| {
                run.memory.as_ref().and_then(|memory| memory.rss_kb_per_connection).map(decimals)
            });
        }
        if part.name == "storm" {
            row(&mut text, part, "server CPU per connect, µs", |run| {
                run.rounds.last().and_then(|round| round.cpu_us_per_connect).map(decimals)
            });
            row(&mut text, part, "refused", |run| {
                (!run.rounds.is_empty()).then(|| thousands(run.rounds.iter().map(|round| round.refused).sum()))
            });
        }
    }
    foot(&mut text, comparison);
    text
}

fn head(comparison: &Comparison) -> String {
    let machine = &comparison.machine;
    format!(
        "{} on {} × {}, Linux {}, {}; `{}`\n\n",
        comparison.versions.join("; "),
        machine.processors,
        machine.processor,
        machine.kernel,
        comparison.date,
        comparison.command
    )
}

/// A line is left out when no run has the figure.
fn row(text: &mut String, part: &Part, name: &str, figure: impl Fn(&Report) -> Option<String>) {
    let runs = &part.document.runs;
    let cells: Vec<Option<String>> = runs.iter().map(figure).collect();
    if cells.iter().all(Option::is_none) {
        return;
    }
    let cells = cells.into_iter().zip(runs).map(|(cell, run)| match cell {
        Some(cell) => cell,
        None if run.failures.is_empty() => "–".to_owned(),
        None => FAILED.to_owned(),
    });
    let _ = writeln!(text, "| {}: {name} | {} |", part.name, cells.collect::<Vec<_>>().join(" | "));
}

fn of_delivery(run: &Report, figure: impl Fn(&Delivery) -> Option<String>) -> Option<String> {
    run.delivery.as_ref().and_then(figure)
}

/// A figure that the load generator and not the server may have set.
fn marked(figure: String, delivery: &Delivery) -> String {
    if delivery.generator_is_full { figure + FULL } else { figure }
}

fn foot(text: &mut String, comparison: &Comparison) {
    if text.contains(FULL) {
        let note = "the load generator's processor was full, so rate and latency may be its own; CPU time is not.";
        let _ = writeln!(text, "\n{FULL} {note}");
    }
    let mut notes = String::new();
    for part in &comparison.scenarios {
        for run in &part.document.runs {
            for failure in &run.failures {
                let first = failure.lines().next().unwrap_or_default();
                let _ = writeln!(notes, "- {} on {}: {first}", part.name, run.target);
            }
        }
    }
    if !notes.is_empty() {
        let _ = write!(text, "\n{notes}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::orders::Counts;
    use crate::report::{Document, MemoryFigures};

    fn comparison() -> Comparison {
        let paced = |target, generator_is_full, lost| {
            let counts = Counts { lost, ..Counts::default() };
            let delivery = Delivery {
                deliveries_per_s: Some(1_234_567.0),
                server_cpu_us_per_delivery: Some(7.04),
                generator_is_full,
                counts,
                ..Delivery::default()
            };
            Report { target, failures: delivery.failures(), delivery: Some(delivery), ..Report::default() }
        };
        let memory = MemoryFigures { rss_kb_per_connection: Some(2.5), ..MemoryFigures::default() };
        let idle = Report { target: "fanfare", memory: Some(memory), ..Report::default() };
        let broken = Report { target: "nats", failures: vec!["it ended\n | log".to_owned()], ..Report::default() };
        Comparison {
            command: "fanfare-loadtest compare --peers nats".to_owned(),
            date: "2026-11-21".to_owned(),
            machine: Machine { processor: "A Processor".to_owned(), processors: 2, kernel: "6.1".to_owned() },
            versions: vec!["fanfare 1.0".to_owned(), "nats-server: v2.9.10".to_owned()],
            targets: vec!["fanfare", "nats"],
            scenarios: vec![
                Part {
                    name: "paced",
                    document: Document::new(vec![paced("fanfare", true, 0), paced("nats", false, 3)]),
                },
                Part { name: "idle", document: Document::new(vec![idle, broken]) },
            ],
            ..Comparison::default()
        }
    }

    #[test]
    fn the_table_says_what_was_measured_where_and_with_what() {
        let text = render(&comparison());
        for expected in [
            "fanfare 1.0; nats-server: v2.9.10 on 2 × A Processor, Linux 6.1, 2026-11-21; `fanfare-loadtest compare --peers nats`",
            "| | fanfare | nats |",
            "| paced: server CPU per delivery, µs | 7.04 | 7.04 |",
            "| paced: deliveries/s | 1,234,567\\* | 1,234,567 |",
            "| paced: lost | 0 | 3 |",
            "| idle: RSS per connection, KB | 2.50 | failed |",
            "- paced on nats: 3 deliveries lost that no gap notice covers",
            "- idle on nats: it ended\n",
            "\\* the load generator's processor was full",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(!text.contains("storm"), "nobody ran it");
    }
}
