//! Redis goes away under traffic and comes back, with or without what it had: each event arrives once and in order, or a gap
//! notice tells of it, and all topics deliver again.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::meter::Meter;
use super::site::{Processors, Site};
use super::story::{Column, Story};
use super::trial::{Crowd, Trial};
use crate::cli::{Fault, RedisRestartArgs};
use crate::feed::Feed;
use crate::figures::thousands;
use crate::herd::Herd;
use crate::redis_link::RedisLink;
use crate::table::spread;

/// How long topics may take to deliver again before that is told as it is.
const AGAIN_WITHIN: Duration = Duration::from_mins(1);
/// How often each topic gets an event meanwhile.
const PROBE_EVERY: Duration = Duration::from_millis(250);

pub(crate) fn run(args: &RedisRestartArgs) -> anyhow::Result<Story> {
    ensure!(args.node.spawn, "Redis is stopped here, so it must be one of its own: add --spawn");
    let crowd = Crowd::of(&args.traffic)?;
    let processors = Processors::share_out(&args.node, true)?;
    let columns = args.faults.iter().map(|fault| one(args, *fault, crowd, &processors)).collect::<Result<_, _>>()?;
    let title = format!("{}, {} node(s)", crowd.words(), args.nodes);
    Ok(Story { scenario: "redis-restart", title, columns })
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Cut => "connections cut",
            Fault::Empty => "restarted empty",
            Fault::Data => "restarted with data",
            Fault::Freeze => "frozen",
        }
    }
}

fn one(args: &RedisRestartArgs, fault: Fault, crowd: Crowd, processors: &Processors) -> anyhow::Result<Column> {
    let mut site = Site::prepare(&args.node, &args.node.fanfare, processors, crowd.topics_each, fault == Fault::Data)?;
    site.start_nodes(args.nodes)?;
    let mut trial = Trial::start(&args.node, site.venue(), crowd, None, Meter::new(args.output.quiet))?;
    let mut column = Column::new(fault.name());
    trial.publish_to_each(1)?;
    trial.feed.ask(Feed::go)?;
    trial.rest(Duration::from_secs_f64(args.pause))?;
    trial.say(&format!("Redis: {}", fault.name()));
    strike(args, fault, &mut site, &mut trial)?;
    trial.say("Redis is back");
    let silent = deliver_again(&mut trial)?;
    trial.rest(Duration::from_secs_f64(args.pause))?;
    trial.settle(Duration::from_secs_f64(args.traffic.settle))?;
    let notes = trial.conclude(&mut column)?;
    let again = notes.again.quantiles();
    column.figure("again_us", again);
    column.row("all deliver again p50/p99/max, ms", spread(&again));
    column.count("silent", "clients' topics silent to the end", silent);
    column.figure("returns", notes.returns);
    column.row("clients that lost their connection", thousands(notes.returns));
    if silent > 0 {
        column.failures.push(format!("{} clients' topics never delivered again", thousands(silent)));
    }
    column.failures.extend(site.post_mortems());
    Ok(column)
}

/// Returns when Redis can be used again.
fn strike(args: &RedisRestartArgs, fault: Fault, site: &mut Site, trial: &mut Trial) -> anyhow::Result<()> {
    match fault {
        Fault::Cut => {
            let mut link = RedisLink::connect(&site.plan.redis)?;
            link.call(&[b"CLIENT", b"KILL", b"TYPE", b"pubsub"])?;
            link.call(&[b"CLIENT", b"KILL", b"TYPE", b"normal"])?;
        }
        Fault::Empty | Fault::Data => {
            site.store.kill();
            trial.rest(Duration::from_secs_f64(args.outage))?;
            site.store.start_again()?;
        }
        Fault::Freeze => {
            site.store.freeze()?;
            trial.rest(Duration::from_secs_f64(args.freeze))?;
            site.store.thaw()?;
        }
    }
    Ok(())
}

/// Waits until every topic of every client delivers what is published from now on. Returns how many don't.
fn deliver_again(trial: &mut Trial) -> anyhow::Result<u64> {
    trial.herd.ask(Herd::watch)?;
    let (started, mut probed) = (Instant::now(), None::<Instant>);
    loop {
        let standing = trial.look()?;
        if standing.silent == 0 || started.elapsed() > AGAIN_WITHIN {
            return Ok(standing.silent);
        }
        let is_due = probed.is_none_or(|probed| probed.elapsed() > PROBE_EVERY);
        if is_due && trial.feed.ask(|feed| feed.has_caught_up())? {
            probed = Some(Instant::now());
            trial.feed.ask(|feed| feed.add_to_each(1))?;
        }
    }
}
