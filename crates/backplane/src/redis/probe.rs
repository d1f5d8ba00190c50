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
use super::line::{Line, Silent};
use super::publisher::Publisher;
use crate::backplane::PublishError;
use crate::delivery::Delivery;

/// So many probes in a row don't come back until the connection is given up.
pub(super) const LOST_MAX: u32 = 2;

pub(super) const UNDELIVERED: &str = "what is published does not come back to this node's subscription, although both of its connections \
                           answer: do they lead to one server (a failover, a load balancer or a proxy over several)?";

/// Proves delivery on one pub/sub connection after the other.
#[derive(Debug)]
pub(super) struct Prover {
    config: Arc<RedisConfig>,
    publisher: Arc<Publisher>,
    deliveries: Arc<Deliveries>,
    channel: String,
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

/// What comes back on one connection.
#[derive(Debug)]
pub(super) struct Echo {
    /// The channel's name after the prefix.
    path: Box<str>,
    /// Tells this connection's probes from those of the one before, and of a node that was given the same id.
    connection: u64,
    /// The newest probe that came back, and when.
    newest: Mutex<Option<(u64, Instant)>>,
    came: Notify,
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
        let channel = match &config.node_id {
            Some(id) => config.prefix.probe_channel(id),
            None => config.prefix.probe_channel(&format!("{:016x}", rand::random::<u64>())),
        };
        Prover { config, publisher, deliveries, channel }
    }

    /// For the next connection.
    pub(super) fn new_echo(&self) -> Arc<Echo> {
        let prefix_len = self.config.prefix.len_in(self.channel.as_bytes()).unwrap_or_default();
        let path = self.channel[prefix_len..].into();
        Arc::new(Echo { path, connection: rand::random(), newest: Mutex::default(), came: Notify::new() })
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
        let (mut last_proof, mut lost) = (Instant::now(), 0);
        let mut is_ever_proved = false;
        let mut number = 0;
        loop {
            number += 1;
            let sent = Instant::now();
            let mut next = sent + interval;
            self.deliveries.waits();
            match self.publish(echo, number).await {
                Ok(()) => match self.outcome(&mut connection, line, echo, number).await {
                    Err(error) => return error,
                    Ok(Some(came)) => {
                        self.deliveries.came(sent, came);
                        line.caught_up(sent);
                        (last_proof, lost, is_ever_proved) = (came, 0, true);
                        proof.set(Verdict::Delivered);
                    }
                    Ok(None) => {
                        lost += 1;
                        if lost == LOST_MAX {
                            if !is_ever_proved {
                                // It may as well be the other connection that leads astray.
                                self.publisher.doubted.notify_one();
                            }
                            return UNDELIVERED.to_owned();
                        }
                        proof.set(Verdict::Undelivered(self.named(UNDELIVERED)));
                        // Another moment, another try.
                        next = Instant::now() + interval;
                    }
                },
                Err(PublishError::Refused(words)) => proof.set(Verdict::Unproven(self.refused(&words))),
                // Whoever keeps that connection finds out what is wrong with it.
                Err(PublishError::Unavailable | PublishError::Timeout) => {
                    if last_proof.elapsed() >= interval + self.config.response_timeout {
                        proof.set(Verdict::Unproven(self.no_publisher()));
                    }
                }
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
                Err(Silent) => return Err(self.silent()),
            }
            sleep_until((asked + interval).into()).await;
        }
    }

    async fn publish(&self, echo: &Echo, number: u64) -> Result<(), PublishError> {
        let mut connection = self.publisher.connection().ok_or(PublishError::Unavailable)?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&self.channel).arg(echo.payload(number));
        match timeout(self.config.response_timeout, publish.exec_async(&mut connection)).await {
            Err(_) => Err(PublishError::Timeout),
            Ok(Err(error)) if is_servers(&error) => Err(PublishError::Refused(server_words(&error))),
            Ok(Err(_)) => Err(PublishError::Unavailable),
            Ok(Ok(())) => Ok(()),
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
        match line.answer(self.config.response_timeout, connect::is_replica(connection)).await {
            Err(Silent) => Err(self.silent()),
            Ok(Err(error)) if !is_servers(&error) => Err(line.fault()),
            Ok(Ok(true)) => Err(connect::DEMOTED.to_owned()),
            Ok(_) => Ok(echo.came(number)),
        }
    }

    fn named(&self, error: &str) -> String {
        format!("{}: {error}", self.config.server)
    }

    fn refused(&self, words: &str) -> String {
        let channel = &self.channel;
        let prefix = self.config.prefix.as_str();
        self.named(&format!(
            "it refuses the channel {channel}, over which this node proves that messages flow; grant +subscribe, \
             +publish and &{prefix}:node:* with ACL SETUSER: {words}"
        ))
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

impl Echo {
    /// Is this what follows the prefix in the name of the probes' channel?
    pub(super) fn is_its(&self, path: &[u8]) -> bool {
        path == self.path.as_bytes()
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

    async fn wait_for(&self, number: u64) -> Instant {
        loop {
            if let Some(at) = self.came(number) {
                return at;
            }
            self.came.notified().await;
        }
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

    fn echo(connection: u64) -> Echo {
        Echo { path: "node:a:probe".into(), connection, newest: Mutex::default(), came: Notify::new() }
    }

    #[test]
    fn knows_its_own_probes_only() {
        let echo = echo(7);
        let now = Instant::now();
        assert!(echo.is_its(b"node:a:probe") && !echo.is_its(b"node:b:probe") && !echo.is_its(b"acme:tenant"));
        let other = super::tests::echo(8).payload(1);
        for payload in [other.as_bytes(), b"", b"-", b"7", b"0000000000000007-", b"\xff-1"] {
            echo.take(payload, now);
            assert_eq!(echo.came(1), None, "{payload:?}");
        }
        echo.take(echo.payload(1).as_bytes(), now);
        assert_eq!((echo.came(1), echo.came(2)), (Some(now), None));
    }

    #[test]
    fn a_later_probe_proves_as_much_as_an_earlier_one() {
        let (echo, now) = (echo(7), Instant::now());
        echo.take(echo.payload(3).as_bytes(), now);
        echo.take(echo.payload(2).as_bytes(), now + Duration::from_secs(1));
        assert_eq!((echo.came(2), echo.came(3), echo.came(4)), (Some(now), Some(now), None));
    }

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
