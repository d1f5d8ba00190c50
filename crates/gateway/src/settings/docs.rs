//! Holds `docs/configuration.md` to the table of settings. With `UPDATE_DOCS=1` the test writes the tables instead.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fmt::Write as _;
use std::fs;

use clap::{Args as _, Command};

use super::Settings;
use super::row::{Kind, Row, rows};
use crate::config::{Config, Mode};
use crate::machine::Machine;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
const BEGIN: &str = "<!-- settings: begin -->\n";
const END: &str = "<!-- settings: end -->\n";

fn tables() -> String {
    let mut out = String::new();
    let mut heading = "";
    for row in rows() {
        if row.heading != heading {
            heading = &row.heading;
            write!(out, "\n### {heading}\n\n").unwrap();
            out.push_str("| key | variable and flag | default | unit | meaning |\n|---|---|---|---|---|\n");
        }
        out.push_str(&line(row));
    }
    out.push('\n');
    out
}

fn line(row: &Row) -> String {
    let default = row.default.as_deref().map_or("none".to_owned(), |default| format!("`{default}`"));
    // `--help` has the default at the end; here it has its own column.
    let (help, default) = match row.help.split_once(" [default: ") {
        Some((help, default)) => (help, default.trim_end_matches(']').to_owned()),
        None => (row.help.as_str(), default),
    };
    let help = help.replace('|', "\\|").replace('*', "\\*");
    format!("| `{}` | `{}`<br>`{}` | {default} | {} | {help} |\n", row.key, row.variable(), row.flag(), unit(row))
}

fn unit(row: &Row) -> String {
    match (row.unit.as_str(), row.kind) {
        ("SECONDS", _) => "s".to_owned(),
        ("MS", _) => "ms".to_owned(),
        ("BYTES", _) => "bytes".to_owned(),
        ("N", _) => "number".to_owned(),
        ("BOOL", _) => "true or false".to_owned(),
        (unit, Kind::List | Kind::Secrets) if unit != "LIST" => format!("list of {}", unit.to_lowercase()),
        (unit, _) => unit.to_lowercase(),
    }
}

#[test]
fn the_page_has_every_setting_as_it_is() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (between, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, format!("{before}{BEGIN}{}{END}{after}", tables())).unwrap();
        return;
    }
    let tables = tables();
    for (found, expected) in between.lines().zip(tables.lines()) {
        assert_eq!(found, expected, "docs/configuration.md is out of date: run this test with UPDATE_DOCS=1");
    }
    assert_eq!(between.len(), tables.len(), "docs/configuration.md is out of date: run this test with UPDATE_DOCS=1");
}

#[test]
fn the_examples_of_the_page_are_good_configuration() {
    let page = fs::read_to_string(PAGE).unwrap();
    let examples: Vec<&str> =
        page.split("```toml fanfare.toml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), example).unwrap();
        let flags = Settings::augment_args(Command::new("fanfare")).get_matches_from(["fanfare"]);
        let machine = Machine { memory_bytes: 8 << 30, cores: 1, host_name: String::new() };
        let loaded = super::load(&flags, Some(file.path()), []);
        let config = Config::from_loaded(&loaded, Mode::Tool, &machine);
        assert!(config.is_ok(), "{} in\n{example}", config.unwrap_err());
    }
}
