//! Who is there, on Redis: the function library's commands for it, and what their answers mean. Topics share a call where one
//! server has all of them; on a cluster each has its own.

use std::sync::Arc;

use fanfare_protocol::TopicKey;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use redis::{Cmd, Value};

use super::library::Library;
use super::{Kind, Node};
use crate::backplane::PublishError;
use crate::presence::{
    Each, PRESENCE_USERS_MAX, PresenceCursor, PresenceLimits, PresencePage, PresenceUser, PresenceUsers, Refreshed,
    Voucher,
};

/// Topics in one call: more would hold up everything else on the server for too long.
const CALL_TOPICS_MAX: usize = 256;
/// Calls on their way to a cluster at the same time.
const CALLS_MAX: usize = 64;

const NOT_OURS: &str = "the answer is none of Fanfare's function library: is another one of the same name loaded?";

/// What a node tells of users.
#[derive(Clone, Copy)]
enum Word {
    Join,
    Leave,
    Refresh { purge: bool },
}

impl Node {
    pub(crate) async fn presence_join(&self, voucher: &Voucher, topics: &[PresenceUsers]) -> Each<()> {
        let answers = self.tell_presence(Word::Join, voucher, topics).await;
        answers.into_iter().map(|answer| answer.and_then(|answer| counted(&answer))).collect()
    }

    pub(crate) async fn presence_leave(&self, voucher: &Voucher, topics: &[PresenceUsers]) -> Each<()> {
        let answers = self.tell_presence(Word::Leave, voucher, topics).await;
        answers.into_iter().map(|answer| answer.and_then(|answer| counted(&answer))).collect()
    }

    pub(crate) async fn presence_refresh(
        &self,
        voucher: &Voucher,
        topics: &[PresenceUsers],
        purge: bool,
    ) -> Each<Refreshed> {
        let answers = self.tell_presence(Word::Refresh { purge }, voucher, topics).await;
        answers.into_iter().map(|answer| answer.and_then(refreshed)).collect()
    }

    pub(crate) async fn presence_page(
        &self,
        topic: &TopicKey,
        limits: PresenceLimits,
        cursor: &PresenceCursor,
    ) -> Result<(PresencePage, bool), PublishError> {
        let keys = self.presence_keys(topic);
        let mut command = self.presence_library().command("fanfare_presence_list", &keys);
        command.arg(limits.users_max.clamp(1, PRESENCE_USERS_MAX)).arg(limits.bytes_max.max(1)).arg(cursor.to_string());
        page(self.call_presence(&keys[0], &command).await?)
    }

    /// One answer for each topic, in order.
    async fn tell_presence(&self, word: Word, voucher: &Voucher, topics: &[PresenceUsers]) -> Each<Value> {
        let calls: Vec<BoxFuture<'_, Each<Value>>> = calls(topics, matches!(self.kind, Kind::Cluster(_)))
            .into_iter()
            .map(|topics| self.tell_some(word, voucher, topics).boxed())
            .collect();
        // On one server in their order; of a cluster, each has another slot.
        let at_once = if matches!(self.kind, Kind::Cluster(_)) { CALLS_MAX } else { 1 };
        stream::iter(calls).buffered(at_once).collect::<Vec<_>>().await.into_iter().flatten().collect()
    }

    async fn tell_some(&self, word: Word, voucher: &Voucher, topics: &[PresenceUsers]) -> Each<Value> {
        let keys: Vec<_> = topics.iter().flat_map(|users| self.presence_keys(&users.topic)).collect();
        let command = command(self.presence_library(), word, voucher, (&keys, topics));
        match self.call_presence(&keys[0], &command).await {
            Ok(Value::Array(answers)) if answers.len() == topics.len() => answers.into_iter().map(one).collect(),
            Ok(_) => topics.iter().map(|_| Err(not_ours())).collect(),
            Err(error) => topics.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn presence_keys(&self, topic: &TopicKey) -> [String; 2] {
        [self.config.prefix.channel(&topic.presence()), self.config.prefix.info(topic)]
    }

    fn presence_library(&self) -> &Library {
        match &self.kind {
            Kind::Server(server) => server.publisher.functions(),
            Kind::Cluster(cluster) => cluster.functions(),
        }
    }

    async fn call_presence(&self, key: &str, command: &Cmd) -> Result<Value, PublishError> {
        match &self.kind {
            Kind::Server(server) => server.publisher.call(command).await,
            Kind::Cluster(cluster) => cluster.run(key, command).await,
        }
    }
}

/// The topics of each call.
fn calls(topics: &[PresenceUsers], each_alone: bool) -> Vec<&[PresenceUsers]> {
    let mut calls = Vec::new();
    let (mut start, mut users) = (0, 0);
    for (at, topic) in topics.iter().enumerate() {
        let is_full = each_alone || at - start == CALL_TOPICS_MAX || users + topic.users.len() > PRESENCE_USERS_MAX;
        if at > start && is_full {
            calls.push(&topics[start..at]);
            (start, users) = (at, 0);
        }
        users += topic.users.len();
    }
    if start < topics.len() {
        calls.push(&topics[start..]);
    }
    calls
}

fn command(library: &Library, word: Word, voucher: &Voucher, (keys, topics): (&[String], &[PresenceUsers])) -> Cmd {
    let function = match word {
        Word::Join => "fanfare_presence_join",
        Word::Leave => "fanfare_presence_leave",
        Word::Refresh { .. } => "fanfare_presence_refresh",
    };
    let mut command = library.command(function, keys);
    command.arg(&*voucher.node).arg(u64::try_from(voucher.ttl.as_millis()).unwrap_or(u64::MAX));
    for topic in topics {
        command.arg(topic.users.len());
        for user in &topic.users {
            command.arg(&*user.user);
            if matches!(word, Word::Join) {
                command.arg(user.info.as_deref().unwrap_or_default());
            }
        }
    }
    if let Word::Refresh { purge } = word {
        command.arg(u8::from(purge));
    }
    command
}

/// One topic's answer; a text says why there is none.
fn one(answer: Value) -> Result<Value, PublishError> {
    match text(&answer) {
        Some(words) => Err(PublishError::Refused(words.to_owned())),
        None => Ok(answer),
    }
}

fn counted(answer: &Value) -> Result<(), PublishError> {
    if matches!(answer, Value::Int(_)) { Ok(()) } else { Err(not_ours()) }
}

fn refreshed(answer: Value) -> Result<Refreshed, PublishError> {
    let Value::Array(answer) = answer else { return Err(not_ours()) };
    let mut numbers = answer.into_iter().map(|value| match value {
        Value::Int(number) => usize::try_from(number).map_err(|_| not_ours()),
        _ => Err(not_ours()),
    });
    let more = numbers.next().ok_or_else(not_ours)?? == 1;
    let missing = numbers.map(|number| Ok(number?.saturating_sub(1))).collect::<Result<_, PublishError>>()?;
    Ok(Refreshed { missing, more })
}

fn page(answer: Value) -> Result<(PresencePage, bool), PublishError> {
    let Value::Array(answer) = answer else { return Err(not_ours()) };
    let mut answer = answer.into_iter();
    let (Some(Value::Int(stale)), Some(Value::Int(count)), Some(cursor)) =
        (answer.next(), answer.next(), answer.next())
    else {
        return Err(not_ours());
    };
    let cursor = match text(&cursor).ok_or_else(not_ours)? {
        "" => None,
        cursor => Some(cursor.parse().map_err(|_| not_ours())?),
    };
    let mut users = Vec::with_capacity(answer.len() / 2);
    while let (Some(user), Some(info)) = (answer.next(), answer.next()) {
        let (user, info) = (text(&user).ok_or_else(not_ours)?, text(&info).ok_or_else(not_ours)?);
        users.push(PresenceUser { user: user.into(), info: Some(info).filter(|info| !info.is_empty()).map(Arc::from) });
    }
    let page = PresencePage { users, count: u64::try_from(count).unwrap_or_default(), cursor };
    Ok((page, stale == 1))
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn not_ours() -> PublishError {
    PublishError::Refused(NOT_OURS.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn of(users: &[usize]) -> Vec<PresenceUsers> {
        let user = PresenceUser { user: "a".into(), info: None };
        let topic = TopicKey::parse("acme:tenant").unwrap();
        users.iter().map(|&count| PresenceUsers { topic: topic.clone(), users: vec![user.clone(); count] }).collect()
    }

    fn sizes(users: &[usize], each_alone: bool) -> Vec<usize> {
        calls(&of(users), each_alone).iter().map(|call| call.len()).collect()
    }

    #[test]
    fn topics_with_few_users_share_a_call_and_none_is_left_out() {
        assert_eq!(sizes(&[], false), [0; 0]);
        assert_eq!(sizes(&[1, 2, 3], false), [3]);
        assert_eq!(sizes(&[1, 2, 3], true), [1, 1, 1]);
        assert_eq!(sizes(&[1_000, 1, 999, 1], false), [1, 2, 1]);
        assert_eq!(sizes(&[0; 300], false), [256, 44]);
    }

    #[test]
    fn what_no_function_of_ours_answers_is_told_as_such() {
        for answer in [Value::Nil, Value::Int(1), Value::Array(vec![Value::Nil])] {
            assert_eq!(page(answer.clone()), Err(not_ours()));
            assert_eq!(refreshed(answer), Err(not_ours()));
        }
        assert!(counted(&Value::Nil).is_err());
        let words = Value::BulkString(b"NOPERM no".to_vec());
        assert_eq!(one(words), Err(PublishError::Refused("NOPERM no".to_owned())));
    }
}
