//! The floor servers: the least that a fan-out from Redis to WebSocket clients can cost on this machine, as the
//! yardstick for Fanfare. One thread, one epoll, `send(2)`. The plain one makes one send for each event and client; the
//! coalescing one makes one send for each client and all that has arrived.
//!
//! Not a gateway: no tokens, no limits, no heartbeats, one subscription for each connection.

mod connections;
mod topics;

use anyhow::{Context as _, bail};
use rustix::event::epoll;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::cli::{FaultArgs, FloorArgs};
use crate::process;
use crate::redis_link::RedisLink;
use crate::resp::{Push, Reply, push};

use self::connections::{Asked, Connections, Place};
use self::topics::{Topic, Topics};

/// Stands before the address on the first line of output.
pub(crate) const LISTENING: &str = "listening on ";

const LISTENER_KEY: u64 = u64::MAX;
const REDIS_KEY: u64 = u64::MAX - 1;
const BACKLOG: i32 = 4096;
const EVENTS_AT_ONCE: usize = 1024;
/// The coalescing floor stops taking in at this size and sends; what is left is there the next time.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Serves until it is killed or loses Redis.
pub(crate) fn serve(args: &FloorArgs) -> anyhow::Result<()> {
    process::raise_open_files();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let listener = listen(args).with_context(|| format!("listening on {}", args.listen.0))?;
    let link = RedisLink::connect(&args.redis)?;
    for (key, result) in [
        (LISTENER_KEY, epoll::add(&epoll, &listener, data(LISTENER_KEY), epoll::EventFlags::IN)),
        (REDIS_KEY, epoll::add(&epoll, &link.stream, data(REDIS_KEY), epoll::EventFlags::IN)),
    ] {
        result.with_context(|| format!("watching {key}"))?;
    }
    let address = listener.local_addr()?.as_socket().context("a listener without an address")?;
    println!("{LISTENING}{address}");
    let mut floor = Floor {
        connections: Connections::new(epoll),
        topics: Topics::new(&args.prefix, &args.tenant),
        link,
        coalesce: args.coalesce,
        faults: Faults { args: args.faults, deliveries: 0 },
        frame: Vec::new(),
    };
    floor.run(&listener)
}

struct Floor {
    connections: Connections,
    topics: Topics,
    link: RedisLink,
    coalesce: bool,
    faults: Faults,
    frame: Vec<u8>,
}

impl Floor {
    fn run(&mut self, listener: &Socket) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            events.clear();
            match epoll::wait(self.connections.epoll(), rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => bail!("epoll: {error}"),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER_KEY => self.connections.accept_all(listener)?,
                    REDIS_KEY => self.hear_redis().context("the floor server lost Redis")?,
                    key => self.hear_client(u32::try_from(key)?, event.flags),
                }
            }
            self.topics.subscribe_new(&mut self.link)?;
            self.bury();
        }
    }

    /// Removes connections that ended. Only here, when nobody walks over subscribers.
    fn bury(&mut self) {
        while let Some(connection) = self.connections.next_broken() {
            let Some(place) = self.connections.close(connection) else { continue };
            if let Some(moved) = self.topics.leave(place) {
                self.connections.place(moved, place);
            }
        }
    }

    fn hear_client(&mut self, connection: u32, flags: epoll::EventFlags) {
        if flags.contains(epoll::EventFlags::OUT) {
            self.connections.flush(connection);
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            for asked in self.connections.read(connection) {
                self.subscribe(connection, &asked);
            }
        }
    }

    fn subscribe(&mut self, connection: u32, asked: &Asked) {
        let topic = self.topics.want(asked);
        if !self.connections.want(connection, topic) {
            return;
        }
        let waiting = (connection, asked.id);
        if let Some((connection, id)) = self.topics.get_mut(topic).ready_or_wait(waiting) {
            join(&mut self.connections, self.topics.get_mut(topic), topic, connection, id);
        }
    }

    fn hear_redis(&mut self) -> anyhow::Result<()> {
        self.link.read(true)?;
        while self.coalesce && self.link.bytes().len() < BATCH_BYTES_MAX && self.link.read(false)? > 0 {}
        let mut used = 0;
        while let Some((push, bytes)) = push(&self.link.bytes()[used..]).map_err(anyhow::Error::msg)? {
            used += bytes;
            match push {
                Push::Message { channel, payload } => {
                    let Some(topic) = self.topics.find(channel) else { continue };
                    if self.coalesce {
                        self.topics.collect(topic, payload);
                    } else {
                        let topic = self.topics.get_mut(topic);
                        self.frame.clear();
                        topic.frame(&mut self.frame, payload);
                        fan_out(&mut self.connections, topic, &self.frame, &mut self.faults);
                    }
                }
                Push::Subscribed { channel } => {
                    let Some(index) = self.topics.find(channel) else { continue };
                    let topic = self.topics.get_mut(index);
                    for (connection, id) in topic.confirm() {
                        join(&mut self.connections, topic, index, connection, id);
                    }
                }
                Push::Other(Reply::Error(error)) => bail!("Redis refuses: {error}"),
                Push::Other(_) | Push::Unsubscribed => {}
            }
        }
        self.link.take(used);
        if self.coalesce {
            self.topics.drain(|topic, batch| {
                for connection in &topic.subscribers {
                    self.connections.send(*connection, batch);
                }
            });
        }
        Ok(())
    }
}

/// The plain floor's whole work: one send for each subscriber.
fn fan_out(connections: &mut Connections, topic: &Topic, frame: &[u8], faults: &mut Faults) {
    if !faults.wanted() {
        for connection in &topic.subscribers {
            connections.send(*connection, frame);
        }
        return;
    }
    for connection in &topic.subscribers {
        match faults.next() {
            Fault::None => connections.send(*connection, frame),
            Fault::Repeat => {
                connections.send(*connection, frame);
                connections.send(*connection, frame);
            }
            Fault::Drop { admit: false } => {}
            Fault::Drop { admit: true } => connections.send(*connection, &topic.gap()),
        }
    }
}

fn join(connections: &mut Connections, topic: &mut Topic, index: usize, connection: u32, id: i64) {
    if connections.wants(connection, index) {
        connections.place(connection, Place { topic: index, position: topic.subscribers.len() });
        topic.subscribers.push(connection);
        connections.send(connection, &topic.subscribed(id));
    }
}

fn listen(args: &FloorArgs) -> std::io::Result<Socket> {
    let address = args.listen.0;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn data(key: u64) -> epoll::EventData {
    epoll::EventData::new_u64(key)
}

/// Deliberate faults, counted over all deliveries.
struct Faults {
    args: FaultArgs,
    deliveries: u64,
}

enum Fault {
    None,
    Drop { admit: bool },
    Repeat,
}

impl Faults {
    fn wanted(&self) -> bool {
        self.args.drop_every > 0 || self.args.repeat_every > 0
    }

    fn next(&mut self) -> Fault {
        self.deliveries += 1;
        let due = |every: u64| every > 0 && self.deliveries.is_multiple_of(every);
        if due(self.args.drop_every) {
            Fault::Drop { admit: self.args.admit_drops }
        } else if due(self.args.repeat_every) {
            Fault::Repeat
        } else {
            Fault::None
        }
    }
}
