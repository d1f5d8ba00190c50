//! Merging the sources: defaults, then the file, then the environment, then flags; the later wins.
//!
//! Every value that can't be used is reported, and the default stands in for it, so that one run names all mistakes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::row::{Kind, Row, rows};
use super::{Settings, environment, file};
use crate::config::Problem;

/// Settings merged from all sources.
#[derive(Debug)]
pub struct Loaded {
    /// The merged settings. Where a value was unusable, the default stands in and `problems` tells.
    pub settings: Settings,
    /// Where each value comes from.
    pub sources: Sources,
    /// What can't be used.
    pub problems: Vec<Problem>,
    /// What looks wrong and doesn't hinder.
    pub warnings: Vec<String>,
    /// The variables of OpenTelemetry, which are no settings of ours.
    pub open_telemetry: BTreeMap<String, String>,
}

/// Reads and merges all sources. `flags` are the matches of a command that flattens [`Settings`].
pub fn load(
    flags: &ArgMatches,
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Loaded {
    let environment = environment::read(variables);
    let content = file.map(file::read).unwrap_or_default();
    let mut problems = content.problems;
    problems.extend(environment.problems);
    let mut layers = [
        Layer { name: "defaults", values: defaults() },
        Layer { name: "file", values: content.values },
        Layer { name: "environment", values: environment.values },
        Layer { name: "flags", values: given(flags) },
    ];
    let origins = Origins { file: file.map(Path::to_owned), lines: content.lines };
    let settings = extract(&mut layers, &origins, &mut problems);
    Loaded {
        settings,
        sources: Sources::of(&layers, &origins),
        problems,
        warnings: environment.warnings,
        open_telemetry: environment.open_telemetry,
    }
}

/// Where the values come from, for messages and `config check`.
#[derive(Debug, Default)]
pub struct Sources(BTreeMap<String, (String, Source)>);

impl Sources {
    /// The value of `key` as it may be printed, and where it was found; `None` when it is unset.
    pub fn get(&self, key: &str) -> Option<(&str, &Source)> {
        self.0.get(key).map(|(value, source)| (value.as_str(), source))
    }

    fn of(layers: &[Layer], origins: &Origins) -> Self {
        let found = rows().iter().filter_map(|row| {
            let at = layers.iter().rposition(|layer| layer.values.contains_key(&row.key))?;
            let value = printable(row, layers[at].values.get(&row.key)?);
            Some((row.key.clone(), (value, origins.source(at, row))))
        });
        Self(found.collect())
    }
}

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: it is the default.
    Default,
    /// The configuration file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// This environment variable.
    Variable(String),
    /// This flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

struct Origins {
    file: Option<PathBuf>,
    lines: BTreeMap<String, usize>,
}

impl Origins {
    fn source(&self, layer: usize, row: &Row) -> Source {
        match (layer, &self.file) {
            (1, Some(path)) => {
                Source::File { path: path.clone(), line: self.lines.get(&row.key).copied().unwrap_or(1) }
            }
            (2, _) => Source::Variable(row.variable()),
            (3, _) => Source::Flag(row.flag()),
            _ => Source::Default,
        }
    }
}

struct Layer {
    name: &'static str,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn defaults() -> Dict {
    let defaults = rows().iter().filter_map(|row| Some((row.key.clone(), Value::from(row.default.clone()?))));
    defaults.collect()
}

fn given(flags: &ArgMatches) -> Dict {
    let given = rows().iter().filter(|row| flags.value_source(&row.key) == Some(ValueSource::CommandLine));
    let values = given.filter_map(|row| {
        let raw = flags.get_raw(&row.key)?.next_back()?;
        Some((row.key.clone(), Value::from(raw.to_string_lossy().into_owned())))
    });
    values.collect()
}

/// Takes one wrong value away at a time until the rest has the right types.
fn extract(layers: &mut [Layer], origins: &Origins, problems: &mut Vec<Problem>) -> Settings {
    loop {
        // Text of the environment and of flags may stand for numbers and booleans: that is what "lossy" allows.
        let figment = layers.iter().fold(Figment::new(), |figment, layer| figment.merge(layer));
        let error = match figment.extract_lossy::<Settings>() {
            Ok(settings) => return settings,
            Err(error) => error,
        };
        let row = error.path.first().and_then(|key| rows().iter().find(|row| row.key == *key));
        let wrong = row.and_then(|row| {
            let at = layers.iter().rposition(|layer| layer.values.contains_key(&row.key)).filter(|at| *at > 0)?;
            Some((row, at, layers[at].values.remove(&row.key)?))
        });
        let Some((row, at, value)) = wrong else { panic!("a default has the wrong type: {error}") };
        let (wrong, fix) = expectation(row.kind);
        problems.push(Problem::setting(&row.key, &printable(row, &value), wrong, fix).found(origins.source(at, row)));
    }
}

const RULES_FIX: &str = "give an array of tables; in a variable or a flag, JSON: [{\"pattern\":\"channel:orders:**\",\"durable\":\"always\"}]";

fn expectation(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Number => ("not a whole number", "give a whole number, 0 or more"),
        Kind::Bool => ("neither true nor false", "give true or false"),
        Kind::Text | Kind::Secret => ("not a text", "write it in quotes"),
        Kind::Rules => ("not a list of rules", RULES_FIX),
        Kind::List | Kind::Secrets => ("not a list of texts", "give an array of strings or a comma separated string"),
    }
}

fn printable(row: &Row, value: &Value) -> String {
    match value {
        Value::Array(_, rules) if row.kind == Kind::Rules => match rules.len() {
            1 => "1 rule".to_owned(),
            count => format!("{count} rules"),
        },
        Value::String(_, text) if row.unit == "URL" => without_password(text),
        _ if row.is_secret() => "[hidden]".to_owned(),
        Value::String(_, text) => text.clone(),
        Value::Char(_, char) => char.to_string(),
        Value::Bool(_, bool) => bool.to_string(),
        Value::Num(_, number) => number
            .to_i128()
            .map(|n| n.to_string())
            .or(number.to_u128().map(|n| n.to_string()))
            .or(number.to_f64().map(|n| n.to_string()))
            .unwrap_or_default(),
        Value::Array(_, items) => items.iter().map(|item| printable(row, item)).collect::<Vec<_>>().join(","),
        Value::Dict(..) => "a table".to_owned(),
        Value::Empty(..) => String::new(),
    }
}

/// A URL without its password. What stands before the last `@` is the user and the password, even when the password
/// contains a `/` or another `@` that should have been escaped.
pub fn without_password(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else {
        return url.to_owned();
    };
    let Some((scheme, login)) = before.split_once("://") else {
        return format!("[hidden]@{host}");
    };
    let user = login.split_once(':').map_or("", |(user, _)| user);
    format!("{scheme}://{user}:[hidden]@{host}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::io::Write as _;

    use clap::{Args as _, Command};

    use super::*;

    fn loaded(file: Option<&str>, variables: &[(&str, &str)], flags: &[&str]) -> Loaded {
        let flags = std::iter::once("fanfare").chain(flags.iter().copied());
        let matches = Settings::augment_args(Command::new("fanfare")).try_get_matches_from(flags).unwrap();
        let mut on_disk = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        on_disk.write_all(file.unwrap_or_default().as_bytes()).unwrap();
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        load(&matches, file.map(|_| on_disk.path()), variables)
    }

    #[test]
    fn defaults_have_the_types_of_their_settings() {
        let loaded = loaded(None, &[], &[]);
        assert!(loaded.problems.is_empty());
        assert_eq!(loaded.settings.drain_s, 30);
        assert!(loaded.settings.own_user_topic);
        assert_eq!(loaded.settings.backplane.expose(), "memory://");
        assert_eq!(loaded.settings.node_id, None);
        assert_eq!(loaded.sources.get("drain_s"), Some(("30", &Source::Default)));
        assert_eq!(loaded.sources.get("node_id"), None);
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file() {
        let file = "drain_s = 1\nworkers = 1\nlisten = '127.0.0.1:1'\n";
        let loaded = loaded(
            Some(file),
            &[("FANFARE_DRAIN_S", "2"), ("FANFARE_WORKERS", "2")],
            &["--drain-s", "3", "--own-user-topic", "false"],
        );
        assert!(loaded.problems.is_empty());
        let settings = &loaded.settings;
        assert_eq!((settings.drain_s, settings.workers, settings.listen.as_str()), (3, 2, "127.0.0.1:1"));
        assert!(!settings.own_user_topic);
        let source = |key| loaded.sources.get(key).unwrap().1.to_string();
        assert_eq!(source("drain_s"), "flag --drain-s");
        assert_eq!(source("workers"), "environment variable FANFARE_WORKERS");
        assert!(source("listen").ends_with(".toml:3"), "{}", source("listen"));
        assert_eq!(source("ping_ms"), "default");
    }

    #[test]
    fn text_of_the_environment_is_never_read_as_something_else() {
        let odd = ["12345678", "true", "[a]", "{x=1}", "\"quoted\"", "a=b=="];
        for secret in odd {
            let loaded = loaded(None, &[("FANFARE_JWT_HS256_SECRET", secret), ("FANFARE_NODE_ID", secret)], &[]);
            assert!(loaded.problems.is_empty(), "{secret}");
            assert_eq!(loaded.settings.jwt_hs256_secret.unwrap().as_slice()[0].expose(), secret);
            assert_eq!(loaded.settings.node_id.unwrap(), secret);
        }
    }

    #[test]
    fn lists_are_arrays_or_comma_separated() {
        let file = "jwt_issuer = ['a', 'b']\njwt_audience = 'c, d'\njwt_hs256_secret = ['x,y']\n";
        let settings = loaded(Some(file), &[("FANFARE_TRUSTED_PROXIES", "10.0.0.0/8,::1")], &[]).settings;
        assert_eq!(settings.jwt_issuer.unwrap().as_slice(), ["a", "b"]);
        assert_eq!(settings.jwt_audience.unwrap().as_slice(), ["c", "d"]);
        assert_eq!(settings.trusted_proxies.unwrap().as_slice(), ["10.0.0.0/8", "::1"]);
        assert_eq!(settings.jwt_hs256_secret.unwrap().as_slice()[0].expose(), "x,y");
    }

    #[test]
    fn rules_are_tables_in_the_file_and_json_elsewhere() {
        let json = r#"[{"pattern":"channel:a","maxlen":5}]"#;
        let file = "[[topics]]\npattern = 'channel:a'\nmaxlen = 5\n";
        for loaded in [
            loaded(Some(file), &[], &[]),
            loaded(None, &[("FANFARE_TOPICS", json)], &[]),
            loaded(None, &[], &["--topics", json]),
        ] {
            assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
            let expected: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
            assert_eq!(loaded.settings.topics.unwrap().as_slice(), expected);
        }
        assert_eq!(loaded(Some(file), &[], &[]).sources.get("topics").unwrap().0, "1 rule");
        let wrong = loaded(None, &[("FANFARE_TOPICS", "channel:a")], &[]);
        let problem = wrong.problems[0].to_string();
        assert!(
            problem.starts_with("topics = \"channel:a\" (environment variable FANFARE_TOPICS): not a list of rules; ")
        );
    }

    #[test]
    fn all_wrong_types_are_reported_with_key_value_source_and_remedy() {
        let file = "drain_s = 'soon'\nnode_id = 7\nown_user_topic = 'maybe'\njwt_issuer = [1]\nworkers = -1\n";
        let loaded = loaded(Some(file), &[("FANFARE_PING_MS", "25s")], &[]);
        let mut problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        problems.sort();
        assert_eq!(problems.len(), 6, "{problems:#?}");
        assert!(problems[0].starts_with("drain_s = \"soon\" ("), "{}", problems[0]);
        assert!(problems[0].ends_with(".toml:1): not a whole number; give a whole number, 0 or more"));
        assert!(
            problems[1]
                .ends_with(".toml:4): not a list of texts; give an array of strings or a comma separated string")
        );
        assert!(problems[2].ends_with(".toml:2): not a text; write it in quotes"));
        assert!(problems[3].ends_with(".toml:3): neither true nor false; give true or false"));
        let expected = "ping_ms = \"25s\" (environment variable FANFARE_PING_MS): not a whole number; give a whole number, 0 or more";
        assert_eq!(problems[4], expected);
        assert!(problems[5].starts_with("workers = \"-1\" ("), "{}", problems[5]);
        assert_eq!(loaded.settings.drain_s, 30);
    }

    #[test]
    fn a_wrong_value_falls_back_to_the_default_not_to_a_lower_source() {
        let loaded = loaded(Some("drain_s = 'x'\n"), &[("FANFARE_DRAIN_S", "y")], &[]);
        assert_eq!(loaded.problems.len(), 2);
        assert_eq!(loaded.settings.drain_s, 30);
    }

    #[test]
    fn secrets_are_in_no_message_and_no_debug_output() {
        let file = "jwt_hs256_secret = 271828182\napi_keys = ['app:hunter2']\n";
        let wrong = format!("{:?}", self::loaded(Some(file), &[], &[]).problems);
        assert!(wrong.contains("jwt_hs256_secret") && !wrong.contains("271828182"), "{wrong}");
        let variables = [("FANFARE_BACKPLANE", "redis://me:hunter2@host:6379/0")];
        let loaded = loaded(Some(file), &variables, &["--jwt-hs256-secret", "hunter2"]);
        let printed = format!("{loaded:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("271828182"), "{printed}");
        assert_eq!(loaded.sources.get("backplane").unwrap().0, "redis://me:[hidden]@host:6379/0");
        assert_eq!(loaded.sources.get("api_keys").unwrap().0, "[hidden]");
    }

    #[test]
    fn a_url_loses_its_password_however_it_is_written() {
        let cases = [
            ("redis://host:6379/0", "redis://host:6379/0"),
            ("redis://:p@host", "redis://:[hidden]@host"),
            ("rediss://u:p@w/rd@host:1", "rediss://u:[hidden]@host:1"),
            ("redis+sentinel://u:p@a:1,b:2/main", "redis+sentinel://u:[hidden]@a:1,b:2/main"),
            ("redis://token@host", "redis://:[hidden]@host"),
            ("u:p@host", "[hidden]@host"),
        ];
        for (url, shown) in cases {
            assert_eq!(without_password(url), shown);
        }
    }
}
