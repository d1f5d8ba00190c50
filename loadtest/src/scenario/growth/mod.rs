//! What a delivery costs from a hundred subscribers to as many as a process may have, and from one node to several; and what a
//! connection costs in memory. The deliveries a second are the same in each step, so only what grows can make the difference.

mod document;
mod plots;

use std::path::Path;

use anyhow::{Context as _, ensure};

use self::document::{Growth, Step};
use super::delivery::{self, Shape, Spec};
use super::meter::Meter;
use super::session::Clients;
use super::{Stage, tell};
use crate::cli::{GrowthArgs, Half, Kind};
use crate::target::{Ground, Target, new_secret};

/// `Ok(false)`: something was lost, doubled or out of order.
pub(crate) fn run(args: &mut GrowthArgs) -> anyhow::Result<bool> {
    // All nodes of a step know the clients' tokens.
    args.common.target.node.secret.get_or_insert_with(new_secret);
    let args = &*args;
    let target = &args.common.target;
    ensure!(target.node.spawn, "each step has nodes of its own: add --spawn");
    ensure!(
        target.kinds() == [Kind::Fanfare],
        "the floor server has a step of its own: leave --target and --compare out"
    );
    if let Some(directory) = &args.plots {
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let ground = Ground::prepare(target)?;
    let steps = Steps { ground: &ground, args, meter: Meter::new(args.common.output.quiet) };
    let mut growth = Growth { event_bytes: args.load.bytes, ..Growth::default() };
    if args.only != Some(Half::Nodes) {
        for subscribers in &args.subscribers {
            growth.subscribers.push(steps.take(Kind::Fanfare, 1, *subscribers)?);
            if args.floors {
                growth.floors.push(steps.take(Kind::Floor, 1, *subscribers)?);
            }
        }
    }
    if args.only != Some(Half::Subscribers) {
        growth.floor = Some(steps.take(Kind::Floor, 1, args.together)?);
        for nodes in &args.nodes {
            growth.nodes.push(steps.take(Kind::Fanfare, *nodes, args.together)?);
        }
    }
    growth.judge();
    if let Some(directory) = &args.plots {
        draw(&growth, directory)?;
    }
    tell(&growth, &growth.render(), args.common.output.json.as_deref())?;
    Ok(growth.failures.is_empty())
}

struct Steps<'a> {
    ground: &'a Ground,
    args: &'a GrowthArgs,
    meter: Meter,
}

impl Steps<'_> {
    /// One step, on servers that are started for it.
    fn take(&self, kind: Kind, nodes: u32, subscribers: u32) -> anyhow::Result<Step> {
        let (common, events_per_s) = (&self.args.common, self.args.deliveries / f64::from(subscribers));
        self.meter.say(&format!("{subscribers} subscribers, {nodes} × {}", kind.name()));
        let start = |_| self.ground.target(&common.target, kind);
        let mut targets = (0..nodes).map(start).collect::<anyhow::Result<Vec<Target>>>()?;
        let (first, more) = targets.split_first().context("a step without a server")?;
        let stage = Stage { ground: self.ground, target: first, more, common };
        let clients = Clients { count: subscribers, channels: 1, rounds: 1, subscribe_at_once: true };
        let shape = Shape::Paced { events_per_s };
        let spec = Spec { scenario: "growth", mode: None, clients, shape, slow: 0, load: &self.args.load };
        let result = delivery::run(&stage, &spec);
        let post_mortems: Vec<String> = targets.iter_mut().filter_map(Target::post_mortem).collect();
        let mut report = match (result, post_mortems.is_empty()) {
            (Err(error), false) => Err(error.context(post_mortems.join("\n"))),
            (result, _) => result,
        }
        .with_context(|| format!("{subscribers} subscribers of {nodes} × {}", kind.name()))?;
        report.failures.extend(post_mortems);
        Ok(Step::new(nodes, subscribers, events_per_s, report))
    }
}

fn draw(growth: &Growth, directory: &Path) -> anyhow::Result<()> {
    for (name, plot) in plots::of(growth) {
        let path = directory.join(name);
        std::fs::write(&path, plot.svg()?).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
