//! One Redis, a few nodes, publishers and clients, and the faults of a plan. Everything is a real process or a real socket, has
//! an end, and dies with the world.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::sleep_until;

use crate::judge::{Client, Outcome, Topic};
use crate::listener::{self, Addresses, Listener, Views};
use crate::model::{Kind, Log, NOTICE_PATIENCE, reached};
use crate::proxy::ChaosProxy;
use crate::publisher::{self, Publisher};
use crate::random::Random;
use crate::resp::{Redis, Said};
use crate::schedule::{Action, Keeps, Mode, Plan, TOPICS};
use crate::support::{Node, RedisProcess};

/// How long everybody has, when all faults are over, to see the end of every topic.
const END_PATIENCE: Duration = Duration::from_secs(45);

/// Requests that wait for a client or a publisher. What doesn't fit is left out: one that can't take it is busy enough.
const REQUESTS_MAX: usize = 16;

/// A running world.
pub(crate) struct World {
    plan: Plan,
    epoch: Instant,
    redis: RedisProcess,
    is_redis_running: bool,
    nodes: Vec<Place>,
    /// Nodes that were killed; their logs may still be wanted.
    dead: Vec<Node>,
    addresses: Addresses,
    topics: Vec<Topic>,
    clients: Vec<Client>,
    is_ending: Arc<AtomicBool>,
    faults: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

struct Place {
    proxy: ChaosProxy,
    node: Option<Node>,
    is_frozen: bool,
}

impl World {
    /// Starts everything.
    pub(crate) async fn start(plan: Plan) -> World {
        let kept: &[&str] = match plan.keeps {
            Keeps::Everything => &["--appendonly", "yes", "--appendfsync", "always"],
            Keeps::Nothing | Keeps::Snapshots => &[],
        };
        let rest = ["--logfile", "redis.log", "--client-output-buffer-limit", "pubsub", "4mb", "2mb", "2"];
        let redis = block_in_place(|| RedisProcess::start_with(&[&rest, kept].concat()));
        let mut world = World {
            epoch: Instant::now(),
            is_redis_running: true,
            nodes: Vec::new(),
            dead: Vec::new(),
            addresses: Arc::new(Mutex::new(vec![None; plan.nodes])),
            topics: Vec::new(),
            clients: Vec::new(),
            is_ending: Arc::default(),
            faults: Arc::default(),
            tasks: JoinSet::new(),
            redis,
            plan,
        };
        for number in 0..world.plan.nodes {
            let proxy = ChaosProxy::to(world.redis.port()).await;
            world.nodes.push(Place { proxy, node: None, is_frozen: false });
            world.start_node(number).await;
        }
        for number in 0..TOPICS.len() {
            world.start_publisher(number);
        }
        for number in 0..world.plan.clients {
            world.start_client(number);
        }
        world
    }

    /// Lets the plan happen, puts everything in order, waits for the end of every topic, and judges.
    pub(crate) async fn run(mut self, directory: &Path) -> Outcome {
        let began = tokio::time::Instant::now();
        for (at, action) in self.plan.actions.clone() {
            sleep_until(began + Duration::from_millis(at)).await;
            self.act(action).await;
        }
        let mut wrong = Vec::new();
        if let Err(words) = self.restore().await {
            wrong.push(words);
        } else if let Err(words) = self.see_the_end().await {
            wrong.push(words);
        }
        let mut outcome = self.settle().await;
        outcome.wrong.splice(0..0, wrong);
        if !outcome.wrong.is_empty() || std::env::var_os("KEEP").is_some() {
            self.keep_evidence(directory, &outcome).await;
        }
        outcome
    }

    async fn start_node(&mut self, number: usize) {
        let place = &mut self.nodes[number];
        if place.node.is_some() {
            return;
        }
        let url = place.proxy.url();
        let recent = ["0", "100000", "67108864"][usize::try_from(self.plan.seed % 3).expect("small")];
        let name = format!("node-{number}-{}", self.dead.len());
        let settings = [
            ("FANFARE_BACKPLANE", url.as_str()),
            ("FANFARE_NODE_ID", &name),
            ("FANFARE_REDIS_PING_INTERVAL_MS", "100"),
            ("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "600"),
            ("FANFARE_REDIS_RETRY_MIN_MS", "10"),
            ("FANFARE_REDIS_RETRY_MAX_MS", "100"),
            ("FANFARE_GAP_SPREAD_MS", "300"),
            ("FANFARE_UNSUBSCRIBE_DELAY_MS", "300"),
            ("FANFARE_OUTBOX_BYTES_MAX", "262144"),
            ("FANFARE_RECENT_BYTES_MAX", recent),
            ("FANFARE_FRAMES_PER_MINUTE", "600000"),
            ("FANFARE_FRAMES_BURST", "10000"),
            // Whom a fault holds up is cut off too.
            ("FANFARE_DRAIN_S", "2"),
            ("FANFARE_AUTH_TIMEOUT_MS", "5000"),
        ];
        let node = Node::start_until("/healthz", &settings).await;
        self.addresses.lock()[number] = Some(node.clients);
        place.node = Some(node);
    }

    fn start_publisher(&mut self, number: usize) {
        let (tenant, topic, of) = TOPICS[number];
        let key = format!("{tenant}:{topic}");
        let log = Arc::new(Mutex::new(Log::default()));
        let (requests, requested) = mpsc::channel(REQUESTS_MAX);
        let publisher = Publisher {
            key: key.clone(),
            of,
            log: Arc::clone(&log),
            random: Random::new(self.plan.seed, 100 + number as u64),
            requests: requested,
            around: publisher::Around {
                port: self.redis.port(),
                epoch: self.epoch,
                is_ending: Arc::clone(&self.is_ending),
            },
            faults: Arc::clone(&self.faults),
        };
        self.tasks.spawn(publisher.run());
        self.topics.push(Topic { key, log, requests });
    }

    fn start_client(&mut self, number: usize) {
        let tenant = if number % 4 == 3 { "globex" } else { "acme" };
        let user = if number.is_multiple_of(3) { "2" } else { "1" };
        let mut random = Random::new(self.plan.seed, 200 + number as u64);
        let channels = TOPICS.iter().filter(|(of, topic, _)| *of == tenant && topic.starts_with("channel:"));
        let channels = channels.map(|(_, topic, _)| *topic).filter(|_| random.percent(75)).collect();
        let views = Views::default();
        let (requests, requested) = mpsc::channel(REQUESTS_MAX);
        let listener = Listener {
            tenant,
            user: user.to_owned(),
            channels,
            views: Arc::clone(&views),
            addresses: Arc::clone(&self.addresses),
            requests: requested,
            random,
            epoch: self.epoch,
        };
        self.tasks.spawn(listener.run());
        self.clients.push(Client { name: format!("client {number} ({tenant}, {user})"), tenant, views, requests });
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::KillNode(number) => self.kill_node(number),
            Action::DrainNode(number) => self.drain_node(number),
            Action::StartNode(number) => self.start_node(number).await,
            Action::FreezeNode(number) => self.freeze_node(number, true),
            Action::ThawNode(number) => self.freeze_node(number, false),
            Action::KillRedis => {
                self.topics.iter().for_each(|topic| topic.log.lock().harm(self.epoch.elapsed()));
                self.redis.kill();
                self.is_redis_running = false;
            }
            Action::StartRedis => self.start_redis(),
            Action::StartRedisEmpty if !self.is_redis_running => {
                let directory = self.redis.directory();
                let _ =
                    (fs::remove_file(directory.join("dump.rdb")), fs::remove_dir_all(directory.join("appendonlydir")));
                self.start_redis();
            }
            Action::FreezeRedis if self.is_redis_running => self.redis.freeze(),
            Action::ThawRedis if self.is_redis_running => self.redis.thaw(),
            Action::StartRedisEmpty | Action::FreezeRedis | Action::ThawRedis => {}
            Action::Save if self.plan.keeps != Keeps::Snapshots => {}
            Action::Save => self.command(&["SAVE"]).await,
            Action::KillSubscribers => self.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await,
            Action::KillCallers => self.command(&["CLIENT", "KILL", "TYPE", "normal"]).await,
            Action::Proxy(number, mode) => self.nodes[number].proxy.set(mode),
            Action::Cut(number) => self.nodes[number].proxy.cut(),
            Action::Close(client) => self.ask(client, listener::Request::Close),
            Action::Reset(client) => self.ask(client, listener::Request::Reset),
            Action::NewClient => self.start_client(self.clients.len()),
            Action::ResetAll => (0..self.clients.len()).for_each(|client| self.ask(client, listener::Request::Reset)),
            Action::Resubscribe(client) => self.ask(client, listener::Request::Resubscribe),
            Action::AskAgain(client) => self.ask(client, listener::Request::AskAgain),
            Action::StopReading(client) => self.ask(client, listener::Request::StopReading),
            Action::ReadOn(client) => self.ask(client, listener::Request::ReadOn),
            Action::Burst(topic) => drop(self.topics[topic].requests.try_send(publisher::Request::Burst)),
            Action::XaddOnly(topic) => drop(self.topics[topic].requests.try_send(publisher::Request::XaddOnly)),
            Action::FlushFunctions => self.command(&["FUNCTION", "FLUSH"]).await,
            Action::DeleteStream(_)
            | Action::DeleteHistory(_)
            | Action::ExpireHistory(_)
            | Action::Trim(_)
            | Action::Forge(_) => self.meddle(action).await,
        }
    }

    /// What somebody does to a topic's keys and channel.
    async fn meddle(&self, action: Action) {
        let (Action::DeleteStream(number)
        | Action::DeleteHistory(number)
        | Action::ExpireHistory(number)
        | Action::Trim(number)
        | Action::Forge(number)) = action
        else {
            return;
        };
        let Topic { key, log, .. } = &self.topics[number];
        let (stream, head) = (format!("fanfare:{key}"), format!("{{fanfare:{key}}}:head"));
        if !matches!(action, Action::Forge(_)) {
            log.lock().harm(self.epoch.elapsed());
        }
        match action {
            Action::DeleteStream(_) => self.command(&["DEL", &stream]).await,
            Action::DeleteHistory(_) => self.command(&["DEL", &stream, &head]).await,
            Action::ExpireHistory(_) => {
                self.command(&["PEXPIRE", &stream, "1"]).await;
                self.command(&["PEXPIRE", &head, "2"]).await;
            }
            Action::Trim(_) => self.command(&["XTRIM", &stream, "MAXLEN", "3"]).await,
            _ => {
                let last = log.lock().iter().rev().find_map(|(_, event)| event.positions.last().copied());
                let Some(last) = last else { return };
                let places = [(last.epoch, last.seq + 1_000_000), (last.epoch + 86_400_000_000, 1), (1, 1)];
                for (epoch, seq) in places {
                    let payload = format!("@{epoch}-{seq} {{\"type\":\"forged\",\"data\":null}}");
                    self.command(&["PUBLISH", &stream, &payload]).await;
                }
            }
        }
    }

    fn kill_node(&mut self, number: usize) {
        let Some(mut node) = self.nodes[number].node.take() else { return };
        self.addresses.lock()[number] = None;
        node.kill();
        self.nodes[number].is_frozen = false;
        self.dead.push(node);
    }

    /// It ends by itself, and may still be at it when another has taken its place.
    fn drain_node(&mut self, number: usize) {
        self.freeze_node(number, false);
        let Some(node) = self.nodes[number].node.take() else { return };
        self.addresses.lock()[number] = None;
        node.signal("-TERM");
        self.dead.push(node);
    }

    fn freeze_node(&mut self, number: usize, is_frozen: bool) {
        let place = &mut self.nodes[number];
        if let Some(node) = &place.node {
            node.signal(if is_frozen { "-STOP" } else { "-CONT" });
            place.is_frozen = is_frozen;
        }
    }

    fn start_redis(&mut self) {
        if !self.is_redis_running {
            block_in_place(|| self.redis.start_again());
            self.is_redis_running = true;
        }
    }

    fn ask(&self, client: usize, request: listener::Request) {
        let _ = self.clients[client].requests.try_send(request);
    }

    /// Redis may be frozen or away; then it just doesn't happen, or later.
    async fn command(&self, words: &[&str]) {
        if let Some(mut redis) = Redis::connect(self.redis.port()).await
            && let Ok(Said::Refused(words)) = redis.call(words).await
            && !words.contains("no such key")
        {
            self.faults.lock().push(format!("Redis refuses a fault: {words}"));
        }
    }

    /// The end of all faults.
    async fn restore(&mut self) -> Result<(), String> {
        self.start_redis();
        self.redis.thaw();
        for number in 0..self.nodes.len() {
            if self.nodes[number].is_frozen {
                self.freeze_node(number, false);
            }
            self.nodes[number].proxy.set(Mode::Pass);
            self.start_node(number).await;
        }
        for client in 0..self.clients.len() {
            let _ = self.clients[client].requests.send(listener::Request::ReadOn).await;
        }
        let deadline = Instant::now() + END_PATIENCE;
        for place in &self.nodes {
            let Some(node) = &place.node else { continue };
            while node.get("/readyz").await.status != 200 {
                if Instant::now() > deadline {
                    return Err(format!("{} is not ready again: {}", node.clients, node.get("/readyz").await.body));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Publishes on until every client has seen a durable and an ephemeral event, published after all faults, of each topic.
    async fn see_the_end(&mut self) -> Result<(), String> {
        let began = self.epoch.elapsed();
        self.is_ending.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + END_PATIENCE;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let Some(missing) = self.missing(began) else { return Ok(()) };
            if Instant::now() > deadline {
                return Err(missing);
            }
        }
    }

    fn missing(&self, began: Duration) -> Option<String> {
        let mut ends = BTreeMap::new();
        for Topic { key, log, .. } in &self.topics {
            let log = log.lock();
            let first = |kind: Kind| {
                let is_it = |event: &&crate::model::Published| {
                    event.kind == kind && event.is_acknowledged && event.started > began
                };
                log.iter().find(|(_, event)| is_it(event)).map(|(number, _)| number)
            };
            let Some(end) = first(Kind::Durable).zip(first(Kind::Ephemeral)) else {
                return Some(format!("nothing can be published to {key} any more"));
            };
            ends.insert(key.clone(), end);
        }
        for Client { name, tenant, views, .. } in &self.clients {
            let views = views.lock();
            for (topic, _) in ends.iter().filter_map(|(key, end)| Some((key.split_once(':')?, end))) {
                if topic.0 != *tenant || topic.1 == "tenant" && views.contains_key("tenant") {
                    continue;
                }
                if topic.1 == "tenant" {
                    return Some(format!("{name} was never welcomed"));
                }
            }
            for (topic, view) in views.iter() {
                // Nothing is published to some users' own topics.
                let Some(&(durable, ephemeral)) = ends.get(&format!("{tenant}:{topic}")) else { continue };
                let (has_durable, has_ephemeral) = reached(view);
                if has_durable < durable || has_ephemeral < ephemeral {
                    return Some(format!(
                        "{name} never saw the end of {topic}: it has durable event {has_durable} of {durable} and \
                         ephemeral event {has_ephemeral} of {ephemeral}"
                    ));
                }
            }
        }
        None
    }

    /// Judges, when all notices have come that are still on their way.
    async fn settle(&mut self) -> Outcome {
        let deadline = Instant::now() + NOTICE_PATIENCE;
        while Instant::now() < deadline && Outcome::of(&self.topics, &self.clients, &self.faults.lock()).is_waiting {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.tasks.shutdown().await;
        Outcome::of(&self.topics, &self.clients, &self.faults.lock())
    }

    async fn keep_evidence(&self, directory: &Path, outcome: &Outcome) {
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("a file of evidence");
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).expect("a directory for the evidence");
        write("plan.txt", &self.plan.to_string());
        write("wrong.txt", &outcome.wrong.join("\n\n"));
        for node in self.dead.iter().chain(self.nodes.iter().filter_map(|place| place.node.as_ref())) {
            write(&format!("node-{}.log", node.clients.port()), &node.log());
        }
        for node in self.nodes.iter().filter_map(|place| place.node.as_ref()) {
            write(&format!("node-{}.metrics", node.clients.port()), &node.get("/metrics").await.body);
        }
        let _ = fs::copy(self.redis.directory().join("redis.log"), directory.join("redis.log"));
        for Topic { key, log, .. } in &self.topics {
            let lines: Vec<_> = log.lock().iter().map(|(number, event)| format!("{number}: {event:?}")).collect();
            write(&format!("published-{}.txt", key.replace(':', "-")), &lines.join("\n"));
        }
        for (number, client) in self.clients.iter().enumerate() {
            for (topic, view) in client.views.lock().iter() {
                let lines: Vec<_> = view.told().iter().map(|(at, told)| format!("{at:?}: {told:?}")).collect();
                write(&format!("client-{number}-{}.txt", topic.replace(':', "-")), &lines.join("\n"));
            }
        }
    }
}
