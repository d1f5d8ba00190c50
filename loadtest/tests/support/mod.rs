//! Runs the load generator and the servers it needs, as a user would.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The load generator.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_fanfare-loadtest");
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PORT: u16 = 9_000;
const PORTS: u16 = 1_000;

/// What a finished run said.
pub struct Outcome {
    pub code: i32,
    pub document: Value,
    pub errors: String,
}

/// A server that is killed at the end of the test.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

/// The load generator with these arguments, separated by spaces.
pub fn command(arguments: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("FANFARE_JWT_HS256_SECRET");
    command
}

/// Runs to the end and reads the JSON, if there is any.
pub fn run(arguments: &str) -> Outcome {
    let output = command(arguments).output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        document: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The gateway's program beside this one. The gateway is no dependency of the load generator, so cargo builds it only for the
/// whole workspace; where it is missing, it is built here.
pub fn node_program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let program = PathBuf::from(PROGRAM).with_file_name("fanfare");
        if !program.is_file() {
            let target = program.parent().unwrap().parent().unwrap();
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--locked", "--package", "fanfare-gateway", "--bin", "fanfare"]);
            assert!(cargo.arg("--target-dir").arg(target).status().unwrap().success(), "building the gateway");
        }
        program
    };
    BUILT.get_or_init(build).clone()
}

impl Server {
    /// A redis-server on a free port.
    pub fn redis() -> Server {
        loop {
            let address = free_address();
            let port = address.port().to_string();
            let mut child = Command::new("redis-server")
                .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is not installed");
            let mut has_ended = false;
            wait_until("redis-server answers", || {
                has_ended = child.try_wait().unwrap().is_some();
                has_ended || process_id(address) == Some(child.id())
            });
            // Between its choice and its use, the port may go to somebody else.
            if !has_ended {
                return Server { child, address };
            }
        }
    }

    /// A floor server on that Redis.
    pub fn floor(redis: &Server, flags: &str) -> Server {
        let mut child =
            command(&format!("floor --listen 127.0.0.1:0 --redis redis://{} {flags}", redis.address)).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        Server { child, address }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which process the Redis at this address is.
fn process_id(address: SocketAddr) -> Option<u32> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(b"INFO server\r\nQUIT\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().find_map(|line| line.strip_prefix("process_id:")?.parse().ok())
}

/// An address that was free a moment ago, with a port that only these tests use, given away once: it may stay unused. The load
/// generator itself takes ports below these, and other tests those from 10,000 on.
pub fn free_address() -> SocketAddr {
    static TURN: AtomicU16 = AtomicU16::new(0);
    // Another run of these tests most likely has another place in the row.
    let first = std::process::id() % u32::from(PORTS);
    let mut addresses = std::iter::repeat_with(|| {
        let turn = u32::from(TURN.fetch_add(1, Ordering::Relaxed));
        let port = FIRST_PORT + u16::try_from((first + turn) % u32::from(PORTS)).unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    });
    addresses.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

/// Waits for a condition, and not for ever.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
