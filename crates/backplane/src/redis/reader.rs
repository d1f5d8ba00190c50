//! Reads histories over a small pool of connections of its own, so that a long answer holds up neither a publish nor
//! another read. Deliberately no publishing, no subscribing, and no judgement of what it reads.

use std::path::Path;
use std::time::Duration;

use deadpool_redis::{Manager, Pool, PoolError, Runtime};
use fanfare_protocol::{Position, TopicKey};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisError};
use redis::{ClientTlsConfig, TlsCertificates, Value};

use super::config::{ClientCertificate, RedisConfig};
use super::connect;
use super::connect_error::{Cause, is_servers, server_words};
use super::histories::{self, not_ours, text};
use super::library::CallError;
use super::line::Line;
use super::publisher::{Publisher, leave_demoted};
use super::server::Endpoint;
use crate::history::{Page, Read, ReadError, ReadLimits, Tail};

/// Topics in one call: more would hold up everything else on the server for too long.
const CALL_TOPICS_MAX: usize = 256;
/// Envelopes that one call may bring, when all its topics bring as much as they may: 8 MiB. One event of each may go beyond.
const CALL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Calls on their way at the same time, and connections.
const CALLS_MAX: usize = 4;

/// Reads with what the publisher's supervisor offers.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    config: &'a RedisConfig,
    publisher: &'a Publisher,
}

/// Makes the pool that belongs to a new command connection. It connects when it is used.
pub(super) async fn pool(config: &RedisConfig, endpoint: &Endpoint) -> Result<Pool, Cause> {
    let address = match endpoint {
        Endpoint::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        Endpoint::Tls { host, port } => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
        Endpoint::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    let password = connect::read_password(config).await?;
    let broken = |error: RedisError| Cause::from_handshake(&error, password.as_ref());
    let login = config.server.login(password.as_ref());
    let info = address.into_connection_info().map_err(broken)?.set_redis_settings(login);
    let info = match (endpoint, certificates(config).await?) {
        (Endpoint::Tls { .. }, Some(certificates)) => {
            let client = Client::build_with_tls(info, certificates).map_err(|error| Cause::Tls(error.to_string()))?;
            client.get_connection_info().clone()
        }
        _ => info,
    };
    let (connect_timeout, response_timeout) = (config.connect_timeout, config.response_timeout);
    let options = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(connect_timeout))
        .set_response_timeout(Some(response_timeout));
    let manager = Manager::new_with_config(info, options).map_err(broken)?;
    Pool::builder(manager)
        .max_size(CALLS_MAX)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(response_timeout))
        .create_timeout(Some(connect_timeout + response_timeout))
        .recycle_timeout(Some(response_timeout))
        .build()
        .map_err(|error| Cause::Server(error.to_string()))
}

/// What the configuration has of certificates; none: the system's roots, and no certificate of our own.
async fn certificates(config: &RedisConfig) -> Result<Option<TlsCertificates>, Cause> {
    let root_cert = match &config.ca_file {
        None => None,
        Some(path) => Some(tokio::fs::read(path).await.map_err(|error| {
            let error = error.to_string();
            Cause::CaFile { path: path.clone(), error }
        })?),
    };
    let client_tls = match &config.client_certificate {
        None => None,
        Some(ClientCertificate { cert_file, key_file }) => {
            let read = async |path: &Path| {
                tokio::fs::read(path).await.map_err(|error| Cause::Tls(format!("{}: {error}", path.display())))
            };
            Some(ClientTlsConfig { client_cert: read(cert_file).await?, client_key: read(key_file).await? })
        }
    };
    let is_any = root_cert.is_some() || client_tls.is_some();
    Ok(is_any.then_some(TlsCertificates { client_tls, root_cert }))
}

impl<'a> Reader<'a> {
    pub(super) fn new(config: &'a RedisConfig, publisher: &'a Publisher) -> Reader<'a> {
        Reader { config, publisher }
    }

    pub(super) async fn read(&self, reads: &[Read], limits: ReadLimits) -> Vec<Result<Tail, ReadError>> {
        let calls: Vec<BoxFuture<'_, _>> = batches(reads, limits)
            .map(|batch| {
                let call = async move {
                    match self.read_batch(batch, limits).await {
                        Ok(tails) => tails,
                        Err(error) => vec![Err(error); batch.len()],
                    }
                };
                call.boxed()
            })
            .collect();
        stream::iter(calls).buffered(CALLS_MAX).collect::<Vec<_>>().await.concat()
    }

    pub(super) async fn history(
        &self,
        topic: &TopicKey,
        before: Option<Position>,
        limits: ReadLimits,
    ) -> Result<Page, ReadError> {
        let channel = self.config.prefix.channel(topic);
        match histories::history(self.publisher.functions(), &channel, before, limits) {
            Some(command) => histories::page(self.call(command, Duration::ZERO).await?),
            None => Ok(histories::no_page()),
        }
    }

    /// One answer for each topic, if there is any.
    async fn read_batch(&self, reads: &[Read], limits: ReadLimits) -> Result<Vec<Result<Tail, ReadError>>, ReadError> {
        let channels: Vec<_> = reads.iter().map(|read| self.config.prefix.channel(&read.topic)).collect();
        let command = histories::read(self.publisher.functions(), &channels, reads, limits);
        let answer = self.call(command, self.config.response_timeout).await?;
        let mut tails = histories::tails(answer, reads.len())?;
        let to_begin: Vec<_> = (0..tails.len())
            .filter(|&at| tails[at].as_ref().is_ok_and(|tail| tail.position == Position::NONE))
            .collect();
        if !to_begin.is_empty() {
            let channels: Vec<_> = to_begin.iter().map(|&at| channels[at].as_str()).collect();
            let positions = self.begin(&channels).await?;
            for (at, position) in to_begin.into_iter().zip(positions) {
                if let Ok(tail) = &mut tails[at] {
                    tail.position = position;
                }
            }
        }
        Ok(tails)
    }

    /// Begins epochs. Where that is refused, nothing can be proven, and what is there is still of use.
    async fn begin(&self, channels: &[&str]) -> Result<Vec<Position>, ReadError> {
        let answers =
            match self.call(self.publisher.functions().command("fanfare_begin", channels), Duration::ZERO).await {
                Ok(Value::Array(answers)) => answers,
                Ok(_) => return Err(not_ours()),
                Err(ReadError::Refused(error)) => {
                    self.publisher.note_unprovable(&error);
                    return Ok(vec![Position::NONE; channels.len()]);
                }
                Err(error) => return Err(error),
            };
        let position = |answer: &Value| {
            let text = text(answer).unwrap_or_default();
            text.parse().unwrap_or_else(|_| {
                self.publisher.note_unprovable(text);
                Position::NONE
            })
        };
        Ok(answers.iter().map(position).chain(std::iter::repeat(Position::NONE)).take(channels.len()).collect())
    }

    /// `wait`: how long the connection may be away.
    async fn call(&self, command: Cmd, wait: Duration) -> Result<Value, ReadError> {
        let offer = self.publisher.offer_within(wait).await.ok_or(ReadError::Unavailable)?;
        let calling = async {
            let mut connection = offer.pool.get().await.map_err(|error| not_connected(&error, &offer.line))?;
            match self.publisher.functions().call(&mut connection, &command).await {
                Ok(answer) => Ok(answer),
                Err(CallError::Refused(error)) => {
                    leave_demoted(&offer.line, &error);
                    Err(ReadError::Refused(error))
                }
                Err(CallError::Broken(error)) => {
                    // Not back into the pool, where the next one would wait for the same answer.
                    drop(deadpool_redis::Connection::take(connection));
                    Err(if error.is_timeout() { ReadError::Timeout } else { ReadError::Unavailable })
                }
            }
        };
        tokio::select! {
            answer = calling => answer,
            // What comes of a connection that is over may be another server's than the next one.
            () = offer.over() => Err(ReadError::Unavailable),
        }
    }
}

/// As many topics as fit into one call.
fn batches(reads: &[Read], limits: ReadLimits) -> impl Iterator<Item = &[Read]> {
    let with_events_max = (CALL_BYTES_MAX / limits.bytes_max.max(1)).clamp(1, CALL_TOPICS_MAX);
    let mut rest = reads;
    std::iter::from_fn(move || {
        let mut with_events = 0;
        let fits = |read: &&Read| {
            with_events += usize::from(read.after.is_some());
            with_events <= with_events_max
        };
        let len = rest.iter().take(CALL_TOPICS_MAX).take_while(fits).count();
        let (batch, others) = rest.split_at(len);
        rest = others;
        (!batch.is_empty()).then_some(batch)
    })
}

pub(super) fn not_connected(error: &PoolError, line: &Line) -> ReadError {
    match error {
        PoolError::Timeout(_) => ReadError::Timeout,
        PoolError::Backend(error) if error.is_timeout() => ReadError::Timeout,
        PoolError::Backend(error)
            if error.kind() == ErrorKind::AuthenticationFailed
                || matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) =>
        {
            // It is read again with the next command connection, and only then.
            line.fail("Redis does not accept the password any more");
            ReadError::Unavailable
        }
        PoolError::Backend(error) if is_servers(error) => ReadError::Refused(server_words(error)),
        _ => ReadError::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn reads(count: usize, with_events: impl Fn(usize) -> bool) -> Vec<Read> {
        let topic = |number| TopicKey::parse(&format!("acme:channel:{number}")).unwrap();
        let after = |number| with_events(number).then_some(Position::NONE);
        (0..count).map(|number| Read { topic: topic(number), after: after(number) }).collect()
    }

    fn sizes(reads: &[Read], bytes_max: usize) -> Vec<usize> {
        let limits = ReadLimits { events_max: 100, bytes_max };
        let batches: Vec<_> = batches(reads, limits).collect();
        assert_eq!(batches.concat(), reads);
        batches.iter().map(|batch| batch.len()).collect()
    }

    #[test]
    fn a_call_is_bounded_in_topics_and_in_what_they_may_bring() {
        assert!(sizes(&[], 1).is_empty());
        assert_eq!(sizes(&reads(600, |_| false), 1_000_000_000), [256, 256, 88]);
        assert_eq!(sizes(&reads(600, |_| true), 1), [256, 256, 88]);
        assert_eq!(sizes(&reads(40, |_| true), 512 * 1024), [16, 16, 8]);
        assert_eq!(sizes(&reads(3, |_| true), usize::MAX), [1, 1, 1]);
        // Two of three only say where they stand.
        assert_eq!(sizes(&reads(12, |number| number % 3 == 0), 4 * 1024 * 1024), [6, 6]);
    }
}
