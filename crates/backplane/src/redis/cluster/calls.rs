//! Commands of a cluster: each goes to the primary of its slot, and follows the slot when that has moved. What was refused
//! was not done, so only that is repeated, for as long as an answer may take: whether a command whose connection broke was
//! done is not known. Deliberately no view of the cluster of its own.

use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::{Position, TopicKey};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use tokio::time::{Instant, sleep, timeout_at};

use super::Shared;
use super::member::Member;
use super::slots::{redirection, slot_of};
use crate::backplane::PublishError;
use crate::history::{Keep, Page, Read, ReadError, ReadLimits, Tail};
use crate::redis::backoff::Backoff;
use crate::redis::library::CallError;
use crate::redis::publisher;
use crate::redis::reader::{self, not_ours};
use crate::redis::server::Endpoint;

/// Reads on their way at the same time.
const READS_MAX: usize = 64;
/// Redirections that one command follows.
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
    Timeout,
    /// The server's words, and what to do about them.
    Refused(String),
}

/// Where a command goes next.
enum Next {
    Owner,
    Redirected { to: Endpoint, asking: bool },
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
        let command = publisher::durable(&self.library, prefix, topic, envelope, keep);
        let position = self.call(slot_of(&prefix.channel(topic)), &command, Way::Publishing).await?;
        let position = reader::text(&position).unwrap_or_default();
        position
            .parse()
            .map_err(|_| PublishError::Refused(format!("`{position}` is no position: {}", reader::NOT_OURS)))
    }

    /// Topics of different slots can't share a call.
    pub(super) async fn read(&self, reads: &[Read], limits: ReadLimits) -> Vec<Result<Tail, ReadError>> {
        let calls: Vec<BoxFuture<'_, _>> = reads.iter().map(|read| self.read_one(read, limits).boxed()).collect();
        stream::iter(calls).buffered(READS_MAX).collect().await
    }

    async fn read_one(&self, read: &Read, limits: ReadLimits) -> Result<Tail, ReadError> {
        let channel = self.config.prefix.channel(&read.topic);
        let slot = slot_of(&channel);
        let mut command = self.library.command("fanfare_read", &[&channel]);
        command.arg(limits.events_max.max(1)).arg(limits.bytes_max.max(1)).arg(reader::text_of(read.after));
        let Value::Array(answer) = self.call(slot, &command, Way::Reading).await? else { return Err(not_ours()) };
        let mut tail = reader::tail(answer.into_iter().next().ok_or_else(not_ours)?)?;
        if tail.position == Position::NONE {
            tail.position = self.begin(slot, &channel, &self.config.prefix.head(&read.topic)).await?;
        }
        Ok(tail)
    }

    /// Begins an epoch. Where that is refused, nothing can be proven, and what is there is still of use.
    async fn begin(&self, slot: u16, channel: &str, head: &str) -> Result<Position, ReadError> {
        let command = self.library.command("fanfare_begin", &[channel, head]);
        let words = match self.call(slot, &command, Way::Reading).await {
            Ok(Value::Array(answers)) => {
                let text = answers.first().and_then(reader::text).unwrap_or_default();
                match text.parse() {
                    Ok(position) => return Ok(position),
                    Err(_) => text.to_owned(),
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
        let mut command = self.library.command("fanfare_history", &[&channel]);
        command.arg(limits.events_max.max(1)).arg(limits.bytes_max.max(1)).arg(reader::text_of(before));
        let answer = self.call(slot_of(&channel), &command, Way::Reading).await?;
        let Value::Array(answer) = answer else { return Err(not_ours()) };
        let mut answer = answer.into_iter();
        let Some(Value::Int(more)) = answer.next() else { return Err(not_ours()) };
        let mut events = reader::events(answer)?;
        events.reverse();
        Ok(Page { events, more: more == 1 })
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
        let deadline = Instant::now() + self.config.response_timeout;
        let mut backoff = Backoff::new(REPEAT_MIN, REPEAT_MAX);
        let (mut next, mut redirections, mut refusal) = (Next::Owner, 0, None);
        loop {
            let (member, asking) = match &next {
                Next::Owner => (self.owner(slot).ok_or(Failure::Unavailable)?, false),
                Next::Redirected { to, asking } => (self.member(to), *asking),
            };
            if !member.publisher.is_connected() {
                let is_new = member.start_time().elapsed() < self.config.connect_timeout;
                if !is_new {
                    return Err(Failure::Unavailable);
                }
                self.pause(&mut backoff, deadline, &mut refusal).await?;
                continue;
            }
            let calling = timeout_at(deadline, call_at(&member, command, way, asking));
            let answer = match calling.await.unwrap_or(Err(Failure::Timeout)) {
                Ok(answer) if way == Way::Reading && is_elsewhere(&answer) => Err(Failure::Refused(String::new())),
                answer => answer,
            };
            let Err(Failure::Refused(words)) = answer else { return answer };
            match kind_of(&words, way, &member.endpoint) {
                Refusal::Final => return Err(Failure::Refused(words)),
                Refusal::Moved(slot, to) => {
                    self.common.redirected(slot, &to);
                    next = Next::Redirected { to, asking: false };
                }
                Refusal::Ask(to) => next = Next::Redirected { to, asking: true },
                Refusal::Moving => {
                    next = Next::Owner;
                    refusal = Some(format!(
                        "the topic's slot is on its way to another primary: try again when `redis-cli --cluster check` finds \
                         no open slot: {words}"
                    ));
                    self.pause(&mut backoff, deadline, &mut refusal).await?;
                    continue;
                }
                Refusal::Down => {
                    self.common.doubted.notify_one();
                    next = Next::Owner;
                    refusal = Some(format!(
                        "the cluster takes nothing, since not all of its slots are served: bring the primary that is away \
                         back, or let a replica of it take over: {words}"
                    ));
                    self.pause(&mut backoff, deadline, &mut refusal).await?;
                    continue;
                }
            }
            redirections += 1;
            if redirections > REDIRECTIONS_MAX {
                return Err(Failure::Refused(format!("its nodes send a command from one to the other: {words}")));
            }
        }
    }

    /// Waits before a command is repeated; gives up when that would take too long, with the server's words if there are any.
    async fn pause(
        &self,
        backoff: &mut Backoff,
        deadline: Instant,
        refusal: &mut Option<String>,
    ) -> Result<(), Failure> {
        let pause = backoff.pause(rand::random());
        if Instant::now() + pause >= deadline {
            return Err(refusal.take().map_or(Failure::Unavailable, Failure::Refused));
        }
        sleep(pause).await;
        Ok(())
    }
}

/// Calls on one primary.
async fn call_at(member: &Member, command: &Cmd, way: Way, asking: bool) -> Result<Value, Failure> {
    match way {
        Way::Publishing => {
            let mut connection = member.publisher.connection().ok_or(Failure::Unavailable)?;
            call_over(member, &mut connection, command, asking).await
        }
        Way::Reading => {
            let offer = member.publisher.offer().ok_or(Failure::Unavailable)?;
            let (pool, line) = (offer.pool.clone(), Arc::clone(&offer.line));
            let calling = async {
                let mut connection = pool.get().await.map_err(|error| match reader::not_connected(&error, &line) {
                    ReadError::Unavailable => Failure::Unavailable,
                    ReadError::Timeout => Failure::Timeout,
                    ReadError::Refused(words) => Failure::Refused(words),
                })?;
                let answer = call_over(member, &mut connection, command, asking).await;
                if matches!(answer, Err(Failure::Unavailable | Failure::Timeout)) {
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
    }
}

async fn call_over(
    member: &Member,
    connection: &mut MultiplexedConnection,
    command: &Cmd,
    asking: bool,
) -> Result<Value, Failure> {
    let library = member.publisher.library();
    if !asking {
        return Ok(library.call(connection, command).await?);
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
        _ if way == Way::Reading && (words.is_empty() || words.contains(NON_LOCAL)) => Refusal::Moving,
        _ => Refusal::Final,
    }
}

const NON_LOCAL: &str = "non local key";

/// Does the one topic's answer say that part of it is elsewhere?
fn is_elsewhere(answer: &Value) -> bool {
    match answer {
        Value::Array(answers) => {
            answers.len() == 1 && reader::text(&answers[0]).is_some_and(|words| words.contains(NON_LOCAL))
        }
        _ => false,
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        match error {
            CallError::Refused(words) => Failure::Refused(words),
            CallError::Broken(error) if error.is_timeout() => Failure::Timeout,
            CallError::Broken(_) => Failure::Unavailable,
        }
    }
}

impl From<Failure> for PublishError {
    fn from(failure: Failure) -> PublishError {
        match failure {
            Failure::Unavailable => PublishError::Unavailable,
            Failure::Timeout => PublishError::Timeout,
            Failure::Refused(words) => PublishError::Refused(words),
        }
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> ReadError {
        match failure {
            Failure::Unavailable => ReadError::Unavailable,
            Failure::Timeout => ReadError::Timeout,
            Failure::Refused(words) => ReadError::Refused(words),
        }
    }
}
