//! Clients that come back: each on several topics, with `since` after every reconnect, on another node when its own goes.
//! Each checks every event it gets ([`place`]); what all find out together is in [`notes`].
//!
//! One thread and one epoll. Not for throughput, since every frame is parsed: that is [`crate::swarm`].

pub(crate) mod balancer;
pub(crate) mod frame;
mod member;
pub(crate) mod notes;
mod place;

use std::time::Duration;

use anyhow::Context as _;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::time::Timespec;
use socket2::{Domain, Protocol, Socket, Type};

use self::balancer::Balancer;
use self::member::{Common, Link, Member, Stage};
use self::notes::Notes;
use crate::address::WebSocketUrl;
use crate::admin_port::Health;
use crate::client::send_whole;
use crate::clock::now_ns;
use crate::codec::Codec;
use crate::desk::Work;
use crate::feed::TopicIssued;
use crate::handshake;
use crate::mark::MarkFinder;
use crate::orders::Topics;
use crate::reasons::count;
use crate::sequence::Missing;
use crate::token::Mint;

const READ_BYTES: usize = 2 << 20;
const EVENTS_AT_ONCE: usize = 1024;
const WAIT: Duration = Duration::from_millis(2);
/// Clients are looked at one by one this often.
const TICK_NS: u64 = 5_000_000;
/// After a connection that ended unannounced: doubled with each attempt, at random up to the last.
const BACKOFF_MIN_MS: u64 = 20;
const BACKOFF_MAX_MS: u64 = 1_000;
/// A connection that is not established within this long is tried anew.
const CONNECT_MAX_NS: u64 = 10_000_000_000;
/// Until a client for whom no node was ready asks again.
const NO_NODE_NS: u64 = 100_000_000;
/// Room for two frames of subscriptions.
const SEND_BUFFER_BYTES: usize = 128 << 10;

pub(crate) struct HerdPlan {
    /// The nodes.
    pub(crate) urls: Vec<WebSocketUrl>,
    pub(crate) secret: String,
    pub(crate) tenant: String,
    pub(crate) clients: u32,
    pub(crate) topics: Topics,
    /// Topics of each client.
    pub(crate) topics_each: u32,
    /// All start on the first node, and not spread over all.
    pub(crate) is_on_first_node: bool,
    /// Who decides where a client goes; none: who loses a node goes to another one.
    pub(crate) balancer: Option<Balancer>,
    pub(crate) run: u32,
}

pub(crate) struct Herd {
    plan: HerdPlan,
    mint: Mint,
    epoll: OwnedFd,
    members: Vec<Member>,
    notes: Notes,
    finder: MarkFinder,
    buffer: Vec<u8>,
    watched_from_ns: Option<u64>,
    tick_at_ns: u64,
}

/// Where a herd stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) complete: u64,
    pub(crate) clients: u64,
    pub(crate) durable: u64,
    pub(crate) ephemeral: u64,
    pub(crate) recovered_events: u64,
    pub(crate) returns: u64,
    pub(crate) gaps: u64,
    pub(crate) not_recovered: u64,
    /// Clients' topics that have had no event since the moment that is watched.
    pub(crate) silent: u64,
}

impl Herd {
    /// Nobody connects yet.
    pub(crate) fn new(plan: HerdPlan) -> anyhow::Result<Herd> {
        let nodes = if plan.is_on_first_node { 1 } else { plan.urls.len() };
        let topics_each = usize::try_from(plan.topics_each)?;
        let member = |number: u32| {
            let first = u64::from(number) * u64::from(plan.topics_each) % u64::from(plan.topics.channels);
            Member::new(number as usize % nodes, u32::try_from(first).unwrap_or_default(), topics_each)
        };
        Ok(Herd {
            members: (0..plan.clients).map(member).collect(),
            mint: Mint::new(&plan.secret, &plan.tenant),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            notes: Notes::new(),
            finder: MarkFinder::new(),
            buffer: vec![0; READ_BYTES],
            watched_from_ns: None,
            tick_at_ns: 0,
            plan,
        })
    }

    /// All that are not connected connect now, to the node that many places after the one they were on.
    pub(crate) fn connect(&mut self, nodes_further: usize) {
        let now = now_ns();
        for member in self.members.iter_mut().filter(|member| member.link.is_none()) {
            member.node = (member.node + nodes_further) % self.plan.urls.len();
            member.connect_at_ns = Some(now);
        }
    }

    /// Cuts all connections off. Nobody comes back before [`Herd::connect`].
    pub(crate) fn cut(&mut self) {
        let now = now_ns();
        for index in 0..self.members.len() {
            self.lose(index, now);
            self.members[index].connect_at_ns = None;
            self.members[index].started_ns = None;
        }
    }

    /// One more node, to which the balancer may send clients.
    pub(crate) fn add_node(&mut self, url: WebSocketUrl, health: Health) {
        self.plan.urls.push(url);
        if let Some(balancer) = &mut self.plan.balancer {
            balancer.add(health);
        }
    }

    pub(crate) fn balancer(&mut self) -> Option<&mut Balancer> {
        self.plan.balancer.as_mut()
    }

    /// Watches from now on how long it takes until each topic of each client delivers what is published from now on.
    pub(crate) fn watch(&mut self) {
        self.watched_from_ns = Some(now_ns());
        self.notes.again.clear();
        self.members.iter_mut().flat_map(|member| &mut member.places).for_each(place::Place::watch);
    }

    pub(crate) fn notes(&self) -> Notes {
        self.notes.clone()
    }

    pub(crate) fn standing(&self) -> Standing {
        let places = self.members.iter().flat_map(|member| &member.places);
        Standing {
            complete: self.members.iter().filter(|member| member.is_complete).count() as u64,
            clients: self.members.len() as u64,
            durable: self.notes.durable.received,
            ephemeral: self.notes.ephemeral.received,
            recovered_events: self.notes.durable.recovered,
            returns: self.notes.returns,
            gaps: self.notes.gaps.values().sum(),
            not_recovered: self.notes.not_recovered.values().sum(),
            silent: match self.watched_from_ns {
                Some(_) => places.filter(|place| !place.has_come_again()).count() as u64,
                None => 0,
            },
        }
    }

    /// What is missing of durable and of ephemeral events, over all clients and topics.
    pub(crate) fn missing(&self, issued: &[TopicIssued]) -> (Missing, Missing) {
        let mut sum = (Missing::default(), Missing::default());
        for member in &self.members {
            for (index, place) in member.places.iter().enumerate() {
                let topic = member.topic(index, &self.plan.topics) as usize;
                let (durable, ephemeral) = issued.get(topic).map(|issued| place.missing(issued)).unwrap_or_default();
                sum = (sum.0 + durable, sum.1 + ephemeral);
            }
        }
        sum
    }

    fn start(&mut self, index: usize) -> anyhow::Result<()> {
        let now = now_ns();
        let member = &mut self.members[index];
        if let Some(balancer) = &mut self.plan.balancer {
            let Some(node) = balancer.choose() else {
                member.connect_at_ns = Some(now + NO_NODE_NS);
                return Ok(());
            };
            member.node = node;
            balancer.opened(node, now);
        }
        member.connect_at_ns = None;
        member.attempts += 1;
        member.started_ns = member.started_ns.or(Some(now));
        member.attempt_ns = now;
        let address = self.plan.urls[member.node].address;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))
            .context("opening a client's socket")?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        let result = socket.connect(&address.into());
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::OUT).context("watching a client's socket")?;
        member.link = Some(Link { socket, stage: Stage::Connecting, carry: Vec::new() });
        match result {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => {
                self.end(index, format!("connect: {error}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn ready(&mut self, index: usize) {
        let result = match self.members[index].link.as_ref().map(|link| link.stage) {
            None => return,
            Some(Stage::Connecting) => self.upgrade(index),
            Some(_) => self.read(index),
        };
        if let Err(reason) = result {
            self.end(index, reason);
        }
    }

    /// TCP is connected, or has failed.
    fn upgrade(&mut self, index: usize) -> Result<(), String> {
        let member = &mut self.members[index];
        let Some(link) = &mut member.link else { return Ok(()) };
        if let Ok(Some(error)) = link.socket.take_error() {
            return Err(format!("connect: {error}"));
        }
        let token = self.mint.token(&format!("user-{index}")).map_err(|error| format!("token: {error}"))?;
        send_whole(&link.socket, &handshake::request(&self.plan.urls[member.node], &token, Codec::Json))?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::modify(&self.epoll, &link.socket, data, epoll::EventFlags::IN)
            .map_err(|error| format!("epoll: {error}"))?;
        link.stage = Stage::Upgrading;
        Ok(())
    }

    fn read(&mut self, index: usize) -> Result<(), String> {
        let member = &mut self.members[index];
        loop {
            let Some(link) = &member.link else { return Ok(()) };
            let kept = link.carry.len();
            self.buffer[..kept].copy_from_slice(&link.carry);
            let room = self.buffer.len() - kept;
            let read = match recv(&link.socket, &mut self.buffer[kept..], RecvFlags::empty()) {
                Ok((0, _)) => return Err("closed without a close frame".to_owned()),
                Ok((read, _)) => read,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(error) => return Err(format!("read: {}", std::io::Error::from(error))),
            };
            let filled = kept + read;
            let mut common = Common {
                notes: &mut self.notes,
                finder: &mut self.finder,
                topics: &self.plan.topics,
                run: self.plan.run,
                now_ns: now_ns(),
                watched_from_ns: self.watched_from_ns,
            };
            let used = member.consume(&self.buffer[..filled], &mut common)?;
            let Some(link) = &mut member.link else { return Ok(()) };
            link.carry.clear();
            link.carry.extend_from_slice(&self.buffer[used..filled]);
            if read < room {
                return Ok(());
            }
        }
    }

    /// The connection has ended, or never came about: the client goes to another node.
    fn end(&mut self, index: usize, reason: String) {
        let now = now_ns();
        let nodes = self.plan.urls.len();
        self.lose(index, now);
        let member = &mut self.members[index];
        if reason.starts_with("protocol") {
            count(&mut self.notes.violations, reason.clone());
        }
        count(&mut self.notes.ends, reason);
        if nodes > 1 && self.plan.balancer.is_none() {
            // Whoever leaves a node goes to all others, not to the one beside it.
            member.node = (member.node + 1 + (index + member.attempts as usize) % (nodes - 1)) % nodes;
        }
        let backoff_ms = (BACKOFF_MIN_MS << member.attempts.min(6)).min(BACKOFF_MAX_MS);
        let after_ms = member.told_after_ms.take().unwrap_or_else(|| rand::random_range(0..=backoff_ms));
        member.connect_at_ns = Some(now + after_ms * 1_000_000);
    }

    fn lose(&mut self, index: usize, now_ns: u64) {
        let member = &mut self.members[index];
        if let Some(balancer) = self.plan.balancer.as_mut().filter(|_| member.link.is_some()) {
            balancer.closed(member.node);
        }
        member.lose(now_ns);
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        let now = now_ns();
        if now < self.tick_at_ns {
            return Ok(());
        }
        self.tick_at_ns = now + TICK_NS;
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            if member.connect_at_ns.is_some_and(|at_ns| at_ns <= now) {
                self.start(index)?;
                continue;
            }
            let is_greeted = member.link.as_ref().is_none_or(|link| link.stage == Stage::Welcome);
            if !is_greeted && member.attempt_ns + CONNECT_MAX_NS < now {
                self.end(index, "timed out while connecting".to_owned());
                continue;
            }
            let mut common = Common {
                notes: &mut self.notes,
                finder: &mut self.finder,
                topics: &self.plan.topics,
                run: self.plan.run,
                now_ns: now,
                watched_from_ns: self.watched_from_ns,
            };
            if let Err(reason) = member.tick(&mut common) {
                self.end(index, reason);
            }
        }
        Ok(())
    }
}

impl Work for Herd {
    fn step(&mut self) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        let wait = Timespec::try_from(WAIT)?;
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll"),
        }
        for event in &events {
            self.ready(usize::try_from(event.data.u64())?);
        }
        self.tick()
    }
}

impl std::ops::Add for Missing {
    type Output = Missing;

    fn add(self, other: Missing) -> Missing {
        Missing {
            lost: self.lost + other.lost,
            covered: self.covered + other.covered,
            away: self.away + other.away,
            unconfirmed: self.unconfirmed + other.unconfirmed,
        }
    }
}
