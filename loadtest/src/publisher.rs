//! Publishes marked events, pipelined, to Redis or to whatever [`Outlet`] there is. Each event is due at a moment fixed before the run and carries it:
//! a publisher or a server that falls behind shows as latency and is never left out (no coordinated omission).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::clock::{now_ns, sleep_until_ns};
use crate::figures::{float, whole};
use crate::histogram::Micros;
use crate::link::Link;
use crate::mark::{Envelope, Mark};
use crate::orders::Published;
use crate::outlet::{Answer, Outlet, PONG, Wrapper};

/// Written at once at most; more that is due goes into the next write.
const EVENTS_AT_ONCE: u64 = 1_000;
/// Answers that may be outstanding before the publisher waits for some.
const UNANSWERED_MAX: usize = 20_000;
/// How long the outlet may be away in the middle of a run.
const AWAY_MAX: Duration = Duration::from_secs(10);
const START_AFTER_NS: u64 = 5_000_000;

pub(crate) struct Publisher {
    outlet: Outlet,
    link: Link,
    run: u32,
    envelope: Envelope,
    /// One for each channel.
    wrappers: Vec<Wrapper>,
    /// How often each event is published: once for each tenant, on channels that stand one after the other.
    copies: u64,
    out: Vec<u8>,
    next_event: u64,
    /// What is written and not sealed begins with this event.
    unsealed: u64,
    /// The events of each answer that is to come.
    unanswered: VecDeque<Range<u64>>,
    unconfirmed: Vec<u64>,
    /// Delay between when an event was due and when it was written.
    pub(crate) lag: Micros,
    /// Events that were delivered to no subscriber at all, as far as the outlet tells.
    pub(crate) unheard: u64,
    /// The first error that was answered.
    pub(crate) refusal: Option<String>,
    /// Events written so far, for who watches.
    pub(crate) written: Arc<AtomicU64>,
}

/// When a stretch of events was due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
}

impl Publisher {
    /// `channels` are called as the outlet calls them; events go round them, each to as many of them at once as there are
    /// tenants.
    pub(crate) fn connect(
        outlet: Outlet,
        channels: &[String],
        tenants: u32,
        run: u32,
        envelope_bytes: usize,
    ) -> anyhow::Result<Self> {
        let envelope = outlet.envelope(envelope_bytes)?;
        let wrappers = channels.iter().map(|channel| outlet.wrapper(channel, envelope.len()));
        Ok(Self {
            link: outlet.connect()?,
            run,
            wrappers: wrappers.collect::<anyhow::Result<_>>()?,
            outlet,
            copies: u64::from(tenants),
            envelope,
            out: Vec::new(),
            next_event: 0,
            unsealed: 0,
            unanswered: VecDeque::new(),
            unconfirmed: Vec::new(),
            lag: Micros::new(),
            unheard: 0,
            refusal: None,
            written: Arc::default(),
        })
    }

    /// Publishes `events` at `per_second`, each at its own moment.
    pub(crate) fn paced(&mut self, events: u64, per_second: f64) -> anyhow::Result<Span> {
        let first_ns = now_ns() + START_AFTER_NS;
        let due_ns = |event: u64| first_ns + whole(float(event) * 1e9 / per_second);
        let mut next = 0;
        while next < events {
            sleep_until_ns(due_ns(next));
            let now = now_ns();
            let end = (next + EVENTS_AT_ONCE / self.copies).min(events);
            while next < end && due_ns(next) <= now {
                self.put_copies(due_ns(next));
                self.lag.record_ns(now - due_ns(next));
                next += 1;
            }
            self.flush()?;
        }
        Ok(Span { first_ns, last_ns: due_ns(events.saturating_sub(1)) })
    }

    /// Publishes `events` in one write, all due now.
    pub(crate) fn burst(&mut self, events: u64) -> anyhow::Result<Span> {
        let now = now_ns();
        for _ in 0..events {
            self.put_copies(now);
        }
        self.flush()?;
        self.lag.record_ns(now_ns() - now);
        Ok(Span { first_ns: now, last_ns: now })
    }

    /// Waits until everything is answered.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        while !self.unanswered.is_empty() {
            self.collect(true)?;
        }
        if let Some(error) = self.refusal.as_ref().filter(|_| self.unconfirmed.len() as u64 == self.next_event) {
            bail!("{} refuses to publish: {error}", self.outlet.name());
        }
        Ok(())
    }

    /// What was published so far.
    pub(crate) fn published(&self) -> Published {
        let channels = u32::try_from(self.wrappers.len()).unwrap_or(u32::MAX);
        Published { events: self.next_event, channels, unconfirmed: self.unconfirmed.clone() }
    }

    /// A warm-up is over: its delays don't count.
    pub(crate) fn measure(&mut self) {
        self.lag.clear();
    }

    fn put_copies(&mut self, intended_ns: u64) {
        for _ in 0..self.copies {
            self.put(intended_ns);
        }
    }

    fn put(&mut self, intended_ns: u64) {
        let event = self.next_event;
        self.next_event += 1;
        let channels = self.wrappers.len() as u64;
        let (seq, channel) = (event / channels, event % channels);
        // The remainder is an index of `wrappers`, which were counted from 32 bits.
        let index = usize::try_from(channel).unwrap_or_default();
        let channel = u32::try_from(channel).unwrap_or_default();
        self.out.extend_from_slice(&self.wrappers[index].before);
        let mark = Mark { run: self.run, channel, seq, intended_ns };
        self.out.extend_from_slice(self.envelope.stamped(mark));
        self.out.extend_from_slice(&self.wrappers[index].after);
        if !self.outlet.answers_at_once() {
            self.unanswered.push_back(event..self.next_event);
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.outlet.answers_at_once() && !self.out.is_empty() {
            self.outlet.seal(&mut self.out);
            self.unanswered.push_back(self.unsealed..self.next_event);
        }
        self.unsealed = self.next_event;
        let result = self.link.write(&self.out);
        self.out.clear();
        self.written.store(self.next_event, Ordering::Relaxed);
        if let Err(error) = result {
            self.reconnect(&error)?;
        }
        self.collect(false)?;
        while self.unanswered.len() > UNANSWERED_MAX {
            self.collect(true)?;
        }
        Ok(())
    }

    fn collect(&mut self, wait: bool) -> anyhow::Result<()> {
        if let Err(error) = self.link.read(wait) {
            return self.reconnect(&error);
        }
        let mut used = 0;
        while let Some((answer, bytes)) = self.outlet.answer(&self.link.bytes()[used..]).map_err(anyhow::Error::msg)? {
            used += bytes;
            match answer {
                Answer::Aside => {}
                Answer::Ping => self.link.write(PONG)?,
                Answer::Taken => {
                    self.answered()?;
                }
                Answer::Unheard => {
                    let events = self.answered()?;
                    self.unheard += events.end - events.start;
                }
                Answer::Refused(error) => {
                    let events = self.answered()?;
                    self.unconfirmed.extend(events);
                    self.refusal.get_or_insert(error);
                }
            }
        }
        self.link.take(used);
        Ok(())
    }

    /// The events that the answer is about.
    fn answered(&mut self) -> anyhow::Result<Range<u64>> {
        self.unanswered.pop_front().with_context(|| format!("{} answers what nobody asked", self.outlet.name()))
    }

    /// What was not answered may or may not have been published.
    fn reconnect(&mut self, cause: &std::io::Error) -> anyhow::Result<()> {
        self.unconfirmed.extend(self.unanswered.drain(..).flatten());
        let since = Instant::now();
        loop {
            match self.outlet.connect() {
                Ok(link) => {
                    self.link = link;
                    return Ok(());
                }
                Err(error) if since.elapsed() > AWAY_MAX => {
                    return Err(
                        error.context(format!("{} went away in the middle of the run ({cause})", self.outlet.name()))
                    );
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::mark::MarkFinder;

    /// Answers the greeting, then this many publishes at most, and hangs up. Returns the marks of what it answered.
    fn serve_once(listener: &TcpListener, publishes: usize) -> Vec<Mark> {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = vec![0; "*1\r\n$4\r\nPING\r\n".len()];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(b"+PONG\r\n").unwrap();
        let mut marks = Vec::new();
        while marks.len() < publishes {
            let Some(command) = read_publish(&mut stream) else { break };
            marks.push(MarkFinder::new().find(&command).unwrap());
            stream.write_all(b":1\r\n").unwrap();
        }
        marks
    }

    /// All commands are of one length: 128 bytes of event on a channel of one letter.
    fn read_publish(stream: &mut TcpStream) -> Option<Vec<u8>> {
        let mut command = vec![0; "*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$128\r\n".len() + 128 + 2];
        stream.read_exact(&mut command).ok()?;
        Some(command)
    }

    fn publisher(listener: &TcpListener, channels: &[&str], tenants: u32) -> Publisher {
        let url = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
        let channels: Vec<String> = channels.iter().map(|&channel| channel.to_owned()).collect();
        Publisher::connect(Outlet::Redis(url), &channels, tenants, 7, 128).unwrap()
    }

    #[test]
    fn events_go_round_the_channels_each_due_at_its_own_moment() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let redis = listener.try_clone().unwrap();
        let redis_side = std::thread::spawn(move || serve_once(&redis, 60));
        let mut publisher = publisher(&listener, &["a", "b", "c"], 1);
        let span = publisher.paced(60, 1_000.0).unwrap();
        publisher.settle().unwrap();
        let marks = redis_side.join().unwrap();
        assert_eq!(marks.len(), 60);
        for (event, mark) in (0_u64..).zip(&marks) {
            assert_eq!((u64::from(mark.channel), mark.seq), (event % 3, event / 3));
            assert_eq!(mark.intended_ns, span.first_ns + event * 1_000_000, "whenever it was written");
        }
        assert_eq!(span.last_ns, marks.last().unwrap().intended_ns);
        assert_eq!(publisher.published().events, 60);
        assert!(publisher.published().unconfirmed.is_empty());
    }

    #[test]
    fn each_event_goes_to_every_tenant_at_the_same_moment() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let redis = listener.try_clone().unwrap();
        let redis_side = std::thread::spawn(move || serve_once(&redis, 24));
        let mut publisher = publisher(&listener, &["a", "b", "c", "d"], 2);
        let span = publisher.paced(12, 1_000.0).unwrap();
        publisher.settle().unwrap();
        let marks = redis_side.join().unwrap();
        for (number, mark) in (0_u64..).zip(&marks) {
            assert_eq!((u64::from(mark.channel), mark.seq), (number % 4, number / 4));
            assert_eq!(mark.intended_ns, span.first_ns + number / 2 * 1_000_000);
        }
        assert_eq!(publisher.published().events, 24);
    }

    #[test]
    fn what_a_lost_redis_had_not_answered_is_unconfirmed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let redis = listener.try_clone().unwrap();
        let redis_side = std::thread::spawn(move || {
            let before = serve_once(&redis, 10);
            let after = serve_once(&redis, usize::MAX);
            before.iter().chain(&after).map(|mark| mark.seq).collect::<Vec<u64>>()
        });
        let mut publisher = publisher(&listener, &["c"], 1);
        publisher.paced(200, 1_000.0).unwrap();
        publisher.settle().unwrap();
        let after_the_break = publisher.published();
        publisher.burst(10).unwrap();
        publisher.settle().unwrap();
        let told = publisher.published();
        drop(publisher);
        let mut all = redis_side.join().unwrap();
        assert!(!told.unconfirmed.is_empty(), "the one it broke off at, at least");
        assert_eq!(told.unconfirmed, after_the_break.unconfirmed, "it went on with the new connection");
        all.extend(&told.unconfirmed);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, (0..210).collect::<Vec<u64>>(), "each event was answered or is unconfirmed");
    }
}
