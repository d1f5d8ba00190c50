//! Nodes are drained and replaced one after the other under traffic, with the same program or with another one and back:
//! clients follow, and no durable event may be lost in silence.

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

/// Shorter than a node's defaults, which are made for balancers that learn late.
const DRAIN: [(&str, &str); 2] = [("FANFARE_DRAIN_DELAY_S", "1"), ("FANFARE_DRAIN_S", "5")];

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
    let mut settings: Vec<_> = DRAIN.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    settings.append(&mut site.plan.environment);
    site.plan.environment = settings;
    let passes = programs(args, &mut site.plan)?;
    site.start_nodes(args.nodes)?;
    let pids = site.venue().node_pids;
    let mut trial = Trial::start(&args.node, site.venue(), crowd, Meter::new(args.output.quiet))?;
    let mut column = Column::new(&format!("{} nodes", args.nodes));
    trial.publish_to_each(1)?;
    trial.feed.ask(Feed::go)?;
    trial.rest(Duration::from_secs_f64(args.pause))?;
    let mut drains = Vec::new();
    for plan in &passes {
        for index in 0..site.nodes.len() {
            drains.push(restart(&mut trial, &mut site.nodes[index], plan, index)?);
            trial.rest(Duration::from_secs_f64(args.pause))?;
        }
    }
    trial.settle(Duration::from_secs_f64(args.traffic.settle))?;
    ensure!(pids != site.venue().node_pids, "no node was replaced");
    column.figure("drain_s", &drains);
    column.row("restarts", drains.len().to_string());
    column.row("longest drain, s", decimals(drains.iter().copied().fold(0.0, f64::max)));
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
    let title = format!("{}, {} nodes{upgrade}", crowd.words(), args.nodes);
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

/// Drains a node, replaces it, and returns how long the former took, in seconds.
fn restart(trial: &mut Trial, node: &mut Node, plan: &NodePlan, index: usize) -> anyhow::Result<f64> {
    trial.say(&format!("node {}: SIGTERM", index + 1));
    let started = Instant::now();
    node.leave()?;
    let has_left = trial.wait(LEAVE_WITHIN, |_, _| node.has_left())?;
    ensure!(has_left, "node {} has not left {} s after it was told to", index + 1, LEAVE_WITHIN.as_secs());
    let seconds = started.elapsed().as_secs_f64();
    node.replace(plan)?;
    trial.say(&format!("node {}: replaced", index + 1));
    Ok(seconds)
}
