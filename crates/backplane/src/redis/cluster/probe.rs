//! Proof that what is published on one primary of a cluster comes back on its pub/sub connection, as `redis::probe` has it
//! for a single server. A primary takes only channels of its own slots, so the channel's name ends with a hash tag,
//! `<prefix>:node:<id>:probe{<number>}`: the first number whose slot is there. When that slot moves, another one is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::part::Part;
use super::slots::slot_of;
use super::wire::Wire;
use crate::backplane::PublishError;
use crate::delivery::Delivery;
use crate::keyspace::Prefix;
use crate::redis::config::RedisConfig;
use crate::redis::connect;
use crate::redis::connect_error::{is_servers, server_words};
use crate::redis::echo;
use crate::redis::line::Line;
use crate::redis::probe::{Course, Proof, Verdict};
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
    /// As if the channels had no hash tag.
    probes: echo::Echo,
    /// What follows the prefix in the name of the present channel.
    present: Mutex<Box<[u8]>>,
    /// Redis has ended the present channel's subscription.
    has_ended: AtomicBool,
    ended: Notify,
}

impl Prover {
    /// For the next connection.
    pub(super) fn new_echo(&self) -> Arc<Echo> {
        Arc::new(Echo::new(&self.config.prefix, &self.channel))
    }

    /// Proves delivery on a connection for as long as that succeeds. Returns why the connection must end.
    pub(super) async fn run(&self, wire: &Wire, line: &Line, echo: &Echo, proof: &Proof) -> String {
        let Some(interval) = self.config.probe_interval else {
            proof.set(Verdict::Delivered);
            return std::future::pending().await;
        };
        let mut course = Course::new(&self.config, &self.publisher, &self.part.deliveries, line, proof);
        let (mut number, mut channel) = (0, None);
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
                let mut publish = redis::cmd("SPUBLISH");
                publish.arg(name).arg(echo.probes.payload(number));
                match self.publisher.run(&publish).await {
                    Ok(_) => match self.outcome(wire, line, echo, number).await {
                        Err(error) => return error,
                        Ok(Some(came)) => course.came(sent, came),
                        // Its slot has moved meanwhile.
                        Ok(None) if echo.has_ended.load(Ordering::Relaxed) => {}
                        Ok(None) => {
                            if let Err(error) = course.lost() {
                                return error;
                            }
                            next = Instant::now() + interval;
                        }
                    },
                    Err(PublishError::Refused(words)) => {
                        channel = None;
                        self.refused(proof, &words);
                    }
                    Err(PublishError::Unavailable | PublishError::Timeout) => course.unsent(),
                }
            }
            self.pause(next, echo).await;
        }
    }

    async fn pause(&self, next: Instant, echo: &Echo) {
        tokio::select! {
            () = sleep_until(next.into()) => {}
            () = self.publisher.connected.notified() => {}
            () = echo.ended() => {}
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
        *echo.present.lock() = format!("{}{{{tag}}}", echo.probes.path()).into_bytes().into();
        let mut subscribe = redis::cmd("SSUBSCRIBE");
        subscribe.arg(&channel);
        match line.answer(self.config.response_timeout, wire.send(Some(&subscribe))).await {
            Ok(Ok(_)) => Ok(Some(channel)),
            Ok(Err(error)) if is_servers(&error) => {
                self.refused(proof, &server_words(&error));
                Ok(None)
            }
            Ok(Err(_)) => Err(line.fault()),
            Err(silent) => Err(silent.to_string()),
        }
    }

    fn tag(&self) -> Option<u32> {
        // Without a slot, all the numbers would be tried in vain, which takes long.
        let slots = self.part.common.slots().filter(|slots| slots.serves(&self.endpoint))?;
        (0..TAGS_MAX).find(|number| slots.owner(slot_of(&number.to_string())) == Some(&self.endpoint))
    }

    /// When a published probe came back; none when it will not.
    async fn outcome(&self, wire: &Wire, line: &Line, echo: &Echo, number: u64) -> Result<Option<Instant>, String> {
        if let Ok(came) = timeout(self.config.response_timeout, echo.wait_for(number)).await {
            return Ok(came);
        }
        let behind = line.answer(self.config.response_timeout, wire.send(None)).await;
        connect::fit(behind, line).map(|()| echo.probes.came(number))
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
        proof.set(Verdict::Unproven(format!("{}: {error}", self.config.server)));
    }
}

impl Echo {
    fn new(prefix: &Prefix, channel: &str) -> Echo {
        Echo {
            probes: echo::Echo::new(prefix, channel),
            present: Mutex::default(),
            has_ended: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    /// Is this what follows the prefix in the name of one of the probes' channels?
    pub(super) fn is_its(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.probes.path().as_bytes()).is_some_and(|rest| rest.first() == Some(&b'{'))
    }

    /// Something came on the channel.
    pub(super) fn take(&self, payload: &[u8], at: Instant) {
        self.probes.take(payload, at);
    }

    /// Redis has ended a channel's subscription.
    pub(super) fn end(&self, path: &[u8]) {
        if **self.present.lock() == *path {
            self.has_ended.store(true, Ordering::Relaxed);
            self.ended.notify_one();
        }
    }

    /// Ends when the present channel's subscription has.
    async fn ended(&self) {
        while !self.has_ended.load(Ordering::Relaxed) {
            self.ended.notified().await;
        }
    }

    /// When a probe came back. None when the channel's subscription has ended before.
    async fn wait_for(&self, number: u64) -> Option<Instant> {
        tokio::select! {
            biased;
            came = self.probes.wait_for(number) => Some(came),
            () = self.ended() => None,
        }
    }
}

/// How long the last probe of a primary took, at the worst.
pub(super) fn worst<'a>(parts: impl Iterator<Item = &'a Arc<Part>>) -> Option<Delivery> {
    parts.filter_map(|part| part.deliveries.last()).max_by_key(Delivery::lag_now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_channels_only() {
        let echo = Echo::new(&Prefix::default(), "fanfare:node:a:probe");
        *echo.present.lock() = (*b"node:a:probe{3}").into();
        assert!(echo.is_its(b"node:a:probe{3}") && echo.is_its(b"node:a:probe{99}"));
        assert!(!echo.is_its(b"node:a:probe") && !echo.is_its(b"node:b:probe{3}") && !echo.is_its(b"acme:tenant"));
        echo.end(b"node:a:probe{4}");
        assert!(!echo.has_ended.load(Ordering::Relaxed), "an earlier one");
        echo.end(b"node:a:probe{3}");
        assert!(echo.has_ended.load(Ordering::Relaxed));
    }
}
