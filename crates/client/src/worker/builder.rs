//! What a worker is made of. Deliberately without a connection: [`Worker::run`] makes its own.

use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::Tenant;
use serde::Serialize;

use super::methods::{self, Methods};
use super::{Request, RequestError, Settings, Worker};
use crate::address::{AddressError, Source};
use crate::keyspace::{Keyspace, PrefixError};
use crate::link::{CONNECT_TIMEOUT, LIMIT_MAX, Link};
use crate::publisher::TIMEOUT_DEFAULT;

/// The consumer group unless it is set.
pub const GROUP_DEFAULT: &str = "backend";
/// Requests that are answered at the same time, unless it is set.
pub const CONCURRENCY_DEFAULT: usize = 16;
/// The shortest time after which a request may count as stalled.
pub const CLAIM_AFTER_MIN: Duration = Duration::from_millis(100);

/// How long one reading waits for requests, and so how long a worker that is told to stop may go on reading.
const BLOCK: Duration = Duration::from_secs(1);

/// Settings of a [`Worker`], each with a default.
#[derive(Debug)]
pub struct WorkerBuilder {
    url: String,
    tenant: Tenant,
    prefix: Option<String>,
    group: String,
    consumer: Option<String>,
    methods: Methods,
    settings: Settings,
}

/// Why a worker can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The address of Redis.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The prefix.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// It would answer nothing.
    #[error("the worker has no method to answer: add one with .method(\"dashboard.refresh\", …)")]
    NoMethod,
    /// A bound that lets nothing through.
    #[error("{setting} is {found}, and it must be at least {min}")]
    TooSmall {
        /// Which.
        setting: &'static str,
        /// What was given.
        found: String,
        /// The smallest that is taken.
        min: String,
    },
}

impl WorkerBuilder {
    pub(crate) fn new(url: &str, tenant: Tenant) -> WorkerBuilder {
        let settings = Settings {
            concurrency: CONCURRENCY_DEFAULT,
            claim_after: Duration::from_secs(10),
            handler_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(30),
            answer_bytes_max: 1_048_576,
            timeout: TIMEOUT_DEFAULT,
            block: BLOCK,
        };
        WorkerBuilder {
            url: url.to_owned(),
            tenant,
            prefix: None,
            group: GROUP_DEFAULT.to_owned(),
            consumer: None,
            methods: Methods::default(),
            settings,
        }
    }

    /// Answers this method. The handler gets the [`Request`] and returns anything that has a form in JSON, or a
    /// [`RequestError`]. The last one given for a name counts.
    #[must_use]
    pub fn method<F, A, T>(mut self, name: impl Into<String>, handler: F) -> WorkerBuilder
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Result<T, RequestError>> + Send + 'static,
        T: Serialize,
    {
        self.methods.add(name.into(), methods::handler(handler));
        self
    }

    /// Answers all other methods. Without it they are left to the workers of other groups: this one acknowledges them
    /// and says nothing.
    #[must_use]
    pub fn fallback<F, A, T>(mut self, handler: F) -> WorkerBuilder
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Result<T, RequestError>> + Send + 'static,
        T: Serialize,
    {
        self.methods.set_fallback(methods::handler(handler));
        self
    }

    /// What all names on Redis begin with, `fanfare` unless set: the nodes' `redis_prefix`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> WorkerBuilder {
        self.prefix = Some(prefix.into());
        self
    }

    /// The consumer group, [`GROUP_DEFAULT`] unless set. Each request goes to one worker of each group, so all workers of a
    /// group answer the same methods, and backends with different methods have groups of their own.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> WorkerBuilder {
        self.group = group.into();
        self
    }

    /// What this worker is called within its group; random unless set. No two that run may have the same.
    #[must_use]
    pub fn consumer(mut self, consumer: impl Into<String>) -> WorkerBuilder {
        self.consumer = Some(consumer.into());
        self
    }

    /// Requests that are answered at the same time, [`CONCURRENCY_DEFAULT`] unless set. No more are taken from the stream,
    /// so others can have them.
    #[must_use]
    pub fn concurrency(mut self, requests: usize) -> WorkerBuilder {
        self.settings.concurrency = requests;
        self
    }

    /// After how long without a sign of life from its worker a request is taken over, 10 s unless set, a day at most. A worker gives such
    /// a sign for all that it is at three times as often, so this needs not be longer than handlers take.
    #[must_use]
    pub fn claim_after(mut self, time: Duration) -> WorkerBuilder {
        self.settings.claim_after = time;
        self
    }

    /// How long a handler may take, 30 s unless set. Then it is dropped, and the client told `timeout`.
    #[must_use]
    pub fn handler_timeout(mut self, time: Duration) -> WorkerBuilder {
        self.settings.handler_timeout = time;
        self
    }

    /// How long the handlers that run may go on when the worker is told to stop, 30 s unless set.
    #[must_use]
    pub fn stop_timeout(mut self, time: Duration) -> WorkerBuilder {
        self.settings.stop_timeout = time;
        self
    }

    /// The largest answer in bytes, 1,048,576 unless set. A larger one is logged, and the client told `too_large`.
    #[must_use]
    pub fn answer_bytes_max(mut self, bytes: usize) -> WorkerBuilder {
        self.settings.answer_bytes_max = bytes;
        self
    }

    /// How long Redis may take for an answer, 5 s unless set, a day at most.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> WorkerBuilder {
        self.settings.timeout = time;
        self
    }

    /// Makes the worker. It connects when it runs.
    pub fn build(self) -> Result<Worker, WorkerError> {
        let mut settings = self.settings;
        settings.timeout = settings.timeout.min(LIMIT_MAX);
        settings.claim_after = settings.claim_after.min(LIMIT_MAX);
        if self.methods.is_empty() {
            return Err(WorkerError::NoMethod);
        }
        if settings.concurrency == 0 {
            return Err(too_small("concurrency", "0", "1"));
        }
        if settings.claim_after < CLAIM_AFTER_MIN {
            return Err(too_small("claim_after", settings.claim_after, CLAIM_AFTER_MIN));
        }
        let keyspace = self.prefix.map_or_else(|| Ok(Keyspace::default()), |prefix| Keyspace::parse(&prefix))?;
        let source = |timeout| Source::parse(&self.url, CONNECT_TIMEOUT, timeout);
        let consumer =
            self.consumer.unwrap_or_else(|| format!("{}-{:016x}", std::process::id(), rand::random::<u64>()));
        Ok(Worker::new(super::Parts {
            reading: Link::new(source(settings.timeout + settings.block)?),
            commands: Arc::new(Link::new(source(settings.timeout)?)),
            stream: keyspace.requests(&self.tenant),
            replies_prefix: keyspace.replies(&self.tenant),
            tenant: self.tenant,
            group: self.group,
            consumer,
            methods: self.methods,
            settings,
        }))
    }
}

fn too_small(setting: &'static str, found: impl std::fmt::Debug, min: impl std::fmt::Debug) -> WorkerError {
    let plain = |value: &dyn std::fmt::Debug| format!("{value:?}").replace('"', "");
    WorkerError::TooSmall { setting, found: plain(&found), min: plain(&min) }
}
