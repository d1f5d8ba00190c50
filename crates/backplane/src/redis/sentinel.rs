//! Which server is the primary now, as the Sentinels say, see <https://redis.io/docs/latest/develop/reference/sentinel-clients/>.
//!
//! All of them are asked, each time anew and over a connection of its own. One that is cut off goes on naming the primary
//! of before a failover, so where they differ the newest configuration counts; and what they name is not believed before
//! it says itself that it is a primary. It deliberately keeps nothing from one time to the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisResult};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::config::RedisConfig;
use super::connect::{log_in, mode, read_secret};
use super::connect_error::Cause;
use super::line::{Line, WatchedSocket};
use super::secret::Secret;
use super::server::{Address, Endpoint, Sentinels};
use super::socket;

/// When one Sentinel has answered, how long the others may take to say something newer. One that is down must not hold
/// up the way back.
const GRACE: Duration = Duration::from_millis(100);

/// What one Sentinel says.
struct Opinion {
    primary: Endpoint,
    /// Grows with each failover.
    epoch: u64,
}

/// Asks for the primary. Takes as long as connecting and one answer may take, at most.
pub(super) async fn locate(config: &RedisConfig, sentinels: &Sentinels) -> Result<Endpoint, Cause> {
    let password = match &config.sentinel_password_file {
        None => None,
        Some(path) => Some(read_secret(path).await?),
    };
    let asking = sentinels.endpoints.iter().map(async |endpoint| {
        let opinion = ask(config, endpoint, &sentinels.name, password.as_ref()).await;
        opinion.map_err(|cause| (endpoint.authority(), cause.of_sentinel()))
    });
    let mut asking: FuturesUnordered<_> = asking.collect();
    let mut newest: Option<Opinion> = None;
    let mut failures = Vec::new();
    let mut end = None;
    loop {
        let answer = tokio::select! {
            answer = asking.next() => answer,
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => None,
        };
        match answer {
            None => break,
            Some(Err(failure)) => failures.push(failure),
            Some(Ok(opinion)) => {
                end.get_or_insert_with(|| Instant::now() + GRACE);
                if newest.as_ref().is_none_or(|newest| newest.epoch < opinion.epoch) {
                    newest = Some(opinion);
                }
            }
        }
    }
    match newest {
        Some(opinion) => Ok(opinion.primary),
        None if failures.iter().any(|(_, cause)| matches!(cause, Cause::UnknownMaster { .. })) => {
            Err(Cause::UnknownMaster { name: sentinels.name.clone() })
        }
        None => Err(Cause::NoSentinel(failures)),
    }
}

/// Ends when the Sentinels name another primary than the one a connection leads to: the text says so. Without Sentinel it
/// never ends.
pub(super) async fn moved(config: &RedisConfig, endpoint: &Endpoint) -> String {
    let Address::Sentinel(sentinels) = &config.server.address else {
        return std::future::pending().await;
    };
    loop {
        sleep(config.ping_interval).await;
        // That no Sentinel answers is no reason to leave a server that does.
        if let Ok(primary) = locate(config, sentinels).await
            && primary != *endpoint
        {
            return format!(
                "Sentinel names {} as the primary, no longer {}",
                primary.authority(),
                endpoint.authority()
            );
        }
    }
}

async fn ask(
    config: &RedisConfig,
    sentinel: &Endpoint,
    name: &str,
    password: Option<&Secret>,
) -> Result<Opinion, Cause> {
    let socket = socket::open(config, sentinel).await?;
    let limit = config.response_timeout;
    let line = Line::new();
    let asking = async {
        let socket = WatchedSocket::new(socket, Arc::clone(&line), None);
        let mut login = RedisConnectionInfo::default()
            .set_protocol(redis::ProtocolVersion::RESP3)
            .set_lib_name("fanfare", env!("CARGO_PKG_VERSION"));
        if let Some(password) = password {
            login = login.set_password(password.reveal());
        }
        let (mut connection, driver, hello) = log_in(login, password, socket, AsyncConnectionConfig::new()).await?;
        if mode(&hello) != "sentinel" {
            return Err(Cause::NotSentinel);
        }
        let answer = tokio::select! {
            answer = ask_connected(&mut connection, name) => answer,
            () = driver => return Err(Cause::Closed),
        };
        let (primary, epoch) = answer.map_err(|error| Cause::from_handshake(&error, password))?;
        let (host, port) = primary.ok_or_else(|| Cause::UnknownMaster { name: name.to_owned() })?;
        Ok(Opinion { primary: Endpoint::new(host, port, sentinel.is_tls()), epoch })
    };
    let asked = timeout(limit, asking).await.unwrap_or(Err(Cause::AnswerTimeout { limit }));
    asked.map_err(|cause| cause.over(sentinel, &line))
}

/// The primary's address, and the configuration's age.
async fn ask_connected(
    connection: &mut MultiplexedConnection,
    name: &str,
) -> RedisResult<(Option<(String, u16)>, u64)> {
    let mut get = redis::cmd("SENTINEL");
    let primary = get.arg("GET-MASTER-ADDR-BY-NAME").arg(name).query_async(connection).await?;
    let mut describe = redis::cmd("SENTINEL");
    // A user who may not ask this gets an address all the same.
    let described: RedisResult<HashMap<String, String>> =
        describe.arg("MASTER").arg(name).query_async(connection).await;
    let epoch = described.ok().and_then(|fields| fields.get("config-epoch")?.parse().ok());
    Ok((primary, epoch.unwrap_or(0)))
}
