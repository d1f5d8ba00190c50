//! Real Sentinels over a primary and its replica, quick to judge once they are told to be.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::redis_server::{RedisProcess, free_port, wait_until};

/// What the Sentinels call the primary.
pub(crate) const NAME: &str = "main";

/// One `redis-server --sentinel`, killed when dropped.
pub(crate) struct SentinelProcess {
    directory: TempDir,
    port: u16,
    process: Child,
}

/// A primary, a replica and one Sentinel that may fail over by itself.
pub(crate) struct Watched {
    pub(crate) primary: RedisProcess,
    pub(crate) replica: RedisProcess,
    pub(crate) sentinel: SentinelProcess,
}

impl Watched {
    /// Starts all three and waits until the Sentinel could fail over.
    pub(crate) fn start() -> Watched {
        let primary = RedisProcess::start_with(&["--repl-diskless-sync-delay", "0"]);
        let replica = RedisProcess::start_with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
        // A Sentinel looks once, and then only every ten seconds.
        wait_until("the replica follows", || {
            primary.command(&["INFO", "replication"]).contains("state=online")
                && replica.command(&["INFO", "replication"]).contains("master_link_status:up")
        });
        let sentinel = SentinelProcess::start(primary.port(), &[]);
        wait_until("the Sentinel knows the replica", || {
            let replicas = sentinel.command(&["SENTINEL", "REPLICAS", NAME]);
            replicas.contains("master-link-status\nok")
        });
        Watched { primary, replica, sentinel }
    }

    /// `redis+sentinel://…/main`.
    pub(crate) fn url(&self) -> String {
        url(&[self.sentinel.port])
    }

    /// Waits until the Sentinel names the replica as the primary.
    pub(crate) fn until_failed_over(&self) {
        wait_until("the Sentinel names the other server", || self.sentinel.primary_port() == Some(self.replica.port()));
    }
}

/// `redis+sentinel://127.0.0.1:port,…/main`.
pub(crate) fn url(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("redis+sentinel://{}/{NAME}", hosts.join(","))
}

impl SentinelProcess {
    /// Watches the server on this port, alone; with more lines of configuration.
    pub(crate) fn start(primary_port: u16, lines: &[&str]) -> SentinelProcess {
        for _ in 0..10 {
            if let Some(sentinel) = SentinelProcess::try_start(primary_port, lines) {
                return sentinel;
            }
        }
        panic!("redis-server --sentinel does not start with {lines:?}");
    }

    fn try_start(primary_port: u16, lines: &[&str]) -> Option<SentinelProcess> {
        let directory = tempfile::tempdir().expect("a directory for the Sentinel");
        let port = free_port();
        let socket = directory.path().join("sentinel.sock");
        let configuration = [
            &format!("port {port}"),
            "bind 127.0.0.1",
            &format!("dir {}", directory.path().display()),
            &format!("unixsocket {}", socket.display()),
            &format!("sentinel monitor {NAME} 127.0.0.1 {primary_port} 1"),
            &format!("sentinel down-after-milliseconds {NAME} 600000"),
            &format!("sentinel failover-timeout {NAME} 3000"),
        ];
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, [&configuration[..], lines].concat().join("\n")).expect("written");
        let mut process = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server must be installed");
        let mut is_running = true;
        wait_until("the Sentinel listens or has ended", || {
            is_running = matches!(process.try_wait(), Ok(None));
            !is_running || std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        is_running.then_some(SentinelProcess { directory, port, process })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The port of the server that it names.
    pub(crate) fn primary_port(&self) -> Option<u16> {
        self.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).lines().nth(1)?.parse().ok()
    }

    /// From now on, a server that is silent for a moment counts as down; so far it had ten minutes. Before a story has silenced
    /// its primary, a busy machine must not do so.
    pub(crate) fn loses_patience(&self) {
        assert_eq!(self.command(&["SENTINEL", "SET", NAME, "down-after-milliseconds", "300"]), "OK");
    }

    /// Runs a command through `redis-cli` and returns what it prints.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket_path()).args(words).output();
        let Output { stdout, .. } = output.expect("redis-cli must be installed");
        String::from_utf8(stdout).expect("redis-cli prints text").trim_end().to_owned()
    }

    fn socket_path(&self) -> PathBuf {
        self.directory.path().join("sentinel.sock")
    }
}

impl Drop for SentinelProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
