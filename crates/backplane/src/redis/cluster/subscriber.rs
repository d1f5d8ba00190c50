//! The supervisor of one primary's pub/sub connection: connects, subscribes to the topics that belong there, watches, and
//! when the connection is lost says which topics that concerns, and begins again until the primary is given up.
//!
//! It deliberately doesn't follow slots: what Redis refuses because it is elsewhere becomes loose, and the coordinator
//! finds its place.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use fanfare_protocol::TopicKey;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use redis::RedisResult;
use tokio::time::{sleep, sleep_until, timeout};

use super::feed::Feed;
use super::fences::Posts;
use super::part::Part;
use super::probe::{Echo, Prover};
use super::slots::slot_of;
use super::wire::{self, Driver, Wire};
use crate::notice::Notice;
use crate::redis::backoff::Backoff;
use crate::redis::config::RedisConfig;
use crate::redis::connect;
use crate::redis::connect_error::{Cause, ConnectError, is_servers, server_words};
use crate::redis::line::{Line, Silent, WatchedSocket};
use crate::redis::probe::{Proof, Verdict};
use crate::redis::server::Endpoint;
use crate::redis::socket;
use crate::redis::subscriber::Command;
use crate::state::State;

/// Topics looked at in one go, and in one SSUBSCRIBE at most.
const COMMAND_TOPICS_MAX: usize = 1_000;
/// Commands on their way at the same time. Nothing more is looked at before, so topics of as many slots as one look brings
/// may go beyond.
const COMMANDS_MAX: usize = 64;

/// The task.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) config: Arc<RedisConfig>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) part: Arc<Part>,
    pub(super) posts: Arc<Posts>,
    pub(super) prover: Prover,
}

/// A connection that is fit for use, for as long as somebody polls its driver.
struct Link {
    wire: Wire,
    driver: Driver,
    line: Arc<Line>,
}

/// What a command on its way came to.
struct Answer {
    command: Command,
    result: Result<RedisResult<bool>, Silent>,
}

type Answers = FuturesUnordered<BoxFuture<'static, Answer>>;

impl Subscriber {
    /// Never ends; dropping it closes the connection.
    pub(super) async fn supervise(self) {
        let mut backoff = Backoff::new(self.config.retry_min, self.config.retry_max);
        loop {
            // A connection that can't be read is of no use.
            self.part.common.inbox.room().await;
            let echo = self.prover.new_echo();
            match self.connect(&echo).await {
                Ok(link) => {
                    let start = Instant::now();
                    let error = self.serve(link, &echo).await;
                    backoff.lived(start.elapsed());
                    self.tell_away(&error);
                }
                Err(error) => self.tell_away(&error.to_string()),
            }
            sleep(backoff.pause(rand::random())).await;
        }
    }

    async fn connect(&self, echo: &Arc<Echo>) -> Result<Link, ConnectError> {
        let line = Line::new();
        let feed = Feed {
            prefix: self.config.prefix.clone(),
            part: Arc::clone(&self.part),
            line: Arc::clone(&line),
            echo: Arc::clone(echo),
        };
        let connecting = async {
            let password = connect::read_password(&self.config).await?;
            let socket = socket::open(&self.config, &self.endpoint).await?;
            let socket = WatchedSocket::new(socket, Arc::clone(&line), Some(self.part.common.inbox.clone()));
            let limit = self.config.response_timeout;
            let handshake = wire::log_in(&self.config.server, password.as_ref(), socket);
            let (ends, hello) = timeout(limit, handshake).await.unwrap_or(Err(Cause::AnswerTimeout { limit }))?;
            connect::check_server(&self.config.server.address, &hello)?;
            Ok(Wire::new(ends, feed))
        };
        match connecting.await {
            Ok((wire, driver)) => Ok(Link { wire, driver, line }),
            Err(cause) => {
                let cause: Cause = cause;
                let cause = cause.over(&self.endpoint, &line);
                Err(ConnectError { server: self.config.server.to_string(), cause })
            }
        }
    }

    /// Uses a connection until it is over. Returns why.
    async fn serve(&self, link: Link, echo: &Echo) -> String {
        let Link { wire, driver, line } = link;
        let proof = Proof::default();
        if !self.part.common.enter() {
            return format!("{}: the cluster was away a moment ago", self.config.server);
        }
        self.posts.up();
        self.part.subscriptions.lock().connected();
        let error = tokio::select! {
            error = self.maintain(&wire, &line, &proof) => error,
            error = self.prover.run(&wire, &line, echo, &proof) => error,
            () = driver => line.fault(),
        };
        // The driver is gone, so nothing of this connection can follow.
        self.part.lost();
        self.part.common.fences.pass(&self.posts.down(), &self.part.common.inbox);
        self.part.common.leave();
        format!("{}: {error}", self.config.server)
    }

    /// Keeps the subscriptions as they are wanted, and the connection under watch. Returns why it must end.
    async fn maintain(&self, wire: &Wire, line: &Arc<Line>, proof: &Proof) -> String {
        let mut answers = Answers::new();
        let mut is_ping_due = true;
        let mut next_ping = Instant::now() + self.config.ping_interval;
        loop {
            self.send_commands(wire, line, &answers);
            self.tell(proof.verdict());
            tokio::select! {
                Some(answer) = answers.next() => {
                    if let Command::Ping = answer.command {
                        is_ping_due = true;
                        next_ping = Instant::now() + self.config.ping_interval;
                    }
                    if let Err(error) = self.take_answer(answer, line) {
                        return error;
                    }
                }
                () = line.failed() => return line.fault(),
                () = sleep_until(next_ping.into()), if is_ping_due => {
                    is_ping_due = false;
                    answers.push(self.send(wire, line, Command::Ping));
                }
                () = self.part.changed.notified() => {}
                () = proof.changed() => {}
            }
        }
    }

    fn send_commands(&self, wire: &Wire, line: &Arc<Line>, answers: &Answers) {
        let fences = self.posts.take();
        if !fences.is_empty() {
            answers.push(self.send(wire, line, Command::Fence(fences)));
        }
        while answers.len() < COMMANDS_MAX {
            let commands = self.part.subscriptions.lock().next_commands(COMMAND_TOPICS_MAX);
            if commands.subscribe.is_empty() && commands.unsubscribe.is_empty() {
                break;
            }
            let round = commands.round;
            for topics in self.by_slot(commands.subscribe) {
                answers.push(self.send(wire, line, Command::Subscribe(topics, round)));
            }
            for topics in self.by_slot(commands.unsubscribe) {
                answers.push(self.send(wire, line, Command::Unsubscribe(topics, round)));
            }
        }
    }

    /// Redis takes channels of one slot in one command.
    fn by_slot(&self, topics: Vec<TopicKey>) -> impl Iterator<Item = Vec<TopicKey>> + use<> {
        let mut by_slot: HashMap<u16, Vec<TopicKey>> = HashMap::new();
        for topic in topics {
            by_slot.entry(slot_of(&self.config.prefix.channel(&topic))).or_default().push(topic);
        }
        by_slot.into_values()
    }

    fn send(&self, wire: &Wire, line: &Arc<Line>, command: Command) -> BoxFuture<'static, Answer> {
        let (line, limit) = (Arc::clone(line), self.config.response_timeout);
        let words = match &command {
            Command::Ping | Command::Fence(_) => None,
            Command::Subscribe(topics, _) => Some(("SSUBSCRIBE", topics)),
            Command::Unsubscribe(topics, _) => Some(("SUNSUBSCRIBE", topics)),
        };
        let words = words.map(|(name, topics)| {
            let mut words = redis::cmd(name);
            for topic in topics {
                words.arg(self.config.prefix.channel(topic));
            }
            words
        });
        let sending = wire.send(words.as_ref());
        Box::pin(async move {
            let result = line.answer(limit, sending).await;
            Answer { command, result }
        })
    }

    /// An error means that the connection is of no use any more.
    fn take_answer(&self, answer: Answer, line: &Line) -> Result<(), String> {
        let refusal = match answer.result {
            Err(silent) => return Err(silent.to_string()),
            Ok(Ok(true)) => return Err(connect::DEMOTED.to_owned()),
            Ok(Err(error)) if is_servers(&error) => Some(server_words(&error)),
            Ok(Err(_)) => return Err(line.fault()),
            Ok(Ok(false)) => None,
        };
        let common = &self.part.common;
        match (answer.command, refusal) {
            (Command::Ping, _) => {}
            (Command::Fence(numbers), _) => {
                self.posts.answered(&numbers);
                common.fences.pass(&numbers, &common.inbox);
            }
            (Command::Subscribe(topics, round) | Command::Unsubscribe(topics, round), None) => {
                if self.part.subscriptions.lock().awaits_any(&topics, round) {
                    return Err("Redis answered a subscription without confirming all of it".to_owned());
                }
            }
            (Command::Subscribe(topics, _), Some(error)) if is_elsewhere(&error) => {
                let mut subscriptions = self.part.subscriptions.lock();
                let loose: Vec<_> = topics.into_iter().filter_map(|topic| subscriptions.refused(vec![topic])).collect();
                drop(subscriptions);
                self.part.loosen(loose);
            }
            (Command::Subscribe(topics, _), Some(error)) => {
                let mut subscriptions = self.part.subscriptions.lock();
                if let Some(topic) = subscriptions.refused(topics) {
                    tracing::warn!(topic = topic.as_str(), error, "Redis refused a subscription");
                    common.inbox.push(Notice::Refused { topic, error });
                }
            }
            // It has ended them by itself.
            (Command::Unsubscribe(topics, _), Some(error)) if is_elsewhere(&error) => {
                for topic in &topics {
                    self.part.ended(topic.as_str());
                }
            }
            (Command::Unsubscribe(topics, _), Some(error)) => {
                tracing::warn!(error, "Redis refused to end subscriptions: grant SUNSUBSCRIBE with ACL SETUSER");
                let mut subscriptions = self.part.subscriptions.lock();
                for topic in subscriptions.kept(topics) {
                    common.inbox.push_confirmed(topic);
                }
            }
        }
        common.inbox.announce();
        Ok(())
    }

    fn tell(&self, verdict: Verdict) {
        match verdict {
            Verdict::Awaited => {}
            Verdict::Delivered => {
                let topics = {
                    let subscriptions = self.part.subscriptions.lock();
                    if !subscriptions.is_complete() {
                        return;
                    }
                    subscriptions.len()
                };
                if self.part.tell(|_| State::Up).is_some() {
                    tracing::info!(server = %self.config.server, topics, "subscribed");
                }
            }
            Verdict::Unproven(error) => self.tell_doubt(State::Unproven { error }),
            Verdict::Undelivered(error) => self.tell_doubt(State::Undelivered { error }),
        }
    }

    fn tell_doubt(&self, doubt: State) {
        let told = self.part.tell(|state| state.doubted(doubt));
        if let Some(error) = told.as_ref().and_then(State::error) {
            tracing::warn!(error, "it is not proved that Redis delivers to this node");
        }
    }

    fn tell_away(&self, error: &str) {
        self.part.deliveries.waits();
        // Once for each reason, not once for each attempt.
        if self.part.tell(|state| state.away(error)).is_some() {
            tracing::warn!(error, "no subscriptions to a primary of the cluster; trying again");
        }
    }
}

/// Does the server say that it can't have the slot's channels now?
fn is_elsewhere(error: &str) -> bool {
    ["MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN"].iter().any(|code| error.starts_with(code))
}
