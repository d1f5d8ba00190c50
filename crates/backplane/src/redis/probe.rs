//! Proof that a message published on Redis comes back to this node. A socket that answers `PING` proves less: the node may
//! be subscribed on one server and publish to another, or to a server that nobody else uses any more.
//!
//! A probe is published over the connection that publishes, and must come back on the pub/sub connection. Redis puts it
//! among that connection's output before it answers the publisher, so what is asked there afterwards is answered behind
//! it: when that answer is here and the probe is not, it will never come. So neither a long backlog nor a full inbox,
//! which holds reading back, is ever taken for a loss.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::config::RedisConfig;
use super::connect;
use super::connect_error::{is_servers, server_words};
use super::echo::Echo;
use super::line::Line;
use super::publisher::Publisher;
use crate::backplane::PublishError;
use crate::delivery::Delivery;

/// So many probes in a row don't come back until the connection is given up.
const LOST_MAX: u32 = 2;

const UNDELIVERED: &str = "what is published does not come back to this node's subscription, although both of its \
                           connections answer: do they lead to one server (a failover, a load balancer or a proxy over \
                           several)?";

/// Proves delivery on one pub/sub connection after the other.
#[derive(Debug)]
pub(super) struct Prover {
    config: Arc<RedisConfig>,
    publisher: Arc<Publisher>,
    deliveries: Arc<Deliveries>,
    channel: String,
}

/// How the probes of one connection went so far.
#[derive(Debug)]
pub(super) struct Course<'a> {
    config: &'a RedisConfig,
    publisher: &'a Publisher,
    deliveries: &'a Deliveries,
    line: &'a Line,
    proof: &'a Proof,
    last_proof: Instant,
    /// In a row, the last one among them.
    lost: u32,
    is_ever_proved: bool,
}

/// What was proved last.
#[derive(Debug, Default)]
pub(super) struct Deliveries(Mutex<Figures>);

#[derive(Debug, Default)]
struct Figures {
    /// How long the last probe took, and when it came.
    last: Option<(Duration, Instant)>,
    waiting_since: Option<Instant>,
}

/// What is known about delivery on one connection.
#[derive(Debug, Default)]
pub(super) struct Proof {
    verdict: Mutex<Verdict>,
    changed: Notify,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Verdict {
    /// The first probe is on its way.
    #[default]
    Awaited,
    /// The last probe came back.
    Delivered,
    /// No probe can be sent. Why.
    Unproven(String),
    /// The last probe did not come back. What it looks like.
    Undelivered(String),
}

impl Prover {
    pub(super) fn new(config: Arc<RedisConfig>, publisher: Arc<Publisher>, deliveries: Arc<Deliveries>) -> Prover {
        let channel = channel(&config);
        Prover { config, publisher, deliveries, channel }
    }

    /// For the next connection.
    pub(super) fn new_echo(&self) -> Arc<Echo> {
        Arc::new(Echo::new(&self.config.prefix, &self.channel))
    }

    /// A connection is lost: from now on nothing is proved.
    pub(super) fn lost(&self) {
        self.deliveries.waits();
    }

    /// Proves delivery on a connection for as long as that succeeds. Returns why the connection must end.
    pub(super) async fn run(
        &self,
        mut connection: MultiplexedConnection,
        line: &Line,
        echo: &Echo,
        proof: &Proof,
    ) -> String {
        let Some(interval) = self.config.probe_interval else {
            proof.set(Verdict::Delivered);
            return std::future::pending().await;
        };
        if let Err(error) = self.subscribe(&mut connection, line, proof, interval).await {
            return error;
        }
        let mut course = Course::new(&self.config, &self.publisher, &self.deliveries, line, proof);
        let mut number = 0;
        loop {
            number += 1;
            let sent = Instant::now();
            let mut next = sent + interval;
            self.deliveries.waits();
            let published =
                self.publisher.run(redis::cmd("PUBLISH").arg(&self.channel).arg(echo.payload(number))).await;
            match published {
                Ok(_) => match self.outcome(&mut connection, line, echo, number).await {
                    Err(error) => return error,
                    Ok(Some(came)) => course.came(sent, came),
                    Ok(None) => {
                        if let Err(error) = course.lost() {
                            return error;
                        }
                        // Another moment, another try.
                        next = Instant::now() + interval;
                    }
                },
                Err(PublishError::Refused(words)) => proof.set(Verdict::Unproven(self.refused(&words))),
                Err(PublishError::Unavailable | PublishError::Timeout) => course.unsent(),
            }
            tokio::select! {
                () = sleep_until(next.into()) => {}
                () = self.publisher.connected.notified() => {}
            }
        }
    }

    /// Subscribes to the probes' channel as soon as Redis allows it.
    async fn subscribe(
        &self,
        connection: &mut MultiplexedConnection,
        line: &Line,
        proof: &Proof,
        interval: Duration,
    ) -> Result<(), String> {
        loop {
            let asked = Instant::now();
            match line.answer(self.config.response_timeout, connection.subscribe(&self.channel)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if is_servers(&error) => {
                    proof.set(Verdict::Unproven(self.refused(&server_words(&error))));
                }
                Ok(Err(_)) => return Err(line.fault()),
                Err(silent) => return Err(silent.to_string()),
            }
            sleep_until((asked + interval).into()).await;
        }
    }

    /// When a published probe came back; none when it will not.
    async fn outcome(
        &self,
        connection: &mut MultiplexedConnection,
        line: &Line,
        echo: &Echo,
        number: u64,
    ) -> Result<Option<Instant>, String> {
        if let Ok(came) = timeout(self.config.response_timeout, echo.wait_for(number)).await {
            return Ok(Some(came));
        }
        let behind = line.answer(self.config.response_timeout, connect::is_replica(connection)).await;
        connect::fit(behind, line).map(|()| echo.came(number))
    }

    fn refused(&self, words: &str) -> String {
        let channel = &self.channel;
        let prefix = self.config.prefix.as_str();
        format!(
            "{}: it refuses the channel {channel}, over which this node proves that messages flow; grant +subscribe, \
             +publish and &{prefix}:node:* with ACL SETUSER: {words}",
            self.config.server
        )
    }
}

/// The channel of a node's probes.
pub(super) fn channel(config: &RedisConfig) -> String {
    match &config.node_id {
        Some(id) => config.prefix.probe_channel(id),
        None => config.prefix.probe_channel(&format!("{:016x}", rand::random::<u64>())),
    }
}

impl<'a> Course<'a> {
    pub(super) fn new(
        config: &'a RedisConfig,
        publisher: &'a Publisher,
        deliveries: &'a Deliveries,
        line: &'a Line,
        proof: &'a Proof,
    ) -> Course<'a> {
        let last_proof = Instant::now();
        Course { config, publisher, deliveries, line, proof, last_proof, lost: 0, is_ever_proved: false }
    }

    /// A probe came back.
    pub(super) fn came(&mut self, sent: Instant, came: Instant) {
        self.deliveries.came(sent, came);
        self.line.caught_up(sent);
        (self.last_proof, self.lost, self.is_ever_proved) = (came, 0, true);
        self.proof.set(Verdict::Delivered);
    }

    /// A probe that was published did not come back. An error means that the connection must end.
    pub(super) fn lost(&mut self) -> Result<(), String> {
        self.lost += 1;
        if self.lost < LOST_MAX {
            self.proof.set(Verdict::Undelivered(format!("{}: {UNDELIVERED}", self.config.server)));
            return Ok(());
        }
        if !self.is_ever_proved {
            // It may as well be the other connection that leads astray.
            self.publisher.doubted.notify_one();
        }
        Err(UNDELIVERED.to_owned())
    }

    /// There was no connection to publish a probe over, or it gave no answer. Whoever keeps that connection finds out what is
    /// wrong with it.
    pub(super) fn unsent(&self) {
        let interval = self.config.probe_interval.unwrap_or_default();
        if self.last_proof.elapsed() >= interval + self.config.response_timeout {
            self.proof.set(Verdict::Unproven(self.publisher.no_probe()));
        }
    }
}

impl Deliveries {
    pub(super) fn last(&self) -> Option<Delivery> {
        let figures = self.0.lock();
        let (lag, proved) = figures.last?;
        Some(Delivery { lag, proved, waiting_since: figures.waiting_since })
    }

    /// From now on a proof is due, unless one was due already.
    pub(super) fn waits(&self) {
        self.0.lock().waiting_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn came(&self, sent: Instant, came: Instant) {
        *self.0.lock() = Figures { last: Some((came.saturating_duration_since(sent), came)), waiting_since: None };
    }
}

impl Proof {
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.lock().clone()
    }

    /// Ends after the verdict has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn set(&self, verdict: Verdict) {
        let mut present = self.verdict.lock();
        if *present != verdict {
            *present = verdict;
            drop(present);
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_grows_while_a_proof_is_waited_for() {
        let deliveries = Deliveries::default();
        deliveries.waits();
        assert_eq!(deliveries.last(), None);
        let (sent, lag) = (Instant::now(), Duration::from_millis(3));
        deliveries.came(sent, sent + lag);
        let delivery = deliveries.last().map(|delivery| (delivery.lag, delivery.lag_now(), delivery.waiting_since));
        assert_eq!(delivery, Some((lag, lag, None)));
        deliveries.0.lock().waiting_since = sent.checked_sub(Duration::from_mins(1));
        deliveries.waits();
        assert!(deliveries.last().is_some_and(|delivery| delivery.lag_now() >= Duration::from_mins(1)));
    }
}
