//! Wrong usage and wrong setup end with code 2 and say what to do; and nothing that was started is left behind.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(missing_docs, reason = "a test's name says what it is")]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
mod support;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};

use support::{PROGRAM, Server, command, free_address, run, wait_until};

#[test]
fn wrong_usage_is_told_with_code_2() {
    let unused = free_address();
    for (arguments, expected) in [
        ("fanout --url ws://10.0.0.1:8080/ws", "load goes to this machine only"),
        ("fanout --url ws://example.com:8080/ws", "must be a loopback address"),
        ("fanout --url wss://127.0.0.1:8080/ws", "must start with ws://"),
        ("idle --redis redis://192.168.0.1", "load goes to this machine only"),
        ("floor --listen 0.0.0.0:9000", "load goes to this machine only"),
        ("fanout --mode fast", "possible values: paced, stream, burst"),
        ("fanout --rate 0", "must be more than 0"),
        ("fanout --spawn --url ws://127.0.0.1:1/ws", "cannot be used with"),
        ("fanout --spawn --fanfare /nowhere/fanfare", "cargo build --release"),
        (&format!("fanout --redis redis://{unused}"), "can't be reached"),
        ("compare --peers floor", "Fanfare and the floors are always there"),
        ("compare --peers kafka", "possible values: fanfare"),
        ("compare --fanfare /nowhere/fanfare", "cargo build --release"),
        ("fanout --target nats --codec msgpack", "measure Fanfare alone"),
        ("fanout --slow 5 --compare=fanfare,floor", "--slow measures Fanfare alone"),
        ("fanout --slow 5 --clients 5", "leaves none of 5 clients to be measured"),
        ("fanout --target centrifugo --centrifugo /nowhere", "loadtest/peers/install centrifugo"),
        ("fanout --compare=fanfare,socket.io --socket-io /nowhere", "loadtest/peers/install socket.io"),
        (
            &format!("compare --peers centrifugo --centrifugo /nowhere --fanfare {PROGRAM}"),
            "loadtest/peers/install centrifugo",
        ),
        ("", "Usage:"),
    ] {
        let outcome = run(arguments);
        assert_eq!(outcome.code, 2, "{arguments}: {}", outcome.errors);
        assert!(outcome.errors.contains(expected), "{arguments}: {}", outcome.errors);
    }
}

#[test]
fn wrong_setup_is_told_with_code_2() {
    let redis = Server::redis();
    let floor = Server::floor(&redis, "");
    let (redis, url, unused) = (redis.address, floor.address, free_address());
    for (arguments, expected) in [
        (format!("fanout --redis redis://{redis} --url ws://{unused}/ws --secret x"), "nothing answers at"),
        (format!("fanout --redis redis://{redis} --url ws://{url}/ws"), "give the node's HS256 secret with --secret"),
        (
            format!("fanout --redis redis://{redis} --url ws://{url}/ws --target floor --bytes 20"),
            "--bytes 20 is too small",
        ),
        (
            format!("idle --redis redis://{redis} --url ws://{url}/ws --target floor --clients 40000 --processes 1"),
            "--processes 3 or more",
        ),
        (
            format!(
                "idle --redis redis://{redis} --url ws://{url}/ws --target floor --clients 60000 --source-addresses 1"
            ),
            "--source-addresses 5 or more",
        ),
        (
            format!(
                "fanout --redis redis://{redis} --url ws://{redis}/ws --target floor --clients 3 --connect-timeout 1"
            ),
            "3 of 3 clients were refused",
        ),
    ] {
        let outcome = run(&arguments);
        assert_eq!(outcome.code, 2, "{arguments}: {}", outcome.errors);
        assert!(outcome.errors.contains(expected), "{arguments}: {}", outcome.errors);
    }
}

#[test]
fn help_teaches_by_example() {
    for command in [
        "",
        "fanout",
        "channels",
        "idle",
        "storm",
        "churn",
        "unheard",
        "growth",
        "recover",
        "rolling-restart",
        "scale-out",
        "redis-restart",
        "publish",
        "floor",
    ] {
        let output = support::command(&format!("{command} --help")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(text.contains("Example") && text.contains("fanfare-loadtest "), "{command}: {text}");
    }
}

#[test]
fn even_a_kill_leaves_no_server_behind() {
    let mut child = command("fanout --spawn --no-pin --target floor --clients 20 --duration 60").spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let floor: SocketAddr = first.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(lines.next().is_some(), "it runs");
    assert!(TcpStream::connect(floor).is_ok());
    let started = children_of(child.id());
    assert_eq!(started.len(), 3, "Redis, the floor and a client process: {started:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the floor is gone", || TcpStream::connect(floor).is_err());
    wait_until("all are gone", || started.iter().all(|pid| !is_alive(*pid)));
}

fn children_of(parent: u32) -> Vec<u32> {
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| status_line(*pid, "PPid:") == Some(parent.to_string())).collect()
}

/// One that has ended and waits for somebody to take note is not alive.
fn is_alive(pid: u32) -> bool {
    status_line(pid, "State:").is_some_and(|state| !state.starts_with('Z'))
}

fn status_line(pid: u32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line[name.len()..].trim().to_owned())
}
