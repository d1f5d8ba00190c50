//! Requests on a Redis server: the commands that append one and ask what became of it, and what they are answered with.
//! Deliberately no functions of the library: a backend can do the same by hand, and a full Redis refuses both alike.

use std::collections::HashMap;

use fanfare_protocol::Tenant;
use redis::{Cmd, Value};
use tokio::time::timeout;

use super::config::RedisConfig;
use super::histories;
use super::library::CallError;
use super::publisher::{Publisher, leave_demoted};
use crate::backplane::PublishError;
use crate::history::ReadError;
use crate::keyspace::Prefix;
use crate::request::{EntryId, Request};

/// The server's word for a stream that isn't there.
const NO_STREAM: &str = "no such key";

/// Appends a request to its stream.
pub(super) fn append(prefix: &Prefix, request: &Request<'_>) -> Cmd {
    let mut command = redis::cmd("XADD");
    command.arg(prefix.requests(request.tenant)).arg("MAXLEN").arg("~").arg(request.maxlen).arg("*");
    command.arg("request").arg(request.id.to_string()).arg("method").arg(request.method.as_str());
    command.arg("data").arg(request.data).arg("user").arg(request.user).arg("connection").arg(request.connection);
    command.arg("reply_to").arg(prefix.channel(request.reply_to)).arg("deadline_ms").arg(request.deadline_ms);
    if let Some(traceparent) = request.traceparent {
        command.arg("traceparent").arg(traceparent);
    }
    command
}

/// Asks how far the consumer groups of a tenant's stream have read.
pub(super) fn groups(prefix: &Prefix, tenant: &Tenant) -> Cmd {
    let mut command = redis::cmd("XINFO");
    command.arg("GROUPS").arg(prefix.requests(tenant));
    command
}

/// The answer to [`append`].
pub(super) fn entry(answer: &Value) -> Result<EntryId, PublishError> {
    let entry = histories::text(answer).and_then(|text| text.parse().ok());
    entry.ok_or_else(|| PublishError::Refused("the answer to XADD is no id of an entry".to_owned()))
}

/// Whether the answer to [`groups`] has a group that has come as far as `entry`. A consumer took it then, or was about to.
pub(super) fn is_taken(answer: Value, entry: EntryId) -> Result<bool, ReadError> {
    let strange = || ReadError::Refused("the answer to XINFO GROUPS is not a list of groups".to_owned());
    let groups: Vec<HashMap<String, Value>> = redis::from_redis_value(answer).map_err(|_| strange())?;
    let has_come = |group: &HashMap<String, Value>| {
        let last = group.get("last-delivered-id").and_then(histories::text)?.parse::<EntryId>().ok()?;
        Some(last >= entry)
    };
    groups.iter().try_fold(false, |taken, group| Some(taken | has_come(group)?)).ok_or_else(strange)
}

/// Whether the server says that there is no stream, and so no group.
pub(super) fn is_no_stream(words: &str) -> bool {
    words.contains(NO_STREAM)
}

/// Requests over the connection that publishes.
#[derive(Debug)]
pub(super) struct Requests<'a> {
    config: &'a RedisConfig,
    publisher: &'a Publisher,
}

impl<'a> Requests<'a> {
    pub(super) fn new(config: &'a RedisConfig, publisher: &'a Publisher) -> Requests<'a> {
        Requests { config, publisher }
    }

    pub(super) async fn append(&self, request: &Request<'_>) -> Result<EntryId, PublishError> {
        match self.call(&append(&self.config.prefix, request)).await {
            Err(NoAnswer::NotAsked) => Err(PublishError::Unavailable),
            Err(NoAnswer::Silence) => Err(PublishError::Timeout),
            Err(NoAnswer::Refused(words)) => Err(PublishError::Refused(words)),
            Ok(answer) => entry(&answer),
        }
    }

    pub(super) async fn is_taken(&self, tenant: &Tenant, entry: EntryId) -> Result<bool, ReadError> {
        match self.call(&groups(&self.config.prefix, tenant)).await {
            Err(NoAnswer::NotAsked) => Err(ReadError::Unavailable),
            Err(NoAnswer::Silence) => Err(ReadError::Timeout),
            Err(NoAnswer::Refused(words)) if is_no_stream(&words) => Ok(false),
            Err(NoAnswer::Refused(words)) => Err(ReadError::Refused(words)),
            Ok(answer) => is_taken(answer, entry),
        }
    }

    async fn call(&self, command: &Cmd) -> Result<Value, NoAnswer> {
        let mut connection = self.publisher.connection().ok_or(NoAnswer::NotAsked)?;
        let asked = timeout(self.config.response_timeout, command.query_async(&mut connection)).await;
        match asked.map(|answer| answer.map_err(CallError::from)) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(CallError::Refused(words))) => {
                if let Some(offer) = self.publisher.offer() {
                    leave_demoted(&offer.line, &words);
                }
                Err(NoAnswer::Refused(words))
            }
            Ok(Err(CallError::Broken(_))) | Err(_) => Err(NoAnswer::Silence),
        }
    }
}

/// Why there is no answer.
enum NoAnswer {
    /// There is no connection.
    NotAsked,
    /// The connection broke, or the time was over: it may have been done.
    Silence,
    Refused(String),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn group(last: &str) -> Value {
        let pair = |name: &str, value: &str| {
            (Value::BulkString(name.as_bytes().to_vec()), Value::BulkString(value.as_bytes().to_vec()))
        };
        Value::Map(vec![pair("name", "workers"), pair("last-delivered-id", last)])
    }

    fn taken(groups: &[&str]) -> bool {
        let groups = groups.iter().map(|last| group(last)).collect();
        is_taken(Value::Array(groups), "1000-7".parse().unwrap()).unwrap()
    }

    #[test]
    fn one_group_of_many_that_has_come_so_far_is_enough() {
        assert!(!taken(&[]));
        assert!(!taken(&["0-0"]) && !taken(&["1000-6"]) && !taken(&["999-8"]) && !taken(&["99-9", "1000-0"]));
        assert!(taken(&["1000-7"]) && taken(&["1000-10"]) && taken(&["1001-0"]) && taken(&["0-0", "1000-7", "1-1"]));
        assert!(is_taken(Value::Okay, "1-1".parse().unwrap()).is_err());
        assert!(is_taken(Value::Array(vec![group("nonsense")]), "1-1".parse().unwrap()).is_err());
    }
}
