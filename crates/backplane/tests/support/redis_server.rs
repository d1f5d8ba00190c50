//! A real `redis-server` for one test, on a free port of the loopback interface, killed when dropped.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to start, or to reach a state that a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

const SOCKET: &str = "redis.sock";

/// A server, which may be stopped and started again on the same port.
pub(crate) struct RedisProcess {
    directory: TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl RedisProcess {
    /// Starts a server with defaults.
    pub(crate) fn start() -> RedisProcess {
        RedisProcess::start_with(&[])
    }

    /// Starts a server with more arguments: `&["--requirepass", "word"]`.
    pub(crate) fn start_with(arguments: &[&str]) -> RedisProcess {
        // Between its choice and its use, a port can go to somebody else.
        for _ in 0..10 {
            let mut server = RedisProcess::not_started(arguments);
            if server.try_start() {
                return server;
            }
        }
        panic!("redis-server does not start with {arguments:?}");
    }

    /// A server with a port of its own that does not run yet.
    pub(crate) fn not_started(arguments: &[&str]) -> RedisProcess {
        RedisProcess {
            directory: tempfile::tempdir().expect("a directory for the server"),
            port: free_port(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            process: None,
        }
    }

    /// Starts the server when it does not run, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        assert!(self.try_start(), "redis-server does not start on port {}", self.port);
    }

    fn try_start(&mut self) -> bool {
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.directory.path())
            .arg("--unixsocket")
            .arg(self.socket_path())
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server must be installed");
        let process = self.process.insert(process);
        let socket = self.directory.path().join(SOCKET);
        let mut is_running = true;
        wait_until("redis-server answers or has ended", || {
            is_running = matches!(process.try_wait(), Ok(None));
            !is_running || answers(&socket)
        });
        is_running
    }

    /// Kills the server, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops the process where it is: the kernel keeps its connections, and nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Whether it was started and not killed.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The TCP port, the same after a restart.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `redis://user:password@127.0.0.1:port`.
    pub(crate) fn url_with(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}", self.port)
    }

    /// The Unix socket it listens on, too.
    pub(crate) fn socket_path(&self) -> PathBuf {
        self.directory.path().join(SOCKET)
    }

    /// A directory that lives as long as the server.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a command through `redis-cli`, over the Unix socket, and returns what it prints.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        self.command_as(None, words)
    }

    /// Runs a command with the password of the default user.
    pub(crate) fn command_as(&self, password: Option<&str>, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(self.socket_path());
        if let Some(password) = password {
            command.args(["--no-auth-warning", "-a", password]);
        }
        let Output { stdout, stderr, .. } = command.args(words).output().expect("redis-cli must be installed");
        assert!(stderr.is_empty(), "redis-cli {words:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).expect("redis-cli prints text").trim_end().to_owned()
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("the server runs");
        let status = Command::new("kill").args([signal, &process.id().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }
}

impl Drop for RedisProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a server answers on its Unix socket, which nobody else can have. It opens that before a cluster's bus, whose port
/// may be taken, and answers only when it has all of its ports.
fn answers(socket: &Path) -> bool {
    let ask = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"PING\r\n")?;
        // Whatever it says: it may want a password first.
        stream.read_exact(&mut [0])
    };
    ask().is_ok()
}

/// A port that nobody listens on, and that no other test of Rust is given while this process lives: its user may not listen
/// yet, or not at the moment. It lies below those that the kernel gives to outgoing connections, of which one could take it
/// away again, and below those of the tests in Python (from 20,000), Node (24,000) and the browser (28,000).
pub(crate) fn free_port() -> u16 {
    static PORTS: Mutex<Ports> = Mutex::new(Ports { block: None, handed_out: BLOCK });
    let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = ports.next();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

const FIRST_PORT: u16 = 10_000;
const BLOCK: u16 = 100;
const BLOCKS: u16 = 100;

/// A block of ports, whose file this process has locked. The kernel unlocks it when the process ends, however it ends.
struct Ports {
    block: Option<(u16, File)>,
    handed_out: u16,
}

impl Ports {
    fn next(&mut self) -> u16 {
        if self.handed_out == BLOCK {
            // Servers in the block that is full may live on.
            std::mem::forget(self.block.replace(claim()));
            self.handed_out = 0;
        }
        let (block, _) = self.block.as_ref().expect("it was just claimed");
        self.handed_out += 1;
        FIRST_PORT + block * BLOCK + self.handed_out - 1
    }
}

/// Locks the file of a block that nobody has.
fn claim() -> (u16, File) {
    let directory = std::env::temp_dir().join("fanfare-test-ports");
    std::fs::create_dir_all(&directory).expect("a directory for locks");
    let open = |block: u16| File::create(directory.join(block.to_string())).expect("a file for a lock");
    (0..BLOCKS)
        .map(|block| (block, open(block)))
        .find(|(_, file)| file.try_lock().is_ok())
        .unwrap_or_else(|| panic!("other tests have all ports from {FIRST_PORT} on: see {}", directory.display()))
}

/// Waits for a condition that nothing announces.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
