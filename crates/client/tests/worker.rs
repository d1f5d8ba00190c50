//! Stories of a worker: a node in the person of the test writes requests into the stream and waits for answers, and nothing
//! that it asked in time is forgotten, whatever happens to workers and to Redis.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanfare_client::{Request, RequestError, Stopped, Worker, WorkerBuilder, WorkerError};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use support::{
    Ask, Door, Listener, REPLIES, REQUESTS, RedisProcess, acme, answer, error, in_time, pending, until, until_done,
};

/// A worker in a task of its own.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Stopped>,
}

impl Running {
    fn start(builder: WorkerBuilder) -> Running {
        let worker = builder.build().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(worker.run(async { _ = stopped.await }));
        Running { stop, task }
    }

    async fn stop(self) -> Stopped {
        self.stop.send(()).unwrap();
        in_time("the worker stops", self.task).await.unwrap()
    }
}

/// A handler that counts its beginnings and goes on when it is let.
#[derive(Clone)]
struct Gate {
    begun: Arc<AtomicUsize>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Gate {
        Gate { begun: Arc::default(), open: Arc::new(Semaphore::new(0)) }
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    async fn until_begun(&self, count: usize) {
        until("handlers have begun", async || self.begun() >= count).await;
    }

    /// A worker whose one handler stands here.
    fn worker(&self, redis: &RedisProcess) -> WorkerBuilder {
        self.method(builder(redis))
    }

    fn method(&self, builder: WorkerBuilder) -> WorkerBuilder {
        let gate = self.clone();
        builder.method("dashboard.refresh", move |_| {
            let gate = gate.clone();
            async move {
                gate.begun.fetch_add(1, Ordering::SeqCst);
                gate.open.acquire().await?.forget();
                Ok("done")
            }
        })
    }
}

fn builder(redis: &RedisProcess) -> WorkerBuilder {
    Worker::builder(&redis.url(), acme())
}

/// A worker whose answer is what it was asked with.
fn echo(redis: &RedisProcess) -> WorkerBuilder {
    builder(redis).method("dashboard.refresh", |request: Request| async move { request.input::<Value>() })
}

/// Takes everything in the stream in the name of a worker that is lost with it.
fn lose(redis: &RedisProcess) {
    redis.command(&["XREADGROUP", "GROUP", "backend", "lost", "STREAMS", REQUESTS, ">"]);
}

#[tokio::test]
async fn a_request_is_answered_and_acknowledged() {
    let redis = RedisProcess::start();
    let mut node = Listener::on(&redis, &[REPLIES]).await;
    // It came before the first worker.
    Ask::new("r1", &json!({ "days": 7 })).add(&redis);
    let worker = Running::start(echo(&redis));
    assert_eq!(node.next_json().await, answer("r1", &json!({ "days": 7 })));
    Ask::new("r2", &json!([1.50])).with("traceparent", "").add(&redis);
    assert_eq!(node.next_json().await, answer("r2", &json!([1.5])));
    until_done(&redis).await;
    assert_eq!(worker.stop().await, Stopped { unfinished: 0 });
    // It has left nothing behind.
    assert_eq!(redis.command(&["XINFO", "CONSUMERS", REQUESTS, "backend"]), "");
}

#[tokio::test]
async fn failures_are_answered_without_what_only_the_backend_should_know() {
    async fn fail(request: Request) -> Result<(), RequestError> {
        match request.data() {
            "1" => Err(RequestError::new("forbidden", "not yours")),
            "2" => Err(std::io::Error::other("the password is hunter2"))?,
            "3" => panic!("hunter2"),
            "4" => request.input::<Vec<u8>>().map(drop),
            "5" => std::future::pending().await,
            _ => Ok(()),
        }
    }
    let redis = RedisProcess::start();
    let mut node = Listener::on(&redis, &[REPLIES]).await;
    let limits = builder(&redis).handler_timeout(Duration::from_millis(50)).answer_bytes_max(300);
    let methods = limits
        .method("dashboard.refresh", fail)
        .method("panics", |_| -> std::future::Ready<Result<(), RequestError>> { panic!("hunter2") })
        .method("large", |_| async { Ok("x".repeat(300)) });
    let worker = Running::start(methods);
    let mut told = async |ask: Ask| {
        ask.add(&redis);
        node.next_json().await
    };
    let ask = |data: u8| Ask::new("r", &json!(data));
    let internal = error("r", "internal", "the backend failed");
    assert_eq!(told(ask(1)).await, error("r", "forbidden", "not yours"));
    assert_eq!(told(ask(2)).await, internal);
    assert_eq!(told(ask(3)).await, internal);
    assert_eq!(told(ask(3).with("method", "panics")).await, internal);
    assert_eq!(told(ask(4)).await["error"]["code"], "bad_frame");
    assert_eq!(told(ask(5)).await["error"]["code"], "timeout");
    assert_eq!(told(ask(6).with("method", "large")).await["error"]["code"], "too_large");
    assert_eq!(told(ask(6)).await, answer("r", &json!(null)));
    until_done(&redis).await;
    worker.stop().await;
}

#[tokio::test]
async fn what_nobody_waits_for_or_nobody_could_answer_is_skipped() {
    let redis = RedisProcess::start();
    let mut node = Listener::on(&redis, &[REPLIES, "fanfare:other:replies:n1"]).await;
    let gate = Gate::new();
    let worker = Running::start(gate.worker(&redis));
    let ask = || Ask::new("r1", &json!(1));
    ask().with("deadline_ms", "1767225600000").add(&redis);
    ask().with("method", "orders.list").add(&redis);
    ask().with("reply_to", "fanfare:other:replies:n1").add(&redis);
    ask().with("deadline_ms", "soon").add(&redis);
    redis.command(&["XADD", REQUESTS, "*", "hello", "world"]);
    until_done(&redis).await;
    assert_eq!(gate.begun(), 0);
    node.expect_nothing(&redis, REPLIES).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_fallback_answers_what_no_other_method_does() {
    let redis = RedisProcess::start();
    let mut node = Listener::on(&redis, &[REPLIES]).await;
    let fallback = |request: Request| async move {
        Err::<(), _>(RequestError::new("unknown_method", format!("there is no {}", request.method())))
    };
    let worker = Running::start(echo(&redis).fallback(fallback));
    Ask::new("r1", &json!(1)).with("method", "orders.list").add(&redis);
    assert_eq!(node.next_json().await, error("r1", "unknown_method", "there is no orders.list"));
    Ask::new("r2", &json!(1)).add(&redis);
    assert_eq!(node.next_json().await, answer("r2", &json!(1)));
    worker.stop().await;
}

#[tokio::test]
async fn a_lost_workers_requests_are_taken_over() {
    let redis = RedisProcess::start();
    let mut node = Listener::on(&redis, &[REPLIES]).await;
    redis.command(&["XGROUP", "CREATE", REQUESTS, "backend", "0", "MKSTREAM"]);
    for number in 0..100 {
        Ask::new(&format!("r{number}"), &json!(number)).add(&redis);
    }
    lose(&redis);
    assert_eq!(pending(&redis), Some(100));
    let worker = Running::start(echo(&redis).claim_after(Duration::from_millis(100)).concurrency(7));
    let mut answered = Vec::new();
    while answered.len() < 100 {
        answered.push(node.next_json().await["data"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..100), "each once");
    until_done(&redis).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_request_that_takes_long_stays_with_its_worker() {
    let redis = RedisProcess::start();
    let mut node = Listener::on(&redis, &[REPLIES]).await;
    let claim_after = Duration::from_secs(3);
    let (first, second) = (Gate::new(), Gate::new());
    let worker = Running::start(first.worker(&redis).claim_after(claim_after));
    let entry = Ask::new("r1", &json!(1)).add(&redis);
    first.until_begun(1).await;
    let other = Running::start(second.worker(&redis).claim_after(claim_after));
    // Until the other would have taken it over, and has looked for it.
    let idle = || -> u64 {
        let words = redis.command(&["XPENDING", REQUESTS, "backend", &entry, &entry, "1"]);
        words.lines().nth(2).unwrap().parse().unwrap()
    };
    let (mut signs, mut last) = (0, 0);
    until("there were signs of life for longer than that", async || {
        let now = idle();
        signs += usize::from(now < last);
        last = now;
        signs == 6
    })
    .await;
    assert_eq!((first.begun(), second.begun()), (1, 0));
    first.open.add_permits(1);
    assert_eq!(node.next_json().await, answer("r1", &json!("done")));
    until_done(&redis).await;
    worker.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn no_more_is_taken_than_can_be_answered_at_once() {
    let redis = RedisProcess::start();
    let mut node = Listener::on(&redis, &[REPLIES]).await;
    let gate = Gate::new();
    let worker = Running::start(gate.worker(&redis).concurrency(2));
    for number in 0..5 {
        Ask::new(&format!("r{number}"), &json!(number)).add(&redis);
    }
    for round in 0..5 {
        gate.until_begun((round + 2).min(5)).await;
        // What waits can be taken by others.
        assert_eq!((gate.begun(), pending(&redis)), ((round + 2).min(5), Some(2.min(5 - round))));
        gate.open.add_permits(1);
        node.next().await;
        let left = 5 - (round + 1);
        until("it is acknowledged", async || pending(&redis) <= Some(left)).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_finishes_what_it_has_and_takes_nothing_new() {
    let redis = RedisProcess::start();
    let mut node = Listener::on(&redis, &[REPLIES]).await;
    let gate = Gate::new();
    let worker = Running::start(gate.worker(&redis));
    Ask::new("r1", &json!(1)).add(&redis);
    gate.until_begun(1).await;
    worker.stop.send(()).unwrap();
    // Once its last reading is over, what comes is left to others.
    until("nobody reads any more", async || !redis.command(&["CLIENT", "LIST"]).contains("flags=b ")).await;
    Ask::new("r2", &json!(2)).add(&redis);
    gate.open.add_permits(1);
    assert_eq!(node.next_json().await, answer("r1", &json!("done")));
    assert_eq!(in_time("the worker stops", worker.task).await.unwrap(), Stopped { unfinished: 0 });
    assert_eq!((gate.begun(), pending(&redis)), (1, Some(0)));
    let next = Running::start(echo(&redis));
    assert_eq!(node.next_json().await, answer("r2", &json!(2)));
    next.stop().await;
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_left_to_another_worker() {
    let redis = RedisProcess::start();
    let mut node = Listener::on(&redis, &[REPLIES]).await;
    let gate = Gate::new();
    let worker = Running::start(gate.worker(&redis).stop_timeout(Duration::from_millis(50)));
    Ask::new("r1", &json!(1)).add(&redis);
    gate.until_begun(1).await;
    assert_eq!(worker.stop().await, Stopped { unfinished: 1 });
    assert_eq!(pending(&redis), Some(1));
    let next = Running::start(echo(&redis).claim_after(Duration::from_millis(100)));
    assert_eq!(node.next_json().await, answer("r1", &json!(1)));
    next.stop().await;
}

#[tokio::test]
async fn a_worker_outlives_its_redis() {
    let mut redis = RedisProcess::not_started(&[]);
    let worker = Running::start(echo(&redis));
    // Neither at its start nor later does it need one.
    for _ in 0..2 {
        redis.start_again();
        let mut node = Listener::on(&redis, &[REPLIES]).await;
        Ask::new("r1", &json!(1)).add(&redis);
        assert_eq!(node.next_json().await, answer("r1", &json!(1)));
        redis.kill();
    }
    assert_eq!(worker.stop().await, Stopped { unfinished: 0 });
}

#[tokio::test]
async fn an_answer_is_kept_until_redis_takes_it() {
    let redis = RedisProcess::start();
    let mut node = Listener::on(&redis, &[REPLIES]).await;
    let door = Door::before(&redis).await;
    let gate = Gate::new();
    let builder = Worker::builder(&door.url(), acme()).timeout(Duration::from_millis(100));
    let worker = Running::start(gate.method(builder));
    Ask::new("r1", &json!(1)).add(&redis);
    gate.until_begun(1).await;
    door.shut();
    gate.open.add_permits(1);
    // So many attempts of both its connections take longer than one call may, so the first one has failed.
    until("it has tried often", async || door.refused() >= 12).await;
    door.open();
    assert_eq!(node.next_json().await, answer("r1", &json!("done")));
    until_done(&redis).await;
    worker.stop().await;
}

#[tokio::test]
async fn each_group_answers_its_own_methods() {
    let redis = RedisProcess::start();
    let mut node = Listener::on(&redis, &[REPLIES]).await;
    let dashboard = Running::start(echo(&redis).group("dashboard"));
    let orders = builder(&redis).group("orders").method("orders.list", |_| async { Ok("orders") });
    let orders = Running::start(orders);
    Ask::new("r1", &json!("dashboard")).add(&redis);
    assert_eq!(node.next_json().await, answer("r1", &json!("dashboard")));
    Ask::new("r2", &json!(1)).with("method", "orders.list").add(&redis);
    assert_eq!(node.next_json().await, answer("r2", &json!("orders")));
    dashboard.stop().await;
    orders.stop().await;
}

#[tokio::test]
async fn the_rights_that_the_readme_lists_are_enough() {
    let redis = RedisProcess::start();
    support::grant(&redis, "worker", false);
    let mut node = Listener::on(&redis, &[REPLIES]).await;
    redis.command(&["XGROUP", "CREATE", REQUESTS, "backend", "0", "MKSTREAM"]);
    Ask::new("r1", &json!(1)).add(&redis);
    lose(&redis);
    let worker = Worker::builder(&redis.url_with("worker", "word"), acme())
        .claim_after(Duration::from_millis(100))
        .method("dashboard.refresh", |_| async { Ok(2) });
    let worker = Running::start(worker);
    assert_eq!(node.next_json().await, answer("r1", &json!(2)));
    until_done(&redis).await;
    worker.stop().await;
    // Nothing was denied, also when it left the group.
    assert_eq!(redis.command(&["ACL", "LOG"]), "");
}

#[tokio::test]
async fn a_worker_that_could_answer_nothing_is_not_made() {
    let builder = || Worker::builder("redis://127.0.0.1", acme());
    let some = || builder().method("a", |_| async { Ok(1) });
    assert_eq!(builder().build().unwrap_err(), WorkerError::NoMethod);
    let error = some().concurrency(0).build().unwrap_err().to_string();
    assert_eq!(error, "concurrency is 0, and it must be at least 1");
    assert!(some().claim_after(Duration::ZERO).build().unwrap_err().to_string().contains("claim_after is 0ns"));
    assert!(matches!(some().prefix("{a}").build(), Err(WorkerError::Prefix(_))));
    let other = Worker::builder("http://redis", acme()).method("a", |_| async { Ok(1) });
    assert!(matches!(other.build(), Err(WorkerError::Address(_))));
    assert!(some().build().is_ok());
}
