//! Publishes durable and ephemeral events to many topics at a steady rate, whatever happens to Redis, and knows afterwards
//! which of them Redis has confirmed. Not for throughput: that is [`crate::publisher`].
//!
//! Durable and ephemeral events of a topic are numbered apart, since only the former are promised to who was away.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context as _;

use crate::address::RedisUrl;
use crate::clock::now_ns;
use crate::desk::Work;
use crate::figures::whole;
use crate::mark::{Envelope, Mark};
use crate::reasons::{Reasons, count};
use crate::redis_link::RedisLink;
use crate::resp::{Reply, put_command, reply};

/// Answers that may be outstanding. What is due meanwhile is left out.
const UNANSWERED_MAX: usize = 10_000;
/// The same for events that are published as fast as Redis takes them.
const BACKLOG_AT_ONCE: usize = 500;
const PAUSE: Duration = Duration::from_millis(2);
const RECONNECT_AFTER: Duration = Duration::from_millis(20);

/// What kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Durable,
    Ephemeral,
}

/// What was published of one kind to one topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Issued {
    /// Numbers 0 to this were given out.
    pub(crate) events: u64,
    /// Those among them that Redis did not confirm, in rising order.
    pub(crate) unconfirmed: Vec<u64>,
}

/// What was published to one topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopicIssued {
    pub(crate) durable: Issued,
    pub(crate) ephemeral: Issued,
}

/// What to publish.
pub(crate) struct FeedPlan {
    pub(crate) redis: RedisUrl,
    /// Redis channels, one for each topic.
    pub(crate) channels: Vec<String>,
    pub(crate) run: u32,
    pub(crate) envelope_bytes: usize,
    /// Events per second over all topics.
    pub(crate) durable_per_s: f64,
    pub(crate) ephemeral_per_s: f64,
    /// Every so many durable events one counts as published and is not: a deliberate loss. 0: none.
    pub(crate) withhold_every: u64,
}

pub(crate) struct Feed {
    plan: FeedPlan,
    envelope: Envelope,
    link: Option<RedisLink>,
    durable: Pace,
    ephemeral: Pace,
    /// Durable events to be published as soon as possible, round the topics.
    backlog: u64,
    backlog_topic: usize,
    issued: Vec<TopicIssued>,
    unanswered: VecDeque<(usize, Kind, u64)>,
    out: Vec<u8>,
    /// What Redis answered instead of a confirmation, and how often.
    refusals: Reasons,
}

/// A steady rate that can be switched on and off.
struct Pace {
    every_ns: Option<u64>,
    due_ns: Option<u64>,
    next_topic: usize,
}

impl Kind {
    /// The number that marks carry instead of the topic's: the kinds are told apart by it.
    pub(crate) fn channel(self, topic: u32) -> u32 {
        2 * topic + u32::from(self == Kind::Ephemeral)
    }

    /// The kind and the topic of a mark's channel.
    pub(crate) fn of_channel(channel: u32) -> (Kind, u32) {
        (if channel.is_multiple_of(2) { Kind::Durable } else { Kind::Ephemeral }, channel / 2)
    }
}

impl TopicIssued {
    fn of(&mut self, kind: Kind) -> &mut Issued {
        match kind {
            Kind::Durable => &mut self.durable,
            Kind::Ephemeral => &mut self.ephemeral,
        }
    }
}

impl Feed {
    /// Connects. Nothing is published until it is asked for.
    pub(crate) fn connect(plan: FeedPlan) -> anyhow::Result<Feed> {
        Ok(Feed {
            link: Some(RedisLink::connect(&plan.redis)?),
            envelope: Envelope::new(plan.envelope_bytes)?,
            durable: Pace::new(plan.durable_per_s),
            ephemeral: Pace::new(plan.ephemeral_per_s),
            backlog: 0,
            backlog_topic: 0,
            issued: vec![TopicIssued::default(); plan.channels.len()],
            unanswered: VecDeque::new(),
            out: Vec::new(),
            refusals: Reasons::new(),
            plan,
        })
    }

    /// Publishes at its rates from now on.
    pub(crate) fn go(&mut self) {
        self.durable.due_ns = Some(now_ns());
        self.ephemeral.due_ns = Some(now_ns());
    }

    /// Stops. What is on its way is still to be answered.
    pub(crate) fn stop(&mut self) {
        self.durable.due_ns = None;
        self.ephemeral.due_ns = None;
    }

    /// Publishes this many durable events to each topic, beside its rates, as fast as Redis takes them.
    pub(crate) fn add_to_each(&mut self, events: u64) {
        self.backlog += events * self.plan.channels.len() as u64;
    }

    /// Whether all that was asked for is published and answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.backlog == 0 && self.unanswered.is_empty() && self.durable.due_ns.is_none()
    }

    /// Whether all of [`Feed::add_to_each`] is published, whatever became of it.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.backlog == 0
    }

    /// What was published so far, by topic.
    pub(crate) fn issued(&self) -> Vec<TopicIssued> {
        self.issued.clone()
    }

    /// Events of both kinds so far.
    pub(crate) fn count(&self) -> (u64, u64) {
        self.issued.iter().fold((0, 0), |(durable, ephemeral), topic| {
            (durable + topic.durable.events, ephemeral + topic.ephemeral.events)
        })
    }

    /// What Redis answered instead of a confirmation, and how often.
    pub(crate) fn refusals(&self) -> Reasons {
        self.refusals.clone()
    }

    fn put_due(&mut self) {
        let now = now_ns();
        while self.unanswered.len() < UNANSWERED_MAX {
            let Some((topic, due_ns)) = self.durable.next_due(now, self.plan.channels.len()) else { break };
            self.put(topic, Kind::Durable, due_ns);
        }
        while self.unanswered.len() < UNANSWERED_MAX {
            let Some((topic, due_ns)) = self.ephemeral.next_due(now, self.plan.channels.len()) else { break };
            self.put(topic, Kind::Ephemeral, due_ns);
        }
        while self.backlog > 0 && self.unanswered.len() < BACKLOG_AT_ONCE {
            self.backlog -= 1;
            self.put(self.backlog_topic, Kind::Durable, now);
            self.backlog_topic = (self.backlog_topic + 1) % self.plan.channels.len();
        }
    }

    fn put(&mut self, topic: usize, kind: Kind, intended_ns: u64) {
        let issued = self.issued[topic].of(kind);
        let seq = issued.events;
        issued.events += 1;
        if kind == Kind::Durable && (seq + 1).checked_rem(self.plan.withhold_every) == Some(0) {
            return;
        }
        let number = u32::try_from(topic).unwrap_or(u32::MAX);
        let mark = Mark { run: self.plan.run, channel: kind.channel(number), seq, intended_ns };
        let (channel, envelope) = (self.plan.channels[topic].as_bytes(), self.envelope.stamped(mark));
        match kind {
            Kind::Durable => put_command(&mut self.out, &[b"FCALL", b"fanfare_publish", b"1", channel, envelope]),
            Kind::Ephemeral => put_command(&mut self.out, &[b"PUBLISH", channel, envelope]),
        }
        self.unanswered.push_back((topic, kind, seq));
    }

    fn collect(&mut self, wait: bool) -> anyhow::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if let Err(error) = link.read(wait) {
            // A Redis that is frozen answers later, and in order, what it was sent.
            if error.kind() != std::io::ErrorKind::TimedOut {
                self.lose_link();
            }
            return Ok(());
        }
        let mut used = 0;
        while let Some((reply, bytes)) = reply(&link.bytes()[used..]).map_err(anyhow::Error::msg)? {
            used += bytes;
            let (topic, kind, seq) = self.unanswered.pop_front().context("Redis answers what nobody asked")?;
            if let Reply::Error(error) = reply {
                self.issued[topic].of(kind).unconfirmed.push(seq);
                count(&mut self.refusals, error.to_owned());
            }
        }
        link.take(used);
        Ok(())
    }

    /// What was not answered may or may not have been published.
    fn lose_link(&mut self) {
        self.link = None;
        self.out.clear();
        for (topic, kind, seq) in self.unanswered.drain(..) {
            self.issued[topic].of(kind).unconfirmed.push(seq);
        }
    }
}

impl Work for Feed {
    fn step(&mut self) -> anyhow::Result<()> {
        let Some(link) = &mut self.link else {
            self.link = RedisLink::connect(&self.plan.redis).ok();
            // A publisher that can't publish publishes nothing: what was due is left out.
            self.durable.skip_to(now_ns());
            self.ephemeral.skip_to(now_ns());
            if self.link.is_none() {
                std::thread::sleep(RECONNECT_AFTER);
            }
            return Ok(());
        };
        if !self.out.is_empty() && link.write(&self.out).is_err() {
            self.lose_link();
            return Ok(());
        }
        self.out.clear();
        self.collect(false)?;
        self.put_due();
        if self.out.is_empty() {
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Pace {
    fn new(per_s: f64) -> Pace {
        Pace { every_ns: (per_s > 0.0).then(|| whole(1e9 / per_s).max(1)), due_ns: None, next_topic: 0 }
    }

    /// The topic of the next event that is due, and when it was.
    fn next_due(&mut self, now_ns: u64, topics: usize) -> Option<(usize, u64)> {
        let due_ns = self.due_ns.filter(|due_ns| *due_ns <= now_ns)?;
        self.due_ns = Some(due_ns + self.every_ns?);
        let topic = self.next_topic;
        self.next_topic = (topic + 1) % topics;
        Some((topic, due_ns))
    }

    fn skip_to(&mut self, now_ns: u64) {
        self.due_ns = self.due_ns.map(|due_ns| due_ns.max(now_ns));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn kinds_are_told_apart_by_the_channel_of_the_mark() {
        for topic in [0, 1, 77] {
            for kind in [Kind::Durable, Kind::Ephemeral] {
                assert_eq!(Kind::of_channel(kind.channel(topic)), (kind, topic));
            }
        }
    }

    #[test]
    fn what_is_due_goes_round_the_topics_and_what_was_due_in_an_outage_is_left_out() {
        let mut pace = Pace::new(1_000.0);
        assert_eq!(pace.next_due(u64::MAX, 3), None, "not switched on");
        pace.due_ns = Some(5_000_000);
        let due: Vec<_> = std::iter::from_fn(|| pace.next_due(8_500_000, 3)).collect();
        assert_eq!(due, [(0, 5_000_000), (1, 6_000_000), (2, 7_000_000), (0, 8_000_000)]);
        pace.skip_to(100_000_000);
        assert_eq!(pace.next_due(99_000_000, 3), None);
        assert_eq!(pace.next_due(100_000_000, 3), Some((1, 100_000_000)));
        assert_eq!(Pace::new(0.0).every_ns, None);
    }
}
