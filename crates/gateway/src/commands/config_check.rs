//! `fanfare config check`: every setting as a node would see it, where it comes from, and what is wrong.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use super::block_on;
use crate::api_keys::ApiKeys;
use crate::auth::Verifier;
use crate::config::{AuthConfig, BackplaneConfig, Config, Mode};
use crate::machine::Machine;
use crate::settings::{Loaded, rows};

/// Prints the settings on standard output and what is wrong on standard error; fails when a node would not start.
pub(crate) fn run(loaded: &Loaded, mode: Mode) -> ExitCode {
    print!("{}", table(loaded));
    let config = match Config::from_loaded(loaded, mode, &Machine::read()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("fanfare: {error}");
            return ExitCode::FAILURE;
        }
    };
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    let problems = files(&config);
    for problem in &problems {
        eprintln!("fanfare: {problem}");
    }
    if problems.is_empty() {
        eprintln!("the configuration can be used");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn table(loaded: &Loaded) -> String {
    let lines: Vec<(&str, &str, String)> = rows()
        .iter()
        .map(|row| match loaded.sources.get(&row.key) {
            Some((value, source)) => (row.key.as_str(), value, source.to_string()),
            None => (row.key.as_str(), "", "not set".to_owned()),
        })
        .collect();
    let key_width = lines.iter().map(|(key, ..)| key.len()).max().unwrap_or(0);
    let value_width = lines.iter().map(|(_, value, _)| value.len()).max().unwrap_or(0).min(40);
    let line =
        |(key, value, source): &(&str, &str, String)| format!("{key:key_width$}  {value:value_width$}  {source}\n");
    lines.iter().map(line).collect()
}

/// What is wrong with the files that settings name. The issuer's key set is not fetched.
fn files(config: &Config) -> Vec<String> {
    let auth = AuthConfig { jwks: None, ..config.auth.clone() };
    let parsed = block_on(async {
        let verifier = Verifier::new(&auth, config.reload_interval).await.map_err(|error| error.to_string());
        let keys = ApiKeys::new(&config.api_keys, config.reload_interval).await.map_err(|error| error.to_string());
        Ok([verifier.err(), keys.err()])
    });
    let mut problems: Vec<String> = match parsed {
        Ok(problems) => problems.into_iter().flatten().collect(),
        Err(error) => vec![format!("{error:#}")],
    };
    let tls = config.network.tls.as_ref();
    let redis = match &config.backplane {
        BackplaneConfig::Redis(redis) => Some(redis),
        BackplaneConfig::Memory => None,
    };
    let named = [
        tls.map(|tls| tls.certificate_file.as_path()),
        tls.map(|tls| tls.key_file.as_path()),
        redis.and_then(|redis| redis.password_file.as_deref()),
        redis.and_then(|redis| redis.ca_file.as_deref()),
        config.traces.as_ref().and_then(|traces| traces.certificate_file.as_deref()),
    ];
    let unreadable =
        |path: &Path| File::open(path).err().map(|error| format!("can't read {}: {error}", path.display()));
    problems.extend(named.into_iter().flatten().filter_map(unreadable));
    problems
}
