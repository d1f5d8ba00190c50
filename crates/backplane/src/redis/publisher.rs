//! The connection that publishes, and its supervisor, which also offers the pool that reads. One connection for all callers:
//! redis-rs sends what many ask for in one go. It deliberately isn't a pool, whose every use costs a `PING`, and it repeats
//! nothing: whether a payload whose connection broke was published is not known. (What the server refused was not, so only
//! that is repeated, when the function library had vanished.)

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::Pool;
use fanfare_protocol::{Position, TopicKey};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::config::RedisConfig;
use super::connect::{self, Link};
use super::connect_error::{is_servers, server_words};
use super::library::{CallError, Library};
use super::line::{Line, Silent};
use super::server::Endpoint;
use super::{eviction, histories, reader, sentinel};
use crate::backplane::PublishError;
use crate::history::Keep;

/// Publishes without an answer at the same time. More wait, within their own `response_timeout`.
const PUBLISHES_MAX: usize = 1_024;

/// What callers share with the supervisor.
#[derive(Debug)]
pub(super) struct Publisher {
    config: Arc<RedisConfig>,
    functions: Library,
    /// None while Redis is away.
    offer: watch::Sender<Option<Arc<Offer>>>,
    /// The code (`OOM`) of why positions can't be proven, as it was last logged.
    unprovable: Mutex<Option<String>>,
    /// Why there is, or was, none.
    away: Mutex<String>,
    /// There is a connection again.
    pub(super) connected: Notify,
    /// What is published over the connection comes nowhere.
    pub(super) doubted: Notify,
}

/// What there is while Redis answers.
#[derive(Debug)]
pub(super) struct Offer {
    connection: MultiplexedConnection,
    /// To the same server.
    pub(super) pool: Pool,
    pub(super) line: Arc<Line>,
    /// Closed when the connection is over.
    lives: watch::Receiver<()>,
}

impl Offer {
    /// For one command, and not for longer.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Ends with the connection.
    pub(super) async fn over(&self) {
        let mut lives = self.lives.clone();
        // Nothing is ever sent, so this is the sender's end.
        while lives.changed().await.is_ok() {}
    }
}

impl Publisher {
    pub(super) fn new(config: Arc<RedisConfig>) -> Publisher {
        let functions = Library::new(&config);
        Publisher {
            config,
            functions,
            offer: watch::Sender::new(None),
            unprovable: Mutex::default(),
            away: Mutex::default(),
            connected: Notify::new(),
            doubted: Notify::new(),
        }
    }

    pub(super) fn functions(&self) -> &Library {
        &self.functions
    }

    /// What there is now; none while Redis is away.
    pub(super) fn offer(&self) -> Option<Arc<Offer>> {
        self.offer.borrow().clone()
    }

    /// What there is within this time. Who was just told that Redis is back may come before this connection is.
    pub(super) async fn offer_within(&self, limit: Duration) -> Option<Arc<Offer>> {
        let mut offers = self.offer.subscribe();
        let offer = timeout(limit, offers.wait_for(Option::is_some)).await.ok()?.ok()?;
        offer.clone()
    }

    /// Whether Redis answered lately.
    pub(super) fn is_connected(&self) -> bool {
        self.offer.borrow().is_some()
    }

    /// Redis refused to begin epochs. Logged once for each kind of reason, since the words may name a topic.
    pub(super) fn note_unprovable(&self, error: &str) {
        let code = error.split(' ').next();
        let mut logged = self.unprovable.lock();
        if logged.as_deref() != code {
            tracing::warn!(error, "Redis refuses to begin the history of topics: nothing can be resumed from there");
            *logged = code.map(str::to_owned);
        }
    }

    pub(super) async fn publish_durable(
        &self,
        topic: &TopicKey,
        envelope: &[u8],
        keep: &Keep,
    ) -> Result<Position, PublishError> {
        let command = histories::publish(&self.functions, &self.config.prefix, topic, envelope, keep);
        histories::published(&self.call(&command).await?)
    }

    /// Calls a function of the library.
    pub(super) async fn call(&self, command: &Cmd) -> Result<Value, PublishError> {
        let offer = self.offer().ok_or(PublishError::Unavailable)?;
        let mut connection = offer.connection();
        let calling = self.functions.call::<Value>(&mut connection, command);
        match timeout(self.config.response_timeout, calling).await {
            Err(_) => Err(PublishError::Timeout),
            Ok(Err(CallError::Refused(error))) => {
                leave_demoted(&offer.line, &error);
                Err(PublishError::Refused(error))
            }
            Ok(Err(CallError::Broken(_))) => Err(PublishError::Unavailable),
            Ok(Ok(answer)) => Ok(answer),
        }
    }

    /// Why no probe is published.
    pub(super) fn no_probe(&self) -> String {
        let why = self.away.lock().clone();
        // It tells the address itself.
        let is_why = !why.is_empty() && !self.is_connected();
        let why = if is_why { why } else { format!("{}: no answer in time", self.config.server) };
        format!("there is no connection to publish a probe over, so it can't be proved that messages flow: {why}")
    }

    /// For one command, and not for longer.
    pub(super) fn connection(&self) -> Option<MultiplexedConnection> {
        self.offer().map(|offer| offer.connection())
    }

    pub(super) async fn publish(&self, topic: &TopicKey, payload: &[u8]) -> Result<(), PublishError> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.config.prefix.channel(topic)).arg(payload);
        self.run(&publish).await.map(drop)
    }

    /// Runs one plain command.
    pub(super) async fn run(&self, command: &Cmd) -> Result<Value, PublishError> {
        let mut connection = self.connection().ok_or(PublishError::Unavailable)?;
        match timeout(self.config.response_timeout, command.query_async(&mut connection)).await {
            Err(_) => Err(PublishError::Timeout),
            Ok(Err(error)) if is_servers(&error) => Err(PublishError::Refused(server_words(&error))),
            Ok(Err(_)) => Err(PublishError::Unavailable),
            Ok(Ok(answer)) => Ok(answer),
        }
    }
}

/// A primary that has become a replica keeps its connections. They are left, so that the next attempt finds the new one, or
/// says what is wrong.
pub(super) fn leave_demoted(line: &Line, error: &str) {
    if error.starts_with("READONLY") {
        line.fail("the server has become a replica");
    }
}

/// Never ends; dropping it closes the connection.
pub(super) async fn supervise(publisher: Arc<Publisher>) {
    let config = &publisher.config;
    let mut backoff = Backoff::new(config.retry_min, config.retry_max);
    // One line for each reason, not one for each attempt.
    let mut logged = None;
    loop {
        let options = AsyncConnectionConfig::new().set_concurrency_limit(PUBLISHES_MAX);
        let error = match connect::open(config, Line::new(), None, options).await {
            Ok(link) => {
                logged = None;
                let start = Instant::now();
                let error = serve(&publisher, link).await;
                backoff.lived(start.elapsed());
                format!("{}: {error}", config.server)
            }
            Err(error) => error.to_string(),
        };
        publisher.away.lock().clone_from(&error);
        if logged.as_ref() != Some(&error) {
            tracing::warn!(error, "can't publish to Redis; trying again");
            logged = Some(error);
        }
        sleep(backoff.pause(rand::random())).await;
    }
}

/// Offers a connection until it is over. Returns why.
async fn serve(publisher: &Publisher, link: Link) -> String {
    let Link { connection, driver, line, endpoint } = link;
    let (_lives, lives) = watch::channel(());
    let using = async {
        let pool = match prepare(publisher, connection.clone(), &endpoint).await {
            Ok(pool) => pool,
            Err(error) => return error,
        };
        let offer = Offer { connection: connection.clone(), pool, line: Arc::clone(&line), lives };
        publisher.offer.send_replace(Some(Arc::new(offer)));
        publisher.connected.notify_one();
        tokio::select! {
            error = sentinel::moved(&publisher.config, &endpoint) => error,
            () = publisher.doubted.notified() => "what is published over it does not come back".to_owned(),
            error = watch(publisher, connection.clone(), &line) => error,
            () = line.failed() => line.fault(),
        }
    };
    let error = tokio::select! {
        error = using => error,
        () = driver => line.fault(),
    };
    publisher.offer.send_replace(None);
    error
}

/// Makes sure of the function library, and makes the pool. Without the library the connection is still offered: ephemeral
/// events need none.
async fn prepare(
    publisher: &Publisher,
    mut connection: MultiplexedConnection,
    endpoint: &Endpoint,
) -> Result<Pool, String> {
    let limit = publisher.config.response_timeout;
    match timeout(limit, publisher.functions.prepare(&mut connection)).await {
        Err(_) => return Err(Silent(limit).to_string()),
        Ok(Err(CallError::Broken(error))) => return Err(error.to_string()),
        Ok(Err(CallError::Refused(error))) => tracing::warn!(error, "durable events may be refused"),
        Ok(Ok(_)) => {}
    }
    let looking = timeout(limit, eviction::warn(&mut connection)).await;
    looking.map_err(|_| Silent(limit).to_string())?;
    reader::pool(&publisher.config, endpoint).await.map_err(|cause| cause.to_string())
}

/// Asks for signs of life, for the server's role, and for the function library. Returns why the connection must end.
async fn watch(publisher: &Publisher, mut connection: MultiplexedConnection, line: &Line) -> String {
    let config = &publisher.config;
    loop {
        sleep(config.ping_interval).await;
        let ping = line.answer(config.response_timeout, connect::is_replica(&mut connection)).await;
        if let Err(error) = connect::fit(ping, line) {
            return error;
        }
        match line.answer(config.response_timeout, publisher.functions.keep(&mut connection)).await {
            Err(silent) => return silent.to_string(),
            Ok(Err(CallError::Broken(_))) => return line.fault(),
            // Whoever calls it is told what is wrong.
            Ok(Err(CallError::Refused(_)) | Ok(())) => {}
        }
    }
}
