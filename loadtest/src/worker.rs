//! A client process: reads its plan and orders from standard input, runs a [`Swarm`], and tells on standard output
//! where it stands. It ends when its input does, so it never outlives the coordinator.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::event::epoll;
use rustix::time::Timespec;

use crate::clock::now_ns;
use crate::orders::{Notice, Order, SwarmPlan};
use crate::process;
use crate::swarm::{Swarm, watch_input};

const PROGRESS_EVERY: Duration = Duration::from_millis(50);
const EVENTS_AT_ONCE: usize = 1024;
const ORDERS_KEY: u64 = u64::MAX;

/// Runs until standard input ends. A failure is told to the coordinator, which knows what to say about it.
pub(crate) fn run() -> anyhow::Result<()> {
    process::raise_open_files();
    let result = serve();
    if let Err(error) = &result {
        tell(&Notice::Failed(format!("{error:#}")))?;
    }
    result
}

fn serve() -> anyhow::Result<()> {
    let mut lines = Lines::default();
    let plan = loop {
        if let Some(line) = lines.next() {
            break serde_json::from_slice::<SwarmPlan>(&line).context("reading the plan")?;
        }
        if !lines.read()? {
            return Ok(());
        }
    };
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    watch_input(&epoll, std::io::stdin(), ORDERS_KEY)?;
    let mut swarm = Swarm::new(plan, epoll);
    let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
    let mut orders_done = 0;
    let mut progress_due_ns = now_ns();
    let pause = Timespec::try_from(PROGRESS_EVERY)?;
    loop {
        // Before waiting: orders may have come in one read with the plan.
        while let Some(line) = lines.next() {
            obey(&mut swarm, serde_json::from_slice(&line).context("reading an order")?)?;
            orders_done += 1;
            progress_due_ns = 0;
        }
        events.clear();
        match epoll::wait(swarm.epoll(), rustix::buffer::spare_capacity(&mut events), Some(&pause)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => bail!("epoll: {error}"),
        }
        for event in &events {
            let key = event.data.u64();
            if key != ORDERS_KEY {
                swarm.ready(usize::try_from(key)?)?;
                continue;
            }
            if !lines.read()? {
                return Ok(());
            }
        }
        let now = now_ns();
        if now >= progress_due_ns {
            progress_due_ns = now + u64::try_from(PROGRESS_EVERY.as_nanos())?;
            swarm.tick(now);
            let mut progress = swarm.progress();
            progress.orders = orders_done;
            tell(&Notice::Progress(progress))?;
        }
    }
}

fn obey(swarm: &mut Swarm, order: Order) -> anyhow::Result<()> {
    match order {
        Order::Connect => swarm.connect()?,
        Order::Subscribe => swarm.subscribe(),
        Order::Measure => swarm.measure(),
        Order::ReadOn => swarm.read_on()?,
        Order::Disconnect => swarm.disconnect(),
        Order::Report(published) => tell(&Notice::Report(Box::new(swarm.report(&published))))?,
    }
    Ok(())
}

fn tell(notice: &Notice) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(notice)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}

/// Lines of standard input, read without the standard library's buffer, which epoll can't see into.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
}

impl Lines {
    /// Reads once; false at the end of the input.
    fn read(&mut self) -> anyhow::Result<bool> {
        let mut chunk = [0; 16 << 10];
        let read = rustix::io::read(std::io::stdin(), &mut chunk)?;
        self.bytes.extend_from_slice(&chunk[..read]);
        Ok(read > 0)
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let end = memchr::memchr(b'\n', &self.bytes)?;
        let rest = self.bytes.split_off(end + 1);
        Some(std::mem::replace(&mut self.bytes, rest))
    }
}
