//! Runs the binary in an environment of its own.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a finished command has said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A command that may still be running; killed when dropped.
pub(crate) struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

/// Runs `fanfare` with these arguments and environment variables to its end.
pub(crate) fn fanfare(args: &[&str], variables: &[(&str, &str)]) -> Said {
    fanfare_with_input(args, variables, "")
}

/// The same, with something on standard input.
pub(crate) fn fanfare_with_input(args: &[&str], variables: &[(&str, &str)], input: &str) -> Said {
    let mut running = start_with_input(args, variables, input);
    let status = running.wait();
    Said { code: status.code().unwrap(), out: rest(&running.out), err: rest(&running.err) }
}

/// Starts `fanfare` and lets it run.
pub(crate) fn start(args: &[&str], variables: &[(&str, &str)]) -> Running {
    start_with_input(args, variables, "")
}

fn start_with_input(args: &[&str], variables: &[(&str, &str)], input: &str) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fanfare"))
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that doesn't read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let out = lines(BufReader::new(child.stdout.take().unwrap()));
    let err = lines(BufReader::new(child.stderr.take().unwrap()));
    Running { child, out, err }
}

impl Running {
    /// The next line on standard output.
    pub(crate) fn line(&self) -> String {
        self.out.recv_timeout(PATIENCE).expect("another line on standard output")
    }

    /// Waits for a line with `text` on standard output, where a node logs.
    pub(crate) fn wait_for_line(&self, text: &str) -> String {
        wait_for(&self.out, text)
    }

    /// Waits for a line with `text` on standard error.
    pub(crate) fn wait_for_error_line(&self, text: &str) -> String {
        wait_for(&self.err, text)
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the command does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the node whose operators come to `admin` is ready. What it logs says only that it listens.
pub(crate) fn wait_until_ready(admin: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !is_ready(admin).unwrap_or(false) {
        assert!(Instant::now() < deadline, "the node does not get ready");
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_ready(admin: &str) -> io::Result<bool> {
    let mut stream = TcpStream::connect(admin)?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}

fn wait_for(lines: &Receiver<String>, text: &str) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {text:?}"));
        if line.contains(text) {
            return line;
        }
    }
}

fn lines(mut from: BufReader<impl std::io::Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut line = String::new();
        while from.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            let text = line.trim_end_matches('\n').to_owned();
            if sender.send(text).is_err() {
                // Nobody listens any more, and the command must not block on a full pipe.
                let _ = from.read_to_end(&mut Vec::new());
                return;
            }
            line.clear();
        }
    });
    receiver
}

fn rest(lines: &Receiver<String>) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}
