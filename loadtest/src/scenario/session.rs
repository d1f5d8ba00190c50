//! The clients of one run, from the first connect to the report, with a line of progress each second.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};

use super::Stage;
use super::effort::Effort;
use super::meter::Meter;
use crate::clock::{now_ns, seconds_between};
use crate::crew::Crew;
use crate::figures::{float, ratio, thousands, whole};
use crate::histogram::Micros;
use crate::orders::{Order, Progress, Published, SwarmPlan, SwarmReport, Topics};
use crate::process::{self, Memory};
use crate::publisher::{Publisher, Span};
use crate::report::{Load, Round};

/// Clients in one process, with room for its other open files.
const CLIENTS_PER_PROCESS_MAX: u32 = 19_000;
/// Connections from one source address, those the system still remembers included. Less than half of its ports: Linux gives out
/// every second one first, and then needs a millisecond and more to find each of the others.
const CONNECTIONS_PER_SOURCE: u32 = 12_000;
/// Ports of one source address to one server (`net.ipv4.ip_local_port_range`).
const PORTS_PER_SOURCE: u32 = 28_000;
const LISTEN: Duration = Duration::from_millis(20);

/// What the clients are to do.
pub(crate) struct Clients {
    pub(crate) count: u32,
    /// Of each tenant.
    pub(crate) channels: u32,
    /// How often all connect.
    pub(crate) rounds: u32,
    /// Subscribe right after connecting, or by [`Session::subscribe`].
    pub(crate) subscribe_at_once: bool,
}

pub(crate) struct Session<'a> {
    stage: &'a Stage<'a>,
    crew: Crew,
    plan: SwarmPlan,
    processes: u32,
    meter: Meter,
}

impl<'a> Session<'a> {
    /// Starts the client processes; nothing connects yet.
    pub(crate) fn start(stage: &'a Stage<'a>, clients: &Clients) -> anyhow::Result<Session<'a>> {
        Session::start_on(stage, clients, &stage.common.target.channel)
    }

    /// The same with channels of another name.
    pub(crate) fn start_on(stage: &'a Stage<'a>, clients: &Clients, channel: &str) -> anyhow::Result<Session<'a>> {
        let flags = &stage.common.clients;
        let processes = flags.processes.unwrap_or(clients.count.div_ceil(CLIENTS_PER_PROCESS_MAX)).min(clients.count);
        // Each has clients of one server, so that all servers have as many.
        let processes = processes.next_multiple_of(u32::try_from(stage.targets().count())?);
        ensure!(
            clients.count.div_ceil(processes) <= CLIENTS_PER_PROCESS_MAX,
            "{} clients are too many for {processes} processes of 20,000 open files each: use --processes {} or more",
            thousands(clients.count.into()),
            clients.count.div_ceil(CLIENTS_PER_PROCESS_MAX)
        );
        let connections = clients.count.saturating_mul(clients.rounds);
        let is_v4 = stage.target.url.address.is_ipv4();
        let sources = flags.source_addresses.unwrap_or(connections.div_ceil(CONNECTIONS_PER_SOURCE));
        ensure!(is_v4 || flags.source_addresses.unwrap_or(1) == 1, "--source-addresses needs an IPv4 server address");
        let sources = if is_v4 { sources.clamp(1, 60_000) } else { 1 };
        ensure!(
            clients.count.div_ceil(sources) <= PORTS_PER_SOURCE,
            "{} clients are more than the ports of {sources} source addresses: use --source-addresses {} or more",
            thousands(clients.count.into()),
            clients.count.div_ceil(CONNECTIONS_PER_SOURCE)
        );
        let target = &stage.common.target;
        let mut mix = stage.common.mix.mix(&target.node.tenant);
        if let Some(dialect) = stage.target.dialect {
            mix.dialects = vec![dialect];
        }
        let plan = SwarmPlan {
            url: stage.target.url.clone(),
            secret: stage.target.secret.clone(),
            mix,
            first: 0,
            clients: clients.count,
            topics: Topics { name: channel.to_owned(), channels: clients.channels },
            subscribe_at_once: clients.subscribe_at_once,
            source_addresses: sources,
            stops_reading: false,
            concurrency: flags.connect_concurrency,
            connect_timeout_ms: whole(flags.connect_timeout * 1_000.0),
            run: rand::random(),
        };
        Session::launch(stage, plan, processes)
    }

    /// Further clients of this run on the same channels, at most 19,000, in a process of their own. They stop reading once they
    /// are subscribed, until [`Session::read_on`].
    pub(crate) fn start_slow(&self, clients: u32) -> anyhow::Result<Session<'a>> {
        let plan = SwarmPlan { clients, stops_reading: true, ..self.plan.clone() };
        Session::launch(self.stage, plan, u32::try_from(self.stage.targets().count())?)
    }

    fn launch(stage: &'a Stage<'a>, plan: SwarmPlan, processes: u32) -> anyhow::Result<Session<'a>> {
        let urls: Vec<_> = stage.targets().map(|target| target.url.clone()).collect();
        let crew = Crew::start(&plan, &urls, processes)?;
        let meter = Meter::new(stage.common.output.quiet);
        meter.say(&format!(
            "{}: {} clients in {processes} process(es) on {}",
            stage.target.kind.name(),
            thousands(plan.clients.into()),
            stage.target.url.address
        ));
        Ok(Session { stage, crew, plan, processes, meter })
    }

    /// What was asked for, as far as it concerns clients.
    pub(crate) fn load(&self) -> Load {
        Load {
            clients: self.plan.clients,
            channels: self.plan.channels(),
            codec: self.stage.common.mix.codec.name(),
            tenants: self.plan.mix.tenants(),
            processes: self.processes,
            source_addresses: self.plan.source_addresses,
            ..Load::default()
        }
    }

    /// How many deliveries these events make.
    pub(crate) fn deliveries(&self, published: &Published) -> u64 {
        published.deliveries(self.plan.clients)
    }

    /// A publisher for this run's channels.
    pub(crate) fn publisher(&self, envelope_bytes: u32) -> anyhow::Result<Publisher> {
        let channels = match self.stage.target.dialect {
            None => self.plan.redis_channels(&self.stage.common.target.node.prefix),
            Some(_) => self.plan.plain_channels(),
        };
        let (run, tenants) = (self.plan.run, self.plan.mix.tenants());
        Publisher::connect(self.stage.target.outlet.clone(), &channels, tenants, run, usize::try_from(envelope_bytes)?)
    }

    /// Connects all; refusals are in the answer.
    pub(crate) fn connect(&mut self) -> anyhow::Result<Round> {
        let cpu_before = self.server_cpu_us()?;
        let started_ns = now_ns();
        self.crew.order(&Order::Connect)?;
        let at_once = self.plan.subscribe_at_once;
        let ready = move |progress: &Progress| if at_once { progress.subscribed } else { progress.welcomed };
        let progress = self.wait_for(|progress, clients| ready(progress) + progress.refused >= clients)?;
        let cpu_us = cpu_before.zip(self.server_cpu_us()?).map(|(before, after)| after - before);
        let mut round = Round {
            connected: ready(&progress),
            refused: progress.refused,
            seconds: seconds_between(started_ns, progress.last_ready_ns),
            ..Round::default()
        };
        round.connects_per_s = ratio(float(round.connected), round.seconds);
        round.cpu_us_per_connect = cpu_us.and_then(|cpu_us| ratio(float(cpu_us), float(round.connected)));
        let mut connect = Micros::new();
        for report in self.crew.reports(Published::default())? {
            connect.add_counts(&report.connect);
            for (reason, count) in report.ends {
                *round.reasons.entry(reason).or_default() += count;
            }
        }
        round.connect_us = connect.quantiles();
        Ok(round)
    }

    /// Connects all, and it is an error if one is refused.
    pub(crate) fn connect_all(&mut self) -> anyhow::Result<Round> {
        let round = self.connect()?;
        if round.refused > 0 {
            let reasons: Vec<String> =
                round.reasons.iter().map(|(reason, count)| format!("{} × {reason}", thousands(*count))).collect();
            bail!(
                "{} of {} clients were refused: {}. Look at the server's limits (connections in all, by tenant, by \
                 source address, open files) and its secret; --source-addresses spreads the clients",
                thousands(round.refused),
                thousands(self.plan.clients.into()),
                reasons.join(", ")
            );
        }
        Ok(round)
    }

    /// Subscribes all that are connected and returns the seconds until the last was.
    pub(crate) fn subscribe(&mut self) -> anyhow::Result<f64> {
        let started_ns = now_ns();
        self.crew.order(&Order::Subscribe)?;
        let progress = self.wait_for(|progress, clients| progress.subscribed + progress.refused >= clients)?;
        ensure!(
            progress.refused == 0,
            "{} of {} clients could not subscribe",
            thousands(progress.refused),
            thousands(self.plan.clients.into())
        );
        Ok(seconds_between(started_ns, progress.last_ready_ns))
    }

    /// Closes all connections at once.
    pub(crate) fn disconnect(&mut self) -> anyhow::Result<()> {
        self.crew.order(&Order::Disconnect)
    }

    /// Waits while the server's CPU time still rises, 10 s at most. Returns the CPU time, if it can be read.
    pub(crate) fn wait_until_quiet(&mut self) -> anyhow::Result<Option<u64>> {
        let until = Instant::now() + Duration::from_secs(10);
        let mut last = self.server_cpu_us()?;
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < Duration::from_millis(300) && Instant::now() < until {
            self.look()?;
            let now = self.server_cpu_us()?;
            if now != last {
                last = now;
                quiet_since = Instant::now();
            }
        }
        Ok(last)
    }

    /// Does nothing for a while but watch.
    pub(crate) fn rest(&mut self, pause: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.look()?;
        }
        Ok(())
    }

    /// The warm-up is over.
    pub(crate) fn measure(&mut self) -> anyhow::Result<()> {
        self.crew.order(&Order::Measure)
    }

    /// Publishes in a thread of its own while progress is shown here.
    pub(crate) fn publish(
        &mut self,
        mut publisher: Publisher,
        work: impl FnOnce(&mut Publisher) -> anyhow::Result<Span> + Send + 'static,
    ) -> anyhow::Result<(Publisher, Span)> {
        self.meter.written = Some(Arc::clone(&publisher.written));
        let thread: JoinHandle<anyhow::Result<(Publisher, Span)>> = std::thread::spawn(move || {
            let span = work(&mut publisher)?;
            publisher.settle()?;
            Ok((publisher, span))
        });
        while !thread.is_finished() {
            self.look()?;
        }
        thread.join().map_err(|_| anyhow!("the publisher panicked"))?
    }

    /// Waits until `deliveries` in all have arrived, or `settle` has passed without any, or `drain` in all.
    pub(crate) fn drain(&mut self, deliveries: u64, settle: f64, drain: f64) -> anyhow::Result<Progress> {
        self.wait_while_it_moves(|progress| progress.received >= deliveries, settle, drain)
    }

    /// Those that stopped reading take what is left, until all have ended, or `settle` has passed without anything, or
    /// `drain` in all.
    pub(crate) fn read_on(&mut self, settle: f64, drain: f64) -> anyhow::Result<()> {
        let clients = u64::from(self.plan.clients);
        self.crew.order(&Order::ReadOn)?;
        self.wait_while_it_moves(|progress| progress.dropped >= clients, settle, drain).map(|_| ())
    }

    fn wait_while_it_moves(
        &mut self,
        done: impl Fn(&Progress) -> bool,
        settle: f64,
        drain: f64,
    ) -> anyhow::Result<Progress> {
        let started = Instant::now();
        let mut counts = (0, 0);
        let mut moved = Instant::now();
        loop {
            let progress = self.crew.progress();
            if (progress.received, progress.dropped) != counts {
                counts = (progress.received, progress.dropped);
                moved = Instant::now();
            }
            let too_long = moved.elapsed().as_secs_f64() > settle || started.elapsed().as_secs_f64() > drain;
            if done(&progress) || too_long {
                return Ok(progress);
            }
            self.look()?;
        }
    }

    /// The counts of all client processes together, and why connections ended during the run.
    pub(crate) fn report(&mut self, published: Published) -> anyhow::Result<(SwarmReport, Micros)> {
        let mut sum = SwarmReport::default();
        let mut latency = Micros::new();
        for report in self.crew.reports(published)? {
            latency.add_counts(&report.latency);
            sum.received += report.received;
            sum.counts += report.counts;
            sum.dropped += report.dropped;
            for (reason, count) in report.ends {
                *sum.ends.entry(reason).or_default() += count;
            }
        }
        Ok((sum, latency))
    }

    pub(crate) fn received(&self) -> u64 {
        self.crew.progress().received
    }

    /// Connections that ended although nobody asked them to.
    pub(crate) fn dropped(&self) -> u64 {
        self.crew.progress().dropped
    }

    /// CPU time of all servers together, if their processes are known.
    pub(crate) fn server_cpu_us(&self) -> anyhow::Result<Option<u64>> {
        self.stage.targets().map(|target| target.pid.map(process::cpu_us).transpose()).sum()
    }

    /// Memory of all servers together, if their processes are known.
    pub(crate) fn server_memory(&self) -> anyhow::Result<Option<Memory>> {
        self.stage.targets().map(|target| target.pid.map(process::memory).transpose()).sum()
    }

    /// Whether a server's process, which was there, has ended.
    pub(crate) fn server_is_gone(&self) -> bool {
        self.stage.targets().any(|target| target.pid.is_some_and(|pid| !process::is_there(pid)))
    }

    /// The CPU time that everybody has used so far. A server that has died is told elsewhere; here it has used none.
    pub(crate) fn effort(&self) -> anyhow::Result<Effort> {
        Ok(Effort {
            wall_us: now_ns() / 1_000,
            server_us: self.server_cpu_us().unwrap_or_default(),
            generator_us: self.crew.cpu_us()? + process::cpu_us(std::process::id())?,
            redis_us: self.stage.ground.redis_cpu_us(),
            machine_us: process::machine_cpu_us()?,
        })
    }

    fn wait_for(&mut self, done: impl Fn(&Progress, u64) -> bool) -> anyhow::Result<Progress> {
        loop {
            let progress = self.crew.progress();
            // The client processes have a deadline of their own, so this ends.
            if done(&progress, self.plan.clients.into()) {
                return Ok(progress);
            }
            self.look()?;
        }
    }

    fn look(&mut self) -> anyhow::Result<()> {
        self.crew.listen(LISTEN)?;
        if self.meter.is_due() {
            let latency_us_max = self.crew.take_latency_us_max();
            self.meter.show(&self.crew.progress(), latency_us_max);
        }
        Ok(())
    }
}
