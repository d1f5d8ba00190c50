//! The same scenarios on Fanfare, the floors and the peers, one after the other on the same processor.

use std::path::Path;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use serde::Serialize;

use super::{Scenario, compare_table, tell};
use crate::cli::{Cli, Command, CompareArgs, Kind, PEERS, Trial};
use crate::machine::{self, Machine};
use crate::program::{find_program, first_line};
use crate::report::{Document, Report};
use crate::target::Ground;
use crate::{fleet, peer, table};

/// What Fanfare is measured with, whatever peers there are.
const OWN: [Kind; 3] = [Kind::Fanfare, Kind::Floor, Kind::FloorCoalescing];
const TRIALS: [Trial; 6] = [Trial::Paced, Trial::Stream, Trial::Burst, Trial::Channels, Trial::Idle, Trial::Storm];

/// All that a comparison found out.
#[derive(Default, Serialize)]
pub(crate) struct Comparison {
    /// Of the form of this document.
    pub(crate) version: u32,
    pub(crate) command: String,
    /// In UTC.
    pub(crate) date: String,
    pub(crate) machine: Machine,
    /// Of each program, in words.
    pub(crate) versions: Vec<String>,
    pub(crate) targets: Vec<&'static str>,
    pub(crate) scenarios: Vec<Part>,
}

/// One scenario on all servers, in the order of the targets.
#[derive(Serialize)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    #[serde(flatten)]
    pub(crate) document: Document,
}

/// Runs all that is asked for. `Ok(false)`: Fanfare or a floor lost something; what a peer loses is a figure.
pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<bool> {
    let kinds = kinds(args)?;
    let trials = if args.scenarios.is_empty() { TRIALS.to_vec() } else { args.scenarios.clone() };
    let mut comparison = Comparison {
        version: 1,
        command: command(),
        date: machine::today(),
        machine: Machine::this(),
        versions: versions(args, &kinds)?,
        targets: kinds.iter().map(|kind| kind.name()).collect(),
        scenarios: Vec::new(),
    };
    let scenarios = trials.iter().map(|trial| Ok((trial, trial.scenario(args, &kinds)?)));
    let scenarios: Vec<_> = scenarios.collect::<anyhow::Result<_>>()?;
    // One ground for all: they ask for the same target, and this process is bound to its processors once.
    let Some((_, first)) = scenarios.first() else { bail!("nothing is to be measured") };
    let ground = Ground::prepare(&first.common().target)?;
    for (trial, scenario) in &scenarios {
        let document = on_all(scenario, &ground, &kinds);
        // Each as soon as it is there: all of it takes a while.
        eprint!("{}", table::render(&document));
        comparison.scenarios.push(Part { name: trial.name(), document });
    }
    let markdown = compare_table::render(&comparison);
    if let Some(path) = &args.table {
        std::fs::write(path, &markdown).with_context(|| format!("writing {}", path.display()))?;
    }
    tell(&comparison, &markdown, args.output.json.as_deref())?;
    Ok(comparison.own_are_well())
}

impl Comparison {
    fn own_are_well(&self) -> bool {
        let own = OWN.map(Kind::name);
        let runs = self.scenarios.iter().flat_map(|part| &part.document.runs);
        runs.filter(|run| own.contains(&run.target)).all(|run| run.failures.is_empty())
    }
}

/// Fanfare, the floors, and the peers that are asked for.
fn kinds(args: &CompareArgs) -> anyhow::Result<Vec<Kind>> {
    let peers = if args.peers.is_empty() { PEERS.to_vec() } else { args.peers.clone() };
    if let Some(own) = peers.iter().find(|kind| !kind.is_peer()) {
        bail!("--peers {}: Fanfare and the floors are always there", own.name());
    }
    Ok(OWN.into_iter().chain(peers).collect())
}

/// One scenario on each. A server that fails is a failure of its run; the others are still worth something.
fn on_all(scenario: &Scenario, ground: &Ground, kinds: &[Kind]) -> Document {
    let run = |kind: &Kind| {
        scenario.run_on(ground, *kind).unwrap_or_else(|error| Report {
            scenario: scenario.name(),
            target: kind.name(),
            failures: vec![format!("{error:#}")],
            ..Report::default()
        })
    };
    Document::new(kinds.iter().map(run).collect())
}

fn versions(args: &CompareArgs, kinds: &[Kind]) -> anyhow::Result<Vec<String>> {
    let mut versions = vec![first_line(&fleet::program(&args.fanfare)?, &["--version"])?];
    for kind in kinds.iter().filter(|kind| kind.is_peer()) {
        versions.push(peer::version(*kind, &args.peer)?);
    }
    let redis = find_program("redis-server").and_then(|program| first_line(&program, &["--version"]))?;
    let redis = redis.split_ascii_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or_default();
    versions.push(format!("Redis {redis}"));
    Ok(versions)
}

fn command() -> String {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let program = Path::new(&program).file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

impl Trial {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Trial::Paced => "paced",
            Trial::Stream => "stream",
            Trial::Burst => "burst",
            Trial::Channels => "channels",
            Trial::Idle => "idle",
            Trial::Storm => "storm",
        }
    }

    /// What one would type to run it alone.
    fn arguments(self, is_short: bool) -> &'static str {
        match (self, is_short) {
            (Trial::Paced, false) => "fanout --mode paced",
            (Trial::Paced, true) => "fanout --mode paced --clients 1000 --duration 3",
            (Trial::Stream, false) => "fanout --mode stream",
            (Trial::Stream, true) => "fanout --mode stream --clients 200 --duration 3",
            (Trial::Burst, false) => "fanout --mode burst",
            (Trial::Burst, true) => "fanout --mode burst --clients 1000 --bursts 3",
            (Trial::Channels, false) => "channels",
            (Trial::Channels, true) => "channels --channels 1000 --rate 2000 --duration 3",
            (Trial::Idle, false) => "idle",
            (Trial::Idle, true) => "idle --clients 2000 --duration 2",
            (Trial::Storm, false) => "storm",
            (Trial::Storm, true) => "storm --clients 1000",
        }
    }

    fn scenario(self, args: &CompareArgs, kinds: &[Kind]) -> anyhow::Result<Scenario> {
        let compare: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let path = |path: &Path| path.as_os_str().to_owned();
        let mut words: Vec<_> =
            format!("fanfare-loadtest {} --spawn", self.arguments(args.short)).split(' ').map(Into::into).collect();
        words.push(format!("--compare={}", compare.join(",")).into());
        words.extend(["--server-cores".into(), args.server_cores.to_string().into()]);
        words.extend(["--fanfare".into(), path(&args.fanfare)]);
        words.extend(["--centrifugo".into(), path(&args.peer.centrifugo)]);
        words.extend(["--socket-io".into(), path(&args.peer.socket_io)]);
        words.extend(args.no_pin.then(|| "--no-pin".into()));
        words.extend(args.output.quiet.then(|| "--quiet".into()));
        match Cli::try_parse_from(words)?.command {
            Command::Fanout(args) => Ok(Scenario::Fanout(args)),
            Command::Channels(args) => Ok(Scenario::Channels(args)),
            Command::Idle(args) => Ok(Scenario::Idle(args)),
            Command::Storm(args) => Ok(Scenario::Storm(args)),
            _ => bail!("{} is no scenario on one server", self.arguments(args.short)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    fn args(arguments: &str) -> CompareArgs {
        let words = format!("fanfare-loadtest compare {arguments}");
        let Command::Compare(args) = Cli::try_parse_from(words.split_whitespace()).unwrap().command else {
            panic!("compare")
        };
        args
    }

    #[test]
    fn every_trial_is_a_command_on_all_servers() {
        for arguments in ["", "--short --no-pin --quiet --peers nats,socket.io"] {
            let args = args(arguments);
            let kinds = kinds(&args).unwrap();
            for trial in TRIALS {
                let scenario = trial.scenario(&args, &kinds).unwrap();
                let target = &scenario.common().target;
                assert_eq!((target.kinds(), target.node.spawn), (kinds.clone(), true));
                assert_eq!(target.node.no_pin, args.no_pin);
            }
        }
    }

    #[test]
    fn fanfare_and_the_floors_are_always_there() {
        let all = kinds(&args("")).unwrap();
        assert_eq!(all, [OWN.as_slice(), &PEERS].concat());
        assert_eq!(kinds(&args("--peers nchan")).unwrap(), [OWN.as_slice(), &[Kind::Nchan]].concat());
        assert!(kinds(&args("--peers floor")).is_err());
    }

    #[test]
    fn a_peers_losses_are_no_failure() {
        let run = |target| Report { target, failures: vec!["lost".to_owned()], ..Report::default() };
        let of = |target| Comparison {
            scenarios: vec![Part { name: "paced", document: Document::new(vec![run(target)]) }],
            ..Comparison::default()
        };
        assert!(of("nats").own_are_well());
        assert!(!of("fanfare").own_are_well());
    }
}
