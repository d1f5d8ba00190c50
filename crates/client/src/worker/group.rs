//! The consumer group, as commands and their answers: who has taken what. Deliberately without a rule of when.

use std::time::Duration;

use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use redis::{Cmd, FromRedisValue, Value};

use crate::link::{CallError, Link};

/// Ids in one command.
const IDS_MAX: usize = 500;
/// Where a walk over all that is pending begins, and where it has come round.
pub(crate) const START: &str = "0-0";

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) stream: String,
    pub(crate) name: String,
    pub(crate) consumer: String,
    pub(crate) timeout: Duration,
}

impl Group {
    /// Makes the group unless it is there, and the stream with it. It begins with what is in the stream: requests that
    /// came a moment before the first worker are answered, and old ones have a deadline.
    pub(crate) async fn make(&self, link: &Link) -> Result<(), CallError> {
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&self.stream).arg(&self.name).arg("0").arg("MKSTREAM");
        match link.call(&create, self.timeout).await {
            Err(error) if error.has_code("BUSYGROUP") => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Takes new entries, and waits for one when there is none.
    pub(crate) async fn read(&self, link: &Link, count: usize, block: Duration) -> Result<Vec<StreamId>, CallError> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(&self.name).arg(&self.consumer).arg("COUNT").arg(count);
        read.arg("BLOCK").arg(millis(block)).arg("STREAMS").arg(&self.stream).arg(">");
        let answer = link.call(&read, self.timeout + block).await?;
        if answer == Value::Nil {
            return Ok(Vec::new());
        }
        let reply = StreamReadReply::from_redis_value(answer).map_err(not_understood)?;
        Ok(reply.keys.into_iter().flat_map(|key| key.ids).collect())
    }

    /// Takes over what nobody gave a sign of for so long. Returns where to go on.
    pub(crate) async fn claim(
        &self,
        link: &Link,
        idle: Duration,
        from: &str,
        count: usize,
    ) -> Result<(String, Vec<StreamId>), CallError> {
        let mut claim = self.command("XAUTOCLAIM");
        claim.arg(&self.consumer).arg(millis(idle)).arg(from).arg("COUNT").arg(count);
        let answer = link.call(&claim, self.timeout).await?;
        let reply = StreamAutoClaimReply::from_redis_value(answer).map_err(not_understood)?;
        Ok((reply.next_stream_id, reply.claimed))
    }

    /// Gives a sign of life for all these.
    pub(crate) async fn keep(&self, link: &Link, ids: &[String]) -> Result<(), CallError> {
        for ids in ids.chunks(IDS_MAX) {
            let mut keep = self.command("XCLAIM");
            keep.arg(&self.consumer).arg(0).arg(ids).arg("JUSTID");
            link.call(&keep, self.timeout).await?;
        }
        Ok(())
    }

    /// Nobody needs to take this any more.
    pub(crate) async fn acknowledge(&self, link: &Link, id: &str) -> Result<(), CallError> {
        let mut acknowledge = self.command("XACK");
        acknowledge.arg(id);
        link.call(&acknowledge, self.timeout).await.map(drop)
    }

    /// Leaves the group, unless something is still pending, which would be lost with the consumer.
    pub(crate) async fn leave(&self, link: &Link) -> Result<(), CallError> {
        let mut pending = self.command("XPENDING");
        pending.arg("-").arg("+").arg(1).arg(&self.consumer);
        let pending = link.call(&pending, self.timeout).await?;
        if matches!(&pending, Value::Array(entries) if entries.is_empty()) {
            let mut leave = redis::cmd("XGROUP");
            leave.arg("DELCONSUMER").arg(&self.stream).arg(&self.name).arg(&self.consumer);
            link.call(&leave, self.timeout).await?;
        }
        Ok(())
    }

    fn command(&self, name: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(&self.stream).arg(&self.name);
        command
    }
}

/// The bare answer is left out: it may hold what clients have sent.
fn not_understood(_: redis::ParsingError) -> CallError {
    CallError::Broken("an answer that is not understood: is the stream of requests written by nodes?".to_owned())
}

/// Zero would be for ever.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
