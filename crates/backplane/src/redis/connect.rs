//! From an address to a connection that is fit for use: socket, login, and a look at who answers.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value};
use tokio::time::timeout;

use super::config::RedisConfig;
use super::connect_error::{Cause, ConnectError};
use super::line::{Line, WatchedSocket};
use super::secret::Secret;
use super::socket;
use crate::inbox::InboxSender;

/// The first version with functions and sharded pub/sub; all of Valkey has them.
const MAJOR_VERSION_MIN: u32 = 7;

/// A connection that is fit for use, for as long as somebody polls its driver.
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    /// Reads and writes the socket; ends when the connection is over.
    pub(super) driver: Driver,
    pub(super) line: Arc<Line>,
}

pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Connects and logs in. `inbox` holds reading back while it is full.
pub(super) async fn open(
    config: &RedisConfig,
    line: Arc<Line>,
    inbox: Option<InboxSender>,
    options: AsyncConnectionConfig,
) -> Result<Link, ConnectError> {
    let opening = async {
        let password = read_password(config).await?;
        let socket = socket::open(config).await?;
        let socket = WatchedSocket::new(socket, Arc::clone(&line), inbox);
        // Timeouts are ours: they know when silence is our own.
        let options = options.set_response_timeout(None).set_connection_timeout(None);
        let limit = config.response_timeout;
        let handshake = log_in(config, password.as_ref(), socket, options);
        let (connection, driver) = timeout(limit, handshake).await.unwrap_or(Err(Cause::AnswerTimeout { limit }))?;
        Ok(Link { connection, driver, line })
    };
    opening.await.map_err(|cause| ConnectError { server: config.server.to_string(), cause })
}

async fn read_password(config: &RedisConfig) -> Result<Option<Secret>, Cause> {
    match &config.password_file {
        None => Ok(config.server.password.clone()),
        Some(path) => match tokio::fs::read_to_string(path).await {
            Ok(text) => Ok(Some(Secret::new(text.trim()))),
            Err(error) => Err(Cause::PasswordFile { path: path.clone(), error }),
        },
    }
}

async fn log_in(
    config: &RedisConfig,
    password: Option<&Secret>,
    socket: WatchedSocket,
    options: AsyncConnectionConfig,
) -> Result<(MultiplexedConnection, Driver), Cause> {
    let login = config.server.login(password);
    let (mut connection, driver) = MultiplexedConnection::new_with_config(&login, socket, options)
        .await
        .map_err(|error| Cause::from_handshake(&error, password))?;
    let mut driver: Driver = Box::pin(driver);
    // The login's own HELLO has the same answer, but the library keeps it to itself. Unlike INFO, no ACL denies it.
    let hello = redis::cmd("HELLO");
    let answer = tokio::select! {
        answer = hello.query_async::<HashMap<String, Value>>(&mut connection) => answer,
        () = &mut driver => return Err(Cause::Closed),
    };
    let answer = answer.map_err(|error| Cause::from_handshake(&error, password))?;
    check_server(&answer)?;
    Ok((connection, driver))
}

/// Is the server one that this version can use? See <https://redis.io/docs/latest/commands/hello/>.
fn check_server(hello: &HashMap<String, Value>) -> Result<(), Cause> {
    let text = |field: &str| match hello.get(field) {
        Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).unwrap_or_default(),
        Some(Value::SimpleString(text)) => text,
        _ => "",
    };
    let version = text("version");
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).ok_or(Cause::NotRedis)?;
    match (text("mode"), text("role")) {
        ("sentinel", _) => Err(Cause::Sentinel),
        _ if major < MAJOR_VERSION_MIN => Err(Cause::TooOld { version: version.to_owned() }),
        ("cluster", _) => Err(Cause::Cluster),
        (_, "replica" | "slave") => Err(Cause::Replica),
        _ => Ok(()),
    }
}
