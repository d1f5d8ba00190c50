//! Messages that Redis still sends to a node and nobody there wants: the topic's last client has left, and its subscription
//! stays for a while. What each of them costs the node is what reading from Redis costs.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};

use super::Stage;
use super::effort::Effort;
use super::session::{Clients, Session};
use super::story::{Column, Story};
use super::verdict::tell_others;
use crate::cli::{Kind, UnheardArgs};
use crate::clock::{now_ns, seconds_between, sleep_until_ns};
use crate::figures::{float, ratio, thousands, whole};
use crate::publisher::{Publisher, Span};
use crate::table::decimals;
use crate::target::Ground;

/// What a message that nobody wants may cost a node.
const COST_US: f64 = 1.0;
const AIMED_AT_BYTES: u32 = 128;
/// Published before anything is measured, as a share of what is.
const WARM_UP: f64 = 0.1;
/// Longer than any run, in milliseconds: the most that a node takes.
const KEEP_MS: &str = "600000";

pub(crate) fn run(args: &mut UnheardArgs) -> anyhow::Result<Story> {
    let setting = ("FANFARE_UNSUBSCRIBE_DELAY_MS".to_owned(), KEEP_MS.to_owned());
    args.common.target.node.environment.insert(0, setting);
    let (args, common) = (&*args, &args.common);
    let ground = Ground::prepare(&common.target)?;
    let mut runs: Vec<Run> = Vec::new();
    for kind in common.target.kinds() {
        let (mut sizes, post_mortem) = super::on_target(&ground, common, kind, |stage| all_sizes(stage, args))
            .with_context(|| format!("unheard on {}", kind.name()))?;
        if let Some(last) = sizes.last_mut() {
            last.column.failures.extend(post_mortem);
        }
        runs.extend(sizes);
    }
    set_against_each_other(&mut runs);
    let columns = runs.into_iter().map(|run| run.column).collect();
    let channels =
        if args.channels == 1 { "one channel" } else { &format!("{} channels", thousands(args.channels.into())) };
    let title = format!(
        "{} events a second, {} at once, on {channels}, whose clients have left",
        thousands(whole(args.rate)),
        thousands(args.at_once)
    );
    Ok(Story { scenario: "unheard", title, columns })
}

/// One size on one target.
struct Run {
    target: &'static str,
    bytes: u32,
    cost_us: Option<f64>,
    column: Column,
}

/// What a stretch of publishing was.
struct Stretch {
    events: u64,
    seconds: f64,
    effort: Effort,
    /// Events that Redis sent to nobody.
    unheard: u64,
}

fn all_sizes(stage: &Stage<'_>, args: &UnheardArgs) -> anyhow::Result<Vec<Run>> {
    let clients = Clients { count: args.channels, channels: args.channels, rounds: 1, subscribe_at_once: true };
    let mut session = Session::start(stage, &clients)?;
    ensure!(
        session.server_cpu_us()?.is_some(),
        "the server's process was not found, and its CPU time is what is to be measured: give --server-pid"
    );
    session.connect_all()?;
    session.disconnect()?;
    // Until the server has noticed.
    session.wait_until_quiet()?;
    let mut runs = Vec::new();
    for bytes in &args.bytes {
        publish(&mut session, args, *bytes, args.duration * WARM_UP)?;
        let stretch = publish(&mut session, args, *bytes, args.duration)?;
        runs.push(Run::new(stage.target.kind.name(), *bytes, args, &stretch));
    }
    Ok(runs)
}

fn publish(session: &mut Session<'_>, args: &UnheardArgs, bytes: u32, seconds: f64) -> anyhow::Result<Stretch> {
    let (at_once, per_s) = (args.at_once, args.rate);
    let bursts = whole(args.rate * seconds / float(at_once)).max(1);
    let publisher = session.publisher(bytes)?;
    let before = session.effort()?;
    let work = move |publisher: &mut Publisher| pipelined(publisher, bursts, at_once, per_s);
    let (publisher, span) = session.publish(publisher, work)?;
    // What Redis has sent, the server has still to read.
    session.wait_until_quiet()?;
    Ok(Stretch {
        events: bursts * at_once,
        seconds: seconds_between(span.first_ns, span.last_ns),
        effort: session.effort()?.since(&before),
        unheard: publisher.unheard,
    })
}

/// So many events in each write, and as many writes a second as that takes.
fn pipelined(publisher: &mut Publisher, bursts: u64, at_once: u64, per_s: f64) -> anyhow::Result<Span> {
    let first_ns = now_ns();
    let due_ns = |burst: u64| first_ns + whole(float(burst * at_once) * 1e9 / per_s);
    for burst in 0..bursts {
        sleep_until_ns(due_ns(burst));
        publisher.burst(at_once)?;
    }
    // Behind its time, the last write was later than it was due.
    Ok(Span { first_ns, last_ns: now_ns().max(due_ns(bursts)) })
}

impl Run {
    fn new(target: &'static str, bytes: u32, args: &UnheardArgs, stretch: &Stretch) -> Run {
        let mut column = Column::new(&format!("{target}, {bytes} B"));
        let each = |us: u64| ratio(float(us), float(stretch.events));
        let cost_us = stretch.effort.server_us.and_then(each);
        column.figure("target", target);
        column.figure("event_bytes", bytes);
        column.figure("channels", args.channels);
        column.figure("events_at_once", args.at_once);
        column.count("events", "events published", stretch.events);
        column.count("events_per_s", "events/s", whole(float(stretch.events) / stretch.seconds.max(1e-9)));
        column.measure("cpu_us_per_message", "server CPU a message, µs", cost_us);
        column.measure("redis_cpu_us_per_message", "Redis CPU a message, µs", each(stretch.effort.redis_us));
        column.count("unheard_by_redis", "events that Redis had no subscriber for", stretch.unheard);
        if let Some(cost_us) = cost_us.filter(|_| target == Kind::Fanfare.name() && bytes == AIMED_AT_BYTES) {
            column.aim("server CPU a message that nobody wants, µs", cost_us, COST_US);
        }
        if stretch.unheard > 0 {
            let text = "the server had given up its subscription: its unsubscribe delay has to be longer than the run";
            column.failures.push(text.to_owned());
        }
        tell_others(&mut column, &stretch.effort);
        Run { target, bytes, cost_us, column }
    }
}

/// The first target's cost is divided by that of each other, for each size.
fn set_against_each_other(runs: &mut [Run]) {
    let Some(first) = runs.first().map(|run| run.target) else { return };
    let others: Vec<(&str, u32, Option<f64>)> = runs.iter().map(|run| (run.target, run.bytes, run.cost_us)).collect();
    for run in runs.iter_mut().filter(|run| run.target == first) {
        let beside = others.iter().filter(|(target, bytes, _)| *target != first && *bytes == run.bytes);
        let times = beside.filter_map(|(target, _, cost_us)| Some((*target, ratio(run.cost_us?, (*cost_us)?)?)));
        let times: BTreeMap<&str, f64> = times.collect();
        for (target, times) in &times {
            run.column.row(format!("  ÷ that of {target}"), decimals(*times));
        }
        run.column.figure("cpu_ratios", times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    #[test]
    fn what_redis_sent_to_nobody_was_not_measured() {
        let Command::Unheard(args) = Cli::parse_from(["x", "unheard"]).command else { panic!("unheard") };
        let effort =
            Effort { wall_us: 1_000_000, server_us: Some(50_000), generator_us: 0, redis_us: 0, machine_us: 0 };
        let mut stretch = Stretch { events: 100_000, seconds: 1.0, effort, unheard: 0 };
        let story = |stretch: &Stretch| {
            let mut runs = [Run::new("fanfare", 128, &args, stretch), Run::new("floor", 128, &args, stretch)];
            runs[1].cost_us = Some(0.4);
            set_against_each_other(&mut runs);
            let columns = runs.into_iter().map(|run| run.column).collect();
            Story { scenario: "unheard", title: String::new(), columns }
        };
        let text = story(&stretch).render();
        assert!(text.contains("nobody wants, µs: 0.500, at most 1.00: met"), "{text}");
        assert_eq!(story(&stretch).document()["runs"][0]["cpu_ratios"], serde_json::json!({"floor": 1.25}));
        assert!(story(&stretch).all_is_well());
        stretch.unheard = 1;
        assert!(!story(&stretch).all_is_well());
    }
}
