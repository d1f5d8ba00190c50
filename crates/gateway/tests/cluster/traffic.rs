//! A backend that publishes numbered events without a pause, through one `redis-cli` that reads its commands from a
//! pipe; and how a client finds out that it misses none of them.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Client, RedisProcess, until};

/// Between two events.
const PAUSE: Duration = Duration::from_millis(2);

/// Publishes until it is stopped or dropped.
pub(crate) struct Traffic {
    channel: String,
    /// The number of the last event; it may be on its way still.
    last: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    writer: Option<JoinHandle<ChildStdin>>,
    process: Child,
}

/// What a client has seen of the traffic: everything from some number on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    next: Option<u64>,
}

impl Traffic {
    /// Publishes on `fanfare:<key>`. `password`: the default user's, if it has one.
    pub(crate) fn start(redis: &RedisProcess, key: &str, password: Option<&str>) -> Traffic {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(redis.socket_path());
        if let Some(password) = password {
            command.args(["--no-auth-warning", "-a", password]);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut pipe = process.stdin.take().unwrap();
        let (last, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, over, channel) = (Arc::clone(&last), Arc::clone(&is_over), format!("fanfare:{key}"));
        let writer = std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                writeln!(pipe, r#"PUBLISH {channel} '{{"type":"n","data":{number}}}'"#).unwrap();
                pipe.flush().unwrap();
                std::thread::sleep(PAUSE);
            }
            pipe
        });
        Traffic { channel: key.split_once(':').unwrap().1.to_owned(), last, is_over, writer: Some(writer), process }
    }

    /// The topic that the events are on.
    pub(crate) fn topic(&self) -> &str {
        &self.channel
    }

    /// The number of the last event so far. Whoever is subscribed now gets everything after it.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }

    /// Waits until some more has been published.
    pub(crate) async fn flows(&self) {
        let before = self.last();
        until("traffic flows", async || self.last() > before + 20).await;
    }

    /// Ends it, and returns the number of the last event, which Redis has.
    pub(crate) fn stop(mut self) -> u64 {
        self.is_over.store(true, Ordering::SeqCst);
        drop(self.writer.take().unwrap().join().unwrap());
        assert!(self.process.wait().unwrap().success());
        self.last()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Stopped already, or a test that failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Seen {
    /// Of a client that subscribes now, and so must not miss what is published from here on.
    pub(crate) async fn from_subscribed(client: &mut Client, traffic: &Traffic) -> Seen {
        client.subscribe(traffic.topic()).await;
        let last = traffic.last();
        Seen::first_after(last, &client.expect_event(traffic.topic()).await)
    }

    /// `event` is the first that came after `subscribed`, when `last` was the last.
    pub(crate) fn first_after(last: u64, event: &Value) -> Seen {
        let first = number(event);
        assert!(first <= last + 1, "subscribed when {last} was the last, and the first to come was {first}");
        Seen { next: Some(first + 1) }
    }

    /// The next event must be the next number.
    pub(crate) fn take(&mut self, event: &Value) -> u64 {
        let number = number(event);
        if let Some(next) = self.next {
            assert_eq!(number, next, "an event is missing, comes twice, or in another order");
        }
        self.next = Some(number + 1);
        number
    }

    /// Takes events until `last`; nothing else may come.
    pub(crate) async fn take_until(&mut self, client: &mut Client, topic: &str, last: u64) {
        while self.take(&client.expect_event(topic).await) < last {}
    }

    /// Takes events until a message comes that is none, which is returned.
    pub(crate) async fn take_events(&mut self, client: &mut Client) -> Value {
        loop {
            let mut message = client.message().await;
            if message["op"] != "event" {
                return message;
            }
            self.take(&message["event"].take());
        }
    }
}

fn number(event: &Value) -> u64 {
    event["data"].as_u64().unwrap_or_else(|| panic!("not of the traffic: {event}"))
}
