//! Clients that wander from topic to topic at a steady rate, each change due at a moment fixed before: a server that falls
//! behind shows as latency. Nothing is published to their topics; who looks at events is [`crate::swarm`].
//!
//! One thread and one epoll.

mod nomad;
pub(crate) mod notes;

use anyhow::Context as _;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::Timespec;

use self::nomad::{Nomad, Ways};
use self::notes::Notes;
use crate::address::WebSocketUrl;
use crate::clock::now_ns;
use crate::connection::Connection;
use crate::desk::Work;
use crate::figures::{float, whole};
use crate::token::Mint;

const READ_BYTES: usize = 2 << 20;
const EVENTS_AT_ONCE: usize = 1024;
const WAIT_NS: u64 = 2_000_000;
/// Changes made in one step; what else is due comes in the next.
const CHANGES_AT_ONCE: u64 = 200;

pub(crate) struct NomadsPlan {
    pub(crate) url: WebSocketUrl,
    pub(crate) secret: String,
    pub(crate) tenant: String,
    /// Topics are named by it, the client and a number.
    pub(crate) name: String,
    pub(crate) clients: u32,
    /// Topics that each client holds.
    pub(crate) held: u32,
    /// Topics that each client has dropped and will come back to.
    pub(crate) spare: u32,
    /// Connections on their way at the same time.
    pub(crate) concurrency: u32,
}

pub(crate) struct Nomads {
    plan: NomadsPlan,
    mint: Mint,
    epoll: OwnedFd,
    clients: Vec<Nomad>,
    notes: Notes,
    buffer: Vec<u8>,
    /// The next one to connect.
    next: usize,
    pace: Option<Pace>,
}

/// Changes round the clients.
struct Pace {
    from_ns: u64,
    per_s: f64,
    made: u64,
}

/// Where they stand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) clients: u64,
    pub(crate) welcome: u64,
    /// Clients that hold their first stock of topics.
    pub(crate) filled: u64,
    /// Answers that have not come.
    pub(crate) unanswered: u64,
    pub(crate) changes: u64,
    pub(crate) errors: u64,
    pub(crate) ended: u64,
}

impl Nomads {
    /// Nobody connects yet.
    pub(crate) fn new(plan: NomadsPlan) -> anyhow::Result<Nomads> {
        let nomad = |_| Nomad { link: None, ways: Ways::new(plan.held, plan.spare) };
        let clients: Vec<Nomad> = (0..plan.clients).map(nomad).collect();
        Ok(Nomads {
            mint: Mint::new(&plan.secret, &plan.tenant),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            notes: Notes::default(),
            buffer: vec![0; READ_BYTES],
            next: clients.len(),
            pace: None,
            clients,
            plan,
        })
    }

    /// All connect.
    pub(crate) fn connect(&mut self) {
        self.next = 0;
    }

    /// All take up their first stock of topics.
    pub(crate) fn fill(&mut self) {
        for index in 0..self.clients.len() {
            self.fill_one(index);
        }
    }

    /// So many changes a second from now on.
    pub(crate) fn go(&mut self, per_s: f64) {
        self.pace = Some(Pace { from_ns: now_ns(), per_s, made: 0 });
    }

    /// No more changes; answers may still be on their way.
    pub(crate) fn stop(&mut self) {
        self.pace = None;
    }

    /// The warm-up is over.
    pub(crate) fn measure(&mut self) {
        self.notes.subscribe.clear();
        self.notes.unsubscribe.clear();
    }

    pub(crate) fn notes(&self) -> Notes {
        self.notes.clone()
    }

    pub(crate) fn standing(&self) -> Standing {
        let count = |is: &dyn Fn(&Nomad) -> bool| self.clients.iter().filter(|nomad| is(nomad)).count() as u64;
        Standing {
            clients: self.clients.len() as u64,
            welcome: count(&|nomad| nomad.link.is_some() && nomad.ways.is_welcome),
            filled: count(&|nomad| nomad.link.is_some() && nomad.ways.is_filled()),
            unanswered: self.clients.iter().map(|nomad| nomad.ways.unanswered()).sum(),
            changes: self.notes.changes(),
            errors: self.notes.errors.values().sum(),
            ended: self.notes.ends.values().sum(),
        }
    }

    fn connect_more(&mut self) {
        let is_on_its_way = |nomad: &&Nomad| nomad.link.is_some() && !nomad.ways.is_welcome;
        let mut on_their_way = self.clients[..self.next].iter().filter(is_on_its_way).count();
        while on_their_way < self.plan.concurrency as usize && self.next < self.clients.len() {
            match Connection::start(&self.plan.url, &self.epoll, self.next as u64) {
                Ok(link) => self.clients[self.next].link = Some(link),
                Err(error) => self.notes.end(format!("connect: {error}")),
            }
            self.next += 1;
            on_their_way += 1;
        }
    }

    fn ready(&mut self, index: usize) {
        let result = self.upgrade_or_read(index);
        self.end_if(index, result);
        self.fill_on(index);
    }

    fn upgrade_or_read(&mut self, index: usize) -> Result<(), String> {
        let Nomad { link, ways } = &mut self.clients[index];
        let Some(link) = link else { return Ok(()) };
        if link.is_connecting() {
            let token = self.mint.token(&format!("nomad-{index}")).map_err(|error| format!("token: {error}"))?;
            return link.upgrade(&self.plan.url, &token, &self.epoll, index as u64);
        }
        let notes = &mut self.notes;
        link.read(&mut self.buffer, |message| ways.hear(message, now_ns(), notes))?;
        if ways.take_pong() { link.send(br#"{"op":"pong"}"#) } else { Ok(()) }
    }

    /// Goes on with a first stock of more than one frame.
    fn fill_on(&mut self, index: usize) {
        if self.clients[index].ways.has_begun_to_fill() {
            self.fill_one(index);
        }
    }

    fn fill_one(&mut self, index: usize) {
        let name = namer(&self.plan.name, index);
        let Nomad { link, ways } = &mut self.clients[index];
        let Some(link) = link else { return };
        let result = ways.fill(name).map_or(Ok(()), |frame| link.send(frame.as_bytes()));
        self.end_if(index, result);
    }

    /// Makes the changes that are due.
    fn change(&mut self) {
        let now = now_ns();
        for _ in 0..CHANGES_AT_ONCE {
            let Some(pace) = self.pace.as_mut().filter(|pace| pace.due_ns() <= now) else { return };
            let (due_ns, number) = (pace.due_ns(), pace.made);
            pace.made += 1;
            let index = usize::try_from(number % self.clients.len() as u64).unwrap_or_default();
            let name = namer(&self.plan.name, index);
            let Nomad { link, ways } = &mut self.clients[index];
            let Some(link) = link else { continue };
            let frame = ways.change(due_ns, self.plan.held as usize, name);
            if frame.is_none() {
                self.notes.refuse("left out: too much is unanswered");
            }
            let result = frame.map_or(Ok(()), |frame| link.send(frame.as_bytes()));
            self.end_if(index, result);
        }
    }

    fn end_if(&mut self, index: usize, result: Result<(), String>) {
        if let Err(reason) = result {
            self.clients[index].end();
            self.notes.end(reason);
        }
    }
}

impl Work for Nomads {
    fn step(&mut self) -> anyhow::Result<()> {
        if self.next < self.clients.len() {
            self.connect_more();
        }
        self.change();
        let due_ns = self.pace.as_ref().map_or(u64::MAX, Pace::due_ns);
        let wait_ns = due_ns.saturating_sub(now_ns()).min(WAIT_NS);
        let wait = Timespec::try_from(std::time::Duration::from_nanos(wait_ns))?;
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll"),
        }
        for event in &events {
            self.ready(usize::try_from(event.data.u64())?);
        }
        Ok(())
    }
}

impl Pace {
    /// When the next change is due.
    fn due_ns(&self) -> u64 {
        self.from_ns + whole(float(self.made) * 1e9 / self.per_s)
    }
}

/// Names a client's topics.
fn namer(name: &str, client: usize) -> impl Fn(u32) -> String {
    move |topic| format!("channel:{name}-{client}-{topic}")
}
