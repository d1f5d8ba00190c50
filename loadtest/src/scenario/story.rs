//! What the scenarios with durable events tell: a column for each run, figures as JSON, aims, and what must not happen.
//! An aim that is missed is told and is no failure, since machines differ; an event lost in silence is one.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::aim::Aim;
use crate::figures::thousands;
use crate::table::{decimals, line};

/// All that one command found out.
pub(crate) struct Story {
    pub(crate) scenario: &'static str,
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
}

/// One run.
#[derive(Default)]
pub(crate) struct Column {
    pub(crate) name: String,
    figures: Vec<(&'static str, Value)>,
    rows: Vec<(String, String)>,
    aims: Vec<Aim>,
    pub(crate) warnings: Vec<String>,
    /// Why the exit code is 1; empty when all is well.
    pub(crate) failures: Vec<String>,
}

impl Column {
    pub(crate) fn new(name: &str) -> Column {
        Column { name: name.to_owned(), ..Column::default() }
    }

    /// A figure for programs.
    pub(crate) fn figure(&mut self, name: &'static str, value: impl Serialize) {
        self.figures.push((name, serde_json::to_value(value).unwrap_or_default()));
    }

    /// A figure for people.
    pub(crate) fn row(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.rows.push((name.into(), text.into()));
    }

    /// A count for both.
    pub(crate) fn count(&mut self, name: &'static str, words: &str, count: u64) {
        self.figure(name, count);
        self.row(words, thousands(count));
    }

    /// A measurement for both.
    pub(crate) fn measure(&mut self, name: &'static str, words: &str, value: Option<f64>) {
        self.figure(name, value);
        if let Some(value) = value {
            self.row(words, decimals(value));
        }
    }

    pub(crate) fn aim(&mut self, name: &'static str, value: f64, at_most: f64) {
        self.aims.push(Aim::new(name, value, at_most));
    }

    fn document(&self) -> Value {
        let mut run = json!({"name": self.name});
        for (name, value) in &self.figures {
            run[*name] = value.clone();
        }
        run["aims"] = json!(self.aims);
        run["warnings"] = json!(self.warnings);
        run["failures"] = json!(self.failures);
        run
    }
}

impl Story {
    pub(crate) fn all_is_well(&self) -> bool {
        self.columns.iter().all(|column| column.failures.is_empty())
    }

    /// For programs.
    pub(crate) fn document(&self) -> Value {
        let runs: Vec<Value> = self.columns.iter().map(Column::document).collect();
        json!({"version": 1, "scenario": self.scenario, "runs": runs})
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("\n{}: {}\n", self.scenario, self.title);
        let columns = &self.columns;
        line(&mut text, "", columns.iter().map(|column| column.name.clone()));
        let mut names: Vec<&String> = Vec::new();
        for (name, _) in columns.iter().flat_map(|column| &column.rows) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            let cell = |column: &Column| column.rows.iter().find(|(of, _)| of == name).map(|(_, cell)| cell.clone());
            line(&mut text, name, columns.iter().map(|column| cell(column).unwrap_or_else(|| "–".to_owned())));
        }
        for column in columns {
            for aim in &column.aims {
                let _ = writeln!(text, "{}", aim.line(&column.name));
            }
        }
        for column in columns {
            for warning in &column.warnings {
                let _ = writeln!(text, "warning: {}: {warning}", column.name);
            }
            for failure in &column.failures {
                let _ = writeln!(text, "FAILED: {}: {failure}", column.name);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_aim_is_told_and_only_a_failure_fails() {
        let mut one = Column::new("one");
        one.count("lost", "lost", 1_234);
        one.aim("resume p99, s", 1.5, 1.0);
        let mut two = Column::new("two");
        two.measure("ratio", "PUBLISH ÷ PUBLISH", Some(1.0));
        let mut story = Story { scenario: "recover", title: "two runs".to_owned(), columns: vec![one, two] };
        assert!(story.all_is_well());
        let text = story.render();
        for expected in ["recover: two runs", "1,234", "aim: one: resume p99, s: 1.50, at most 1.00: NOT MET"] {
            assert!(text.contains(expected), "{expected} is not in {text}");
        }
        story.columns[0].failures.push("something was lost".to_owned());
        assert!(!story.all_is_well());
        assert!(story.render().contains("FAILED: one: something was lost"));
        let document = story.document();
        assert_eq!(document["runs"][0]["lost"], 1_234);
        assert_eq!(document["runs"][0]["aims"][0]["is_met"], false);
        assert_eq!(document["runs"][1]["ratio"], 1.0);
    }
}
