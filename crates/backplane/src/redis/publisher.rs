//! The connection that publishes, and its supervisor. One connection for all callers: redis-rs sends what many ask for in
//! one go. It deliberately isn't a pool, whose every use costs a `PING`, and it repeats nothing: whether a payload whose
//! connection broke was published is not known.

use std::sync::Arc;
use std::time::Instant;

use fanfare_protocol::TopicKey;
use parking_lot::Mutex;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::config::RedisConfig;
use super::connect::{self, Link};
use super::connect_error::{is_servers, server_words};
use super::line::Line;
use crate::backplane::PublishError;

/// Publishes without an answer at the same time. More wait, within their own `response_timeout`.
const PUBLISHES_MAX: usize = 1_024;

/// What callers share with the supervisor.
#[derive(Debug)]
pub(super) struct Publisher {
    config: Arc<RedisConfig>,
    /// None while Redis is away.
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Publisher {
    pub(super) fn new(config: Arc<RedisConfig>) -> Publisher {
        Publisher { config, connection: Mutex::default() }
    }

    /// Whether Redis answered lately.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.lock().is_some()
    }

    pub(super) async fn publish(&self, topic: &TopicKey, payload: &[u8]) -> Result<(), PublishError> {
        let connection = self.connection.lock().clone();
        let mut connection = connection.ok_or(PublishError::Unavailable)?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.config.prefix.channel(topic)).arg(payload);
        match timeout(self.config.response_timeout, publish.exec_async(&mut connection)).await {
            Err(_) => Err(PublishError::Timeout),
            Ok(Err(error)) if is_servers(&error) => Err(PublishError::Refused(server_words(&error))),
            Ok(Err(_)) => Err(PublishError::Unavailable),
            Ok(Ok(())) => Ok(()),
        }
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
        if logged.as_ref() != Some(&error) {
            tracing::warn!(error, "can't publish to Redis; trying again");
            logged = Some(error);
        }
        sleep(backoff.pause(rand::random())).await;
    }
}

/// Offers a connection until it is over. Returns why.
async fn serve(publisher: &Publisher, link: Link) -> String {
    let Link { connection, driver, line } = link;
    *publisher.connection.lock() = Some(connection.clone());
    let error = tokio::select! {
        error = watch(&publisher.config, connection, &line) => error,
        () = driver => line.fault(),
    };
    *publisher.connection.lock() = None;
    error
}

/// Asks for signs of life. Returns why the connection must end.
async fn watch(config: &RedisConfig, mut connection: MultiplexedConnection, line: &Line) -> String {
    loop {
        sleep(config.ping_interval).await;
        let ping = redis::cmd("PING");
        match line.answer(config.response_timeout, ping.exec_async(&mut connection)).await {
            Err(_) => return format!("Redis did not answer for {:?}", config.response_timeout),
            Ok(Err(error)) if !is_servers(&error) => return line.fault(),
            Ok(_) => {}
        }
    }
}
