//! `fanfare explain`: why a user may, or may not, get a topic. The token is checked and the topic judged by the node's own
//! code; here it is only asked, and told rule by rule. Deliberately without Redis: whether a token was revoked, or anybody
//! uses the topic, isn't looked up. Neither the token nor a secret is printed.

mod human;
mod reasons;
mod report;

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use fanfare_protocol::Topic;
use serde::Serialize;

use self::report::Report;
use super::block_on;
use crate::auth::{AuthError, Principal, Verifier};
use crate::config::{Config, Mode};
use crate::machine::Machine;
use crate::secret::Secret;
use crate::settings::{Loaded, Settings};

/// More is no token: a node takes 8 KiB.
const TOKEN_FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a script that called it wrongly can tell from a refusal.
const BAD_USE: u8 = 2;

#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// The user's token
    #[arg(long, value_name = "TOKEN", required_unless_present = "token_file", conflicts_with = "token_file")]
    token: Option<Secret>,
    /// A file with the token, or - for standard input: keeps it out of the list of processes
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// tenant, user:ID or channel:NAME
    #[arg(long, value_name = "TOPIC")]
    topic: String,
    /// What the exit code is about
    #[arg(long, value_name = "ACTION", value_enum, default_value_t = Action::Subscribe)]
    action: Action,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    _settings: Settings,
}

/// What a user may want of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Action {
    Subscribe,
    Publish,
    History,
    Presence,
}

/// Prints the explanation. The code is 0 where the action is allowed, 1 where it isn't, and 2 where nothing can be said.
pub(crate) fn run(args: &ExplainArgs, loaded: &Loaded) -> ExitCode {
    match explain(args, loaded) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fanfare: {error:#}");
            ExitCode::from(BAD_USE)
        }
    }
}

fn explain(args: &ExplainArgs, loaded: &Loaded) -> anyhow::Result<bool> {
    let topic = Topic::parse(&args.topic).with_context(|| format!("{:?} is no topic", args.topic))?;
    let token = token(args)?;
    let config = Config::from_loaded(loaded, Mode::Node, &Machine::read())?;
    let principal = block_on(verified(&config, &token))?;
    let report = Report::new(&config, principal.as_ref(), &topic, args.action);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", human::text(&report));
    }
    Ok(report.allowed)
}

/// What a node makes of the token, or why it wouldn't be accepted. While the issuer's keys can't be had, nobody knows.
async fn verified(config: &Config, token: &Secret) -> anyhow::Result<Result<Principal, AuthError>> {
    let verifier = Verifier::new(&config.auth, config.reload_interval).await?;
    let principal = verifier.verify(token.expose()).await;
    let is_known = !matches!(&principal, Err(error) if error.is_temporary());
    ensure!(is_known, "the token can't be checked: the issuer's keys can't be fetched (jwt_jwks_url)");
    Ok(principal)
}

fn token(args: &ExplainArgs) -> anyhow::Result<Secret> {
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => token.expose().to_owned(),
        (None, Some(path)) if path == "-" => read(std::io::stdin()).context("can't read the token")?,
        (None, path) => {
            let path = path.as_deref().unwrap_or_default();
            File::open(path).and_then(read).with_context(|| format!("can't read the token from {path}"))?
        }
    };
    let token = token.trim();
    ensure!(!token.is_empty(), "the token is empty");
    Ok(Secret::new(token))
}

fn read(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
