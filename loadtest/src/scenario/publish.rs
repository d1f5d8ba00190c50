//! What a durable publish costs Redis, beside its own PUBLISH, with nobody subscribed: CPU time of the server for each call, many
//! calls on their way at once and one at a time, in turns so that both have the same weather.

use std::time::Instant;

use anyhow::{Context as _, bail};

use super::meter::Meter;
use super::site::{Processors, Site};
use super::story::{Column, Story};
use crate::cli::PublishArgs;
use crate::figures::{float, ratio, thousands, whole};
use crate::mark::{Envelope, Mark};
use crate::redis_info::cpu_us;
use crate::redis_link::RedisLink;
use crate::resp::{Reply, put_command, reply};

/// What a durable publish may cost, as a multiple of PUBLISH.
const PIPELINED_AIM: f64 = 7.0;
const ONE_AT_A_TIME_AIM: f64 = 1.5;
/// Published before anything is measured: the stream is then as long as it is kept.
const WARM_UP_CALLS: u32 = 2_000;

/// What all calls of one kind together took.
#[derive(Clone, Copy, Default)]
struct Cost {
    calls: u64,
    cpu_us: f64,
    seconds: f64,
}

/// The two ways to publish.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Publish,
    Durable,
}

struct Bench {
    link: RedisLink,
    channel: String,
    envelope: Envelope,
    seq: u64,
    out: Vec<u8>,
}

pub(crate) fn run(args: &PublishArgs) -> anyhow::Result<Story> {
    let mut meter = Meter::new(args.output.quiet);
    let mut site = None;
    let redis = if args.node.spawn {
        // Bound to nothing: Redis and this process each find a processor.
        let processors = Processors::share_out(&args.node, false)?;
        let mut started = Site::prepare(&args.node, &args.node.fanfare, &processors, 1, false)?;
        started.plan.environment.push(("FANFARE_DRAIN_DELAY_S".to_owned(), "0".to_owned()));
        started.start_nodes(1)?;
        // It has loaded the function library, and is of no more use.
        started.nodes.remove(0).dismiss()?;
        site.insert(started).plan.redis.clone()
    } else {
        args.redis.clone()
    };
    let mut link = RedisLink::connect(&redis)?;
    link.call(&[b"FCALL_RO", b"fanfare_version", b"0"])
        .context("Redis has no function library of Fanfare: start a node on it once, or give --spawn")?;
    let channel = format!("{}:{}:channel:load", args.node.prefix, args.node.tenant);
    let envelope = Envelope::new(args.bytes.try_into()?)?;
    let mut bench = Bench { link, channel, envelope, seq: 0, out: Vec::new() };
    let mut columns = Vec::new();
    for (depth, aim) in [(args.pipeline, PIPELINED_AIM), (1, ONE_AT_A_TIME_AIM)] {
        let name = if depth > 1 { format!("{depth} at a time") } else { "one at a time".to_owned() };
        let calls = if depth > 1 { args.calls } else { args.calls.div_ceil(4) };
        let (mut publish, mut durable) = (Cost::default(), Cost::default());
        for way in [Way::Publish, Way::Durable] {
            bench.round(way, WARM_UP_CALLS, depth)?;
        }
        for round in 1..=args.rounds {
            publish.add(bench.round(Way::Publish, calls, depth)?);
            durable.add(bench.round(Way::Durable, calls, depth)?);
            meter.line(&format!("{name}: round {round} of {}, {} calls", args.rounds, thousands(durable.calls)));
        }
        columns.push(column(&name, depth, publish, durable, aim));
    }
    drop(site);
    let title = format!("a durable publish beside PUBLISH, events of {} bytes", args.bytes);
    Ok(Story { scenario: "publish", title, columns })
}

fn column(name: &str, depth: u32, publish: Cost, durable: Cost, aim: f64) -> Column {
    let mut column = Column::new(name);
    column.figure("pipeline", depth);
    column.count("calls", "calls of each kind", publish.calls);
    column.measure("publish_cpu_us", "PUBLISH: Redis CPU a call, µs", publish.each_us());
    column.measure("durable_cpu_us", "fanfare_publish: Redis CPU a call, µs", durable.each_us());
    let times = publish.each_us().zip(durable.each_us()).and_then(|(publish, durable)| ratio(durable, publish));
    column.measure("cpu_ratio", "fanfare_publish ÷ PUBLISH, Redis CPU", times);
    for (key, words, cost) in
        [("publish_per_s", "PUBLISH: calls/s", publish), ("durable_per_s", "fanfare_publish: calls/s", durable)]
    {
        let rate = ratio(float(cost.calls), cost.seconds);
        column.figure(key, rate);
        column.row(words, rate.map(|rate| thousands(whole(rate))).unwrap_or_default());
    }
    if let Some(times) = times {
        column.aim("fanfare_publish ÷ PUBLISH, Redis CPU", times, aim);
    }
    column
}

impl Cost {
    fn add(&mut self, other: Cost) {
        self.calls += other.calls;
        self.cpu_us += other.cpu_us;
        self.seconds += other.seconds;
    }

    fn each_us(&self) -> Option<f64> {
        ratio(self.cpu_us, float(self.calls))
    }
}

impl Bench {
    /// Publishes `calls` events, `depth` of them on their way at once.
    fn round(&mut self, way: Way, calls: u32, depth: u32) -> anyhow::Result<Cost> {
        let before = cpu_us(&mut self.link)?;
        let started = Instant::now();
        let mut done = 0;
        while done < calls {
            let together = depth.min(calls - done);
            self.publish(way, together)?;
            done += together;
        }
        let seconds = started.elapsed().as_secs_f64();
        Ok(Cost { calls: calls.into(), cpu_us: cpu_us(&mut self.link)? - before, seconds })
    }

    fn publish(&mut self, way: Way, together: u32) -> anyhow::Result<()> {
        self.out.clear();
        let channel = self.channel.as_bytes();
        for _ in 0..together {
            let envelope = self.envelope.stamped(Mark { run: 0, channel: 0, seq: self.seq, intended_ns: 0 });
            self.seq += 1;
            match way {
                Way::Publish => put_command(&mut self.out, &[b"PUBLISH", channel, envelope]),
                Way::Durable => put_command(&mut self.out, &[b"FCALL", b"fanfare_publish", b"1", channel, envelope]),
            }
        }
        self.link.write(&self.out)?;
        let mut answered = 0;
        while answered < together {
            self.link.read(true)?;
            let mut used = 0;
            while let Some((reply, bytes)) = reply(&self.link.bytes()[used..]).map_err(anyhow::Error::msg)? {
                used += bytes;
                answered += 1;
                if let Reply::Error(error) = reply {
                    bail!("Redis refuses an event: {error}");
                }
            }
            self.link.take(used);
        }
        Ok(())
    }
}
