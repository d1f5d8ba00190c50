//! Commands of a cluster: each goes to the primary of its slot, and follows the slot when that has moved. What was refused
//! was not done, so only that is repeated, for as long as an answer may take: whether a command whose connection broke was
//! done is not known. Each attempt has that time for itself, since of one that is cut short nobody knows what it did, and
//! then the refusals before it can't be the answer. Deliberately no view of the cluster of its own.

mod requests;

use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::{Position, TopicKey};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Shared;
use super::member::Member;
use super::slots::{redirection, slot_of};
use crate::backplane::PublishError;
use crate::history::{Keep, Page, Read, ReadError, ReadLimits, Tail};
use crate::redis::backoff::Backoff;
use crate::redis::histories::{self, not_ours, text};
use crate::redis::library::CallError;
use crate::redis::publisher::Offer;
use crate::redis::reader;
use crate::redis::server::Endpoint;

/// Reads on their way at the same time.
const READS_MAX: usize = 64;
/// Redirections that one command follows in a row.
const REDIRECTIONS_MAX: u32 = 16;
/// Pauses before a command that met a moving slot, or a primary that is being connected to, is repeated.
const REPEAT_MIN: Duration = Duration::from_millis(2);
const REPEAT_MAX: Duration = Duration::from_millis(100);

/// Over which connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The one that publishes.
    Publishing,
    /// One of those that read, which long answers hold up.
    Reading,
}

/// Why there is no answer.
enum Failure {
    Unavailable,
    /// The connection broke while the answer was awaited.
    Broken,
    Timeout,
    /// The server's words, and what to do about them.
    Refused(String),
}

/// Where a command goes next.
enum Next {
    Owner,
    Redirected { to: Endpoint, asking: bool },
}

/// The attempts at one command.
struct Attempts {
    /// How long each may take, and from the first one on others may be begun.
    limit: Duration,
    end: Instant,
    /// When the present one was.
    begun: Instant,
    backoff: Backoff,
    /// Of the present one.
    redirections: u32,
    /// Why the last one was refused, if that may pass.
    refusal: Option<String>,
}

/// What a refusal asks for.
enum Refusal {
    Moved(u16, Endpoint),
    Ask(Endpoint),
    /// The slot is moving, and what the command needs is in two places.
    Moving,
    /// Not all slots are served.
    Down,
    Final,
}

impl Shared {
    pub(super) async fn publish(&self, topic: &TopicKey, payload: &[u8]) -> Result<(), PublishError> {
        // Unlike a function with the channel as its key, it goes to the subscribers while the slot is moving.
        let channel = self.config.prefix.channel(topic);
        let mut publish = redis::cmd("SPUBLISH");
        publish.arg(&channel).arg(payload);
        self.call(slot_of(&channel), &publish, Way::Publishing).await?;
        Ok(())
    }

    pub(super) async fn run(&self, key: &str, command: &Cmd) -> Result<Value, PublishError> {
        Ok(self.call(slot_of(key), command, Way::Publishing).await?)
    }

    pub(super) async fn publish_durable(
        &self,
        topic: &TopicKey,
        envelope: &[u8],
        keep: &Keep,
    ) -> Result<Position, PublishError> {
        let prefix = &self.config.prefix;
        let command = histories::publish(&self.functions, prefix, topic, envelope, keep);
        let answer = self.call(slot_of(&prefix.channel(topic)), &command, Way::Publishing).await?;
        histories::published(&answer)
    }

    /// Topics of different slots can't share a call.
    pub(super) async fn read(&self, reads: &[Read], limits: ReadLimits) -> Vec<Result<Tail, ReadError>> {
        let calls: Vec<BoxFuture<'_, _>> = reads.iter().map(|read| self.read_one(read, limits).boxed()).collect();
        stream::iter(calls).buffered(READS_MAX).collect().await
    }

    async fn read_one(&self, read: &Read, limits: ReadLimits) -> Result<Tail, ReadError> {
        let channel = self.config.prefix.channel(&read.topic);
        let slot = slot_of(&channel);
        let command =
            histories::read(&self.functions, std::slice::from_ref(&channel), std::slice::from_ref(read), limits);
        let answer = self.call(slot, &command, Way::Reading).await?;
        let mut tail = histories::tails(answer, 1)?.pop().unwrap_or_else(|| Err(not_ours()))?;
        if tail.position == Position::NONE {
            tail.position = self.begin(slot, &channel, &self.config.prefix.head(&read.topic)).await?;
        }
        Ok(tail)
    }

    /// Begins an epoch. Where that is refused, nothing can be proven, and what is there is still of use.
    async fn begin(&self, slot: u16, channel: &str, head: &str) -> Result<Position, ReadError> {
        let command = self.functions.command("fanfare_begin", &[channel, head]);
        let words = match self.call(slot, &command, Way::Reading).await {
            Ok(Value::Array(answers)) => {
                let words = answers.first().and_then(text).unwrap_or_default();
                match words.parse() {
                    Ok(position) => return Ok(position),
                    Err(_) => words.to_owned(),
                }
            }
            Ok(_) => return Err(not_ours()),
            Err(Failure::Refused(words)) => words,
            Err(failure) => return Err(failure.into()),
        };
        if let Some(member) = self.owner(slot) {
            member.publisher.note_unprovable(&words);
        }
        Ok(Position::NONE)
    }

    pub(super) async fn history(
        &self,
        topic: &TopicKey,
        before: Option<Position>,
        limits: ReadLimits,
    ) -> Result<Page, ReadError> {
        let channel = self.config.prefix.channel(topic);
        match histories::history(&self.functions, &channel, before, limits) {
            Some(command) => histories::page(self.call(slot_of(&channel), &command, Way::Reading).await?),
            None => Ok(histories::no_page()),
        }
    }

    fn owner(&self, slot: u16) -> Option<Arc<Member>> {
        let slots = self.common.slots()?;
        self.table.lock().members.get(&**slots.owner(slot)?).cloned()
    }

    /// Where a redirection leads. A primary that gets its first slot stands in no map yet.
    fn member(&self, endpoint: &Endpoint) -> Arc<Member> {
        let mut table = self.table.lock();
        let member = table.members.entry(endpoint.clone());
        let start = || Arc::new(Member::start(&self.config, &self.probe, &self.common, endpoint));
        Arc::clone(member.or_insert_with(start))
    }

    async fn call(&self, slot: u16, command: &Cmd, way: Way) -> Result<Value, Failure> {
        let mut attempts = Attempts::new(self.config.response_timeout);
        let mut next = Next::Owner;
        loop {
            let (member, asking) = match &next {
                Next::Owner => (self.owner(slot).ok_or_else(|| attempts.given_up())?, false),
                Next::Redirected { to, asking } => (self.member(to), *asking),
            };
            let Some(offer) = member.publisher.offer() else {
                let is_new = member.start_time().elapsed() < self.config.connect_timeout;
                if !is_new {
                    return Err(attempts.given_up());
                }
                attempts.pause().await?;
                continue;
            };
            let calling = timeout_at(attempts.deadline(), call_at(&member, &offer, command, way, asking));
            let words = match calling.await.unwrap_or(Err(Failure::Timeout)) {
                Ok(answer) => match elsewhere(&answer) {
                    Some(words) if way == Way::Reading => words.to_owned(),
                    _ => return Ok(answer),
                },
                Err(Failure::Refused(words)) => words,
                Err(failure) => return Err(failure),
            };
            next = match kind_of(&words, way, &member.endpoint) {
                Refusal::Final => return Err(Failure::Refused(words)),
                Refusal::Moved(slot, to) => {
                    self.common.redirected(slot, &to);
                    attempts.redirected(&words)?;
                    Next::Redirected { to, asking: false }
                }
                Refusal::Ask(to) => {
                    attempts.redirected(&words)?;
                    Next::Redirected { to, asking: true }
                }
                Refusal::Moving => {
                    attempts.refused(moving(&words)).await?;
                    Next::Owner
                }
                Refusal::Down => {
                    self.common.doubted.notify_one();
                    attempts.refused(down(&words)).await?;
                    Next::Owner
                }
            };
        }
    }
}

impl Attempts {
    fn new(limit: Duration) -> Attempts {
        let begun = Instant::now();
        let backoff = Backoff::new(REPEAT_MIN, REPEAT_MAX);
        Attempts { limit, end: begun + limit, begun, backoff, redirections: 0, refusal: None }
    }

    /// Until when the present one may take.
    fn deadline(&self) -> Instant {
        self.begun + self.limit
    }

    fn redirected(&mut self, words: &str) -> Result<(), Failure> {
        self.redirections += 1;
        if self.redirections > REDIRECTIONS_MAX {
            return Err(Failure::Refused(format!("{words}: its nodes send a command from one to the other")));
        }
        Ok(())
    }

    /// The last one was refused for a reason that may pass: waits for the next one.
    async fn refused(&mut self, words: String) -> Result<(), Failure> {
        self.refusal = Some(words);
        self.pause().await
    }

    /// Waits before the next one. Gives up when that would be too late.
    async fn pause(&mut self) -> Result<(), Failure> {
        let start = self.next_start(Instant::now()).ok_or_else(|| self.given_up())?;
        sleep_until(start).await;
        (self.begun, self.redirections) = (Instant::now(), 0);
        Ok(())
    }

    fn next_start(&mut self, now: Instant) -> Option<Instant> {
        let start = now + self.backoff.pause(rand::random());
        (start < self.end).then_some(start)
    }

    /// What to answer when there is no other: none of them was done, and none is on its way.
    fn given_up(&mut self) -> Failure {
        self.refusal.take().map_or(Failure::Unavailable, Failure::Refused)
    }
}

/// Calls on one primary.
async fn call_at(member: &Member, offer: &Offer, command: &Cmd, way: Way, asking: bool) -> Result<Value, Failure> {
    if way == Way::Publishing {
        return call_over(member, &mut offer.connection(), command, asking).await;
    }
    let calling = async {
        let connecting = offer.pool.get().await;
        let mut connection = connecting.map_err(|error| match reader::not_connected(&error, &offer.line) {
            ReadError::Unavailable => Failure::Unavailable,
            ReadError::Timeout => Failure::Timeout,
            ReadError::Refused(words) => Failure::Refused(words),
        })?;
        let answer = call_over(member, &mut connection, command, asking).await;
        if matches!(answer, Err(Failure::Unavailable | Failure::Broken | Failure::Timeout)) {
            // Not back into the pool, where the next one would wait for the same answer.
            drop(deadpool_redis::Connection::take(connection));
        }
        answer
    };
    tokio::select! {
        answer = calling => answer,
        () = offer.over() => Err(Failure::Unavailable),
    }
}

async fn call_over(
    member: &Member,
    connection: &mut MultiplexedConnection,
    command: &Cmd,
    asking: bool,
) -> Result<Value, Failure> {
    if !asking {
        return Ok(member.publisher.functions().call(connection, command).await?);
    }
    // In one piece: ASKING counts for the next command of the connection only.
    let mut pipe = redis::pipe();
    pipe.cmd("ASKING").ignore().add_command(command.clone());
    let answer: redis::RedisResult<(Value,)> = pipe.query_async(connection).await;
    Ok(answer.map_err(CallError::from)?.0)
}

fn kind_of(words: &str, way: Way, asked: &Endpoint) -> Refusal {
    let (code, rest) = words.split_once(' ').unwrap_or((words, ""));
    match (code, redirection(rest, asked)) {
        ("MOVED", Some((slot, to))) => Refusal::Moved(slot, to),
        ("ASK", Some((_, to))) => Refusal::Ask(to),
        ("TRYAGAIN", _) => Refusal::Moving,
        ("CLUSTERDOWN" | "MASTERDOWN", _) => Refusal::Down,
        // A function has met a key that is elsewhere already. One that reads has done nothing.
        _ if way == Way::Reading && words.contains(NON_LOCAL) => Refusal::Moving,
        _ => Refusal::Final,
    }
}

const NON_LOCAL: &str = "non local key";

/// Where the one topic's answer says that part of it is elsewhere, its words.
fn elsewhere(answer: &Value) -> Option<&str> {
    match answer {
        Value::Array(answers) if answers.len() == 1 => text(&answers[0]).filter(|words| words.contains(NON_LOCAL)),
        _ => None,
    }
}

/// Like the server's own, the words begin with the code, which tells what passes from what lasts.
fn moving(words: &str) -> String {
    // What a function has met has no code of that kind.
    let code = if words.starts_with("TRYAGAIN") { "" } else { "TRYAGAIN " };
    format!(
        "{code}{words}: the topic's slot is on its way to another primary: try again when `redis-cli --cluster check` finds \
         no open slot"
    )
}

fn down(words: &str) -> String {
    format!(
        "{words}: the cluster takes nothing, since not all of its slots are served: bring the primary that is away back, or \
         let a replica of it take over"
    )
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        match error {
            CallError::Refused(words) => Failure::Refused(words),
            CallError::Broken(error) if error.is_timeout() => Failure::Timeout,
            CallError::Broken(_) => Failure::Broken,
        }
    }
}

impl From<Failure> for PublishError {
    fn from(failure: Failure) -> PublishError {
        match failure {
            Failure::Unavailable | Failure::Broken => PublishError::Unavailable,
            Failure::Timeout => PublishError::Timeout,
            Failure::Refused(words) => PublishError::Refused(words),
        }
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> ReadError {
        PublishError::from(failure).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_as_long_as_an_answer_may_take_and_none_is_begun_later() {
        let limit = Duration::from_millis(500);
        let mut attempts = Attempts::new(limit);
        let end = attempts.deadline();
        while let Some(start) = attempts.next_start(attempts.begun) {
            assert!(start > attempts.begun && start < end);
            attempts.begun = start;
            assert_eq!(attempts.deadline(), start + limit);
        }
        assert!(end - attempts.begun <= REPEAT_MAX, "it gives up too soon");
    }

    #[tokio::test]
    async fn what_was_refused_to_the_end_is_told_in_the_servers_words() {
        let refused = async |words: String| {
            let mut attempts = Attempts::new(Duration::ZERO);
            match attempts.refused(words).await {
                Err(Failure::Refused(words)) => ReadError::Refused(words),
                _ => ReadError::Unavailable,
            }
        };
        let words = moving("TRYAGAIN Multiple keys request during rehashing of slot");
        assert!(words.starts_with("TRYAGAIN Multiple keys request during rehashing of slot: the topic's slot is on"));
        assert_eq!(refused(words.clone()).await, ReadError::Refused(words));
        for words in [moving("ERR it met a non local key"), moving("TRYAGAIN it moves"), down("CLUSTERDOWN it is down")]
        {
            assert!(!refused(words.clone()).await.is_lasting(), "{words}");
        }
        let nothing_known = Attempts::new(Duration::ZERO).pause().await;
        assert!(matches!(nothing_known, Err(Failure::Unavailable)));
    }
}
