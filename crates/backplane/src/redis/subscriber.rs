//! The supervisor of the one pub/sub connection: connects, subscribes to what is wanted, watches, and when the
//! connection is lost says so and begins again, for ever.
//!
//! It deliberately handles no message: those go from the driver through the feed into the inbox without a task between.

use std::sync::Arc;
use std::time::Instant;

use fanfare_protocol::TopicKey;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, sleep_until};

use super::backoff::Backoff;
use super::config::RedisConfig;
use super::connect::{self, Link};
use super::connect_error::{ConnectError, is_servers, server_words};
use super::echo::Echo;
use super::feed::Feed;
use super::line::{Line, Silent};
use super::probe::{Proof, Prover, Verdict};
use super::sentinel;
use super::subscriptions::{Round, Subscriptions};
use crate::inbox::InboxSender;
use crate::notice::Notice;
use crate::state::State;

/// Topics in one SUBSCRIBE: more would hold up everything else on the server for too long.
const COMMAND_TOPICS_MAX: usize = 1_000;
/// Commands on their way at the same time. More wait in the table of wanted topics.
const COMMANDS_MAX: usize = 16;

/// What the node wants, shared with its supervisor.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Taken before the inbox's lock, never after it.
    pub(super) subscriptions: Mutex<Subscriptions>,
    /// Fences that were asked for and not sent yet.
    fences: Mutex<Vec<u64>>,
    /// There may be something to send.
    pub(super) changed: Notify,
}

/// The task.
#[derive(Debug)]
pub(super) struct Subscriber {
    config: Arc<RedisConfig>,
    wanted: Arc<Wanted>,
    inbox: InboxSender,
    state: watch::Sender<State>,
    prover: Prover,
}

/// What a command on its way came to.
struct Answer {
    command: Command,
    result: Result<RedisResult<()>, Silent>,
}

/// What is sent on a pub/sub connection, to one server and to each primary of a cluster.
pub(super) enum Command {
    Ping,
    /// Redis answers in order, so when it has answered, all that it published before has come.
    Fence(Vec<u64>),
    Subscribe(Vec<TopicKey>, Round),
    Unsubscribe(Vec<TopicKey>, Round),
}

type Answers = FuturesUnordered<BoxFuture<'static, Answer>>;

impl Wanted {
    pub(super) fn want(&self, topics: &[TopicKey], inbox: &InboxSender) {
        let mut subscriptions = self.subscriptions.lock();
        for topic in topics {
            if subscriptions.want(topic) {
                inbox.push_confirmed(topic.clone());
            }
        }
        drop(subscriptions);
        inbox.announce();
        self.changed.notify_one();
    }

    pub(super) fn unwant(&self, topics: &[TopicKey], inbox: &InboxSender) {
        let mut subscriptions = self.subscriptions.lock();
        for topic in topics {
            subscriptions.unwant(topic);
            inbox.give_up(topic);
        }
        drop(subscriptions);
        self.changed.notify_one();
    }

    /// Asks for a fence. On a connection that is lost before it came, it never comes.
    pub(super) fn fence(&self, number: u64) {
        self.fences.lock().push(number);
        self.changed.notify_one();
    }
}

impl Subscriber {
    pub(super) fn new(
        config: Arc<RedisConfig>,
        wanted: Arc<Wanted>,
        inbox: InboxSender,
        state: watch::Sender<State>,
        prover: Prover,
    ) -> Subscriber {
        Subscriber { config, wanted, inbox, state, prover }
    }

    /// Never ends; dropping it closes the connection.
    pub(super) async fn supervise(self) {
        let mut backoff = Backoff::new(self.config.retry_min, self.config.retry_max);
        let mut is_first = true;
        loop {
            // A connection that can't be read is of no use.
            self.inbox.room().await;
            let echo = self.prover.new_echo();
            match self.connect(&echo).await {
                Ok(link) => {
                    let start = Instant::now();
                    let error = self.serve(link, &echo, is_first).await;
                    is_first = false;
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
            wanted: Arc::clone(&self.wanted),
            inbox: self.inbox.clone(),
            line: Arc::clone(&line),
            echo: Arc::clone(echo),
        };
        let options = AsyncConnectionConfig::new().set_push_sender(move |push| {
            feed.take(push);
            Ok::<(), redis::aio::SendError>(())
        });
        connect::open(&self.config, line, Some(self.inbox.clone()), options).await
    }

    /// Uses a connection until it is over. Returns why.
    async fn serve(&self, link: Link, echo: &Echo, is_first: bool) -> String {
        let Link { connection, driver, line, endpoint } = link;
        let proof = Proof::default();
        self.inbox.push(Notice::Up { first: is_first });
        self.inbox.announce();
        self.wanted.fences.lock().clear();
        self.wanted.subscriptions.lock().connected();
        let error = tokio::select! {
            error = self.maintain(connection.clone(), &line, &proof) => error,
            error = self.prover.run(connection, &line, echo, &proof) => error,
            error = sentinel::moved(&self.config, &endpoint) => error,
            () = driver => line.fault(),
        };
        // The driver is gone, so nothing of this connection can follow.
        let error = format!("{}: {error}", self.config.server);
        let mut subscriptions = self.wanted.subscriptions.lock();
        subscriptions.lost();
        self.inbox.push(Notice::Down { error: error.clone() });
        drop(subscriptions);
        self.inbox.announce();
        error
    }

    /// Keeps the subscriptions as they are wanted, and the connection under watch. Returns why it must end.
    async fn maintain(&self, connection: MultiplexedConnection, line: &Arc<Line>, proof: &Proof) -> String {
        let mut answers = Answers::new();
        let mut is_ping_due = true;
        let mut next_ping = Instant::now() + self.config.ping_interval;
        loop {
            self.send_commands(&connection, line, &answers);
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
                    answers.push(self.send(&connection, line, Command::Ping));
                }
                () = self.wanted.changed.notified() => {}
                () = proof.changed() => {}
            }
        }
    }

    fn send_commands(&self, connection: &MultiplexedConnection, line: &Arc<Line>, answers: &Answers) {
        let fences = std::mem::take(&mut *self.wanted.fences.lock());
        if !fences.is_empty() {
            answers.push(self.send(connection, line, Command::Fence(fences)));
        }
        while answers.len() < COMMANDS_MAX {
            let commands = self.wanted.subscriptions.lock().next_commands(COMMAND_TOPICS_MAX);
            if commands.subscribe.is_empty() && commands.unsubscribe.is_empty() {
                break;
            }
            let round = commands.round;
            if !commands.subscribe.is_empty() {
                answers.push(self.send(connection, line, Command::Subscribe(commands.subscribe, round)));
            }
            if !commands.unsubscribe.is_empty() {
                answers.push(self.send(connection, line, Command::Unsubscribe(commands.unsubscribe, round)));
            }
        }
    }

    fn send(
        &self,
        connection: &MultiplexedConnection,
        line: &Arc<Line>,
        command: Command,
    ) -> BoxFuture<'static, Answer> {
        let (mut connection, line, limit) = (connection.clone(), Arc::clone(line), self.config.response_timeout);
        let channels: Vec<_> = match &command {
            Command::Ping | Command::Fence(_) => Vec::new(),
            Command::Subscribe(topics, _) | Command::Unsubscribe(topics, _) => {
                topics.iter().map(|topic| self.config.prefix.channel(topic)).collect()
            }
        };
        Box::pin(async move {
            let sending = async {
                match &command {
                    Command::Fence(_) => redis::cmd("PING").exec_async(&mut connection).await,
                    Command::Ping => connect::is_replica(&mut connection).await.map(|is_replica| {
                        if is_replica {
                            line.fail(connect::DEMOTED);
                        }
                    }),
                    Command::Subscribe(..) => connection.subscribe(channels).await,
                    Command::Unsubscribe(..) => connection.unsubscribe(channels).await,
                }
            };
            let result = line.answer(limit, sending).await;
            Answer { command, result }
        })
    }

    /// An error means that the connection is of no use any more.
    fn take_answer(&self, answer: Answer, line: &Line) -> Result<(), String> {
        let refusal = match answer.result {
            Err(silent) => return Err(silent.to_string()),
            Ok(Err(error)) if is_servers(&error) => Some(server_words(&error)),
            Ok(Err(_)) => return Err(line.fault()),
            Ok(Ok(())) => None,
        };
        let mut subscriptions = self.wanted.subscriptions.lock();
        match (answer.command, refusal) {
            // An error is a sign of life, too.
            (Command::Ping, _) => {}
            (Command::Fence(numbers), _) => {
                for number in numbers {
                    self.inbox.push(Notice::Fence(number));
                }
            }
            (Command::Subscribe(topics, round) | Command::Unsubscribe(topics, round), None) => {
                if subscriptions.awaits_any(&topics, round) {
                    return Err("Redis answered a subscription without confirming all of it".to_owned());
                }
            }
            (Command::Subscribe(topics, _), Some(error)) => {
                if let Some(topic) = subscriptions.refused(topics) {
                    tracing::warn!(topic = topic.as_str(), error, "Redis refused a subscription");
                    self.inbox.push(Notice::Refused { topic, error });
                }
            }
            (Command::Unsubscribe(topics, _), Some(error)) => {
                tracing::warn!(error, "Redis refused to end subscriptions: grant UNSUBSCRIBE with ACL SETUSER");
                for topic in subscriptions.kept(topics) {
                    self.inbox.push_confirmed(topic);
                }
            }
        }
        drop(subscriptions);
        self.inbox.announce();
        Ok(())
    }

    fn tell(&self, verdict: Verdict) {
        match verdict {
            Verdict::Awaited => {}
            Verdict::Delivered => self.tell_up(),
            Verdict::Unproven(error) => self.tell_doubt(State::Unproven { error }),
            Verdict::Undelivered(error) => self.tell_doubt(State::Undelivered { error }),
        }
    }

    fn tell_up(&self) {
        let topics = {
            let subscriptions = self.wanted.subscriptions.lock();
            if !subscriptions.is_complete() {
                return;
            }
            subscriptions.len()
        };
        if self.change(|_| State::Up).is_some() {
            tracing::info!(server = %self.config.server, topics, "subscribed");
        }
    }

    fn tell_doubt(&self, doubt: State) {
        let told = self.change(|state| state.doubted(doubt));
        if let Some(error) = told.as_ref().and_then(State::error) {
            tracing::warn!(error, "it is not proved that Redis delivers to this node");
        }
    }

    fn tell_away(&self, error: &str) {
        self.prover.lost();
        // Once for each reason, not once for each attempt.
        if self.change(|state| state.away(error)).is_some() {
            tracing::warn!(error, "no subscriptions to Redis; trying again");
        }
    }

    /// Changes the state. Returns what it is now, if that is new.
    fn change(&self, next: impl FnOnce(&State) -> State) -> Option<State> {
        let mut told = None;
        self.state.send_if_modified(|state| {
            let next = next(state);
            let is_new = *state != next;
            if is_new {
                state.clone_from(&next);
                told = Some(next);
            }
            is_new
        });
        told
    }
}
