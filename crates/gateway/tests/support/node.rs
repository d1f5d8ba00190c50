//! A node as its operator runs it: the built binary as a child process, configured by its environment.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use fanfare_protocol::Position;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::token::SECRET;
use super::{Reply, free_port, position, request, until};

/// The key of the HTTP API that may do everything.
pub(crate) const API_KEY: &str = "key-of-the-tests";

/// What starts a node.
pub(crate) const SERVE: &[&str] = &["serve"];
/// What starts a node for development.
pub(crate) const SERVE_DEV: &[&str] = &["serve", "--dev"];

/// A running node; killed when dropped. What it logged is printed when its test fails.
pub(crate) struct Node {
    /// Where clients connect.
    pub(crate) clients: SocketAddr,
    /// Health, metrics, and the HTTP API.
    pub(crate) admin: SocketAddr,
    process: Child,
    directory: TempDir,
}

impl Node {
    /// A node with the memory backplane, or with what `settings` say, that is ready: `("FANFARE_PING_MS", "100")`.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Node {
        Self::start_until("/readyz", settings).await
    }

    /// A node on this Redis that is ready. It notices and forgives quickly, so that a test doesn't wait.
    pub(crate) async fn start_on(redis_url: &str, settings: &[(&str, &str)]) -> Node {
        Self::start(&[&on(redis_url), settings].concat()).await
    }

    /// A node on this Redis that lives but may not be ready.
    pub(crate) async fn start_unready_on(redis_url: &str, settings: &[(&str, &str)]) -> Node {
        Self::start_until("/healthz", &[&on(redis_url), settings].concat()).await
    }

    /// A node whose admin port answers 200 at `path`.
    pub(crate) async fn start_until(path: &str, settings: &[(&str, &str)]) -> Node {
        let mut node = Self::spawn(SERVE, settings);
        until(&format!("{path} says 200"), async || {
            if let Some(status) = node.process.try_wait().expect("a child process") {
                // Between its choice and its use, a port can go to somebody else.
                assert!(node.log().contains("cannot listen"), "the node ended: {status}");
                node = Self::spawn(SERVE, settings);
            }
            TcpStream::connect(node.admin).await.is_ok() && node.get(path).await.status == 200
        })
        .await;
        node
    }

    /// Only starts the process, with [`SERVE`] or [`SERVE_DEV`]. A setting that is empty counts as not given.
    pub(crate) fn spawn(arguments: &[&str], settings: &[(&str, &str)]) -> Node {
        let directory = tempfile::tempdir().expect("a directory for the node");
        let [clients, admin] = [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let file = |name: &str| Stdio::from(File::create(directory.path().join(name)).expect("a file for its output"));
        let process = Command::new(env!("CARGO_BIN_EXE_fanfare"))
            .args(arguments)
            .env_clear()
            .env("RUST_BACKTRACE", "1")
            .env("FANFARE_LISTEN", clients.to_string())
            .env("FANFARE_ADMIN_LISTEN", admin.to_string())
            .env("FANFARE_JWT_HS256_SECRET", SECRET)
            .env("FANFARE_API_KEYS", format!("tests:{API_KEY}"))
            .env("FANFARE_LOG_LEVEL", "info,fanfare_gateway=debug,fanfare_backplane=debug")
            .env("FANFARE_DRAIN_DELAY_S", "0")
            .env("FANFARE_DRAIN_S", "20")
            // Who says nothing stays, unless a story is about that.
            .env("FANFARE_AUTH_TIMEOUT_MS", "600000")
            .envs(settings.iter().copied())
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the node's binary runs");
        Node { clients, admin, process, directory }
    }

    /// `GET` on the admin port.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        request(self.admin, "GET", path, &[], b"").await
    }

    /// Publishes one JSON event over the HTTP API. `topic` stands in the path as it is.
    pub(crate) async fn publish(&self, tenant: &str, topic: &str, envelope: &str) -> Reply {
        self.post(&format!("/v1/tenants/{tenant}/topics/{topic}/events"), envelope).await
    }

    /// The same for a durable event, which must be taken. Returns its position.
    pub(crate) async fn keep(&self, tenant: &str, topic: &str, envelope: &str) -> Position {
        let path = format!("/v1/tenants/{tenant}/topics/{topic}/events?durable=true");
        let reply = self.post(&path, envelope).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        position(&reply.json())
    }

    async fn post(&self, path: &str, body: &str) -> Reply {
        let bearer = format!("Bearer {API_KEY}");
        request(self.admin, "POST", path, &[("Authorization", &bearer)], body.as_bytes()).await
    }

    /// One value of `/metrics`, by its line's beginning: `fanfare_connections{tenant="acme"}`. 0 when it is not there.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let metrics = self.get("/metrics").await;
        assert_eq!(metrics.status, 200, "{metrics:?}");
        let value = metrics.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// Sends a signal: `-TERM`, `-STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        until("the node ends", async || self.process.try_wait().expect("a child process").is_some()).await;
        self.process.wait().expect("a child process")
    }

    /// Kills the process, as a crash would.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// All that it has logged, on either of its outputs.
    pub(crate) fn log(&self) -> String {
        self.output("stdout") + &self.output("stderr")
    }

    /// All that it has said on standard error: what is wrong, for a command.
    pub(crate) fn errors(&self) -> String {
        self.output("stderr")
    }

    /// All that it has printed.
    pub(crate) fn printed(&self) -> String {
        self.output("stdout")
    }

    /// Waits until a line of the log contains `text`; returns the line.
    pub(crate) async fn logged(&self, text: &str) -> String {
        let find = || self.log().lines().find(|line| line.contains(text)).map(ToOwned::to_owned);
        until(&format!("{text:?} is logged"), async || find().is_some()).await;
        find().expect("found a moment ago")
    }

    /// The lines of a log in JSON (`FANFARE_LOG_FORMAT=json`).
    pub(crate) fn log_json(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// A file in its directory, which is its working directory too.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn output(&self, name: &str) -> String {
        let bytes = std::fs::read(self.path(name)).expect("the file of its output");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- node {} logged:\n{}---", self.clients, self.log());
        }
    }
}

fn on(redis_url: &str) -> [(&str, &str); 5] {
    [
        ("FANFARE_BACKPLANE", redis_url),
        // On a busy machine a server that is well must not count as one that hangs.
        ("FANFARE_REDIS_RESPONSE_TIMEOUT_MS", "10000"),
        ("FANFARE_REDIS_PING_INTERVAL_MS", "100"),
        ("FANFARE_REDIS_RETRY_MIN_MS", "10"),
        ("FANFARE_REDIS_RETRY_MAX_MS", "100"),
    ]
}
