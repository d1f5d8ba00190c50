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
use super::feed::Feed;
use super::line::{Line, Silent};
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
}

/// What a command on its way came to.
struct Answer {
    command: Command,
    result: Result<RedisResult<()>, Silent>,
}

enum Command {
    Ping,
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
}

impl Subscriber {
    pub(super) fn new(
        config: Arc<RedisConfig>,
        wanted: Arc<Wanted>,
        inbox: InboxSender,
        state: watch::Sender<State>,
    ) -> Subscriber {
        Subscriber { config, wanted, inbox, state }
    }

    /// Never ends; dropping it closes the connection.
    pub(super) async fn supervise(self) {
        let mut backoff = Backoff::new(self.config.retry_min, self.config.retry_max);
        let mut is_first = true;
        loop {
            // A connection that can't be read is of no use.
            self.inbox.room().await;
            match self.connect().await {
                Ok(link) => {
                    let start = Instant::now();
                    let error = self.serve(link, is_first).await;
                    is_first = false;
                    backoff.lived(start.elapsed());
                    self.tell_away(&error);
                }
                Err(error) => self.tell_away(&error.to_string()),
            }
            sleep(backoff.pause(rand::random())).await;
        }
    }

    async fn connect(&self) -> Result<Link, ConnectError> {
        let line = Line::new();
        let feed = Feed {
            prefix: self.config.prefix.clone(),
            wanted: Arc::clone(&self.wanted),
            inbox: self.inbox.clone(),
            line: Arc::clone(&line),
        };
        let options = AsyncConnectionConfig::new().set_push_sender(move |push| {
            feed.take(push);
            Ok::<(), redis::aio::SendError>(())
        });
        connect::open(&self.config, line, Some(self.inbox.clone()), options).await
    }

    /// Uses a connection until it is over. Returns why.
    async fn serve(&self, link: Link, is_first: bool) -> String {
        let Link { connection, driver, line } = link;
        self.inbox.push(Notice::Up { first: is_first });
        self.inbox.announce();
        self.wanted.subscriptions.lock().connected();
        let error = tokio::select! {
            error = self.maintain(connection, &line) => error,
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
    async fn maintain(&self, connection: MultiplexedConnection, line: &Arc<Line>) -> String {
        let mut answers = Answers::new();
        let mut is_ping_due = true;
        let mut next_ping = Instant::now() + self.config.ping_interval;
        loop {
            self.send_commands(&connection, line, &answers);
            self.tell_up();
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
            }
        }
    }

    fn send_commands(&self, connection: &MultiplexedConnection, line: &Arc<Line>, answers: &Answers) {
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
            Command::Ping => Vec::new(),
            Command::Subscribe(topics, _) | Command::Unsubscribe(topics, _) => {
                topics.iter().map(|topic| self.config.prefix.channel(topic)).collect()
            }
        };
        Box::pin(async move {
            let sending = async {
                match &command {
                    Command::Ping => redis::cmd("PING").exec_async(&mut connection).await,
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
            Err(Silent) => return Err(format!("Redis did not answer for {:?}", self.config.response_timeout)),
            Ok(Err(error)) if is_servers(&error) => Some(server_words(&error)),
            Ok(Err(_)) => return Err(line.fault()),
            Ok(Ok(())) => None,
        };
        let mut subscriptions = self.wanted.subscriptions.lock();
        match (answer.command, refusal) {
            // A user without the right to PING gets an answer too, and that is all we ask for.
            (Command::Ping, _) => {}
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

    fn tell_up(&self) {
        let topics = {
            let subscriptions = self.wanted.subscriptions.lock();
            if !subscriptions.is_complete() {
                return;
            }
            subscriptions.len()
        };
        let is_new = self.state.send_if_modified(|state| !std::mem::replace(state, State::Up).is_up());
        if is_new {
            tracing::info!(server = %self.config.server, topics, "subscribed");
        }
    }

    fn tell_away(&self, error: &str) {
        self.state.send_if_modified(|state| {
            let away = match state {
                State::Connecting { .. } => State::Connecting { error: Some(error.to_owned()) },
                State::Up | State::Down { .. } => State::Down { error: error.to_owned() },
            };
            let is_new = *state != away;
            // Once for each reason, not once for each attempt.
            if is_new {
                tracing::warn!(error, "no subscriptions to Redis; trying again");
            }
            *state = away;
            is_new
        });
    }
}
