//! Runs the load generator and the servers it needs, as a user would.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fanfare-loadtest");
const PATIENCE: Duration = Duration::from_secs(30);

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
        let address = free_address();
        let port = address.port().to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is not installed");
        wait_until("redis-server listens", || TcpStream::connect(address).is_ok());
        Server { child, address }
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

/// An address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits for a condition, and not for ever.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
