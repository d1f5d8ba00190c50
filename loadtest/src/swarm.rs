//! Thousands of clients on one thread: one epoll, one read buffer, no task and no timer for each. What the clients find
//! out goes into one [`Tally`].

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};

use crate::client::{Client, Stage};
use crate::clock::now_ns;
use crate::orders::{Progress, Published, SwarmPlan, SwarmReport};
use crate::sequence::Sequence;
use crate::tally::Tally;
use crate::token::Mint;

/// Holds the longest frame and what is read behind it.
const READ_BYTES: usize = 2 << 20;
/// Receive buffer of clients that stop reading: what it holds, the server has got rid of.
const STOPPED_RECEIVE_BYTES: usize = 4 << 10;

pub(crate) struct Swarm {
    plan: SwarmPlan,
    /// One for each tenant.
    mints: Vec<Mint>,
    epoll: OwnedFd,
    clients: Vec<Option<Client>>,
    /// What was received by clients that are gone: their losses count.
    gone: Vec<(u32, Sequence)>,
    tally: Tally,
    buffer: Vec<u8>,
    /// The next client to connect; all have been started when it reaches the end.
    next: usize,
    on_their_way: u32,
    deadline_ns: u64,
}

impl Swarm {
    /// Clients are registered in `epoll` by their index; nothing connects yet.
    pub(crate) fn new(plan: SwarmPlan, epoll: OwnedFd) -> Self {
        let clients = (0..plan.clients).map(|_| None).collect::<Vec<_>>();
        Self {
            mints: plan.mix.tenants.iter().map(|tenant| Mint::new(&plan.secret, tenant)).collect(),
            tally: Tally::new(plan.run),
            buffer: vec![0; READ_BYTES],
            gone: Vec::new(),
            next: clients.len(),
            on_their_way: 0,
            deadline_ns: u64::MAX,
            epoll,
            clients,
            plan,
        }
    }

    pub(crate) fn epoll(&self) -> &OwnedFd {
        &self.epoll
    }

    /// Starts to connect all clients.
    pub(crate) fn connect(&mut self) -> anyhow::Result<()> {
        self.tally.start_round();
        self.next = 0;
        self.on_their_way = 0;
        self.set_deadline();
        self.connect_more()
    }

    /// Subscribes all clients that are connected and wait for it.
    pub(crate) fn subscribe(&mut self) {
        self.set_deadline();
        for index in 0..self.clients.len() {
            let Some(client) = self.clients[index].as_mut().filter(|client| client.stage == Stage::Welcome) else {
                continue;
            };
            let topic = self.plan.topic(client.channel);
            if let Err(reason) = client.subscribe(&topic, now_ns(), &mut self.tally) {
                self.end(index, reason);
            }
        }
    }

    /// The warm-up is over.
    pub(crate) fn measure(&mut self) {
        self.tally.latency.clear();
    }

    /// Watches those again that had stopped reading.
    pub(crate) fn read_on(&mut self) -> anyhow::Result<()> {
        for (index, client) in self.clients.iter().enumerate() {
            if let Some(client) = client.as_ref().filter(|client| client.stage == Stage::Live) {
                let data = epoll::EventData::new_u64(index as u64);
                epoll::add(&self.epoll, &client.socket, data, epoll::EventFlags::IN)
                    .context("watching a client's socket again")?;
            }
        }
        Ok(())
    }

    /// Closes all connections; what they received is forgotten.
    pub(crate) fn disconnect(&mut self) {
        self.clients.iter_mut().for_each(|client| *client = None);
        self.gone.clear();
    }

    /// Something happened on the socket of the client with this index.
    pub(crate) fn ready(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(before) = self.clients[index].as_ref().map(|client| client.stage) else { return Ok(()) };
        let result = match before {
            Stage::Connecting => self.upgrade(index),
            _ => self.read(index),
        };
        let settled = self.settled_stage();
        match result {
            Err(reason) => self.end(index, reason),
            Ok(after) if before < settled && after >= settled => self.settle(index)?,
            Ok(_) => return Ok(()),
        }
        self.connect_more()
    }

    /// Gives up on what is not connected in time. Called now and then.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        if now_ns < self.deadline_ns {
            return;
        }
        self.deadline_ns = u64::MAX;
        for index in 0..self.clients.len() {
            let waits = |client: &Client| client.stage != Stage::Live && client.stage != Stage::Welcome;
            if let Some(client) = self.clients[index].as_ref().filter(|client| waits(client)) {
                let stage = client.stage;
                self.end(index, format!("timed out while {stage:?}"));
            }
        }
        for _ in self.next..self.clients.len() {
            self.tally.progress.refused += 1;
            self.tally.end("timed out before its turn".to_owned());
        }
        self.next = self.clients.len();
    }

    /// Where things stand; the greatest latency starts anew.
    pub(crate) fn progress(&mut self) -> Progress {
        let progress = self.tally.progress.clone();
        self.tally.progress.latency_us_max = 0;
        progress
    }

    /// Counts what is missing at each client that ever was subscribed.
    pub(crate) fn report(&self, published: &Published) -> SwarmReport {
        let mut report = self.tally.report();
        let open = self.clients.iter().flatten().filter(|client| client.stage == Stage::Live);
        let open = open.map(|client| (client.channel, &client.sequence));
        for (channel, sequence) in open.chain(self.gone.iter().map(|(channel, sequence)| (*channel, sequence))) {
            let missing = sequence.missing(published.on(channel), &published.unconfirmed_on(channel));
            report.counts.lost += missing.lost;
            report.counts.covered_by_gap += missing.covered;
            report.counts.unconfirmed += missing.unconfirmed;
        }
        report
    }

    /// The stage at which a connecting client makes room for the next.
    fn settled_stage(&self) -> Stage {
        if self.plan.subscribe_at_once { Stage::Live } else { Stage::Welcome }
    }

    fn set_deadline(&mut self) {
        self.deadline_ns = now_ns() + self.plan.connect_timeout_ms * 1_000_000;
    }

    fn connect_more(&mut self) -> anyhow::Result<()> {
        while self.on_their_way < self.plan.concurrency && self.next < self.clients.len() {
            let index = self.next;
            self.next += 1;
            self.start(index)?;
        }
        Ok(())
    }

    fn start(&mut self, index: usize) -> anyhow::Result<()> {
        let number = self.plan.first + u32::try_from(index)?;
        let started_ns = now_ns();
        let socket = open_socket(&self.plan, number).context("opening a client's socket")?;
        match socket.connect(&self.plan.url.address.into()) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => {
                self.tally.progress.refused += 1;
                self.tally.end(format!("connect: {error}"));
                return Ok(());
            }
            _ => {}
        }
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::OUT).context("watching a client's socket")?;
        let (dialect, channel) = (self.plan.mix.dialect_of(number), self.plan.channel_of(number));
        self.clients[index] = Some(Client::new(socket, dialect, channel, started_ns));
        self.on_their_way += 1;
        Ok(())
    }

    /// TCP is connected, or has failed.
    fn upgrade(&mut self, index: usize) -> Result<Stage, String> {
        let Some(client) = self.clients[index].as_mut() else { return Ok(Stage::Connecting) };
        if let Ok(Some(error)) = client.socket.take_error() {
            return Err(format!("connect: {error}"));
        }
        let number = self.plan.first + u32::try_from(index).unwrap_or_default();
        let mint = &self.mints[self.plan.mix.tenant_of(number)];
        let token = mint.token(&format!("user-{number}")).map_err(|error| format!("token: {error}"))?;
        client.send(&client.dialect.request(&self.plan.url, &self.plan.topic(client.channel), &token))?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::modify(&self.epoll, &client.socket, data, epoll::EventFlags::IN)
            .map_err(|error| format!("epoll: {error}"))?;
        client.stage = Stage::Upgrading;
        Ok(client.stage)
    }

    fn read(&mut self, index: usize) -> Result<Stage, String> {
        let Some(client) = self.clients[index].as_mut() else { return Ok(Stage::Connecting) };
        loop {
            let kept = client.carry.len();
            self.buffer[..kept].copy_from_slice(&client.carry);
            let room = self.buffer.len() - kept;
            let read = match recv(&client.socket, &mut self.buffer[kept..], RecvFlags::empty()) {
                Ok((0, _)) => return Err("closed without a close frame".to_owned()),
                Ok((read, _)) => read,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(client.stage),
                Err(error) => return Err(format!("read: {}", std::io::Error::from(error))),
            };
            let filled = kept + read;
            let used = client.consume(&self.buffer[..filled], now_ns(), &mut self.tally)?;
            client.carry.clear();
            client.carry.extend_from_slice(&self.buffer[used..filled]);
            if client.stage == Stage::Welcome && self.plan.subscribe_at_once {
                client.subscribe(&self.plan.topic(client.channel), now_ns(), &mut self.tally)?;
            }
            if read < room {
                return Ok(client.stage);
            }
        }
    }

    fn settle(&mut self, index: usize) -> anyhow::Result<()> {
        self.on_their_way -= 1;
        if let Some(client) = &self.clients[index] {
            self.tally.connect.record_ns(now_ns().saturating_sub(client.started_ns));
            if self.plan.stops_reading {
                epoll::delete(&self.epoll, &client.socket).context("leaving a client's socket alone")?;
            }
        }
        Ok(())
    }

    fn end(&mut self, index: usize, reason: String) {
        let Some(client) = self.clients[index].take() else { return };
        if client.stage < self.settled_stage() {
            self.on_their_way -= 1;
        }
        self.tally.end(reason);
        if client.stage == Stage::Live {
            self.tally.progress.dropped += 1;
            self.gone.push((client.channel, client.sequence));
        } else {
            self.tally.progress.refused += 1;
        }
    }
}

fn open_socket(plan: &SwarmPlan, number: u32) -> std::io::Result<Socket> {
    let domain = Domain::for_address(plan.url.address);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if plan.stops_reading {
        socket.set_recv_buffer_size(STOPPED_RECEIVE_BYTES)?;
    }
    if plan.source_addresses > 1 {
        let source = Ipv4Addr::from(first_source(plan.run) + number % plan.source_addresses);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    Ok(socket)
}

/// The first source address of a run: in another network of loopback than most other runs, since the kernel keeps the ports of
/// connections that have ended for a minute.
fn first_source(run: u32) -> u32 {
    let [network, ..] = run.to_be_bytes();
    u32::from(Ipv4Addr::new(127, 1 + network % 254, 0, 1))
}

/// What a client process watches besides its clients.
pub(crate) fn watch_input(epoll: &OwnedFd, input: impl AsFd, key: u64) -> rustix::io::Result<()> {
    epoll::add(epoll, input, epoll::EventData::new_u64(key), epoll::EventFlags::IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_loopback_and_runs_are_apart() {
        for run in [0, 1 << 24, 0xfdff_ffff, u32::MAX] {
            for number in [0, 59_999] {
                assert!(Ipv4Addr::from(first_source(run) + number).is_loopback(), "{run} {number}");
            }
            assert_ne!(first_source(run), u32::from(Ipv4Addr::LOCALHOST));
        }
        assert_ne!(first_source(0), first_source(1 << 24));
    }
}
