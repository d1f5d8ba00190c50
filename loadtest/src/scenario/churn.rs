//! Clients subscribe and unsubscribe all the time on a node that knows many topics: what each change costs it, how long the
//! answer takes, and what those notice whose topics stay subscribed.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::Stage;
use super::bystanders::{Bystanders, Crowd};
use super::effort::Effort;
use super::meter::Meter;
use super::story::{Column, Story};
use super::verdict::tell_others;
use crate::cli::{ChurnArgs, Kind};
use crate::desk::Desk;
use crate::figures::{float, ratio, thousands, whole};
use crate::histogram::Quantiles;
use crate::nomads::notes::Notes;
use crate::nomads::{Nomads, NomadsPlan, Standing};
use crate::process;
use crate::reasons::listed;
use crate::redis_info::{Calls, Subscribing};
use crate::redis_link::RedisLink;
use crate::table::spread;
use crate::target::Ground;

/// Topics that stay subscribed.
const STEADY_TOPICS: u32 = 20;
/// Subscriptions that each connection has by itself: its tenant's and its user's topic.
const OWN_TOPICS: u32 = 2;
const SUBSCRIPTIONS_MAX: u32 = 10_000;
const LOOK: Duration = Duration::from_millis(20);
/// How long the last answers may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

pub(crate) fn run(args: &mut ChurnArgs) -> anyhow::Result<Story> {
    ensure!(
        args.common.target.kinds() == [Kind::Fanfare],
        "a floor server knows one topic for each connection and forgets none: there is nothing to compare with"
    );
    ensure!(args.bystanders.is_multiple_of(STEADY_TOPICS), "--bystanders must be a multiple of {STEADY_TOPICS}");
    ensure!(args.topics >= args.clients, "--topics {} is less than one for each client", args.topics);
    let stock = Stock::of(args);
    args.common.target.node.environment.splice(0..0, settings(stock));
    let (args, common) = (&*args, &args.common);
    let ground = Ground::prepare(&common.target)?;
    let (mut column, post_mortem) =
        super::on_target(&ground, common, Kind::Fanfare, |stage| Churn::start(stage, args, stock)?.measure(args))?;
    column.failures.extend(post_mortem);
    let title = format!(
        "{} changes a second by {} clients on {} topics",
        thousands(whole(args.rate)),
        thousands(args.clients.into()),
        thousands(stock.topics(args).into())
    );
    Ok(Story { scenario: "churn", title, columns: vec![column] })
}

/// The topics of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stock {
    held: u32,
    /// Dropped, and come back to in turn.
    spare: u32,
}

impl Stock {
    fn of(args: &ChurnArgs) -> Stock {
        // A topic is away while its client drops as many others.
        let drops_per_s = args.rate / 2.0 / f64::from(args.clients);
        let spare = u32::try_from(whole((args.away * drops_per_s).ceil()) + 1).unwrap_or(u32::MAX);
        Stock { held: args.topics.div_ceil(args.clients), spare }
    }

    /// Held by all clients together.
    fn topics(self, args: &ChurnArgs) -> u32 {
        self.held.saturating_mul(args.clients)
    }
}

/// What a node needs for this.
fn settings(stock: Stock) -> Vec<(String, String)> {
    let subscriptions = stock.held.saturating_add(OWN_TOPICS).max(SUBSCRIPTIONS_MAX);
    [
        ("FANFARE_UNSUBSCRIBE_DELAY_MS", 1_000),
        ("FANFARE_FRAMES_PER_MINUTE", 1_000_000),
        ("FANFARE_FRAMES_BURST", 1_000_000),
        ("FANFARE_SUBSCRIPTIONS_PER_CONNECTION_MAX", subscriptions),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_string()))
    .to_vec()
}

struct Churn<'a> {
    stage: &'a Stage<'a>,
    bystanders: Bystanders<'a>,
    nomads: Desk<Nomads>,
    redis: RedisLink,
    meter: Meter,
    topics: u32,
}

/// A stretch of time in which everybody's CPU time was read.
struct Stretch {
    effort: Effort,
    calls: Calls,
    /// Changes answered within it.
    changes: u64,
}

impl<'a> Churn<'a> {
    /// All are connected, and nobody but the bystanders has subscribed to anything.
    fn start(stage: &'a Stage<'a>, args: &ChurnArgs, stock: Stock) -> anyhow::Result<Churn<'a>> {
        ensure!(
            process::raise_open_files() > u64::from(args.clients) + 100,
            "{} clients are more than the open files that are allowed: see ulimit -n",
            args.clients
        );
        let crowd = Crowd { clients: args.bystanders, channels: STEADY_TOPICS, events_per_s: args.bystander_rate };
        let nomads = Nomads::new(NomadsPlan {
            url: stage.target.url.clone(),
            secret: stage.target.secret.clone(),
            tenant: stage.common.target.node.tenant.clone(),
            name: stage.common.target.channel.clone(),
            clients: args.clients,
            held: stock.held,
            spare: stock.spare,
            concurrency: stage.common.clients.connect_concurrency,
        })?;
        let mut churn = Churn {
            bystanders: Bystanders::connect(stage, crowd)?,
            nomads: Desk::start(nomads),
            redis: RedisLink::connect(&stage.ground.redis)?,
            meter: Meter::new(stage.common.output.quiet),
            topics: stock.topics(args),
            stage,
        };
        churn.nomads.ask(Nomads::connect)?;
        churn.wait_for_all("connected", |standing| standing.welcome)?;
        Ok(churn)
    }

    fn measure(mut self, args: &ChurnArgs) -> anyhow::Result<Column> {
        let mut column = Column::new(self.stage.target.kind.name());
        self.fill(&mut column)?;
        let (warmup, duration) = (Duration::from_secs_f64(args.warmup), Duration::from_secs_f64(args.duration));
        self.bystanders.begin();
        let calm = self.stretch(warmup)?;
        let calm_us = self.bystanders.take_latency()?;
        let rate = args.rate;
        self.nomads.ask(move |nomads| nomads.go(rate))?;
        self.stretch(warmup)?;
        self.nomads.ask(Nomads::measure)?;
        self.bystanders.take_latency()?;
        let busy = self.stretch(duration)?;
        self.nomads.ask(Nomads::stop)?;
        let unanswered = self.last_answers()?;
        let bystanders_us = self.bystanders.end()?;
        let notes = self.nomads.ask(|nomads| nomads.notes())?;
        tell_changes(&mut column, &busy, &calm, &notes);
        tell_latency(&mut column, &notes, bystanders_us, calm_us);
        self.conclude(&mut column, unanswered, &notes)?;
        tell_others(&mut column, &busy.effort);
        Ok(column)
    }

    /// All clients take up their topics.
    fn fill(&mut self, column: &mut Column) -> anyhow::Result<()> {
        let memory = |stage: &Stage<'_>| stage.target.pid.map(process::memory).transpose();
        let (before, asked, started) = (memory(self.stage)?, Subscribing::read(&mut self.redis)?, Instant::now());
        self.nomads.ask(Nomads::fill)?;
        self.wait_for_all("filled", |standing| standing.filled)?;
        let seconds = started.elapsed().as_secs_f64();
        let asked = Subscribing::read(&mut self.redis)?.since(&asked);
        let after = memory(self.stage)?;
        column.count("topics", "topics that the clients hold", self.topics.into());
        column.measure("fill_s", "subscribing them all, s", Some(seconds));
        column.figure("fill_subscribing", asked);
        column.row(
            "Redis: SUBSCRIBE for that / topics",
            format!("{} / {}", thousands(asked.commands), thousands(asked.topics)),
        );
        let grown_kb = before.zip(after).map(|(before, after)| float(after.rss_kb) - float(before.rss_kb));
        let each = grown_kb.and_then(|kb| ratio(kb * 1024.0, f64::from(self.topics)));
        column.measure("rss_bytes_per_topic", "node's RSS a topic, bytes", each);
        Ok(())
    }

    fn stretch(&mut self, duration: Duration) -> anyhow::Result<Stretch> {
        let (changes, calls) = (self.standing()?.changes, Calls::read(&mut self.redis)?);
        let effort = self.bystanders.effort()?;
        let until = Instant::now() + duration;
        while Instant::now() < until {
            self.look()?;
        }
        let effort = self.bystanders.effort()?.since(&effort);
        Ok(Stretch {
            effort,
            calls: Calls::read(&mut self.redis)?.since(&calls),
            changes: self.standing()?.changes - changes,
        })
    }

    /// Waits for the answers on their way. Returns how many have not come.
    fn last_answers(&mut self) -> anyhow::Result<u64> {
        let since = Instant::now();
        loop {
            let unanswered = self.look()?.unanswered;
            if unanswered == 0 || since.elapsed() > ANSWERED_WITHIN {
                return Ok(unanswered);
            }
        }
    }

    fn conclude(&mut self, column: &mut Column, unanswered: u64, notes: &Notes) -> anyhow::Result<()> {
        let delivery = self.bystanders.conclude()?;
        column.count("deliveries", "deliveries to bystanders", delivery.deliveries);
        column.count("lost", "lost", delivery.counts.lost);
        column.count("duplicated", "duplicated", delivery.counts.duplicated);
        column.count("disordered", "disordered", delivery.counts.disordered);
        column.count("covered_by_gap", "missing, covered by a gap", delivery.counts.covered_by_gap);
        column.count("errors", "changes answered with an error", notes.errors.values().sum());
        column.count("unanswered", "changes without an answer", unanswered);
        column.failures.extend(delivery.failures());
        column.warnings.extend(delivery.warnings());
        for (what, reasons) in [("refused or left out", &notes.errors), ("connections ended", &notes.ends)] {
            if !reasons.is_empty() {
                column.failures.push(format!("{what}: {}", listed(reasons)));
            }
        }
        if unanswered > 0 {
            column.failures.push(format!("{} changes were never answered", thousands(unanswered)));
        }
        Ok(())
    }

    fn wait_for_all(&mut self, what: &str, ready: impl Fn(&Standing) -> u64) -> anyhow::Result<()> {
        let patience = Duration::from_secs_f64(self.stage.common.clients.connect_timeout);
        let since = Instant::now();
        loop {
            let standing = self.look()?;
            if ready(&standing) == standing.clients {
                return Ok(());
            }
            if standing.ended > 0 || standing.errors > 0 || since.elapsed() > patience {
                let notes = self.nomads.ask(|nomads| nomads.notes())?;
                bail!(
                    "only {} of {} clients are {what} after {} s. Connections ended: {}. Refused: {}",
                    thousands(ready(&standing)),
                    thousands(standing.clients),
                    since.elapsed().as_secs(),
                    listed(&notes.ends),
                    listed(&notes.errors)
                );
            }
        }
    }

    /// Waits a moment and shows where things stand, when it is time.
    fn look(&mut self) -> anyhow::Result<Standing> {
        std::thread::sleep(LOOK);
        let standing = self.standing()?;
        if self.meter.is_due() {
            self.meter.line(&format!(
                "connected {}  filled {}  changes {}  unanswered {}  errors {}  ended {}",
                thousands(standing.welcome),
                thousands(standing.filled),
                thousands(standing.changes),
                thousands(standing.unanswered),
                thousands(standing.errors),
                thousands(standing.ended),
            ));
        }
        Ok(standing)
    }

    fn standing(&mut self) -> anyhow::Result<Standing> {
        self.nomads.ask(|nomads| nomads.standing())
    }
}

fn tell_changes(column: &mut Column, busy: &Stretch, calm: &Stretch, notes: &Notes) {
    let changes = float(busy.changes);
    column.count("changes", "changes answered in the measured part", busy.changes);
    column.measure("changes_per_s", "changes/s", ratio(changes * 1e6, float(busy.effort.wall_us)));
    let (gross, net) = cost_us(busy, calm);
    column.measure("cpu_us_per_change", "node's CPU a change, µs", net);
    column.measure("cpu_us_per_change_gross", "  with the bystanders' events, µs", gross);
    let redis_us = ratio(float(busy.effort.redis_us), changes);
    column.measure("redis_cpu_us_per_change", "Redis CPU a change, events too, µs", redis_us);
    column.figure("redis_calls", busy.calls);
    let Calls { subscribe, unsubscribe, fcall, .. } = busy.calls;
    column.row("Redis: SUBSCRIBE / UNSUBSCRIBE / FCALL", format!("{subscribe} / {unsubscribe} / {fcall}"));
    let together = ratio(float(notes.subscribe.quantiles().count), float(subscribe));
    column.measure("topics_per_subscribe", "topics in a SUBSCRIBE", together);
}

fn tell_latency(column: &mut Column, notes: &Notes, bystanders_us: Quantiles, calm_us: Quantiles) {
    for (name, words, latency) in [
        ("subscribe_us", "subscribe to answer p50/p99/max, ms", notes.subscribe.quantiles()),
        ("unsubscribe_us", "unsubscribe to answer, the same", notes.unsubscribe.quantiles()),
        ("bystanders_us", "events to bystanders, the same", bystanders_us),
        ("calm_us", "events to bystanders without churn", calm_us),
    ] {
        column.figure(name, latency);
        column.row(words, spread(&latency));
    }
}

/// The node's CPU time for each change: all of it, and what is left without that of the bystanders' events.
fn cost_us(busy: &Stretch, calm: &Stretch) -> (Option<f64>, Option<f64>) {
    let changes = float(busy.changes);
    let Some(all_us) = busy.effort.server_us.map(float) else { return (None, None) };
    let calm_share = calm.effort.server_us.and_then(|us| ratio(float(us), float(calm.effort.wall_us)));
    let events_us = calm_share.map(|share| share * float(busy.effort.wall_us));
    (ratio(all_us, changes), events_us.and_then(|events_us| ratio(all_us - events_us, changes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(wall_us: u64, server_us: u64, changes: u64) -> Stretch {
        let effort = Effort { wall_us, server_us: Some(server_us), generator_us: 0, redis_us: 0, machine_us: 0 };
        Stretch { effort, calls: Calls::default(), changes }
    }

    #[test]
    fn what_the_events_cost_is_no_cost_of_a_change() {
        let (calm, busy) = (stretch(1_000_000, 50_000, 0), stretch(10_000_000, 1_000_000, 50_000));
        let (gross, net) = cost_us(&busy, &calm);
        assert_eq!((gross, net), (Some(20.0), Some(10.0)));
        assert_eq!(cost_us(&stretch(1, 1, 0), &calm), (None, None), "nothing is divided by zero");
    }

    #[test]
    fn a_node_is_set_up_for_its_clients_share() {
        let told = settings(Stock { held: 100, spare: 7 });
        assert!(told.contains(&("FANFARE_SUBSCRIPTIONS_PER_CONNECTION_MAX".to_owned(), "10000".to_owned())));
        let many = settings(Stock { held: 50_000, spare: 7 });
        assert!(many.contains(&("FANFARE_SUBSCRIPTIONS_PER_CONNECTION_MAX".to_owned(), "50002".to_owned())));
    }
}
