//! A pub/sub connection to one primary of a cluster. It speaks the protocol itself, because a slot that moves away ends its
//! subscriptions without being asked: redis-rs takes that for the answer to whatever it has asked before, and gives every
//! later answer to the wrong question.
//!
//! So each command is followed by a `HELLO`, which no ACL denies and which answers with a map: that map ends the command,
//! and an error before it is the command's. What Redis pushes goes to the feed and answers nothing. Deliberately no notion
//! of what is subscribed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, oneshot};

use super::feed::Feed;
use crate::redis::connect::{self, Hello};
use crate::redis::connect_error::Cause;
use crate::redis::line::WatchedSocket;
use crate::redis::secret::Secret;
use crate::redis::server::RedisServer;

/// Sends commands. Clones are the same connection.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    shared: Arc<Shared>,
}

/// Bounded by what callers have on their way.
#[derive(Debug, Default)]
struct Shared {
    out: Mutex<Out>,
    /// There is something to write.
    filled: Notify,
}

#[derive(Debug, Default)]
struct Out {
    bytes: Vec<u8>,
    /// In the order of sending.
    awaited: VecDeque<oneshot::Sender<RedisResult<Hello>>>,
    is_closed: bool,
}

/// The sockets' two ends until the connection is used.
pub(super) struct Ends {
    read: ReadHalf<WatchedSocket>,
    write: WriteHalf<WatchedSocket>,
}

/// Reads and writes; ends when the connection is over.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The parser's state, whose type has a name only in a dependency of redis-rs.
fn empty<T: Default>() -> T {
    T::default()
}

/// Logs in, and asks who answers.
pub(super) async fn log_in(
    server: &RedisServer,
    password: Option<&Secret>,
    socket: WatchedSocket,
) -> Result<(Ends, Hello), Cause> {
    let (mut read, mut write) = tokio::io::split(socket);
    let mut hello = redis::cmd("HELLO");
    hello.arg(3);
    if let Some(password) = password {
        hello.arg("AUTH").arg(server.username.as_deref().unwrap_or("default")).arg(password.reveal());
    }
    let failed = |error: RedisError| Cause::from_handshake(&error, password);
    write.write_all(&hello.get_packed_command()).await.map_err(|error| failed(error.into()))?;
    write.flush().await.map_err(|error| failed(error.into()))?;
    let mut decoder = empty();
    let answer = redis::parse_redis_value_async(&mut decoder, &mut read).await.map_err(failed)?;
    let hello = answer.extract_error().and_then(|answer| Ok(redis::from_redis_value(answer)?)).map_err(failed)?;
    Ok((Ends { read, write }, hello))
}

impl Wire {
    /// From the login on.
    pub(super) fn new(ends: Ends, feed: Feed) -> (Wire, Driver) {
        let shared = Arc::<Shared>::default();
        let (reading, writing) = (Arc::clone(&shared), Arc::clone(&shared));
        let Ends { read, write } = ends;
        let driver = async move {
            tokio::select! {
                () = reading.read(read, feed) => {}
                () = writing.write(write) => {}
            }
            reading.close();
        };
        (Wire { shared }, Box::pin(driver))
    }

    /// Sends a command, and ends when Redis has answered all of it. The role is the server's.
    pub(super) fn send(&self, command: Option<&Cmd>) -> impl Future<Output = RedisResult<bool>> + use<> {
        let (sender, answer) = oneshot::channel();
        let mut out = self.shared.out.lock();
        if !out.is_closed {
            if let Some(command) = command {
                command.write_packed_command(&mut out.bytes);
            }
            redis::cmd("HELLO").write_packed_command(&mut out.bytes);
            out.awaited.push_back(sender);
        }
        drop(out);
        self.shared.filled.notify_one();
        async move {
            let broken = |_| RedisError::from((ErrorKind::Io, "the connection broke"));
            answer.await.map_err(broken)?.map(|hello| connect::is_replicas(&hello))
        }
    }
}

impl Shared {
    async fn read(&self, mut read: ReadHalf<WatchedSocket>, feed: Feed) {
        let mut decoder = empty();
        let mut refusal = None;
        while let Ok(value) = redis::parse_redis_value_async(&mut decoder, &mut read).await {
            match value {
                Value::Push { kind, data } => feed.take(&kind, data),
                Value::ServerError(error) => refusal = Some(RedisError::from(error)),
                answer => {
                    let Some(awaiting) = self.out.lock().awaited.pop_front() else { return };
                    let answer = match refusal.take() {
                        Some(refusal) => Err(refusal),
                        None => redis::from_redis_value(answer).map_err(Into::into),
                    };
                    // Nobody may wait any more.
                    let _ = awaiting.send(answer);
                }
            }
        }
    }

    async fn write(&self, mut write: WriteHalf<WatchedSocket>) {
        loop {
            let bytes = std::mem::take(&mut self.out.lock().bytes);
            if bytes.is_empty() {
                self.filled.notified().await;
                continue;
            }
            if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
                return;
            }
        }
    }

    fn close(&self) {
        let mut out = self.out.lock();
        out.is_closed = true;
        out.awaited.clear();
    }
}
