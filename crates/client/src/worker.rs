//! Answers clients' requests: takes them from the tenant's stream as a member of a consumer group, runs their handlers, some
//! at a time, and publishes the answers to the nodes. Deliberately at least once: a worker that is lost leaves its requests
//! to the others.

mod builder;
mod group;
mod log_limit;
mod methods;
mod reading;
mod request;
mod request_error;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fanfare_protocol::Tenant;
use redis::streams::StreamId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::link::{CallError, Link};
use crate::publisher::send;
use group::Group;
use log_limit::LogLimit;
use methods::Methods;

pub use builder::{CLAIM_AFTER_MIN, CONCURRENCY_DEFAULT, GROUP_DEFAULT, WorkerBuilder, WorkerError};
pub use request::Request;
pub use request_error::RequestError;

/// Signs of life in the time after which a request would be taken over.
const SIGNS_OF_LIFE: u32 = 3;
/// Pauses before an answer is sent once more.
const ANSWER_RETRY_MIN: Duration = Duration::from_millis(20);
const ANSWER_RETRY_MAX: Duration = Duration::from_secs(1);

/// Answers the requests of one tenant's clients.
///
/// ```no_run
/// use fanfare_client::{Request, Tenant, Worker};
/// use serde_json::json;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = Worker::builder("redis://127.0.0.1:6379", Tenant::parse("acme")?)
///     .method("dashboard.refresh", |request: Request| async move {
///         let days: u32 = request.input()?;
///         Ok(json!({ "days": days, "orders": 42 }))
///     })
///     .build()?;
/// // Until Ctrl-C; then what runs is finished.
/// worker.run(async { _ = tokio::signal::ctrl_c().await }).await;
/// # Ok(())
/// # }
/// ```
///
/// - A request is acknowledged after its answer was published. One whose deadline has passed is acknowledged without an
///   answer, since nobody waits for it; the clocks of workers and nodes must agree on that, to about a second.
/// - Requests of a worker that gave no sign of life for [`WorkerBuilder::claim_after`] are taken over by another of its
///   group, so a handler may run twice for a request. [`Request::id`] is the same both times.
/// - While Redis is away, the worker tries to come back, for ever, with pauses of 50 ms to 5 s; handlers go on.
/// - It needs two connections: one for readings, which wait, and one for the rest.
#[derive(Debug)]
pub struct Worker {
    /// For readings, which keep a connection waiting.
    reading: Link,
    group: Arc<Group>,
    tenant: Tenant,
    replies_prefix: String,
    methods: Methods,
    settings: Settings,
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    handlers: Mutex<JoinSet<()>>,
}

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Requests whose handlers did not finish within [`WorkerBuilder::stop_timeout`]. They were not acknowledged, so another
    /// worker takes them over, if their deadlines allow it.
    pub unfinished: usize,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    concurrency: usize,
    claim_after: Duration,
    handler_timeout: Duration,
    stop_timeout: Duration,
    answer_bytes_max: usize,
    timeout: Duration,
    block: Duration,
}

/// What a worker is put together from.
struct Parts {
    reading: Link,
    commands: Arc<Link>,
    stream: String,
    replies_prefix: String,
    tenant: Tenant,
    group: String,
    consumer: String,
    methods: Methods,
    settings: Settings,
}

/// What the handlers' tasks have in common.
#[derive(Debug)]
struct Shared {
    commands: Arc<Link>,
    group: Arc<Group>,
    /// The entries that handlers are at.
    running: Mutex<HashSet<String>>,
    /// For what strangers can cause.
    log_limit: LogLimit,
    settings: Settings,
}

/// Takes an entry off the running ones, whichever way its task ends.
struct Running {
    shared: Arc<Shared>,
    id: String,
}

impl Worker {
    /// A worker for this Redis ([`Publisher::connect`](crate::Publisher::connect) lists the forms of its address) and this
    /// tenant. Backends of several tenants run one worker for each.
    pub fn builder(url: &str, tenant: Tenant) -> WorkerBuilder {
        WorkerBuilder::new(url, tenant)
    }

    fn new(parts: Parts) -> Worker {
        let Parts { reading, commands, stream, replies_prefix, tenant, group, consumer, methods, settings } = parts;
        let group = Arc::new(Group { stream, name: group, consumer, timeout: settings.timeout });
        let shared = Shared {
            commands,
            group: Arc::clone(&group),
            running: Mutex::default(),
            log_limit: LogLimit::default(),
            settings,
        };
        Worker {
            reading,
            group,
            tenant,
            replies_prefix,
            methods,
            settings,
            shared: Arc::new(shared),
            slots: Arc::new(Semaphore::new(settings.concurrency.min(Semaphore::MAX_PERMITS))),
            handlers: Mutex::default(),
        }
    }

    /// Answers requests until `shutdown` is ready; then takes no new ones, lets the handlers that run finish, for
    /// [`WorkerBuilder::stop_timeout`] at most, and leaves the group. Dropped earlier, it drops the handlers too.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Stopped {
        let (stop, stopped) = watch::channel(false);
        let stopping = async {
            shutdown.await;
            stop.send_replace(true);
        };
        let answering = async {
            // A reading that is under way is waited for: what it brings is already this worker's.
            tokio::join!(self.read_until(stopped), stopping);
            let all = u32::try_from(self.settings.concurrency).unwrap_or(u32::MAX);
            // Every handler holds a slot.
            _ = timeout(self.settings.stop_timeout, self.slots.acquire_many(all)).await;
        };
        tokio::select! {
            () = answering => {}
            () = self.shared.keep_for_ever() => {}
        }
        let unfinished = self.shared.running().len();
        self.handlers().abort_all();
        if unfinished == 0
            && let Err(error) = self.group.leave(&self.shared.commands).await
        {
            tracing::debug!(error = error.words(), "the worker could not leave its group");
        }
        Stopped { unfinished }
    }

    /// Runs the handler of an entry, which holds a slot meanwhile.
    fn start(&self, entry: StreamId, slot: OwnedSemaphorePermit) {
        let id = entry.id;
        // Taken over from itself: its signs of life did not get through, and it is at it still.
        if !self.shared.running().insert(id.clone()) {
            return;
        }
        let running = Running { shared: Arc::clone(&self.shared), id };
        let request = Request::parse(entry.map, &self.tenant, &self.replies_prefix);
        let methods = self.methods.clone();
        let mut handlers = self.handlers();
        // Those that have ended are forgotten here, so there are never more than slots.
        while handlers.try_join_next().is_some() {}
        handlers.spawn(async move {
            running.serve(request, &methods).await;
            drop((running, slot));
        });
    }

    fn handlers(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn running(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives signs of life for what is running.
    async fn keep_for_ever(&self) {
        loop {
            sleep(self.settings.claim_after / SIGNS_OF_LIFE).await;
            let ids: Vec<String> = self.running().iter().cloned().collect();
            if let Err(error) = self.group.keep(&self.commands, &ids).await {
                tracing::debug!(error = error.words(), "no sign of life could be given");
            }
        }
    }
}

impl Running {
    async fn serve(&self, request: Result<Request, String>, methods: &Methods) {
        match request {
            Err(reason) => self.shared.log_limit.warn(|suppressed| {
                let (stream, entry) = (&self.shared.group.stream, &self.id);
                tracing::warn!(stream, entry, reason, suppressed, "an entry of the stream is no request: skipped");
            }),
            Ok(request) if request.time_left().is_zero() => {
                tracing::debug!(method = request.method(), request = request.id(), "nobody waits any more: skipped");
            }
            Ok(request) => match methods.find(request.method()) {
                None => self.shared.log_limit.warn(|suppressed| {
                    let method = request.method();
                    tracing::warn!(method, suppressed, "this worker has no such method: left to other groups");
                }),
                Some(handler) => {
                    let settings = &self.shared.settings;
                    let answer =
                        methods::run(handler, &request, settings.handler_timeout, settings.answer_bytes_max).await;
                    self.answer(&request, &answer).await;
                }
            },
        }
        if let Err(error) = self.shared.group.acknowledge(&self.shared.commands, &self.id).await {
            // It will be taken over, and skipped when its deadline has passed.
            tracing::debug!(error = error.words(), entry = self.id, "could not be acknowledged");
        }
    }

    /// Publishes the answer, again and again while somebody waits for it: the node drops one that comes twice.
    async fn answer(&self, request: &Request, answer: &[u8]) {
        let commands = &self.shared.commands;
        let command = send(commands.is_cluster(), request.reply_to(), answer);
        let mut pauses = Backoff::new(ANSWER_RETRY_MIN, ANSWER_RETRY_MAX);
        loop {
            let Err(error) = commands.call(&command, self.shared.settings.timeout).await else { return };
            if matches!(error, CallError::Refused(_)) || request.time_left().is_zero() {
                let (method, request, error) = (request.method(), request.id(), error.words());
                tracing::warn!(method, request, error, "an answer could not be sent");
                return;
            }
            sleep(pauses.pause()).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.running().remove(&self.id);
    }
}
