//! What a received message costs the node: CPU time of the one thread that reads, parses and takes it, against a
//! `redis-server` of its own. And how long 100,000 topics take to subscribe.
//!
//! ```text
//! cargo run --release -p fanfare-backplane --example receive_cost
//! ```
#![allow(clippy::cast_precision_loss, reason = "figures for a reader")]

use std::error::Error;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fanfare_backplane::{Backplane, Inbox, Notice, RedisConfig, RedisServer};
use fanfare_protocol::TopicKey;

#[path = "../tests/support/redis_server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod redis_server;

type Failure = Box<dyn Error + Send + Sync>;

const MESSAGES: usize = 1_000_000;
const TOPICS: usize = 100_000;
const ROUNDS: usize = 3;

// One thread, so that its CPU time is all of the node's.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    // A task like any other of a node, and not the one that the runtime looks at last.
    tokio::spawn(measure()).await?
}

async fn measure() -> Result<(), Failure> {
    // A burst of a million messages must not end the subscription.
    let server = redis_server::RedisProcess::start_with(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    for payload_bytes in [128, 256] {
        for _ in 0..ROUNDS {
            receive(&server, payload_bytes).await?;
        }
    }
    for _ in 0..ROUNDS {
        subscribe(&server).await?;
    }
    Ok(())
}

async fn receive(server: &redis_server::RedisProcess, payload_bytes: usize) -> Result<(), Failure> {
    let (backplane, mut inbox) = Backplane::redis(RedisConfig::new(RedisServer::parse(&server.url())?));
    let topic = TopicKey::parse("acme:channel:orders")?;
    backplane.want(std::slice::from_ref(&topic));
    let mut notices = Vec::new();
    until_confirmed(&mut inbox, &mut notices, 1).await;

    let mut publisher = Command::new("redis-cli")
        .args(["-p", &server.port().to_string(), "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let mut input = publisher.stdin.take().ok_or("no pipe")?;
    let channel = "fanfare:acme:channel:orders";
    let payload = "x".repeat(payload_bytes);
    let command =
        format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${payload_bytes}\r\n{payload}\r\n", channel.len());
    std::thread::spawn(move || input.write_all(command.repeat(MESSAGES).as_bytes()));

    let mut received = 0;
    let mut batches = 0;
    inbox.recv_many(&mut notices, usize::MAX).await;
    received += messages(&mut notices);
    let (start, cpu) = (Instant::now(), ThreadCpu::now()?);
    let first = received;
    while received < MESSAGES {
        inbox.recv_many(&mut notices, usize::MAX).await;
        received += messages(&mut notices);
        batches += 1;
    }
    let cpu = cpu.elapsed()?;
    let count = received - first;
    println!(
        "{payload_bytes} B: {:.3} µs of CPU a message, {:.0} messages/s, {:.0} in a batch",
        cpu.as_secs_f64() * 1e6 / count as f64,
        count as f64 / start.elapsed().as_secs_f64(),
        count as f64 / f64::from(batches)
    );
    publisher.wait()?;
    Ok(())
}

async fn subscribe(server: &redis_server::RedisProcess) -> Result<(), Failure> {
    let (backplane, mut inbox) = Backplane::redis(RedisConfig::new(RedisServer::parse(&server.url())?));
    let topics = (0..TOPICS).map(|number| TopicKey::parse(&format!("acme:channel:{number}")));
    let topics: Vec<_> = topics.collect::<Result<_, _>>()?;
    let mut notices = Vec::new();
    let (start, cpu) = (Instant::now(), ThreadCpu::now()?);
    backplane.want(&topics);
    until_confirmed(&mut inbox, &mut notices, topics.len()).await;
    println!("{TOPICS} topics confirmed in {:?}, {:?} of CPU", start.elapsed(), cpu.elapsed()?);
    Ok(())
}

async fn until_confirmed(inbox: &mut Inbox, notices: &mut Vec<Notice>, topics: usize) {
    let mut confirmed = 0;
    while confirmed < topics {
        inbox.recv_many(notices, usize::MAX).await;
        for notice in notices.drain(..) {
            if let Notice::Confirmed(topics) = notice {
                confirmed += topics.len();
            }
        }
    }
}

fn messages(notices: &mut Vec<Notice>) -> usize {
    notices.drain(..).filter(|notice| matches!(notice, Notice::Message { .. })).count()
}

/// How long this thread had run, in nanoseconds, as Linux counts it.
struct ThreadCpu(u64);

impl ThreadCpu {
    fn now() -> Result<ThreadCpu, Failure> {
        let statistics = std::fs::read_to_string("/proc/thread-self/schedstat")?;
        Ok(ThreadCpu(statistics.split(' ').next().ok_or("no figures")?.parse()?))
    }

    fn elapsed(&self) -> Result<Duration, Failure> {
        Ok(Duration::from_nanos(ThreadCpu::now()?.0 - self.0))
    }
}
