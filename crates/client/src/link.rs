//! The way to Redis: connects when it is needed, and again when the connection broke, with pauses between attempts; every
//! call ends within its time. What the server refused was not done, so only that is repeated; whether a command whose
//! connection broke was done is not known, and that is left to the caller. Deliberately without a task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, PushInfo, PushKind, RedisError, RedisResult,
    ServerErrorKind, Value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::address::Source;
use crate::backoff::Backoff;
use crate::connection::Connection;

/// One attempt to connect, at most.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pauses between attempts to connect.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Pauses before a command that was refused for a passing reason is repeated.
const REPEAT_MIN: Duration = Duration::from_millis(2);
const REPEAT_MAX: Duration = Duration::from_millis(100);
/// No time that is set counts for more.
pub(crate) const LIMIT_MAX: Duration = Duration::from_hours(24);
/// Commands without an answer at the same time; more wait, within their own time.
const COMMANDS_MAX: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Link {
    is_cluster: bool,
    /// Held while connecting, so that of many callers one connects and the others wait for it.
    state: Mutex<State>,
    /// Why there is no connection.
    away: std::sync::Mutex<String>,
}

struct State {
    /// None: the backend has brought the connection, which mends itself or doesn't.
    source: Option<Source>,
    live: Option<Live>,
    count: u64,
    backoff: Backoff,
    not_before: Instant,
}

#[derive(Clone)]
struct Live {
    connection: Connection,
    number: u64,
    is_alive: Arc<AtomicBool>,
}

/// Why a command has no good answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// There was no connection, so nothing was sent.
    Away(String),
    /// The server's error: nothing was done.
    Refused(RedisError),
    /// The connection broke; whether it was done is not known.
    Broken(String),
    /// No answer in time; whether it was done is not known.
    Timeout(Duration),
}

impl Link {
    pub(crate) fn new(source: Source) -> Link {
        let is_cluster = matches!(source, Source::Cluster(_));
        Link::with(Some(source), None, is_cluster)
    }

    pub(crate) fn given(connection: Connection) -> Link {
        let is_cluster = connection.is_cluster();
        let live = Live { connection, number: 1, is_alive: Arc::new(AtomicBool::new(true)) };
        Link::with(None, Some(live), is_cluster)
    }

    fn with(source: Option<Source>, live: Option<Live>, is_cluster: bool) -> Link {
        let backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let state = State { source, live, count: 1, backoff, not_before: Instant::now() };
        Link { is_cluster, state: Mutex::new(state), away: std::sync::Mutex::default() }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// Connects, in one attempt.
    pub(crate) async fn connect(&self) -> Result<(), String> {
        self.state.lock().await.connect().await.map(drop)
    }

    /// Sends a command, and again when it was refused for a reason that passes by itself.
    pub(crate) async fn call(&self, command: &Cmd, limit: Duration) -> Result<Value, CallError> {
        let deadline = Instant::now() + limit.min(LIMIT_MAX);
        let mut pauses = Backoff::new(REPEAT_MIN, REPEAT_MAX);
        loop {
            let mut live = self.live(deadline).await?;
            let answer = timeout_at(deadline, live.connection.command(command)).await;
            let error = match self.settle(&live, answer, limit).await {
                Err(CallError::Refused(error)) if self.is_passing(&error) => error,
                settled => return settled,
            };
            let next = Instant::now() + pauses.pause();
            if next >= deadline {
                let was_sent = error.kind() != ErrorKind::ClusterConnectionNotFound;
                return Err(if was_sent { CallError::Refused(error) } else { CallError::Away(error.to_string()) });
            }
            sleep_until(next).await;
        }
    }

    /// Sends all in one go, once. For a single server.
    pub(crate) async fn call_all(
        &self,
        commands: &Pipeline,
        limit: Duration,
    ) -> Result<Vec<RedisResult<Value>>, CallError> {
        let deadline = Instant::now() + limit.min(LIMIT_MAX);
        let mut live = self.live(deadline).await?;
        let answers = timeout_at(deadline, live.connection.commands(commands)).await;
        self.settle(&live, answers, limit).await
    }

    async fn live(&self, deadline: Instant) -> Result<Live, CallError> {
        let connecting = async {
            let mut state = self.state.lock().await;
            loop {
                sleep_until(state.not_before).await;
                match state.connect().await {
                    Ok(live) => return live,
                    Err(error) => self.note(error),
                }
            }
        };
        timeout_at(deadline, connecting).await.map_err(|_| CallError::Away(self.why()))
    }

    /// What came of a command; a connection that is no good any more is left.
    async fn settle<T>(
        &self,
        live: &Live,
        answer: Result<RedisResult<T>, tokio::time::error::Elapsed>,
        limit: Duration,
    ) -> Result<T, CallError> {
        let error = match answer {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => {
                // A network that swallows everything would keep it for a quarter of an hour.
                self.leave(live, "it did not answer").await;
                return Err(CallError::Timeout(limit));
            }
        };
        let is_servers = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
        if is_servers || error.kind() == ErrorKind::ClusterConnectionNotFound {
            if error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly) {
                self.leave(live, "the server has become a replica").await;
            }
            return Err(CallError::Refused(error));
        }
        // A cluster's connection consists of many, and mends them itself.
        if !self.is_cluster {
            self.leave(live, &error.to_string()).await;
        }
        Err(CallError::Broken(error.to_string()))
    }

    /// Whether the same command may be taken in a moment.
    fn is_passing(&self, error: &RedisError) -> bool {
        use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
        match error.kind() {
            ErrorKind::ClusterConnectionNotFound | ErrorKind::Server(BusyLoading | MasterDown | TryAgain) => true,
            ErrorKind::Server(Moved | Ask | ClusterDown | ReadOnly) => self.is_cluster,
            _ => false,
        }
    }

    async fn leave(&self, live: &Live, why: &str) {
        let mut state = self.state.lock().await;
        let is_ours = state.source.is_some();
        if is_ours && state.live.as_ref().is_some_and(|present| present.number == live.number) {
            state.live = None;
            self.note(why.to_owned());
        }
    }

    fn note(&self, why: String) {
        if let Ok(mut away) = self.away.lock() {
            *away = why;
        }
    }

    fn why(&self) -> String {
        let why = self.away.lock().map_or_else(|_| String::new(), |why| why.clone());
        if why.is_empty() { "it does not answer".to_owned() } else { why }
    }
}

impl State {
    /// What there is, or one attempt.
    async fn connect(&mut self) -> Result<Live, String> {
        let State { source, live, .. } = self;
        let Some(source) = source else { return live.clone().ok_or_else(String::new) };
        if let Some(live) = live.as_ref().filter(|live| live.is_alive.load(Ordering::Acquire)) {
            return Ok(live.clone());
        }
        let is_alive = Arc::new(AtomicBool::new(true));
        let opened = match timeout(CONNECT_TIMEOUT * 2, open(source, &is_alive)).await {
            Err(_) => Err("no connection in time: are the address and the firewall right?".to_owned()),
            Ok(opened) => opened,
        };
        match opened {
            Ok(connection) => {
                self.backoff.reset();
                self.count += 1;
                let live = Live { connection, number: self.count, is_alive };
                self.live = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                self.live = None;
                self.not_before = Instant::now() + self.backoff.pause();
                Err(error)
            }
        }
    }
}

/// The error says why not, in words without the password.
async fn open(source: &mut Source, is_alive: &Arc<AtomicBool>) -> Result<Connection, String> {
    let words = |error: RedisError| error.to_string();
    match source {
        Source::Server(client) => open_server(client, is_alive).await,
        Source::Sentinel(sentinels) => open_server(&sentinels.async_get_client().await.map_err(words)?, is_alive).await,
        Source::Cluster(client) => client.get_async_connection().await.map(Connection::from).map_err(words),
    }
}

async fn open_server(client: &Client, is_alive: &Arc<AtomicBool>) -> Result<Connection, String> {
    let is_alive = Arc::clone(is_alive);
    let notice = move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            is_alive.store(false, Ordering::Release);
        }
        Ok::<(), redis::aio::SendError>(())
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        // Each call has its own.
        .set_response_timeout(None)
        .set_concurrency_limit(COMMANDS_MAX)
        .set_push_sender(notice);
    let words = |error: RedisError| error.to_string();
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.map_err(words)?;
    let hello: HashMap<String, Value> = redis::cmd("HELLO").query_async(&mut connection).await.map_err(words)?;
    let is = |field: &str, text: &str| hello.get(field) == Some(&Value::BulkString(text.into()));
    // What is published there would reach nobody, or only the replica's own subscribers, without an error.
    if is("mode", "cluster") {
        return Err("it is a node of a Redis Cluster: use redis+cluster://host:port,host:port".to_owned());
    }
    if is("mode", "sentinel") {
        return Err("it is a Sentinel: use redis+sentinel://host:port,host:port/name".to_owned());
    }
    if is("role", "replica") || is("role", "slave") {
        return Err("it is a replica: use the address of its primary".to_owned());
    }
    Ok(connection.into())
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("source", &self.source).finish_non_exhaustive()
    }
}

impl CallError {
    /// The server's own words, or what is wrong with the way to it.
    pub(crate) fn words(&self) -> String {
        match self {
            CallError::Away(why) => format!("Redis is away: {why}"),
            CallError::Refused(error) => server_words(error),
            CallError::Broken(why) => format!("the connection broke: {why}"),
            CallError::Timeout(limit) => format!("Redis did not answer within {limit:?}"),
        }
    }

    /// Whether the server's error begins with this word.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        matches!(self, CallError::Refused(error) if error.code() == Some(code))
    }
}

/// The server's error as it sent it: `NOPERM No permissions to access a channel`, without where in a function it arose.
pub(crate) fn server_words(error: &RedisError) -> String {
    let words = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    };
    words.split(" script: ").next().unwrap_or_default().to_owned()
}
