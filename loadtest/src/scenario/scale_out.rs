//! A node is added under traffic to nodes that shed: how long until no node is much fuller than the mean, how many clients were
//! sent away for that, and does it come to rest? No event may be lost or come twice meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::meter::Meter;
use super::site::{Processors, Site};
use super::story::{Column, Story};
use super::trial::{Crowd, Trial};
use crate::admin_port::Health;
use crate::cli::ScaleOutArgs;
use crate::feed::Feed;
use crate::figures::{float, ratio, thousands};
use crate::table::{decimals, spread};

/// No node should have more than so many times the mean.
const ABOVE_MEAN_MAX: f64 = 1.2;
/// How long that may take.
const BALANCED_WITHIN_S: f64 = 120.0;
/// How long it is waited for, and then until nobody is sent away any more.
const PATIENCE: Duration = Duration::from_mins(5);

pub(crate) fn run(args: &ScaleOutArgs) -> anyhow::Result<Story> {
    ensure!(args.node.spawn, "a node is added here, so it must be nodes of its own: add --spawn");
    let crowd = Crowd::of(&args.traffic)?;
    let processors = Processors::share_out(&args.node, true)?;
    let mut site = Site::prepare(&args.node, &args.node.fanfare, &processors, crowd.topics_each, false)?;
    site.settings(&[("FANFARE_SHED", "true")]);
    site.start_nodes(args.nodes)?;
    let budget_per_s = site.accept_budget_per_s();
    let meter = Meter::new(args.output.quiet);
    let mut trial = Trial::start(&args.node, site.venue(), crowd, Some(args.balance), meter)?;
    let mut column = Column::new(&format!("{} nodes and one more", args.nodes));
    trial.publish_to_each(1)?;
    trial.feed.ask(Feed::go)?;
    trial.rest(Duration::from_secs_f64(args.pause))?;
    trial.watch_connects()?;

    let started = Instant::now();
    add_node(&mut site, &mut trial)?;
    let balanced = trial.wait(PATIENCE, |trial, _| Ok(above_mean(&trial.connections()?) <= ABOVE_MEAN_MAX))?;
    let balanced_s = started.elapsed().as_secs_f64();
    ensure!(balanced, "a node has still {} times the mean", decimals(above_mean(&trial.connections()?)));
    trial.say("balanced");
    let quiet_s = until_quiet(&mut trial, Duration::from_secs_f64(args.quiet_for), started)?;
    trial.settle(Duration::from_secs_f64(args.traffic.settle))?;

    let connections = trial.connections()?;
    tell(&mut column, balanced_s, quiet_s, &connections);
    trial.judge_connects(budget_per_s, &mut column)?;
    let notes = trial.conclude(&mut column)?;
    column.count("returns", "clients sent away, and back", notes.returns);
    let away = notes.away.quantiles();
    column.figure("away_us", away);
    column.row("disconnected to complete p50/p99/max, ms", spread(&away));
    for (reason, count) in &notes.ends {
        column.row(format!("connections ended: {reason}"), count.to_string());
    }
    column.failures.extend(site.post_mortems());
    let title = format!("{}, {} nodes and one more, {}", crowd.words(), args.nodes, args.balance.words());
    Ok(Story { scenario: "scale-out", title, columns: vec![column] })
}

fn add_node(site: &mut Site, trial: &mut Trial) -> anyhow::Result<()> {
    trial.say("a node is added");
    site.start_nodes(1)?;
    let added = site.nodes.last().context("a node was added")?;
    let (url, health) = (added.url.clone(), Health::watch(added.admin));
    trial.herd.ask(move |herd| herd.add_node(url, health))
}

/// Waits until for so long no client has come back from being sent away. Returns when the last one did, in seconds.
fn until_quiet(trial: &mut Trial, quiet_for: Duration, started: Instant) -> anyhow::Result<f64> {
    let (mut returns, mut since) = (0, Instant::now());
    let is_quiet = trial.wait(PATIENCE, |_, standing| {
        if standing.returns != returns {
            (returns, since) = (standing.returns, Instant::now());
        }
        Ok(since.elapsed() > quiet_for && standing.complete == standing.clients)
    })?;
    ensure!(is_quiet, "clients are still sent away {} s after the nodes were balanced", PATIENCE.as_secs());
    Ok((since - started).as_secs_f64())
}

fn tell(column: &mut Column, balanced_s: f64, quiet_s: f64, connections: &[u64]) {
    column.measure("balanced_s", "until no node had more than 1.2 × the mean, s", Some(balanced_s));
    column.measure("quiet_s", "until the last client was sent away, s", Some(quiet_s));
    column.measure("above_mean", "fullest node ÷ mean in the end", Some(above_mean(connections)));
    let list: Vec<String> = connections.iter().map(|connections| thousands(*connections)).collect();
    column.row("connections in the end, by node", list.join(" / "));
    column.figure("connections", connections);
    if balanced_s > BALANCED_WITHIN_S {
        column.failures.push(format!("the nodes were balanced after {} s", decimals(balanced_s)));
    }
}

/// How many times the mean the fullest node has.
fn above_mean(connections: &[u64]) -> f64 {
    let most = connections.iter().copied().max().unwrap_or_default();
    let (sum, nodes) = (connections.iter().sum::<u64>(), connections.len() as u64);
    ratio(float(most) * float(nodes), float(sum)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_node_is_held_against_the_mean() {
        for (connections, expected) in [(&[2_000, 2_000, 2_000, 0][..], 4.0 / 3.0), (&[5, 5], 1.0), (&[], 0.0)] {
            assert!((above_mean(connections) - expected).abs() < 1e-9, "{connections:?}");
        }
    }
}
