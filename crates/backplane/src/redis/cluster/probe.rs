//! Proof that what is published on one primary of a cluster comes back on its pub/sub connection, as `redis::probe` has it
//! for a single server. A primary takes only channels of its own slots, so the channel's name ends with a hash tag,
//! `<prefix>:node:<id>:probe{<number>}`: the first number whose slot is there. When that slot moves, another one is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::part::Part;
use super::slots::slot_of;
use super::wire::Wire;
use crate::backplane::PublishError;
use crate::redis::config::RedisConfig;
use crate::redis::connect;
use crate::redis::connect_error::{is_servers, server_words};
use crate::redis::line::{Line, Silent};
use crate::redis::probe::{LOST_MAX, Proof, UNDELIVERED, Verdict};
use crate::redis::publisher::Publisher;
use crate::redis::server::Endpoint;

/// The numbers that are tried as a hash tag. Each has some slot, so a primary with one slot of 16,384 has one of them.
const TAGS_MAX: u32 = 1_000_000;

/// Proves delivery on one pub/sub connection after the other.
#[derive(Debug)]
pub(super) struct Prover {
    pub(super) config: Arc<RedisConfig>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) part: Arc<Part>,
    /// The channel's name up to its hash tag.
    pub(super) channel: Arc<str>,
}

/// What comes back on one connection.
#[derive(Debug)]
pub(super) struct Echo {
    /// What follows the prefix in the names of the probes' channels, up to the hash tag.
    path: Box<str>,
    /// Tells this connection's probes from those of the one before, and of a node that was given the same id.
    connection: u64,
    /// The newest probe that came back, and when.
    newest: Mutex<Option<(u64, Instant)>>,
    came: Notify,
    /// What follows the prefix in the name of the present channel.
    present: Mutex<Box<[u8]>>,
    /// Redis has ended the present channel's subscription.
    has_ended: AtomicBool,
}

impl Prover {
    /// For the next connection.
    pub(super) fn new_echo(&self) -> Arc<Echo> {
        let prefix_len = self.config.prefix.len_in(self.channel.as_bytes()).unwrap_or_default();
        Arc::new(Echo {
            path: self.channel[prefix_len..].into(),
            connection: rand::random(),
            newest: Mutex::default(),
            came: Notify::new(),
            present: Mutex::default(),
            has_ended: AtomicBool::new(false),
        })
    }

    /// Proves delivery on a connection for as long as that succeeds. Returns why the connection must end.
    pub(super) async fn run(&self, wire: &Wire, line: &Line, echo: &Echo, proof: &Proof) -> String {
        let Some(interval) = self.config.probe_interval else {
            proof.set(Verdict::Delivered);
            return std::future::pending().await;
        };
        let (mut last_proof, mut lost, mut is_ever_proved, mut number) = (Instant::now(), 0, false, 0);
        let mut channel = None;
        loop {
            let mut next = Instant::now() + interval;
            if echo.has_ended.swap(false, Ordering::Relaxed) {
                channel = None;
            }
            if channel.is_none() {
                channel = match self.subscribe(wire, line, echo, proof).await {
                    Ok(channel) => channel,
                    Err(error) => return error,
                };
            }
            if let Some(name) = &channel {
                number += 1;
                let sent = Instant::now();
                self.part.deliveries.waits();
                match self.publish(name, echo, number).await {
                    Ok(()) => match self.outcome(wire, line, echo, number).await {
                        Err(error) => return error,
                        Ok(Some(came)) => {
                            self.part.deliveries.came(sent, came);
                            line.caught_up(sent);
                            (last_proof, lost, is_ever_proved) = (came, 0, true);
                            proof.set(Verdict::Delivered);
                        }
                        // Its slot has moved meanwhile.
                        Ok(None) if echo.has_ended.load(Ordering::Relaxed) => {}
                        Ok(None) => {
                            lost += 1;
                            if lost == LOST_MAX {
                                if !is_ever_proved {
                                    self.publisher.doubted.notify_one();
                                }
                                return UNDELIVERED.to_owned();
                            }
                            proof.set(Verdict::Undelivered(self.named(UNDELIVERED)));
                            next = Instant::now() + interval;
                        }
                    },
                    Err(PublishError::Refused(words)) => {
                        channel = None;
                        self.refused(proof, &words);
                    }
                    // Whoever keeps that connection finds out what is wrong with it.
                    Err(PublishError::Unavailable | PublishError::Timeout) => {
                        if last_proof.elapsed() >= interval + self.config.response_timeout {
                            proof.set(Verdict::Unproven(self.no_publisher()));
                        }
                    }
                }
            }
            self.pause(next, echo).await;
        }
    }

    async fn pause(&self, next: Instant, echo: &Echo) {
        tokio::select! {
            () = sleep_until(next.into()) => {}
            () = self.publisher.connected.notified() => {}
            () = echo.came.notified(), if echo.has_ended.load(Ordering::Relaxed) => {}
        }
    }

    /// Subscribes to a channel of a slot that is here now. None when there is none, or Redis doesn't allow it now.
    async fn subscribe(&self, wire: &Wire, line: &Line, echo: &Echo, proof: &Proof) -> Result<Option<String>, String> {
        let Some(tag) = self.tag() else {
            // Where nothing comes from, there is nothing to prove.
            if self.part.is_empty() {
                proof.set(Verdict::Delivered);
            }
            return Ok(None);
        };
        let channel = format!("{}{{{tag}}}", self.channel);
        *echo.present.lock() = [echo.path.as_bytes(), format!("{{{tag}}}").as_bytes()].concat().into();
        let mut subscribe = redis::cmd("SSUBSCRIBE");
        subscribe.arg(&channel);
        match line.answer(self.config.response_timeout, wire.send(Some(&subscribe))).await {
            Ok(Ok(_)) => Ok(Some(channel)),
            Ok(Err(error)) if is_servers(&error) => {
                self.refused(proof, &server_words(&error));
                Ok(None)
            }
            Ok(Err(_)) => Err(line.fault()),
            Err(Silent) => Err(self.silent()),
        }
    }

    fn tag(&self) -> Option<u32> {
        let slots = self.part.common.slots()?;
        (0..TAGS_MAX).find(|number| slots.owner(slot_of(&number.to_string())) == Some(&self.endpoint))
    }

    async fn publish(&self, channel: &str, echo: &Echo, number: u64) -> Result<(), PublishError> {
        let mut connection = self.publisher.connection().ok_or(PublishError::Unavailable)?;
        let mut publish = redis::cmd("SPUBLISH");
        publish.arg(channel).arg(echo.payload(number));
        match timeout(self.config.response_timeout, publish.exec_async(&mut connection)).await {
            Err(_) => Err(PublishError::Timeout),
            Ok(Err(error)) if is_servers(&error) => Err(PublishError::Refused(server_words(&error))),
            Ok(Err(_)) => Err(PublishError::Unavailable),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// When a published probe came back; none when it will not.
    async fn outcome(&self, wire: &Wire, line: &Line, echo: &Echo, number: u64) -> Result<Option<Instant>, String> {
        if let Ok(came) = timeout(self.config.response_timeout, echo.wait_for(number)).await {
            return Ok(came);
        }
        match line.answer(self.config.response_timeout, wire.send(None)).await {
            Err(Silent) => Err(self.silent()),
            Ok(Err(error)) if !is_servers(&error) => Err(line.fault()),
            Ok(Ok(true)) => Err(connect::DEMOTED.to_owned()),
            Ok(_) => Ok(echo.came(number)),
        }
    }

    fn refused(&self, proof: &Proof, words: &str) {
        let is_elsewhere = ["MOVED", "ASK", "TRYAGAIN"].iter().any(|code| words.starts_with(code));
        if is_elsewhere || words.starts_with("CLUSTERDOWN") {
            self.part.common.doubted.notify_one();
        }
        if is_elsewhere {
            // The next one is of another slot.
            return;
        }
        let (channel, prefix) = (&self.channel, self.config.prefix.as_str());
        let error = if words.starts_with("CLUSTERDOWN") {
            format!("the cluster does not work, since not all slots are served: {words}")
        } else {
            format!(
                "it refuses the channel {channel}{{…}}, over which this node proves that messages flow; grant +ssubscribe, \
                 +spublish and &{prefix}:node:* with ACL SETUSER: {words}"
            )
        };
        proof.set(Verdict::Unproven(self.named(&error)));
    }

    fn named(&self, error: &str) -> String {
        format!("{}: {error}", self.config.server)
    }

    fn no_publisher(&self) -> String {
        let why = match self.publisher.why_away() {
            // It tells the address itself.
            why if !why.is_empty() && self.publisher.connection().is_none() => why,
            _ => self.named("no answer in time"),
        };
        format!("there is no connection to publish a probe over, so it can't be proved that messages flow: {why}")
    }

    fn silent(&self) -> String {
        format!("Redis did not answer for {:?}", self.config.response_timeout)
    }
}

impl Echo {
    /// Is this what follows the prefix in the name of one of the probes' channels?
    pub(super) fn is_its(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.path.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'{'))
    }

    /// Something came on the channel. What is not this connection's probe is nobody's.
    pub(super) fn take(&self, payload: &[u8], at: Instant) {
        let Some(number) = self.number(payload) else { return };
        let mut newest = self.newest.lock();
        if newest.is_none_or(|(newest, _)| newest < number) {
            *newest = Some((number, at));
        }
        drop(newest);
        self.came.notify_one();
    }

    /// Redis has ended a channel's subscription.
    pub(super) fn end(&self, path: &[u8]) {
        if **self.present.lock() == *path {
            self.has_ended.store(true, Ordering::Relaxed);
            self.came.notify_one();
        }
    }

    fn payload(&self, number: u64) -> String {
        format!("{:016x}-{number}", self.connection)
    }

    fn number(&self, payload: &[u8]) -> Option<u64> {
        let (connection, number) = std::str::from_utf8(payload).ok()?.split_once('-')?;
        let is_mine = u64::from_str_radix(connection, 16).is_ok_and(|connection| connection == self.connection);
        is_mine.then(|| number.parse().ok()).flatten()
    }

    /// When this probe, or a later one, came back.
    fn came(&self, number: u64) -> Option<Instant> {
        self.newest.lock().and_then(|(newest, at)| (newest >= number).then_some(at))
    }

    /// None when the channel's subscription has ended before.
    async fn wait_for(&self, number: u64) -> Option<Instant> {
        loop {
            if let Some(at) = self.came(number) {
                return Some(at);
            }
            if self.has_ended.load(Ordering::Relaxed) {
                return None;
            }
            self.came.notified().await;
        }
    }
}

/// How long the last probe of a primary took, at the worst.
pub(super) fn worst<'a>(parts: impl Iterator<Item = &'a Arc<Part>>) -> Option<crate::delivery::Delivery> {
    let lag = |delivery: &crate::delivery::Delivery| -> Duration { delivery.lag_now() };
    parts.filter_map(|part| part.deliveries.last()).max_by_key(lag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_channels_only() {
        let echo = Echo {
            path: "node:a:probe".into(),
            connection: 7,
            newest: Mutex::default(),
            came: Notify::new(),
            present: Mutex::new((*b"node:a:probe{3}").into()),
            has_ended: AtomicBool::new(false),
        };
        assert!(echo.is_its(b"node:a:probe{3}") && echo.is_its(b"node:a:probe{99}"));
        assert!(!echo.is_its(b"node:a:probe") && !echo.is_its(b"node:b:probe{3}") && !echo.is_its(b"acme:tenant"));
        echo.end(b"node:a:probe{4}");
        assert!(!echo.has_ended.load(Ordering::Relaxed), "an earlier one");
        echo.end(b"node:a:probe{3}");
        assert!(echo.has_ended.load(Ordering::Relaxed));
    }
}
