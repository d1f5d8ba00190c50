//! The configuration file: TOML, one flat table with the keys of [`super::Settings`].

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::{Dict, Value};
use toml::de::DeTable;

use super::row::rows;
use crate::config::Problem;

/// What a configuration file says, key by key.
#[derive(Default)]
pub(super) struct SettingsFile {
    /// Values of the known keys.
    pub(super) values: Dict,
    /// Line of each known key, counted from 1.
    pub(super) lines: BTreeMap<String, usize>,
    /// What can't be used, unknown keys among it.
    pub(super) problems: Vec<Problem>,
}

/// Reads `path`; what is wrong with it is in the result's `problems`.
pub(super) fn read(path: &Path) -> SettingsFile {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&path.display().to_string(), &text),
        Err(error) => SettingsFile {
            problems: vec![Problem::other(format!(
                "the configuration file {} can't be read: {error}; check the path given by --config or FANFARE_CONFIG",
                path.display()
            ))],
            ..SettingsFile::default()
        },
    }
}

fn parse(name: &str, text: &str) -> SettingsFile {
    let mut file = SettingsFile::default();
    // The parser's own display quotes the line, which may hold a secret: only its message and place are used.
    let syntax = |error: &toml::de::Error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        Problem::other(format!("{name}:{line} is not valid TOML: {}", error.message()))
    };
    let (spans, mut values) = match (DeTable::parse(text), toml::from_str::<BTreeMap<String, Value>>(text)) {
        (Ok(spans), Ok(values)) => (spans, values),
        (Err(error), _) | (_, Err(error)) => {
            file.problems.push(syntax(&error));
            return file;
        }
    };
    for key in spans.get_ref().keys() {
        let line = line_of(text, key.span().start);
        let key = key.get_ref().as_ref();
        match values.remove(key) {
            Some(value) if rows().iter().any(|row| row.key == key) => {
                file.lines.insert(key.to_owned(), line);
                file.values.insert(key.to_owned(), value);
            }
            _ => file.problems.push(unknown(name, line, key)),
        }
    }
    file
}

fn unknown(name: &str, line: usize, key: &str) -> Problem {
    let hint = match nearest(key, rows().iter().map(|row| row.key.as_str())) {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => "`fanfare serve --help` lists the settings".to_owned(),
    };
    Problem::other(format!("unknown key {key:?} in {name}:{line}: {hint}"))
}

/// The candidate that `word` is most likely a misspelling of, if any is near enough.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const SIMILAR_ENOUGH: f64 = 0.6;
    let word = word.to_lowercase().replace('-', "_");
    candidates
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILAR_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse("fanfare.toml", text).problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn known_keys_keep_their_values_and_lines() {
        let file = parse("fanfare.toml", "# a comment\ndrain_s = 7\n\njwt_issuer = ['a', 'b']\n");
        assert!(file.problems.is_empty());
        assert_eq!(file.lines.get("drain_s"), Some(&2));
        assert_eq!(file.lines.get("jwt_issuer"), Some(&4));
        assert_eq!(file.values.get("drain_s").and_then(Value::to_i128), Some(7));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
        let expected = r#"unknown key "drain_dealy_s" in fanfare.toml:2: did you mean "drain_delay_s"?"#;
        assert_eq!(problems("drain_s = 1\ndrain_dealy_s = 5\n"), [expected]);
        let expected = r#"unknown key "Redis-Prefix" in fanfare.toml:1: did you mean "redis_prefix"?"#;
        assert_eq!(problems("Redis-Prefix = 'x'\n"), [expected]);
        let expected = r#"unknown key "colour" in fanfare.toml:1: `fanfare serve --help` lists the settings"#;
        assert_eq!(problems("colour = 'red'\n"), [expected]);
    }

    #[test]
    fn all_unknown_keys_are_reported() {
        assert_eq!(problems("aaaa = 1\nbbbb = 2\n[limits]\nx = 1\n").len(), 3);
    }

    #[test]
    fn a_syntax_error_names_the_line_and_never_quotes_it() {
        let problems = problems("drain_s = 1\njwt_hs256_secret = \"hunter2\n");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("fanfare.toml:2 is not valid TOML: "), "{}", problems[0]);
        assert!(!problems[0].contains("hunter2"), "{}", problems[0]);
    }

    #[test]
    fn a_missing_file_is_a_problem_that_names_it() {
        let file = read(Path::new("/nowhere/fanfare.toml"));
        assert!(file.problems[0].to_string().contains("/nowhere/fanfare.toml can't be read"));
    }
}
