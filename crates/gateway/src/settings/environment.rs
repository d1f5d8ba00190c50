//! The environment as a source of settings: `FANFARE_<KEY>`, always text, and `OTEL_…` as OpenTelemetry has them.

use std::collections::BTreeMap;
use std::ffi::OsString;

use figment::value::{Dict, Value};

use super::file::nearest;
use super::row::rows;
use crate::config::Problem;

/// Variables of commands, which are no settings.
const OTHERS: [&str; 3] = ["FANFARE_CONFIG", "FANFARE_NODE_URL", "FANFARE_API_KEY"];

/// What the environment says, key by key.
#[derive(Default)]
pub(super) struct Environment {
    /// Values of the known variables, by key.
    pub(super) values: Dict,
    /// Variables that look like ours and are not known.
    pub(super) warnings: Vec<String>,
    /// Known variables that can't be used.
    pub(super) problems: Vec<Problem>,
    /// Those of OpenTelemetry, as they are.
    pub(super) open_telemetry: BTreeMap<String, String>,
}

/// Takes what belongs to Fanfare out of `variables`, and what is for OpenTelemetry. An empty variable counts as unset, as `docker compose` and shell
/// scripts pass it on.
pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    let mut environment = Environment::default();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        if name.starts_with("OTEL_") {
            environment.open_telemetry.insert(name.to_owned(), value.to_string_lossy().into_owned());
        }
        if !name.starts_with("FANFARE_") {
            continue;
        }
        if value.is_empty() || OTHERS.contains(&name) || is_from_kubernetes(name) {
            continue;
        }
        match rows().iter().find(|row| row.variable() == name) {
            None => environment.warnings.push(unknown(name)),
            Some(row) => match value.into_string() {
                Ok(text) => drop(environment.values.insert(row.key.clone(), Value::from(text))),
                Err(_) => environment.problems.push(Problem::other(format!(
                    "the environment variable {name} is not valid UTF-8; write it as UTF-8 text"
                ))),
            },
        }
    }
    environment.warnings.sort_unstable();
    environment
}

fn unknown(name: &str) -> String {
    let variables: Vec<String> = rows().iter().map(super::Row::variable).collect();
    // Without the prefix, which all share and which would make everything look similar.
    let candidates = variables.iter().filter_map(|variable| variable.strip_prefix("FANFARE_"));
    let lower: Vec<String> = candidates.map(str::to_lowercase).collect();
    match nearest(name.trim_start_matches("FANFARE_"), lower.iter().map(String::as_str)) {
        Some(key) => {
            format!("the environment variable {name} is not known: did you mean FANFARE_{}?", key.to_uppercase())
        }
        None => format!("the environment variable {name} is not known and has no effect"),
    }
}

/// Whether Kubernetes sets this variable for a service whose name starts with `fanfare`:
/// `…_SERVICE_HOST`, `…_SERVICE_PORT[_NAME]`, `…_PORT`, `…_PORT_80_TCP[_PROTO|_PORT|_ADDR]`
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
fn is_from_kubernetes(name: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.ends_with("_PORT") {
        return true;
    }
    name.match_indices("_PORT_").any(|(at, word)| {
        let mut words = name[at + word.len()..].split('_');
        let number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
        number && words.next().is_some_and(|word| matches!(word, "TCP" | "UDP" | "SCTP"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        read(pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    #[test]
    fn values_stay_text_and_empty_means_unset() {
        let found = environment(&[("FANFARE_DRAIN_S", "007"), ("FANFARE_NODE_ID", ""), ("PATH", "/bin")]);
        assert_eq!(found.values.get("drain_s").and_then(Value::as_str), Some("007"));
        assert_eq!(found.values.len(), 1);
        assert!(found.warnings.is_empty());
    }

    #[test]
    fn an_unknown_variable_is_a_warning_with_a_suggestion() {
        let found = environment(&[("FANFARE_DRIAN_S", "1"), ("FANFARE_COLOUR", "red")]);
        assert_eq!(
            found.warnings,
            [
                "the environment variable FANFARE_COLOUR is not known and has no effect",
                "the environment variable FANFARE_DRIAN_S is not known: did you mean FANFARE_DRAIN_S?",
            ]
        );
    }

    #[test]
    fn what_kubernetes_injects_and_what_commands_read_is_silent() {
        let names = [
            "FANFARE_SERVICE_HOST",
            "FANFARE_SERVICE_PORT",
            "FANFARE_SERVICE_PORT_HTTP",
            "FANFARE_PORT",
            "FANFARE_PORT_8080_TCP",
            "FANFARE_PORT_8080_TCP_ADDR",
            "FANFARE_PORT_8080_TCP_PORT",
            "FANFARE_PORT_8080_TCP_PROTO",
            "FANFARE_PORT_53_UDP_PORT",
            "FANFARE_REDIS_SERVICE_HOST",
            "FANFARE_REDIS_PORT_6379_TCP_ADDR",
            "FANFARE_CONFIG",
            "FANFARE_NODE_URL",
            "FANFARE_API_KEY",
        ];
        for name in names {
            let found = environment(&[(name, "tcp://10.0.0.1:80")]);
            assert!(found.warnings.is_empty() && found.values.is_empty(), "{name}");
        }
        assert_eq!(environment(&[("FANFARE_PORT_NAME", "x")]).warnings.len(), 1);
    }

    #[test]
    fn no_setting_is_taken_for_a_variable_of_kubernetes() {
        for row in rows() {
            assert!(!is_from_kubernetes(&row.variable()), "{}", row.key);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_text_is_a_problem() {
        use std::os::unix::ffi::OsStringExt as _;
        let found = read([(OsString::from("FANFARE_NODE_ID"), OsString::from_vec(vec![0xff]))]);
        assert_eq!(
            found.problems[0].to_string(),
            "the environment variable FANFARE_NODE_ID is not valid UTF-8; write it as UTF-8 text"
        );
    }
}
