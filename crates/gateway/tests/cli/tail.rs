//! Stories about `fanfare tail`, on a real Redis and as a client of a real node.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread::spawn;

use crate::fanfare::{Running, fanfare, start, wait_until_ready};
use crate::redis_server::{RedisProcess, free_port};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn from_redis_it_prints_each_event_of_the_topics_as_one_line() {
    let redis = RedisProcess::start();
    let url = redis.url();
    let variables = [("FANFARE_BACKPLANE", url.as_str())];
    let mut tail = start(&["tail", "acme", "channel:orders", "user:42", "--count", "3"], &variables);
    let first = tail.wait_for_error_line("subscribed to ");
    let second = tail.wait_for_error_line("subscribed to ");
    let mut subscribed = [first, second];
    subscribed.sort();
    assert_eq!(subscribed, ["subscribed to channel:orders", "subscribed to user:42"]);

    let said = fanfare(&["publish", "acme", "channel:orders", r#"{"type":"a","data":1.10}"#], &variables);
    assert_eq!((said.code, said.out.as_str()), (0, "published a to channel:orders of acme\n"));
    assert_eq!(tail.line(), r#"{"topic":"channel:orders","event":{"type":"a","data":1.10}}"#);

    redis.command(&["PUBLISH", "fanfare:acme:user:42", "no event"]);
    assert_eq!(
        tail.wait_for_error_line("user:42: "),
        "user:42: the event is neither a JSON object nor a MessagePack map"
    );
    redis.command(&["PUBLISH", "fanfare:other:user:42", r#"{"type":"elsewhere"}"#]);
    redis.command(&["PUBLISH", "fanfare:acme:user:42", "@17-4 {\"type\":\n\"b\"}"]);
    assert_eq!(tail.line(), r#"{"topic":"user:42","position":"17-4","event":{"type": "b"}}"#);
    redis.command(&["PUBLISH", "fanfare:acme:user:42", "\u{1}"]);
    redis.command(&["PUBLISH", "fanfare:acme:user:42", r#"{"type":"c"}"#]);
    assert_eq!(tail.line(), r#"{"topic":"user:42","event":{"type":"c"}}"#);
    assert!(tail.wait().success());
}

#[test]
fn ctrl_c_ends_it() {
    let redis = RedisProcess::start();
    let mut tail = start(&["tail", "acme", "tenant"], &[("FANFARE_BACKPLANE", &redis.url())]);
    tail.wait_for_error_line("subscribed to tenant");
    tail.interrupt();
    assert!(tail.wait().success());
}

#[test]
fn while_redis_is_away_it_says_so_and_goes_on() {
    let unused = format!("127.0.0.1:{}", free_port());
    let tail = start(&["tail", "acme", "tenant"], &[("FANFARE_BACKPLANE", &format!("redis://{unused}"))]);
    let line = tail.wait_for_error_line("can't reach Redis: ");
    assert!(line.ends_with("; trying again"), "{line}");
}

/// A node on this Redis, and where it listens.
fn node(redis: &RedisProcess) -> (Running, String) {
    let [listen, admin] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let url = redis.url();
    let variables = [
        ("FANFARE_BACKPLANE", url.as_str()),
        ("FANFARE_JWT_HS256_SECRET", SECRET),
        ("FANFARE_LISTEN", listen.as_str()),
        ("FANFARE_ADMIN_LISTEN", admin.as_str()),
    ];
    let node = start(&["serve"], &variables);
    wait_until_ready(&admin);
    (node, listen)
}

#[test]
fn as_a_client_of_a_node_it_prints_the_same_lines() {
    let redis = RedisProcess::start();
    let (_node, listen) = node(&redis);
    let url = format!("ws://{listen}");
    let variables = [("FANFARE_JWT_HS256_SECRET", SECRET)];
    let args = ["tail", "acme", "channel:orders", "user:42", "tenant", "--node", &url, "--count", "2"];
    let mut tail = start(&args, &variables);
    for _ in 0..3 {
        tail.wait_for_error_line("subscribed to ");
    }
    redis.command(&["PUBLISH", "fanfare:acme:user:42", r#"{"type":"a","data":1.10}"#]);
    assert_eq!(tail.line(), r#"{"topic":"user:42","event":{"type":"a","data":1.10}}"#);
    redis.command(&["PUBLISH", "fanfare:acme:channel:orders", r#"{"type":"b"}"#]);
    assert_eq!(tail.line(), r#"{"topic":"channel:orders","event":{"type":"b"}}"#);
    assert!(tail.wait().success());
}

#[test]
fn with_one_node_by_itself_publish_and_tail_meet_at_the_node() {
    let free = || format!("127.0.0.1:{}", free_port());
    let (listen, admin_listen) = (free(), free());
    let variables = [
        ("FANFARE_JWT_HS256_SECRET", SECRET),
        ("FANFARE_API_KEYS", "app:k3y"),
        ("FANFARE_LISTEN", listen.as_str()),
        ("FANFARE_ADMIN_LISTEN", admin_listen.as_str()),
    ];
    let node = start(&["serve"], &variables);
    node.wait_for_line("serving clients");
    let mut tail = start(&["tail", "acme", "channel:a/b:c", "--count", "1"], &variables);
    tail.wait_for_error_line("subscribed to channel:a/b:c");
    let said = fanfare(&["publish", "acme", "channel:a/b:c", r#"{"type":"a","data":1.10}"#], &variables);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(tail.line(), r#"{"topic":"channel:a/b:c","event":{"type":"a","data":1.10}}"#);
    assert!(tail.wait().success());
}

#[test]
fn a_token_of_its_own_counts_and_its_refusals_are_told() {
    let redis = RedisProcess::start();
    let (_node, listen) = node(&redis);
    let url = format!("ws://{listen}");
    let grant = ["token", "--tenant", "acme", "--user", "42", "--channels", "news", "--secret"];
    let good = fanfare(&[&grant[..], &[SECRET]].concat(), &[]).out;
    let bad = fanfare(&[&grant[..], &["another secret"]].concat(), &[]).out;

    let said = fanfare(&["tail", "acme", "channel:orders", "--node", &url, "--token", good.trim_end()], &[]);
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("fanfare: the node refused channel:orders: "), "{}", said.err);
    assert!(said.err.ends_with(" (forbidden)\n"), "{}", said.err);

    let said = fanfare(&["tail", "acme", "tenant", "--node", &url, "--token", bad.trim_end()], &[]);
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("fanfare: the node ends the connection: 4401 "), "{}", said.err);
}

#[test]
fn what_is_no_node_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    spawn(move || {
        for answer in ["404 Not Found", "101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket"] {
            let (mut socket, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            write!(socket, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    let args = ["tail", "acme", "tenant", "--node", &url, "--token", "t"];
    assert_eq!(fanfare(&args, &[]).err, "fanfare: the node refused the connection: 404 Not Found\n");
    let said = fanfare(&args, &[]);
    assert!(said.err.ends_with("/ws answers, and not as a WebSocket server\n"), "{}", said.err);
}

#[test]
fn a_token_for_two_users_can_not_be_made() {
    let args = ["tail", "acme", "user:1", "user:2", "--node", "ws://127.0.0.1:1"];
    let said = fanfare(&args, &[("FANFARE_JWT_HS256_SECRET", SECRET)]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "fanfare: a node's client has the events of one user only: give one user: topic\n")
    );
}
