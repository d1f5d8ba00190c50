//! Nodes are drained and replaced one after the other under traffic, with the same program or with another one and back:
//! clients go where a balancer sends them, all are back before the drain is over, no node gets more of them in a second than
//! it announced, and no durable event may be lost in silence.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::meter::Meter;
use super::site::{Processors, Site};
use super::story::{Column, Story};
use super::trial::{Crowd, Trial};
use crate::cli::RollingRestartArgs;
use crate::feed::Feed;
use crate::fleet::{self, Node, NodePlan};
use crate::table::{decimals, spread};

const DELAY: &str = "FANFARE_DRAIN_DELAY_S";
const DRAIN: &str = "FANFARE_DRAIN_S";

/// A node's defaults, with a shorter delay: that is made for balancers that learn late.
const SETTINGS: [(&str, &str); 2] = [(DELAY, "1"), (DRAIN, "30")];

/// Longer than any node is given for it.
const LEAVE_WITHIN: Duration = Duration::from_mins(10);

pub(crate) fn run(args: &RollingRestartArgs) -> anyhow::Result<Story> {
    ensure!(args.node.spawn, "nodes are stopped here, so it must be nodes of its own: add --spawn");
    let crowd = Crowd::of(&args.traffic)?;
    let processors = Processors::share_out(&args.node, true)?;
    let mut site = Site::prepare(
        &args.node,
        args.binary_before.as_ref().unwrap_or(&args.node.fanfare),
        &processors,
        crowd.topics_each,
        false,
    )?;
    site.settings(&SETTINGS);
    let passes = programs(args, &mut site.plan)?;
    site.start_nodes(args.nodes)?;
    let pids = site.venue().node_pids;
    let budget_per_s = site.accept_budget_per_s();
    let meter = Meter::new(args.output.quiet);
    let mut trial = Trial::start(&args.node, site.venue(), crowd, Some(args.balance), meter)?;
    let mut column = Column::new(&format!("{} nodes", args.nodes));
    trial.publish_to_each(1)?;
    trial.feed.ask(Feed::go)?;
    trial.rest(Duration::from_secs_f64(args.pause))?;
    trial.watch_connects()?;
    let mut restarts = Vec::new();
    for plan in &passes {
        for index in 0..site.nodes.len() {
            restarts.push(restart(&mut trial, &mut site.nodes[index], plan, index)?);
            trial.rest(Duration::from_secs_f64(args.pause))?;
        }
    }
    trial.settle(Duration::from_secs_f64(args.traffic.settle))?;
    ensure!(pids != site.venue().node_pids, "no node was replaced");
    tell_restarts(&restarts, &mut column);
    trial.judge_connects(budget_per_s, &mut column)?;
    let notes = trial.conclude(&mut column)?;
    column.count("returns", "reconnects", notes.returns);
    let (resume, away) = (notes.resume.quantiles(), notes.away.quantiles());
    column.figure("resume_us", resume);
    column.row("reconnect to complete p50/p99/max, ms", spread(&resume));
    column.figure("away_us", away);
    column.row("disconnected to complete, the same, ms", spread(&away));
    for (reason, count) in &notes.ends {
        column.row(format!("connections ended: {reason}"), count.to_string());
    }
    column.failures.extend(site.post_mortems());
    let upgrade = if passes.len() > 1 { ", upgraded and downgraded again" } else { "" };
    let title = format!("{}, {} nodes{upgrade}, {}", crowd.words(), args.nodes, args.balance.words());
    Ok(Story { scenario: "rolling-restart", title, columns: vec![column] })
}

/// What each pass over the nodes makes of them. The first plan is what they are at first.
fn programs(args: &RollingRestartArgs, first: &mut NodePlan) -> anyhow::Result<Vec<NodePlan>> {
    let (Some(before), Some(after)) = (&args.binary_before, &args.binary_after) else {
        return Ok(vec![first.clone()]);
    };
    let with = |program: &Path| anyhow::Ok(NodePlan { program: fleet::program(program)?, ..first.clone() });
    let (before, after) = (with(before)?, with(after)?);
    // Durable events can be published when the function library is there, which the older program may not know.
    let mut quick = after.clone();
    quick.environment.extend([("FANFARE_DRAIN_DELAY_S".to_owned(), "0".to_owned())]);
    Node::start(&quick)?.dismiss().context("the node that loads the function library")?;
    *first = before.clone();
    Ok(vec![after, before])
}

/// What one took, in seconds from SIGTERM on.
struct Restart {
    /// Until the node had ended.
    left: f64,
    /// Until all of its clients were complete on other nodes.
    back: f64,
    /// How long that may take: the delay and the drain.
    allowed: f64,
}

/// Drains a node, waits for its clients, and replaces it.
fn restart(trial: &mut Trial, node: &mut Node, plan: &NodePlan, index: usize) -> anyhow::Result<Restart> {
    trial.say(&format!("node {}: SIGTERM", index + 1));
    let started = Instant::now();
    node.leave()?;
    let mut left = None;
    let are_back = trial.wait(LEAVE_WITHIN, |_, standing| {
        if left.is_none() && node.has_left()? {
            left = Some(started.elapsed().as_secs_f64());
        }
        Ok(left.is_some() && standing.complete == standing.clients)
    })?;
    let back = started.elapsed().as_secs_f64();
    let seconds = LEAVE_WITHIN.as_secs();
    let left = left.with_context(|| format!("node {} has not left {seconds} s after it was told to", index + 1))?;
    ensure!(are_back, "not all clients of node {} are back {seconds} s after it was told to leave", index + 1);
    node.replace(plan)?;
    trial.say(&format!("node {}: replaced", index + 1));
    Ok(Restart { left, back, allowed: seconds_of(plan, DELAY) + seconds_of(plan, DRAIN) })
}

/// A setting of the nodes; the last one counts.
fn seconds_of(plan: &NodePlan, name: &str) -> f64 {
    let value =
        plan.environment.iter().rev().find(|(given, _)| given == name).and_then(|(_, value)| value.parse().ok());
    value.unwrap_or_default()
}

fn tell_restarts(restarts: &[Restart], column: &mut Column) {
    let longest = |of: fn(&Restart) -> f64| restarts.iter().map(of).fold(0.0, f64::max);
    column.figure("drain_s", restarts.iter().map(|restart| restart.left).collect::<Vec<_>>());
    column.figure("back_s", restarts.iter().map(|restart| restart.back).collect::<Vec<_>>());
    column.row("restarts", restarts.len().to_string());
    column.row("SIGTERM to the node's end, longest, s", decimals(longest(|restart| restart.left)));
    column.row("SIGTERM to all clients back, longest, s", decimals(longest(|restart| restart.back)));
    for Restart { back, allowed, .. } in restarts.iter().filter(|restart| restart.back > restart.allowed) {
        let (back, allowed) = (decimals(*back), decimals(*allowed));
        column
            .failures
            .push(format!("all clients were back {back} s after SIGTERM, and delay and drain are {allowed} s"));
    }
}
