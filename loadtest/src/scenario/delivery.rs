//! Publish, and count what arrives: the part that `fanout` and `channels` share.

use std::time::Duration;

use super::Stage;
use super::effort::Effort;
use super::session::{Clients, Session};
use super::slow::SlowCrowd;
use crate::cli::LoadArgs;
use crate::clock::seconds_between;
use crate::figures::{float, ratio, thousands, whole};
use crate::orders::Published;
use crate::publisher::Publisher;
use crate::report::{Delivery, MemoryFigures, Report};

/// A server that has everything out this soon after the last event was due has kept up.
const KEPT_UP_S: f64 = 0.5;
/// Other programs that keep more processors busy than this disturb the figures.
const OTHERS_BUSY: f64 = 0.2;

/// How events are spread over time.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Paced { events_per_s: f64 },
    Burst { events: u64, bursts: u64, pause: Duration },
}

/// What is published to whom.
pub(crate) struct Spec<'a> {
    pub(crate) scenario: &'static str,
    pub(crate) mode: Option<&'static str>,
    pub(crate) clients: Clients,
    pub(crate) shape: Shape,
    /// Further clients that stop reading.
    pub(crate) slow: u32,
    pub(crate) load: &'a LoadArgs,
}

pub(crate) fn run(stage: &Stage<'_>, spec: &Spec<'_>) -> anyhow::Result<Report> {
    let mut session = Session::start(stage, &spec.clients)?;
    let memory_before = session.server_memory()?;
    let mut report = Report {
        scenario: spec.scenario,
        mode: spec.mode,
        target: stage.target.kind.name(),
        server_pid: stage.target.pid,
        load: session.load(),
        ..Report::default()
    };
    report.load.event_bytes = Some(spec.load.bytes);
    match spec.shape {
        Shape::Paced { events_per_s } => report.load.events_per_s = Some(events_per_s),
        Shape::Burst { events, .. } => report.load.events_per_burst = Some(events),
    }
    // A wrong --bytes or a Redis that is gone should be told before thousands connect.
    let publisher = session.publisher(spec.load.bytes)?;
    report.rounds.push(session.connect_all()?);
    if !spec.clients.subscribe_at_once {
        report.subscribe_s = Some(session.subscribe()?);
    }
    let memory_connected = session.server_memory()?;
    let mut flow = Flow { session, load: spec.load, processors: stage.ground.generator_processors };
    let publisher = flow.warm_up(publisher, spec.shape)?;
    let (publisher, slow) = flow.slow_crowd(publisher, spec)?;
    let (publisher, mut delivery) = flow.measured(publisher, spec.shape)?;
    let unheard = publisher.unheard;
    report.warnings = count(&mut flow.session, publisher, &mut delivery)?;
    report.failures = delivery.failures();
    if let Some(slow) = slow {
        slow.conclude(spec.load, &delivery, &mut report)?;
    }
    if flow.session.server_is_gone() {
        report.failures.push("the server's process ended during the run".to_owned());
    } else if let (Some(before), Some(connected), Some(end)) =
        (memory_before, memory_connected, flow.session.server_memory()?)
    {
        let mut memory = MemoryFigures::new(before, connected, end, spec.clients.count.into());
        if spec.slow > 0 {
            // At the end some connections are gone, and what waited for them was the most of it.
            (memory.rss_kb_per_connection, memory.private_kb_per_connection) = (None, None);
        }
        report.memory = Some(memory);
    }
    if unheard > 0 {
        report.warnings.push(format!("Redis had no subscriber for {} events", thousands(unheard)));
    }
    warn(&mut report, &delivery, stage);
    report.delivery = Some(delivery);
    Ok(report)
}

/// One session and what passes through it.
struct Flow<'a> {
    session: Session<'a>,
    load: &'a LoadArgs,
    /// Those of clients, publisher and Redis.
    processors: usize,
}

/// A measured stretch.
struct Stretch {
    /// Time in which deliveries were made or due.
    seconds: f64,
    drain_s: f64,
}

impl<'a> Flow<'a> {
    /// The same load for a short while, so that sockets, allocators and caches are as they will be.
    fn warm_up(&mut self, publisher: Publisher, shape: Shape) -> anyhow::Result<Publisher> {
        let seconds = self.load.warmup;
        if seconds == 0.0 {
            return Ok(publisher);
        }
        let shape = match shape {
            Shape::Burst { events, pause, .. } => Shape::Burst { events, bursts: 1, pause },
            paced @ Shape::Paced { .. } => paced,
        };
        let (mut publisher, _) = self.publish(publisher, shape, seconds)?;
        publisher.measure();
        Ok(publisher)
    }

    /// Measures the load for as long without the slow clients, if there are to be any, and then lets them in.
    fn slow_crowd(
        &mut self,
        publisher: Publisher,
        spec: &Spec<'_>,
    ) -> anyhow::Result<(Publisher, Option<SlowCrowd<'a>>)> {
        if spec.slow == 0 {
            return Ok((publisher, None));
        }
        self.session.measure()?;
        let (mut publisher, _) = self.publish(publisher, spec.shape, self.load.duration)?;
        publisher.measure();
        let (_, calm) = self.session.report(Published::default())?;
        Ok((publisher, Some(SlowCrowd::connect(&self.session, spec.slow, calm.quantiles())?)))
    }

    fn measured(&mut self, publisher: Publisher, shape: Shape) -> anyhow::Result<(Publisher, Delivery)> {
        self.session.measure()?;
        let (earlier, received_before) = (publisher.published(), self.session.received());
        let before = self.session.effort()?;
        let (publisher, stretch) = self.publish(publisher, shape, self.load.duration)?;
        let effort = self.session.effort()?.since(&before);
        let after = publisher.published();
        let deliveries = self.session.received() - received_before;
        let delivery = Delivery {
            published: after.events,
            measured_events: after.events - earlier.events,
            deliveries,
            expected: self.session.deliveries(&after) - self.session.deliveries(&earlier),
            seconds: stretch.seconds,
            deliveries_per_s: ratio(float(deliveries), stretch.seconds),
            drain_s: stretch.drain_s,
            kept_up: matches!(shape, Shape::Paced { .. }).then_some(stretch.drain_s < KEPT_UP_S),
            publish_lag_us: publisher.lag.quantiles(),
            server_cpu_s: effort.server_us.map(|us| float(us) / 1e6),
            server_cpu_us_per_delivery: effort.server_us.and_then(|us| ratio(float(us), float(deliveries))),
            generator_cores: ratio(float(effort.generator_us), float(effort.wall_us)),
            generator_is_full: self.is_generator_full(&effort, shape, &stretch),
            other_cores: ratio(float(effort.other_us()), float(effort.wall_us)),
            ..Delivery::default()
        };
        Ok((publisher, delivery))
    }

    fn is_generator_full(&self, effort: &Effort, shape: Shape, stretch: &Stretch) -> bool {
        let wall_s = match shape {
            Shape::Paced { .. } => float(effort.wall_us) / 1e6,
            // Between bursts there is nothing to do.
            Shape::Burst { .. } => stretch.seconds,
        };
        // Each client process has one thread, and the publisher one.
        let threads = 1 + self.session.load().processes as usize;
        effort.is_generator_full(wall_s, self.processors, threads)
    }

    fn publish(&mut self, publisher: Publisher, shape: Shape, seconds: f64) -> anyhow::Result<(Publisher, Stretch)> {
        match shape {
            Shape::Paced { events_per_s } => {
                let events = whole(events_per_s * seconds).max(1);
                let (publisher, span) =
                    self.session.publish(publisher, move |publisher| publisher.paced(events, events_per_s))?;
                let last_ns = self.drain(&publisher)?;
                let (seconds, drain_s) =
                    (seconds_between(span.first_ns, last_ns), seconds_between(span.last_ns, last_ns));
                Ok((publisher, Stretch { seconds, drain_s }))
            }
            Shape::Burst { events, bursts, pause } => self.bursts(publisher, events, bursts, pause),
        }
    }

    fn bursts(
        &mut self,
        mut publisher: Publisher,
        events: u64,
        bursts: u64,
        pause: Duration,
    ) -> anyhow::Result<(Publisher, Stretch)> {
        let mut stretch = Stretch { seconds: 0.0, drain_s: 0.0 };
        for burst in 0..bursts {
            if burst > 0 {
                self.session.rest(pause)?;
            }
            let (back, span) = self.session.publish(publisher, move |publisher| publisher.burst(events))?;
            publisher = back;
            let last_ns = self.drain(&publisher)?;
            stretch.drain_s = seconds_between(span.last_ns, last_ns);
            stretch.seconds += stretch.drain_s;
        }
        Ok((publisher, stretch))
    }

    /// Returns when the last delivery was made.
    fn drain(&mut self, publisher: &Publisher) -> anyhow::Result<u64> {
        let expected = self.session.deliveries(&publisher.published());
        Ok(self.session.drain(expected, self.load.settle, self.load.drain)?.last_delivery_ns)
    }
}

/// Asks every client what it has seen. Returns warnings.
fn count(session: &mut Session<'_>, publisher: Publisher, delivery: &mut Delivery) -> anyhow::Result<Vec<String>> {
    let (clients, latency) = session.report(publisher.published())?;
    delivery.latency_us = latency.quantiles();
    delivery.counts = clients.counts;
    delivery.connections_dropped = clients.dropped;
    let mut warnings = delivery.warnings();
    warnings.extend(clients.ends.iter().map(|(reason, count)| format!("{} × {reason}", thousands(*count))));
    warnings.extend(publisher.refusal.map(|error| format!("Redis refused some events: {error}")));
    Ok(warnings)
}

fn warn(report: &mut Report, delivery: &Delivery, stage: &Stage<'_>) {
    if stage.target.pid.is_none() {
        report
            .warnings
            .push("the server's process was not found, so its CPU time is not known: give --server-pid".to_owned());
    }
    if delivery.other_cores.is_some_and(|busy| busy > OTHERS_BUSY) {
        let text = "other programs were busy on this machine: measure again when it is quiet";
        report.warnings.push(text.to_owned());
    }
    if delivery.generator_is_full {
        let text =
            "the generator's processors were busy all the time: rate and latency may be its own, CPU time is not";
        report.warnings.push(text.to_owned());
    }
}
