//! What the scenarios with durable events have under way: a herd of clients and a feed of events, watched from here. What became
//! of them is told in [`super::verdict`].

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::effort::Effort;
use super::meter::Meter;
use super::site::Venue;
use crate::admin_port::Health;
use crate::cli::{NodeArgs, TrafficArgs};
use crate::clock::now_ns;
use crate::desk::Desk;
use crate::feed::{Feed, FeedPlan};
use crate::figures::thousands;
use crate::herd::balancer::{Balance, Balancer};
use crate::herd::{Herd, HerdPlan, Standing};
use crate::orders::Topics;
use crate::process;
use crate::reasons::listed;
use crate::sequence::Missing;

const LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_millis(300);
const EVENT_BYTES: usize = 128;
/// Clients and their topics, all together.
const PLACES_MAX: u64 = 500_000;

/// Clients and events under way.
pub(crate) struct Trial {
    pub(crate) herd: Desk<Herd>,
    pub(crate) feed: Desk<Feed>,
    meter: Meter,
    crowd: Crowd,
    redis_pid: Option<u32>,
    node_pids: Vec<u32>,
    /// How many nodes there are.
    pub(crate) nodes: usize,
}

/// How many clients on how many topics, and what is published to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) clients: u32,
    pub(crate) topics: u32,
    pub(crate) topics_each: u32,
    /// Events per second over all topics.
    pub(crate) durable_per_s: f64,
    pub(crate) ephemeral_per_s: f64,
    /// All clients start on the first node, and not spread over all.
    pub(crate) is_on_first_node: bool,
    /// A deliberate loss, see [`FeedPlan`].
    pub(crate) withhold_every: u64,
}

impl Crowd {
    pub(crate) fn of(args: &TrafficArgs) -> anyhow::Result<Crowd> {
        ensure!(
            args.topics_each <= args.topics,
            "--topics-each {} is more than the {} topics there are: use --topics {} or more",
            args.topics_each,
            args.topics,
            args.topics_each
        );
        Crowd {
            clients: args.clients,
            topics: args.topics,
            topics_each: args.topics_each,
            durable_per_s: args.durable_rate,
            ephemeral_per_s: args.ephemeral_rate,
            is_on_first_node: false,
            withhold_every: 0,
        }
        .checked()
    }

    pub(crate) fn checked(self) -> anyhow::Result<Crowd> {
        let places = u64::from(self.clients) * u64::from(self.topics_each);
        ensure!(
            places <= PLACES_MAX,
            "{} clients on {} topics each are more than the {} subscriptions that are checked here one by one",
            thousands(self.clients.into()),
            thousands(self.topics_each.into()),
            thousands(PLACES_MAX)
        );
        Ok(self)
    }

    pub(crate) fn words(&self) -> String {
        let clients = match self.clients {
            1 => "one client".to_owned(),
            clients => format!("{} clients", thousands(clients.into())),
        };
        let (topics, each) = (thousands(self.topics.into()), thousands(self.topics_each.into()));
        match self.topics {
            1 => format!("{clients} on one topic"),
            _ if self.topics == self.topics_each => format!("{clients} on {topics} topics"),
            _ => format!("{clients} on {each} of {topics} topics each"),
        }
    }
}

impl Trial {
    /// Connects and subscribes all clients, by a balancer or to their nodes. Nothing is published yet.
    pub(crate) fn start(
        args: &NodeArgs,
        venue: Venue,
        crowd: Crowd,
        balance: Option<Balance>,
        meter: Meter,
    ) -> anyhow::Result<Trial> {
        let needed = u64::from(crowd.clients) + 100;
        let open_files = process::raise_open_files();
        ensure!(open_files >= needed, "{needed} open files are needed, and {open_files} are allowed: see ulimit -n");
        let (run, topics) = (rand::random(), Topics { name: "load".to_owned(), channels: crowd.topics });
        let channel = |topic: u32| format!("{}:{}:{}", args.prefix, args.tenant, topics.topic(topic));
        let feed = Feed::connect(FeedPlan {
            redis: venue.redis.clone(),
            channels: (0..crowd.topics).map(channel).collect(),
            run,
            envelope_bytes: EVENT_BYTES,
            durable_per_s: crowd.durable_per_s,
            ephemeral_per_s: crowd.ephemeral_per_s,
            withhold_every: crowd.withhold_every,
        })?;
        let nodes = venue.urls.len();
        let herd = Herd::new(HerdPlan {
            urls: venue.urls,
            secret: venue.secret,
            tenant: args.tenant.clone(),
            clients: crowd.clients,
            topics,
            topics_each: crowd.topics_each,
            is_on_first_node: crowd.is_on_first_node,
            balancer: balance.map(|balance| Balancer::new(balance, venue.admins.iter().copied().map(Health::watch))),
            run,
        })?;
        let redis_pid = process::listener_on(venue.redis.address);
        let (herd, feed) = (Desk::start(herd), Desk::start(feed));
        let mut trial = Trial { herd, feed, meter, crowd, redis_pid, node_pids: venue.node_pids, nodes };
        trial.say(&format!("connecting {}", crowd.words()));
        trial.herd.ask(|herd| herd.connect(0))?;
        trial
            .all_complete(Duration::from_mins(2))
            .context("all clients have to be subscribed before anything fails")?;
        Ok(trial)
    }

    /// From now on connects count.
    pub(crate) fn watch_connects(&mut self) -> anyhow::Result<()> {
        self.herd.ask(|herd| herd.balancer().map(Balancer::forget_connects))?;
        Ok(())
    }

    /// Connections of each node, as the balancer knows them.
    pub(crate) fn connections(&mut self) -> anyhow::Result<Vec<u64>> {
        self.herd.ask(|herd| herd.balancer().map(|balancer| balancer.connections()).unwrap_or_default())
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.meter.line(text);
    }

    /// Watches for so long.
    pub(crate) fn rest(&mut self, pause: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.look()?;
        }
        Ok(())
    }

    /// Waits for a condition, at most so long. False when it has not come true.
    pub(crate) fn wait(
        &mut self,
        patience: Duration,
        mut done: impl FnMut(&mut Trial, &Standing) -> anyhow::Result<bool>,
    ) -> anyhow::Result<bool> {
        let since = Instant::now();
        loop {
            let standing = self.look()?;
            if done(self, &standing)? {
                return Ok(true);
            }
            if since.elapsed() > patience {
                return Ok(false);
            }
        }
    }

    /// Waits until every client has an answer for every topic.
    pub(crate) fn all_complete(&mut self, patience: Duration) -> anyhow::Result<()> {
        let are_all = self.wait(patience, |_, standing| Ok(standing.complete == standing.clients))?;
        if are_all {
            return Ok(());
        }
        let (standing, notes) = (self.look()?, self.herd.ask(|herd| herd.notes())?);
        bail!(
            "only {} of {} clients are subscribed after {} s. Connections ended: {}. Refused: {}",
            thousands(standing.complete),
            thousands(standing.clients),
            patience.as_secs(),
            listed(&notes.ends),
            listed(&notes.errors)
        );
    }

    /// Publishes durable events to each topic and waits until Redis has taken them.
    pub(crate) fn publish_to_each(&mut self, events: u64) -> anyhow::Result<()> {
        self.feed.ask(move |feed| feed.add_to_each(events))?;
        let all = self.wait(Duration::from_mins(5), |trial, _| trial.feed.ask(|feed| feed.is_idle()))?;
        ensure!(all, "Redis does not take events");
        let refusals = self.feed.ask(|feed| feed.refusals())?;
        ensure!(refusals.is_empty(), "Redis refuses durable events: {}", listed(&refusals));
        Ok(())
    }

    /// Stops publishing, and waits until nothing is missing that should be there, at most `settle`.
    pub(crate) fn settle(&mut self, settle: Duration) -> anyhow::Result<()> {
        self.feed.ask(Feed::stop)?;
        let is_answered = self.wait(Duration::from_secs(30), |trial, _| trial.feed.ask(|feed| feed.is_idle()))?;
        ensure!(is_answered, "Redis has not answered what was published for 30 s");
        self.wait(settle, |trial, standing| {
            let (durable, ephemeral) = trial.missing()?;
            Ok(durable.lost + ephemeral.lost == 0 && standing.complete == standing.clients)
        })?;
        // What comes twice comes after what came once.
        self.rest(LAST_LOOK)
    }

    pub(crate) fn missing(&mut self) -> anyhow::Result<(Missing, Missing)> {
        let issued = self.feed.ask(|feed| feed.issued())?;
        self.herd.ask(move |herd| herd.missing(&issued))
    }

    /// The CPU time that everybody has used so far.
    pub(crate) fn effort(&self) -> anyhow::Result<Effort> {
        let of = |pid: &u32| process::cpu_us(*pid).unwrap_or_default();
        Ok(Effort {
            wall_us: now_ns() / 1_000,
            server_us: Some(self.node_pids.iter().map(of).sum()),
            generator_us: process::cpu_us(std::process::id())?,
            redis_us: self.redis_pid.as_ref().map(of).unwrap_or_default(),
            machine_us: process::machine_cpu_us()?,
        })
    }

    /// Waits a moment and shows where things stand, when it is time.
    pub(crate) fn look(&mut self) -> anyhow::Result<Standing> {
        std::thread::sleep(LOOK);
        let standing = self.herd.ask(|herd| herd.standing())?;
        if self.meter.is_due() {
            let (durable, ephemeral) = self.feed.ask(|feed| feed.count())?;
            self.meter.line(&format!(
                "clients {}/{}  published {} durable, {} ephemeral  delivered {}, {}  recovered {}  returns {}  gaps {}  \
                 recovered:false {}",
                thousands(standing.complete),
                thousands(self.crowd.clients.into()),
                thousands(durable),
                thousands(ephemeral),
                thousands(standing.durable),
                thousands(standing.ephemeral),
                thousands(standing.recovered_events),
                thousands(standing.returns),
                thousands(standing.gaps),
                thousands(standing.not_recovered),
            ));
        }
        Ok(standing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_says_what_it_is() {
        let crowd = |clients, topics, topics_each| Crowd {
            clients,
            topics,
            topics_each,
            durable_per_s: 0.0,
            ephemeral_per_s: 0.0,
            is_on_first_node: false,
            withhold_every: 0,
        };
        assert_eq!(crowd(1_000, 1, 1).words(), "1,000 clients on one topic");
        assert_eq!(crowd(1, 10_000, 10_000).words(), "one client on 10,000 topics");
        assert_eq!(crowd(50, 1_000, 20).words(), "50 clients on 20 of 1,000 topics each");
        assert!(crowd(100_000, 100, 100).checked().is_err());
    }
}
