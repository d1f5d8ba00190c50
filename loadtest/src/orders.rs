//! What the coordinator and its client processes tell each other: one JSON object a line, over the pipes of standard
//! input and output. Orders go down, progress and one report come up.

use serde::{Deserialize, Serialize};

use crate::address::WebSocketUrl;
use crate::dialect;
use crate::mix::Mix;
use crate::reasons::Reasons;

/// The first line a client process reads. It carries the secret, which therefore never stands on a command line.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SwarmPlan {
    pub(crate) url: WebSocketUrl,
    pub(crate) secret: String,
    pub(crate) mix: Mix,
    /// The first client's number; users and channels are named by it.
    pub(crate) first: u32,
    pub(crate) clients: u32,
    /// In each tenant.
    pub(crate) topics: Topics,
    /// Subscribe right after `welcome`, or wait for [`Order::Subscribe`].
    pub(crate) subscribe_at_once: bool,
    /// 1 leaves the choice to the system; more are addresses of loopback one after the other.
    pub(crate) source_addresses: u32,
    /// Once subscribed, they read nothing more until [`Order::ReadOn`].
    pub(crate) stops_reading: bool,
    /// Connections on their way at the same time.
    pub(crate) concurrency: u32,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) run: u32,
}

impl SwarmPlan {
    /// Channels of all tenants together. Number `c` is the one of tenant `c % tenants` with the name `c / tenants`.
    pub(crate) fn channels(&self) -> u32 {
        self.topics.channels * self.mix.tenants()
    }

    /// The channel of the client with this number.
    pub(crate) fn channel_of(&self, client: u32) -> u32 {
        client % self.channels()
    }

    /// The topic of a channel as its clients write it.
    pub(crate) fn topic(&self, channel: u32) -> String {
        self.topics.topic(channel / self.mix.tenants())
    }

    /// The Redis channel of each channel of a Fanfare node.
    pub(crate) fn redis_channels(&self, prefix: &str) -> Vec<String> {
        let name =
            |channel| format!("{prefix}:{}:{}", self.mix.tenants[self.mix.tenant_of(channel)], self.topic(channel));
        (0..self.channels()).map(name).collect()
    }

    /// The same of a server that has no tenants.
    pub(crate) fn plain_channels(&self) -> Vec<String> {
        (0..self.channels()).map(|channel| dialect::name(&self.topic(channel)).to_owned()).collect()
    }
}

/// Which topic a client subscribes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Topics {
    pub(crate) name: String,
    /// 1: all on the same. More: each client has its own.
    pub(crate) channels: u32,
}

impl Topics {
    /// The topic of a channel as clients write it.
    pub(crate) fn topic(&self, channel: u32) -> String {
        match self.channels {
            1 => format!("channel:{}", self.name),
            _ => format!("channel:{}-{channel}", self.name),
        }
    }

    /// The channel of a topic, if it is one of these.
    pub(crate) fn channel_named(&self, topic: &str) -> Option<u32> {
        let rest = topic.strip_prefix("channel:")?.strip_prefix(self.name.as_str())?;
        let channel = if self.channels == 1 && rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse().ok()? };
        (channel < self.channels).then_some(channel)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Connect all clients; starts the counts of connecting anew.
    Connect,
    /// Subscribe all that wait for it.
    Subscribe,
    /// What was measured so far was the warm-up: latencies start anew.
    Measure,
    /// Read again, after all that were subscribed had stopped.
    ReadOn,
    /// Close all connections at once.
    Disconnect,
    /// Everything was published: count what is missing and report.
    Report(Published),
}

/// What the publisher vouches for: `events` in all, number `k` on channel `k % channels` as its `k / channels`-th.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) events: u64,
    pub(crate) channels: u32,
    /// Event numbers that were written and never answered.
    pub(crate) unconfirmed: Vec<u64>,
}

impl Published {
    /// Events of one channel.
    pub(crate) fn on(&self, channel: u32) -> u64 {
        let channels = u64::from(self.channels.max(1));
        self.events / channels + u64::from(self.events % channels > u64::from(channel))
    }

    /// Deliveries of these events to so many clients, which have the channels in turn.
    pub(crate) fn deliveries(&self, clients: u32) -> u64 {
        let (channels, clients) = (u64::from(self.channels.max(1)), u64::from(clients));
        let (rounds, rest) = (self.events / channels, self.events % channels);
        rounds * clients + rest * (clients / channels) + rest.min(clients % channels)
    }

    /// Sequence numbers of one channel that are unconfirmed, in rising order.
    pub(crate) fn unconfirmed_on(&self, channel: u32) -> Vec<u64> {
        let channels = u64::from(self.channels.max(1));
        let here = self.unconfirmed.iter().filter(|event| *event % channels == u64::from(channel));
        let mut seqs: Vec<u64> = here.map(|event| event / channels).collect();
        seqs.sort_unstable();
        seqs
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Notice {
    Progress(Progress),
    Report(Box<SwarmReport>),
    /// The client process can't go on.
    Failed(String),
}

/// Where a client process stands; sent 20 times a second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Orders carried out: a figure is only believed when the order it depends on is among them.
    pub(crate) orders: u64,
    pub(crate) welcomed: u64,
    pub(crate) subscribed: u64,
    /// Failed before they were subscribed.
    pub(crate) refused: u64,
    /// Lost after they were subscribed.
    pub(crate) dropped: u64,
    /// Events received for the first time.
    pub(crate) received: u64,
    pub(crate) gaps: u64,
    pub(crate) last_delivery_ns: u64,
    /// When the last client became welcome or subscribed.
    pub(crate) last_ready_ns: u64,
    /// The greatest latency since the last progress.
    pub(crate) latency_us_max: u64,
}

impl Progress {
    /// Sums what several processes said.
    pub(crate) fn merged<'a>(all: impl Iterator<Item = &'a Progress>) -> Progress {
        all.fold(Progress { orders: u64::MAX, ..Progress::default() }, |sum, one| Progress {
            orders: sum.orders.min(one.orders),
            welcomed: sum.welcomed + one.welcomed,
            subscribed: sum.subscribed + one.subscribed,
            refused: sum.refused + one.refused,
            dropped: sum.dropped + one.dropped,
            received: sum.received + one.received,
            gaps: sum.gaps + one.gaps,
            last_delivery_ns: sum.last_delivery_ns.max(one.last_delivery_ns),
            last_ready_ns: sum.last_ready_ns.max(one.last_ready_ns),
            latency_us_max: sum.latency_us_max.max(one.latency_us_max),
        })
    }
}

/// What became of events, counted once per client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) lost: u64,
    pub(crate) covered_by_gap: u64,
    pub(crate) unconfirmed: u64,
    pub(crate) duplicated: u64,
    pub(crate) disordered: u64,
    /// Events of a channel the client never subscribed to.
    pub(crate) misrouted: u64,
    /// Events without a mark of this run.
    pub(crate) foreign: u64,
    pub(crate) gap_frames: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.lost += other.lost;
        self.covered_by_gap += other.covered_by_gap;
        self.unconfirmed += other.unconfirmed;
        self.duplicated += other.duplicated;
        self.disordered += other.disordered;
        self.misrouted += other.misrouted;
        self.foreign += other.foreign;
        self.gap_frames += other.gap_frames;
    }
}

/// All a client process found out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SwarmReport {
    pub(crate) received: u64,
    pub(crate) counts: Counts,
    pub(crate) dropped: u64,
    /// Counts of microseconds, see [`crate::histogram`].
    pub(crate) latency: Vec<(u64, u64)>,
    pub(crate) connect: Vec<(u64, u64)>,
    /// Why connections failed or ended, and how many.
    pub(crate) ends: Reasons,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;

    #[test]
    fn a_channel_is_known_by_its_topic() {
        for channels in [1, 12] {
            let topics = Topics { name: "load".to_owned(), channels };
            assert!((0..channels).all(|channel| topics.channel_named(&topics.topic(channel)) == Some(channel)));
            for other in ["tenant", "user:load", "channel:load-12", "channel:other", "channel:load-x"] {
                assert_eq!(topics.channel_named(other), None, "{other}");
            }
        }
    }

    #[test]
    fn events_are_dealt_round_to_the_channels() {
        let published = Published { events: 11, channels: 4, unconfirmed: vec![9, 1, 5, 2] };
        let counts: Vec<u64> = (0..4).map(|channel| published.on(channel)).collect();
        assert_eq!(counts, [3, 3, 3, 2]);
        assert_eq!(published.unconfirmed_on(1), [0, 1, 2]);
        assert_eq!(published.unconfirmed_on(2), [0]);
        assert!(published.unconfirmed_on(3).is_empty());
    }

    #[test]
    fn each_event_is_delivered_to_each_client_of_its_channel() {
        for (channels, clients) in [(1, 5), (4, 4), (4, 10), (3, 1)] {
            for events in 0..20 {
                let published = Published { events, channels, unconfirmed: Vec::new() };
                let deliveries: u64 = (0..clients).map(|client| published.on(client % channels)).sum();
                assert_eq!(published.deliveries(clients), deliveries, "{events} on {channels} to {clients}");
            }
        }
    }

    #[test]
    fn tenants_have_channels_of_the_same_names() {
        let plan = SwarmPlan {
            url: WebSocketUrl { address: ([127, 0, 0, 1], 1).into(), path: "/".to_owned() },
            secret: String::new(),
            mix: Mix { dialects: vec![Dialect::Nats], tenants: vec!["a".to_owned(), "b".to_owned()] },
            first: 0,
            clients: 8,
            topics: Topics { name: "load".to_owned(), channels: 2 },
            subscribe_at_once: true,
            source_addresses: 1,
            stops_reading: false,
            concurrency: 1,
            connect_timeout_ms: 1,
            run: 0,
        };
        let names = ["f:a:channel:load-0", "f:b:channel:load-0", "f:a:channel:load-1", "f:b:channel:load-1"];
        assert_eq!(plan.redis_channels("f"), names);
        for client in 0..8 {
            let (tenant, topic) = (&plan.mix.tenants[plan.mix.tenant_of(client)], plan.topic(plan.channel_of(client)));
            assert_eq!(format!("f:{tenant}:{topic}"), names[plan.channel_of(client) as usize]);
        }
    }

    #[test]
    fn an_order_counts_as_done_when_all_have_done_it() {
        let slow = Progress { orders: 1, received: 5, ..Progress::default() };
        let fast = Progress { orders: 2, received: 7, ..Progress::default() };
        let merged = Progress::merged([slow, fast].iter());
        assert_eq!((merged.orders, merged.received), (1, 12));
    }
}
