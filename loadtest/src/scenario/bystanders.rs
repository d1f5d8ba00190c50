//! A calm crowd beside what is measured: clients that were connected before, on channels of their own, with events at a steady
//! rate. What they notice of everything else is the latency of those events, and that none is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, anyhow};

use super::Stage;
use super::effort::Effort;
use super::session::{Clients, Session};
use crate::clock::sleep_until_ns;
use crate::figures::{float, whole};
use crate::histogram::Quantiles;
use crate::publisher::Publisher;
use crate::report::Delivery;

const EVENT_BYTES: u32 = 128;
/// The publisher looks this often whether it is to stop.
const STRETCHES_PER_S: f64 = 4.0;
/// Seconds without any delivery after which what is missing counts as lost, and the most that all may take.
const SETTLE_S: f64 = 5.0;
const DRAIN_S: f64 = 60.0;

/// How many, and what they are told.
#[derive(Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) clients: u32,
    /// Divides the clients: all channels have as many.
    pub(crate) channels: u32,
    /// Over all channels.
    pub(crate) events_per_s: f64,
}

pub(crate) struct Bystanders<'a> {
    crowd: Crowd,
    session: Session<'a>,
    traffic: Traffic,
}

/// Who has the publisher.
enum Traffic {
    Resting(Box<Publisher>),
    UnderWay {
        stop: Arc<AtomicBool>,
        thread: JoinHandle<anyhow::Result<Publisher>>,
    },
    /// The publisher has failed, and its error is told.
    Over,
}

impl<'a> Bystanders<'a> {
    /// Connects and subscribes them. Nothing is published yet.
    pub(crate) fn connect(stage: &'a Stage<'a>, crowd: Crowd) -> anyhow::Result<Bystanders<'a>> {
        let clients = Clients { count: crowd.clients, channels: crowd.channels, rounds: 1, subscribe_at_once: true };
        let name = format!("{}-bystanders", stage.common.target.channel);
        let mut session = Session::start_on(stage, &clients, &name)?;
        let publisher = session.publisher(EVENT_BYTES)?;
        session.connect_all().context("connecting the bystanders")?;
        Ok(Bystanders { crowd, session, traffic: Traffic::Resting(Box::new(publisher)) })
    }

    /// Publishes from now on.
    pub(crate) fn begin(&mut self) {
        if let Traffic::Resting(publisher) = std::mem::replace(&mut self.traffic, Traffic::Over) {
            let stop = Arc::new(AtomicBool::new(false));
            let (events_per_s, is_told_to_stop) = (self.crowd.events_per_s, Arc::clone(&stop));
            let thread = std::thread::spawn(move || publish(*publisher, events_per_s, &is_told_to_stop));
            self.traffic = Traffic::UnderWay { stop, thread };
        }
    }

    /// What they have noticed so far, which then starts anew.
    pub(crate) fn take_latency(&mut self) -> anyhow::Result<Quantiles> {
        let (_, latency) = self.session.report(crate::orders::Published::default())?;
        self.session.measure()?;
        Ok(latency.quantiles())
    }

    /// The CPU time that everybody has used so far.
    pub(crate) fn effort(&self) -> anyhow::Result<Effort> {
        self.session.effort()
    }

    /// Stops publishing, waits until everything has arrived, and returns what they noticed since the last time.
    pub(crate) fn end(&mut self) -> anyhow::Result<Quantiles> {
        if let Traffic::UnderWay { stop, thread } = std::mem::replace(&mut self.traffic, Traffic::Over) {
            stop.store(true, Ordering::Relaxed);
            let publisher = thread.join().map_err(|_| anyhow!("the bystanders' publisher panicked"))??;
            let deliveries = self.session.deliveries(&publisher.published());
            self.session.drain(deliveries, SETTLE_S, DRAIN_S)?;
            self.traffic = Traffic::Resting(Box::new(publisher));
        }
        self.take_latency()
    }

    /// What became of all their events; of a [`Delivery`] only the counts.
    pub(crate) fn conclude(&mut self) -> anyhow::Result<Delivery> {
        let published = match &self.traffic {
            Traffic::Resting(publisher) => publisher.published(),
            _ => return Err(anyhow!("events are still under way to the bystanders")),
        };
        let events = published.events;
        let (report, _) = self.session.report(published)?;
        Ok(Delivery {
            published: events,
            deliveries: report.received,
            counts: report.counts,
            connections_dropped: report.dropped,
            ..Delivery::default()
        })
    }
}

/// Publishes until it is told to stop, and gives the publisher back when Redis has answered everything.
fn publish(mut publisher: Publisher, events_per_s: f64, stop: &AtomicBool) -> anyhow::Result<Publisher> {
    let events = whole(events_per_s / STRETCHES_PER_S).max(1);
    while !stop.load(Ordering::Relaxed) {
        let span = publisher.paced(events, events_per_s)?;
        sleep_until_ns(span.first_ns + whole(float(events) * 1e9 / events_per_s));
    }
    publisher.settle()?;
    Ok(publisher)
}
