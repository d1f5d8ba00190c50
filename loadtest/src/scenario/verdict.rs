//! What became of all events of a [`Trial`], in figures and in words, and whether that is a failure.

use serde_json::{Value, json};

use super::effort::Effort;
use super::story::Column;
use super::trial::Trial;
use crate::figures::{float, ratio, thousands};
use crate::herd::notes::{Arrivals, Notes};
use crate::reasons::listed;
use crate::sequence::Missing;

/// Other programs that keep more processors busy than this disturb the figures.
const OTHERS_BUSY: f64 = 0.2;

impl Trial {
    /// Tells what became of all events, and fails the run when something was lost in silence.
    pub(crate) fn conclude(&mut self, column: &mut Column) -> anyhow::Result<Notes> {
        let notes = self.herd.ask(|herd| herd.notes())?;
        let (durable, ephemeral) = self.missing()?;
        let issued = self.feed.ask(|feed| feed.count())?;
        let refusals = self.feed.ask(|feed| feed.refusals())?;
        column.row("durable events published", thousands(issued.0));
        column.figure("durable", kind(issued.0, notes.durable, durable));
        tell_kind(column, "durable", notes.durable, durable);
        column.count("recovered_true", "answers to since: all recovered", notes.recovered);
        column.figure("recovered_false", &notes.not_recovered);
        column.row("answers to since: recovered:false", thousands(notes.not_recovered.values().sum()));
        for (reason, count) in &notes.not_recovered {
            column.row(format!("  recovered:false, {reason}"), thousands(*count));
        }
        column.figure("gaps", &notes.gaps);
        for (gap, count) in &notes.gaps {
            column.row(format!("gap notices: {gap}"), thousands(*count));
        }
        column.figure("ephemeral", kind(issued.1, notes.ephemeral, ephemeral));
        if issued.1 > 0 {
            column.row("ephemeral events published", thousands(issued.1));
            tell_kind(column, "ephemeral", notes.ephemeral, ephemeral);
            column.row("ephemeral: missed while away", thousands(ephemeral.away));
        }
        column.figure("connections_ended", &notes.ends);
        column.figure("refused", &notes.errors);
        column.figure("redis_refused", &refusals);
        column.failures.extend(failures(&notes, durable, ephemeral));
        for (words, reasons) in
            [("Redis refused some events", &refusals), ("some subscribes were refused", &notes.errors)]
        {
            if !reasons.is_empty() {
                column.warnings.push(format!("{words}: {}", listed(reasons)));
            }
        }
        Ok(notes)
    }
}

impl Trial {
    /// Tells how many clients the balancer sent to a node in one second, and fails the run when that is more than any node
    /// announced to be ready for.
    pub(crate) fn judge_connects(&mut self, budget_per_s: Option<f64>, column: &mut Column) -> anyhow::Result<()> {
        let connects =
            self.herd.ask(|herd| herd.balancer().map(|balancer| balancer.connects_max()).unwrap_or_default())?;
        let most = float(connects.iter().copied().max().unwrap_or_default());
        let list: Vec<String> = connects.iter().map(|connects| thousands(*connects)).collect();
        column.figure("connects_max", connects);
        column.row("most connects in a second, by node", list.join(" / "));
        column.measure("accept_budget_per_s", "announced by each node, connects a second", budget_per_s);
        if let Some(budget_per_s) = budget_per_s.filter(|budget| most > *budget) {
            column.failures.push(format!("a node got {most} clients in a second and announced {budget_per_s}"));
        }
        Ok(())
    }
}

/// How busy other programs were, and whether that is too much.
pub(crate) fn tell_others(column: &mut Column, effort: &Effort) {
    let other_cores = ratio(float(effort.other_us()), float(effort.wall_us));
    column.measure("other_cores", "other programs, processors busy", other_cores);
    if other_cores.is_some_and(|busy| busy > OTHERS_BUSY) {
        column.warnings.push("other programs were busy on this machine: measure again when it is quiet".to_owned());
    }
}

fn kind(published: u64, arrivals: Arrivals, missing: Missing) -> Value {
    json!({
        "published": published,
        "delivered": arrivals.received,
        "recovered": arrivals.recovered,
        "lost": missing.lost,
        "covered_by_gap": missing.covered,
        "missed_while_away": missing.away,
        "unconfirmed": missing.unconfirmed,
        "replayed": arrivals.replayed,
        "duplicated": arrivals.duplicated,
        "disordered": arrivals.disordered,
    })
}

fn tell_kind(column: &mut Column, kind: &str, arrivals: Arrivals, missing: Missing) {
    let rows = [
        ("delivered", arrivals.received),
        ("of these in answers to since", arrivals.recovered),
        ("lost in silence", missing.lost),
        ("duplicated", arrivals.duplicated),
        ("disordered", arrivals.disordered),
        ("missing, covered by a gap", missing.covered),
        ("missing, not confirmed by Redis", missing.unconfirmed),
    ];
    for (words, count) in rows {
        if kind == "durable" || words != "of these in answers to since" {
            column.row(format!("{kind}: {words}"), thousands(count));
        }
    }
    if arrivals.replayed > 0 {
        column.row(format!("{kind}: again, no position known"), thousands(arrivals.replayed));
    }
}

/// What must not happen, in words.
fn failures(notes: &Notes, durable: Missing, ephemeral: Missing) -> Vec<String> {
    let mut failures: Vec<String> = [
        (durable.lost, "deliveries of durable events lost in silence"),
        (ephemeral.lost, "deliveries of ephemeral events lost in silence"),
        (durable.away, "deliveries of durable events missed while away, and nobody said so"),
        (notes.durable.duplicated + notes.ephemeral.duplicated, "deliveries came twice"),
        (notes.durable.disordered + notes.ephemeral.disordered, "deliveries came out of order"),
        (notes.strange, "events of another topic, or not published by this run"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", thousands(count)))
    .collect();
    failures.extend(notes.violations.iter().map(|(what, count)| format!("{} × {what}", thousands(*count))));
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_loss_fails_and_a_covered_one_does_not() {
        let mut notes = Notes::new();
        let covered = Missing { covered: 7, unconfirmed: 1, ..Missing::default() };
        let away = Missing { away: 5, ..Missing::default() };
        assert!(failures(&notes, covered, away).is_empty());
        let lost = Missing { lost: 1_234, ..Missing::default() };
        assert_eq!(failures(&notes, lost, away), ["1,234 deliveries of durable events lost in silence"]);
        assert_eq!(failures(&notes, away, lost).len(), 2);
        notes.durable.duplicated = 1;
        notes.ephemeral.disordered = 1;
        notes.strange = 1;
        notes.violations.insert("an event before `subscribed`".to_owned(), 2);
        assert_eq!(failures(&notes, covered, covered).len(), 4);
    }
}
