//! All clients are cut off, miss durable events, and come back at once: is everything recovered, how long does it take, and what
//! does it cost Redis? A node should read what all of them missed once.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::meter::Meter;
use super::site::{Processors, Site, Venue};
use super::story::{Column, Story};
use super::trial::{Crowd, Trial};
use super::verdict::tell_others;
use crate::cli::RecoverArgs;
use crate::figures::{float, ratio, thousands};
use crate::herd::Herd;
use crate::process;
use crate::redis_info::Calls;
use crate::redis_link::RedisLink;
use crate::table::spread;

const URL: &str = "ws://127.0.0.1:8080/ws";
/// What all of this should take a client, where there is one topic.
const RESUME_P99_AIM_S: f64 = 1.0;
/// How many range reads it may take to read what all missed twice: once would do, but somebody may have been away for longer.
/// The function library reads 16 entries first, and then what it expects to be the rest; 1,000 are kept.
fn range_reads_aim(events: u64) -> f64 {
    float(2 * (2 + events.min(1_000) / 16))
}

pub(crate) fn run(args: &RecoverArgs) -> anyhow::Result<Story> {
    let has_topics = args.topics.is_some();
    let topics = args.topics.unwrap_or(1);
    let crowd = Crowd {
        clients: args.clients.unwrap_or(if has_topics { 1 } else { 1_000 }),
        topics,
        topics_each: topics,
        durable_per_s: 0.0,
        ephemeral_per_s: 0.0,
        is_on_first_node: true,
        withhold_every: args.withhold_every,
    }
    .checked()?;
    let events = args.events.unwrap_or(if has_topics { 1 } else { 20 });
    let processors = Processors::share_out(&args.node, args.node.spawn)?;
    let mut site = None;
    let venue = if args.node.spawn {
        let mut started = Site::prepare(&args.node, &args.node.fanfare, &processors, topics, false)?;
        started.start_nodes(args.nodes)?;
        site.insert(started).venue()
    } else {
        running(args)?
    };
    let (redis, several) = (venue.redis.clone(), venue.urls.len() > 1);
    let mut trial = Trial::start(&args.node, venue, crowd, None, Meter::new(args.output.quiet))?;
    let mut column = Column::new(if several { "on another node" } else { "on the same node" });
    let mut link = RedisLink::connect(&redis)?;
    let measured = cut_off_and_back(&mut trial, &mut link, args, events)?;
    trial.settle(Duration::from_secs_f64(args.settle))?;
    let expected = events * u64::from(crowd.clients) * u64::from(topics);
    measured.tell(&mut column, &crowd, expected);
    let notes = trial.conclude(&mut column)?;
    let resume = notes.resume.quantiles();
    column.figure("resume_us", resume);
    column.row("reconnect to complete p50/p99/max, ms", spread(&resume));
    if topics == 1 {
        column.aim("reconnect to complete, p99, s", float(resume.p99) / 1e6, RESUME_P99_AIM_S);
        column.aim("range reads (XRANGE) on Redis", float(measured.calls.xrange), range_reads_aim(events));
    }
    if notes.durable.recovered < expected {
        let missing = thousands(expected - notes.durable.recovered);
        column
            .warnings
            .push(format!("{missing} of the missed events were not in the answers: they came live or not at all"));
    }
    if let Some(site) = &mut site {
        column.failures.extend(site.post_mortems());
    }
    let title = format!("{}, cut off for {} durable events of each topic", crowd.words(), thousands(events));
    Ok(Story { scenario: "recover", title, columns: vec![column] })
}

/// What the way back took.
struct Measured {
    seconds: f64,
    calls: Calls,
    effort: super::effort::Effort,
}

impl Measured {
    fn tell(&self, column: &mut Column, crowd: &Crowd, expected: u64) {
        let seconds = |us: u64| float(us) / 1e6;
        column.figure("clients", crowd.clients);
        column.figure("topics", crowd.topics);
        column.count("missed", "events missed, all clients and topics", expected);
        column.measure("seconds", "until the last client was complete, s", Some(self.seconds));
        column.figure("redis_calls", self.calls);
        column.row("Redis: FCALL / FCALL_RO / EVALSHA", {
            let Calls { fcall, fcall_ro, evalsha, .. } = self.calls;
            format!("{fcall} / {fcall_ro} / {evalsha}")
        });
        column.row("Redis: XRANGE / XREVRANGE within", format!("{} / {}", self.calls.xrange, self.calls.xrevrange));
        column.measure("redis_cpu_s", "Redis CPU, s", Some(seconds(self.effort.redis_us)));
        column.measure("node_cpu_s", "nodes' CPU, s", self.effort.server_us.map(seconds));
        let subscriptions = float(u64::from(crowd.clients) * u64::from(crowd.topics));
        let each = self.effort.server_us.and_then(|us| ratio(float(us), subscriptions));
        column.measure("node_cpu_us_per_subscription", "nodes' CPU a subscription resumed, µs", each);
        tell_others(column, &self.effort);
    }
}

fn cut_off_and_back(
    trial: &mut Trial,
    link: &mut RedisLink,
    args: &RecoverArgs,
    events: u64,
) -> anyhow::Result<Measured> {
    // So that everybody has a position with an event behind it, which is the usual case.
    trial.publish_to_each(1)?;
    let arrived = trial.wait(Duration::from_mins(1), |trial, _| Ok(trial.missing()?.0.lost == 0))?;
    if !arrived {
        bail!("{} deliveries are missing before anything was cut off", trial.missing()?.0.lost);
    }
    trial.say("cutting all connections off");
    trial.herd.ask(Herd::cut)?;
    trial.publish_to_each(events)?;
    trial.rest(Duration::from_secs_f64(args.away))?;
    trial.say("all come back");
    let (calls, effort, started) = (Calls::read(link)?, trial.effort()?, Instant::now());
    let nodes_further = usize::from(trial.nodes > 1);
    trial.herd.ask(move |herd| herd.connect(nodes_further))?;
    trial.all_complete(Duration::from_mins(5))?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Measured { seconds, calls: Calls::read(link)?.since(&calls), effort: trial.effort()?.since(&effort) })
}

/// Nodes that run already.
fn running(args: &RecoverArgs) -> anyhow::Result<Venue> {
    let urls = match args.url.as_slice() {
        [] => vec![URL.parse().map_err(anyhow::Error::msg)?],
        urls => urls.to_vec(),
    };
    for url in &urls {
        TcpStream::connect_timeout(&url.address, Duration::from_secs(5))
            .with_context(|| format!("nothing answers at {}: start a node, or give --url or --spawn", url.address))?;
    }
    let several = std::env::var("FANFARE_JWT_HS256_SECRET").unwrap_or_default();
    let first = several.split(',').next().filter(|first| !first.is_empty()).map(ToOwned::to_owned);
    let secret = args.node.secret.clone().or(first);
    let secret = secret.context("the clients need tokens: give the nodes' HS256 secret with --secret")?;
    let node_pids = urls.iter().filter_map(|url| process::listener_on(url.address)).collect();
    Ok(Venue { redis: args.redis.clone(), urls, admins: Vec::new(), secret, node_pids })
}
