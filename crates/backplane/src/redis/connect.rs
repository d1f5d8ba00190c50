//! From an address to a connection that is fit for use: which server, socket, login, and a look at who answers.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisResult, Value};
use tokio::time::timeout;

use super::config::RedisConfig;
use super::connect_error::{Cause, ConnectError, is_servers};
use super::line::{Line, Silent, WatchedSocket};
use super::secret::Secret;
use super::server::{Address, Endpoint};
use super::{sentinel, socket};
use crate::inbox::InboxSender;

/// The first version with functions and sharded pub/sub; all of Valkey has them.
const MAJOR_VERSION_MIN: u32 = 7;

/// A connection that is fit for use, for as long as somebody polls its driver.
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    /// Reads and writes the socket; ends when the connection is over.
    pub(super) driver: Driver,
    pub(super) line: Arc<Line>,
    /// Where it leads.
    pub(super) endpoint: Endpoint,
}

pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a server says about itself, see <https://redis.io/docs/latest/commands/hello/>.
pub(super) type Hello = HashMap<String, Value>;

/// Why a connection ends whose server has become a replica.
pub(super) const DEMOTED: &str =
    "it has become a replica, where publishing reaches only its own subscribers; looking for the primary";

/// Connects and logs in. `inbox` holds reading back while it is full.
pub(super) async fn open(
    config: &RedisConfig,
    line: Arc<Line>,
    inbox: Option<InboxSender>,
    options: AsyncConnectionConfig,
) -> Result<Link, ConnectError> {
    let opening = async {
        let password = read_password(config).await?;
        let endpoint = match &config.server.address {
            Address::Fixed(endpoint) | Address::Primary(endpoint) | Address::Member(endpoint) => endpoint.clone(),
            Address::Cluster(_) => return Err(Cause::Cluster),
            Address::Sentinel(sentinels) => sentinel::locate(config, sentinels).await?,
        };
        let opening = async {
            let socket = socket::open(config, &endpoint).await?;
            let socket = WatchedSocket::new(socket, Arc::clone(&line), inbox);
            let limit = config.response_timeout;
            let handshake = log_in(config.server.login(password.as_ref()), password.as_ref(), socket, options);
            let (connection, driver, hello) =
                timeout(limit, handshake).await.unwrap_or(Err(Cause::AnswerTimeout { limit }))?;
            check_server(&config.server.address, &hello)?;
            Ok((connection, driver))
        };
        let opened = opening.await.map_err(|cause| explain(config, &endpoint, &line, cause));
        let (connection, driver) = opened?;
        Ok(Link { connection, driver, line, endpoint })
    };
    opening.await.map_err(|cause| ConnectError { server: config.server.to_string(), cause })
}

/// Adds what only the whole picture tells.
fn explain(config: &RedisConfig, endpoint: &Endpoint, line: &Line, cause: Cause) -> Cause {
    match (&config.server.address, cause.over(endpoint, line)) {
        (Address::Fixed(_) | Address::Cluster(_) | Address::Primary(_) | Address::Member(_), cause) => cause,
        (Address::Sentinel(_), cause) => {
            let cause = if matches!(cause, Cause::Replica) { Cause::Demoted } else { cause };
            Cause::Primary { endpoint: endpoint.authority(), cause: Box::new(cause) }
        }
    }
}

pub(super) async fn read_password(config: &RedisConfig) -> Result<Option<Secret>, Cause> {
    match &config.password_file {
        None => Ok(config.server.password.clone()),
        Some(path) => read_secret(path).await.map(Some),
    }
}

pub(super) async fn read_secret(path: &Path) -> Result<Secret, Cause> {
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(error) => Err(Cause::PasswordFile { path: path.to_owned(), error }),
    }
}

/// Says who we are, and asks who answers.
pub(super) async fn log_in(
    login: RedisConnectionInfo,
    password: Option<&Secret>,
    socket: WatchedSocket,
    options: AsyncConnectionConfig,
) -> Result<(MultiplexedConnection, Driver, Hello), Cause> {
    // Timeouts are ours: they know when silence is our own.
    let options = options.set_response_timeout(None).set_connection_timeout(None);
    let (mut connection, driver) = MultiplexedConnection::new_with_config(&login, socket, options)
        .await
        .map_err(|error| Cause::from_handshake(&error, password))?;
    let mut driver: Driver = Box::pin(driver);
    // The login's own HELLO has the same answer, but the library keeps it to itself.
    let answer = tokio::select! {
        answer = hello(&mut connection) => answer,
        () = &mut driver => return Err(Cause::Closed),
    };
    let answer = answer.map_err(|error| Cause::from_handshake(&error, password))?;
    Ok((connection, driver, answer))
}

/// Unlike `INFO` or `PING`, no ACL denies it, and it may be asked on a pub/sub connection too.
async fn hello(connection: &mut MultiplexedConnection) -> RedisResult<Hello> {
    redis::cmd("HELLO").query_async(connection).await
}

/// Asks for a sign of life. True when the server has become a replica since it was connected to.
pub(super) async fn is_replica(connection: &mut MultiplexedConnection) -> RedisResult<bool> {
    Ok(is_replicas(&hello(connection).await?))
}

/// Is the connection still fit for use, after such an answer? An error says why not; one of the server's is a sign of life.
pub(super) fn fit(is_replica: Result<RedisResult<bool>, Silent>, line: &Line) -> Result<(), String> {
    match is_replica {
        Err(silent) => Err(silent.to_string()),
        Ok(Err(error)) if !is_servers(&error) => Err(line.fault()),
        Ok(Ok(true)) => Err(DEMOTED.to_owned()),
        Ok(_) => Ok(()),
    }
}

/// Did a replica say this?
pub(super) fn is_replicas(hello: &Hello) -> bool {
    matches!(text(hello, "role"), "replica" | "slave")
}

/// What kind of server it is: `standalone`, `cluster`, `sentinel`.
pub(super) fn mode(hello: &Hello) -> &str {
    text(hello, "mode")
}

fn text<'a>(hello: &'a Hello, field: &str) -> &'a str {
    match hello.get(field) {
        Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).unwrap_or_default(),
        Some(Value::SimpleString(text)) => text,
        _ => "",
    }
}

/// Is the server one that this version can use?
pub(super) fn check_server(address: &Address, hello: &Hello) -> Result<(), Cause> {
    let is_of_cluster = matches!(address, Address::Primary(_) | Address::Member(_));
    let version = text(hello, "version");
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).ok_or(Cause::NotRedis)?;
    match (mode(hello), text(hello, "role")) {
        ("sentinel", _) => Err(Cause::Sentinel),
        _ if major < MAJOR_VERSION_MIN => Err(Cause::TooOld { version: version.to_owned() }),
        ("cluster", _) if !is_of_cluster => Err(Cause::Cluster),
        ("cluster", "replica" | "slave") if matches!(address, Address::Primary(_)) => Err(Cause::NoPrimary),
        ("cluster", _) => Ok(()),
        _ if is_of_cluster => Err(Cause::NotCluster),
        (_, "replica" | "slave") => Err(Cause::Replica),
        _ => Ok(()),
    }
}
