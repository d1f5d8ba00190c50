//! A backend that publishes numbered events to one topic, one after the other, over a plain connection to Redis. What it
//! isn't answered it notes as unclear; with an id it tries again, as the contract allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fanfare_protocol::Position;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;

use crate::model::{Kind, Log, Number};
use crate::random::Random;
use crate::resp::{Redis, Said, Unclear};
use crate::schedule::Use;

/// Events of a burst, and the bytes of each: more than the kernel and an outbox hold.
const BURST_EVENTS: usize = 320;
const BURST_BYTES: usize = 16_000;

/// How long it waits when Redis doesn't answer or refuses.
const PAUSE: Duration = Duration::from_millis(25);

/// Puts an entry into the stream as somebody might who knows the layout and not the library; where the epoch is this
/// server's, since else it would be the one that gives a position out twice.
const XADD_ONLY: &str = "local epoch, owner, more = (redis.call('GET', KEYS[2]) or ''):match('^(%d+) (%x+)(.*)$') \
    if more ~= '' or owner ~= redis.call('INFO', 'replication'):match('master_replid:(%x+)') then return false end \
    return redis.call('XADD', KEYS[1], 'NOMKSTREAM', epoch .. '-*', 'e', ARGV[1])";

/// What a world asks of a publisher.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    /// Many large events at once.
    Burst,
    /// An entry of the stream that is never published.
    XaddOnly,
}

/// What all publishers of a world share.
#[derive(Clone)]
pub(crate) struct Around {
    /// Redis.
    pub(crate) port: u16,
    /// When the world began.
    pub(crate) epoch: Instant,
    /// The faults are over: durable and ephemeral events in turn.
    pub(crate) is_ending: Arc<AtomicBool>,
}

/// A publisher before it runs.
pub(crate) struct Publisher {
    /// `acme:channel:orders`.
    pub(crate) key: String,
    /// What it publishes.
    pub(crate) of: Use,
    /// What it has published.
    pub(crate) log: Arc<Mutex<Log>>,
    /// Its numbers.
    pub(crate) random: Random,
    /// What it is asked to do.
    pub(crate) requests: mpsc::Receiver<Request>,
    /// What it shares.
    pub(crate) around: Around,
    /// Positions that an id gave twice in one epoch: none should be.
    pub(crate) faults: Arc<Mutex<Vec<String>>>,
}

/// How one event is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Publish,
    Call,
    CallWithId,
    CallInvalid,
    XaddOnly,
}

impl Publisher {
    /// Publishes until it is aborted.
    pub(crate) async fn run(mut self) {
        let mut redis = None;
        loop {
            let pause = self.random.within(2, 30);
            let request = tokio::time::timeout(Duration::from_millis(pause), self.requests.recv()).await;
            match request {
                Ok(Some(Request::Burst)) => {
                    for _ in 0..BURST_EVENTS {
                        let how = if self.of == Use::Ephemeral { How::Publish } else { How::CallWithId };
                        self.publish(&mut redis, how, BURST_BYTES).await;
                    }
                }
                Ok(Some(Request::XaddOnly)) => {
                    // On which side of ephemeral events of that moment it stands no node can know, after an outage: the
                    // channel never had it. So only where there are none.
                    if self.of == Use::Durable {
                        self.publish(&mut redis, How::XaddOnly, 0).await;
                    }
                    // Nobody hears of the entry before the next durable event.
                    self.publish(&mut redis, How::CallWithId, 0).await;
                }
                Ok(None) => return,
                Err(_) => {
                    let how = self.choose();
                    let bytes = usize::try_from(self.random.within(0, 400)).expect("small");
                    self.publish(&mut redis, how, bytes).await;
                }
            }
        }
    }

    fn choose(&mut self) -> How {
        if self.around.is_ending.load(Ordering::SeqCst) {
            return if self.random.percent(50) { How::Publish } else { How::CallWithId };
        }
        match (self.of, self.random.within(0, 100)) {
            (Use::Ephemeral, _) | (Use::Mixed, 0..45) => How::Publish,
            (Use::Durable, 0..3) => How::CallInvalid,
            (_, 3..75) => How::Call,
            _ => How::CallWithId,
        }
    }

    /// Publishes the next event, and doesn't return before it is known what became of it, or that nobody can know.
    async fn publish(&mut self, redis: &mut Option<Redis>, how: How, padding: usize) {
        let kind = match how {
            How::Publish => Kind::Ephemeral,
            How::CallInvalid => Kind::Invalid,
            How::Call | How::CallWithId | How::XaddOnly => Kind::Durable,
        };
        let mut number = None;
        loop {
            let mut connection = match redis.take() {
                Some(redis) => redis,
                None => self.connect().await,
            };
            let number = match number {
                Some(number) => {
                    self.log.lock().retry(number);
                    number
                }
                None => *number.insert(self.log.lock().start(kind, self.around.epoch.elapsed())),
            };
            let outcome = self.call(&mut connection, how, number, padding).await;
            if outcome.is_ok() {
                *redis = Some(connection);
            }
            match outcome {
                Ok(Said::Refused(_)) => self.log.lock().refuse(number),
                Ok(Said::Nil) => return self.log.lock().refuse(number),
                Ok(Said::Text(text)) => {
                    self.acknowledge(kind, number, &text);
                    if how == How::CallWithId && self.random.percent(20) && padding < BURST_BYTES {
                        self.repeat(redis, how, number).await;
                    }
                    return;
                }
                Err(Unclear) if how == How::CallWithId => {}
                Err(Unclear) => return,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A retry of what was answered: the backend didn't get the answer.
    async fn repeat(&mut self, redis: &mut Option<Redis>, how: How, number: Number) {
        let Some(mut connection) = redis.take() else { return };
        self.log.lock().retry(number);
        match self.call(&mut connection, how, number, 0).await {
            Ok(Said::Text(text)) => self.acknowledge(Kind::Durable, number, &text),
            Ok(_) => self.log.lock().refuse(number),
            Err(Unclear) => return,
        }
        *redis = Some(connection);
    }

    async fn connect(&self) -> Redis {
        loop {
            if let Some(redis) = Redis::connect(self.around.port).await {
                return redis;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn call(&self, redis: &mut Redis, how: How, number: Number, padding: usize) -> Result<Said, Unclear> {
        let data = json!({ "of": self.key, "n": number, "pad": "x".repeat(padding) });
        let envelope = match how {
            How::CallInvalid => json!({ "data": data }),
            _ => json!({ "type": "n", "data": data }),
        };
        let (topic, envelope) = (format!("fanfare:{}", self.key), envelope.to_string());
        let (head, id) = (format!("{{{topic}}}:head"), format!("event-{number}"));
        match how {
            How::Publish => redis.call(&["PUBLISH", &topic, &envelope]).await,
            How::Call | How::CallInvalid => redis.call(&["FCALL", "fanfare_publish", "1", &topic, &envelope]).await,
            How::CallWithId => {
                redis.call(&["FCALL", "fanfare_publish", "2", &topic, &head, &envelope, "id", &id]).await
            }
            How::XaddOnly => redis.call(&["EVAL", XADD_ONLY, "2", &topic, &head, &envelope]).await,
        }
    }

    fn acknowledge(&self, kind: Kind, number: Number, answer: &str) {
        let mut log = self.log.lock();
        let position: Option<Position> = (kind != Kind::Ephemeral).then(|| answer.parse().expect("a position"));
        if let (Some(event), Some(position)) = (log.get(number), position)
            && let Some(other) =
                event.positions.iter().find(|other| other.epoch == position.epoch && **other != position)
        {
            self.faults
                .lock()
                .push(format!("{}: event {number} has its id and two places, {other} and {position}", self.key));
        }
        log.acknowledge(number, position);
    }
}
