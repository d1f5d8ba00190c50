//! The command line of `fanfare`: what can be called, with which flags, and where its settings come from. What a command
//! does is in [`crate::commands`]; the node itself is handed in by `main`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::commands::{config_check, explain, functions, health, publish, stats, tail, token};
use crate::config::{Config, Mode};
use crate::machine::Machine;
use crate::settings::{Loaded, Settings, load, rows};

/// Carries events from backends to whoever is connected, over WebSocket, through Redis.
#[derive(Parser)]
#[expect(clippy::doc_markdown, reason = "the comments are the text of --help, which is not Markdown")]
#[command(name = "fanfare", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    /// Configuration file in TOML; also FANFARE_CONFIG
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  fanfare serve --dev
  FANFARE_JWT_HS256_SECRET=… fanfare serve --backplane redis://localhost:6379
  fanfare token --tenant acme --user 42 --channels '**'
  fanfare publish acme channel:orders '{\"type\":\"order.updated\",\"data\":{\"id\":7}}'
  fanfare publish acme channel:orders '{\"type\":\"order.updated\"}' --durable
  fanfare tail acme channel:orders
  fanfare stats

Every setting is a flag, an environment variable (FANFARE_DRAIN_S) and a key of the configuration file (drain_s). \
Flags win over the environment, and the environment over the file. `fanfare serve --help` lists them.";

#[derive(Subcommand)]
enum Command {
    /// Run a node
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Make a token, signed with the configured HS256 secret
    Token(token::TokenArgs),
    /// Publish one event
    Publish(publish::PublishArgs),
    /// Print events as they come, one line of JSON each
    Tail(tail::TailArgs),
    /// Tell why a user may, or may not, get a topic
    Explain(explain::ExplainArgs),
    /// Show who is connected where: nodes, tenants, one user
    Stats(stats::StatsArgs),
    /// Ask the node whether it lives: for the health check of a container
    Health(health::HealthArgs),
    /// Look after the function library that durable events need in Redis
    #[command(subcommand)]
    Functions(FunctionsCommand),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Answer every message with itself, for suites that test the WebSocket protocol
    #[command(hide = true)]
    Echo(Echo),
}

const SERVE_EXAMPLES: &str = "\
Examples:
  fanfare serve --dev
  fanfare serve --config /etc/fanfare.toml --listen 0.0.0.0:8080
  FANFARE_BACKPLANE=redis://redis:6379 FANFARE_JWT_JWKS_URL=https://issuer.example/jwks.json fanfare serve";

#[derive(Args)]
struct Serve {
    /// Try it out: makes up a secret and an API key, serves a demo page, listens on loopback only
    #[arg(long)]
    dev: bool,
    #[command(flatten)]
    _settings: Settings,
}

#[derive(Subcommand)]
enum FunctionsCommand {
    /// Load it, unless the same or a newer one is there
    Load(functions::FunctionsArgs),
    /// Print which version is loaded; fail when it is missing or too old
    Show(functions::FunctionsArgs),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print every setting with its value and where that comes from, and say what is wrong
    Check(ConfigCheck),
}

#[derive(Args)]
struct ConfigCheck {
    /// Check as `fanfare serve --dev` would
    #[arg(long)]
    dev: bool,
    #[command(flatten)]
    _settings: Settings,
}

#[derive(Args)]
struct Echo {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Largest message, all its fragments together
    #[arg(long, value_name = "BYTES", default_value_t = 65_536)]
    message_bytes: usize,
}

/// What `main` has to offer: the two commands that are the node itself.
pub struct Node {
    /// Runs a node until it is told to stop.
    pub serve: fn(Config) -> anyhow::Result<()>,
    /// Runs an echo server: where to listen, and the largest message in bytes.
    pub echo: fn(SocketAddr, usize) -> anyhow::Result<()>,
}

/// Reads the command line and does what it says. What goes wrong is told on standard error.
pub fn run(node: &Node) -> ExitCode {
    let matches = command().get_matches();
    let done = Cli::from_arg_matches(&matches).map_err(Into::into).and_then(|cli| dispatch(node, cli, &matches));
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fanfare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(node: &Node, cli: Cli, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let file = cli.config.or_else(|| variable("FANFARE_CONFIG").map(PathBuf::from));
    // The settings are flags of the innermost command.
    let mut flags = matches;
    while let Some((_, inner)) = flags.subcommand() {
        flags = inner;
    }
    let loaded = || load(flags, file.as_deref(), std::env::vars_os());
    match cli.command {
        Command::Serve(serve) => {
            let mode = if serve.dev { Mode::Dev } else { Mode::Node };
            (node.serve)(Config::from_loaded(&loaded(), mode, &Machine::read())?)?;
        }
        Command::Token(args) => token::run(&args, &tool_config(&loaded())?)?,
        Command::Publish(args) => publish::run(&args, &tool_config(&loaded())?)?,
        Command::Tail(args) => tail::run(&args, &tool_config(&loaded())?)?,
        Command::Explain(args) => return Ok(explain::run(&args, &loaded())),
        Command::Stats(args) => stats::run(&args, &tool_config(&loaded())?)?,
        Command::Health(_) => health::run(&tool_config(&loaded())?)?,
        Command::Functions(FunctionsCommand::Load(_)) => return functions::load(&tool_config(&loaded())?),
        Command::Functions(FunctionsCommand::Show(_)) => return functions::show(&tool_config(&loaded())?),
        Command::Config(ConfigCommand::Check(args)) => {
            let mode = if args.dev { Mode::Dev } else { Mode::Node };
            return Ok(config_check::run(&loaded(), mode));
        }
        Command::Echo(echo) => (node.echo)(echo.listen, echo.message_bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tool_config(loaded: &Loaded) -> anyhow::Result<Config> {
    Ok(Config::from_loaded(loaded, Mode::Tool, &Machine::read())?)
}

/// An environment variable; an empty one counts as unset.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The small commands take every setting too, without listing them all in their help.
fn command() -> clap::Command {
    let hide = |command: clap::Command, examples: &str| {
        let command = command.mut_args(|arg| {
            let is_setting = rows().iter().any(|row| arg.get_id() == row.key.as_str());
            if is_setting { arg.hide(true) } else { arg }
        });
        command.after_help(format!("{examples}Every setting of `fanfare serve` is a flag here too."))
    };
    Cli::command()
        .mut_subcommand("token", |command| hide(command, TOKEN_EXAMPLES))
        .mut_subcommand("publish", |command| hide(command, PUBLISH_EXAMPLES))
        .mut_subcommand("tail", |command| hide(command, TAIL_EXAMPLES))
        .mut_subcommand("explain", |command| hide(command, EXPLAIN_EXAMPLES))
        .mut_subcommand("stats", |command| hide(command, STATS_EXAMPLES))
        .mut_subcommand("health", |command| hide(command, HEALTH_EXAMPLES))
        .mut_subcommand("functions", |functions| {
            functions
                .mut_subcommand("load", |command| hide(command, FUNCTIONS_EXAMPLES))
                .mut_subcommand("show", |command| hide(command, FUNCTIONS_EXAMPLES))
        })
        .mut_subcommand("config", |config| config.mut_subcommand("check", |command| hide(command, CHECK_EXAMPLES)))
}

const TOKEN_EXAMPLES: &str = "\
Examples:
  fanfare token --tenant acme --user 42 --channels 'team:*,news' --publish 'channel:cursors:*'
  fanfare token --tenant acme --user 42 --secret \"$SECRET\" --expires-s 600

";

const PUBLISH_EXAMPLES: &str = "\
Examples:
  fanfare publish acme channel:orders '{\"type\":\"order.updated\",\"data\":{\"id\":7}}'
  fanfare publish acme user:42 - <event.json
  fanfare publish acme channel:orders '{\"type\":\"order.updated\"}' --durable --id order-7-paid
  fanfare publish acme tenant '{\"type\":\"hello\"}' --node http://localhost:9090 --api-key \"$KEY\"

With a Redis backplane the event goes straight to Redis, otherwise to the node's HTTP API.
";

const TAIL_EXAMPLES: &str = "\
Examples:
  fanfare tail acme channel:orders user:42
  fanfare tail acme channel:orders --count 1
  fanfare tail acme channel:orders --node ws://localhost:8080 --token \"$TOKEN\"

With a Redis backplane it listens to Redis, otherwise it is a client of the node.
";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  fanfare explain --token \"$TOKEN\" --topic channel:orders:7 --config /etc/fanfare.toml
  fanfare explain --token-file token.jwt --topic channel:orders:7 --action publish --json

The exit code is 0 when it is allowed, 1 when it isn't, 2 when nothing can be said.
";

const STATS_EXAMPLES: &str = "\
Examples:
  fanfare stats
  fanfare stats --node http://localhost:9090 --api-key \"$KEY\"
  fanfare stats --tenant acme --user 42
  fanfare stats --json | jq .cluster.by_tenant

It asks the HTTP API of one node, which tells of all. The key needs the verb read; one for some tenants sees only those.
";

const HEALTH_EXAMPLES: &str = "\
Examples:
  fanfare health
  fanfare health --admin-listen 0.0.0.0:9090

It asks /healthz of the node at the configured admin address; of one that listens everywhere, on loopback.
";

const FUNCTIONS_EXAMPLES: &str = "\
Examples:
  fanfare functions load --backplane redis://admin:password@redis:6379
  FANFARE_BACKPLANE=redis://redis:6379 fanfare functions show

Nodes load the library by themselves unless FANFARE_REDIS_FUNCTIONS=check.
";

const CHECK_EXAMPLES: &str = "\
Examples:
  fanfare config check --config /etc/fanfare.toml

";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn help(path: &[&str]) -> String {
        let args = std::iter::once("fanfare").chain(path.iter().copied()).chain(std::iter::once("--help"));
        command().try_get_matches_from(args).unwrap_err().to_string()
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn help_of_serve_lists_every_setting_and_that_of_the_small_commands_none() {
        let serve = help(&["serve"]);
        for row in rows() {
            assert!(serve.contains(&row.flag()), "{}", row.key);
        }
        for path in [
            &["token"][..],
            &["publish"],
            &["tail"],
            &["stats"],
            &["health"],
            &["explain"],
            &["functions", "load"],
            &["config", "check"],
        ] {
            assert!(!help(path).contains("--outbox-bytes-max"), "{path:?}");
            assert!(help(path).contains("Every setting of `fanfare serve` is a flag here too."), "{path:?}");
        }
    }

    #[test]
    fn echo_is_there_and_hidden() {
        assert!(!help(&[]).contains("echo"));
        let args = ["fanfare", "echo", "--listen", "127.0.0.1:0", "--message-bytes", "100"];
        assert!(command().try_get_matches_from(args).is_ok());
    }

    #[test]
    fn settings_are_flags_of_the_small_commands_too() {
        let args = ["fanfare", "token", "--tenant", "a", "--user", "b", "--jwt-claim-tenant", "org"];
        assert!(command().try_get_matches_from(args).is_ok());
    }
}
