//! Durable events as the function library takes and answers them: the commands, and what their answers mean. Deliberately no
//! connection: one server and each primary of a cluster are asked the same.

use bytes::Bytes;
use fanfare_protocol::{Position, TopicKey};
use redis::{Cmd, Value};

use super::library::Library;
use crate::backplane::PublishError;
use crate::history::{Keep, MAXLEN_DEFAULT, Page, Read, ReadError, ReadLimits, Stored, TTL_DEFAULT, Tail};
use crate::keyspace::Prefix;

/// What is said of an answer that no function of ours gives.
const NOT_OURS: &str = "the answer is none of Fanfare's function library: is another one of the same name loaded?";

/// The command of a durable publish.
pub(super) fn publish(functions: &Library, prefix: &Prefix, topic: &TopicKey, envelope: &[u8], keep: &Keep) -> Cmd {
    // All keys are declared: a slot that migrates then answers TRYAGAIN instead of half a publish.
    let mut keys = vec![prefix.channel(topic), prefix.head(topic)];
    keys.extend(keep.id.as_ref().map(|id| prefix.id(topic, id)));
    let mut command = functions.command("fanfare_publish", &keys);
    command.arg(envelope);
    // The library's own defaults are left out: it is faster without.
    if keep.maxlen != MAXLEN_DEFAULT {
        command.arg("maxlen").arg(keep.maxlen);
    }
    if keep.ttl != TTL_DEFAULT {
        command.arg("ttl_ms").arg(u64::try_from(keep.ttl.as_millis()).unwrap_or(u64::MAX));
    }
    if let Some(id) = &keep.id {
        command.arg("id").arg(&**id);
    }
    command
}

/// The answer to a durable publish.
pub(super) fn published(answer: &Value) -> Result<Position, PublishError> {
    let position = text(answer).unwrap_or_default();
    position.parse().map_err(|_| PublishError::Refused(format!("`{position}` is no position: {NOT_OURS}")))
}

/// The command that reads these topics, whose channels are `channels`.
pub(super) fn read(functions: &Library, channels: &[String], reads: &[Read], limits: ReadLimits) -> Cmd {
    let mut command = functions.command("fanfare_read", channels);
    limit(&mut command, limits);
    for read in reads {
        command.arg(text_of(read.after));
    }
    command
}

/// The answers to a read, one for each of so many topics.
pub(super) fn tails(answer: Value, count: usize) -> Result<Vec<Result<Tail, ReadError>>, ReadError> {
    match answer {
        Value::Array(answers) if answers.len() == count => Ok(answers.into_iter().map(tail).collect()),
        _ => Err(not_ours()),
    }
}

fn tail(answer: Value) -> Result<Tail, ReadError> {
    let answer = match answer {
        Value::Array(answer) => answer,
        // Why this one topic can't be read.
        words => return Err(text(&words).map_or_else(not_ours, |words| ReadError::Refused(words.to_owned()))),
    };
    let mut answer = answer.into_iter();
    let (Some(position), Some(Value::Int(more))) = (answer.next(), answer.next()) else { return Err(not_ours()) };
    let position = match text(&position) {
        Some("") => Position::NONE,
        position => parse(position)?,
    };
    Ok(Tail { position, events: events(answer)?, more: more == 1 })
}

/// The command for a page of a history. None when nothing can stand before: Redis takes that for no place at all.
pub(super) fn history(functions: &Library, channel: &str, before: Option<Position>, limits: ReadLimits) -> Option<Cmd> {
    if before == Some(Position::NONE) {
        return None;
    }
    let mut command = functions.command("fanfare_history", &[channel]);
    limit(&mut command, limits);
    command.arg(text_of(before));
    Some(command)
}

/// The answer to that.
pub(super) fn page(answer: Value) -> Result<Page, ReadError> {
    let Value::Array(answer) = answer else { return Err(not_ours()) };
    let mut answer = answer.into_iter();
    let Some(Value::Int(more)) = answer.next() else { return Err(not_ours()) };
    let mut events = events(answer)?;
    events.reverse();
    Ok(Page { events, more: more == 1 })
}

/// The page before the beginning.
pub(super) fn no_page() -> Page {
    Page { events: Vec::new(), more: false }
}

fn limit(command: &mut Cmd, limits: ReadLimits) {
    command.arg(limits.events_max.max(1)).arg(limits.bytes_max.max(1));
}

/// `id, envelope, id, envelope, …`
fn events(mut answer: std::vec::IntoIter<Value>) -> Result<Vec<Stored>, ReadError> {
    let mut events = Vec::with_capacity(answer.len() / 2);
    while let Some(id) = answer.next() {
        let position = parse(text(&id))?;
        let Some(Value::BulkString(envelope)) = answer.next() else { return Err(not_ours()) };
        events.push(Stored { position, envelope: Bytes::from(envelope) });
    }
    Ok(events)
}

fn parse(position: Option<&str>) -> Result<Position, ReadError> {
    position.and_then(|text| text.parse().ok()).ok_or_else(not_ours)
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn text_of(position: Option<Position>) -> String {
    position.map_or_else(String::new, |position| position.to_string())
}

pub(super) fn not_ours() -> ReadError {
    ReadError::Refused(NOT_OURS.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::redis::config::RedisConfig;
    use crate::redis::server::RedisServer;

    #[test]
    fn nothing_is_asked_before_the_beginning() {
        let functions = Library::new(&RedisConfig::new(RedisServer::parse("redis://a").unwrap()));
        let limits = ReadLimits { events_max: 1, bytes_max: 1 };
        let is_asked = |before| history(&functions, "fanfare:acme:tenant", before, limits).is_some();
        assert!(!is_asked(Some(Position::NONE)));
        assert!(is_asked(None) && is_asked(Some(Position { epoch: 7, seq: 1 })));
    }

    #[test]
    fn what_no_function_of_ours_answers_is_told_as_such() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        assert_eq!(published(&text("7-1")), Ok(Position { epoch: 7, seq: 1 }));
        for answer in [text("OK"), Value::Nil, Value::Int(1)] {
            let error = published(&answer).unwrap_err().to_string();
            assert!(error.contains("is no position") && error.contains(NOT_OURS), "{error}");
            assert_eq!(page(answer.clone()), Err(not_ours()));
            assert_eq!(tails(answer, 1), Err(not_ours()));
        }
        assert_eq!(tails(Value::Array(Vec::new()), 1), Err(not_ours()));
        let page = page(Value::Array(vec![Value::Int(1), text("7-2"), text("{b}"), text("7-1"), text("{a}")])).unwrap();
        let seqs: Vec<_> = page.events.iter().map(|event| event.position.seq).collect();
        assert_eq!((seqs, page.more), (vec![1, 2], true));
    }
}
