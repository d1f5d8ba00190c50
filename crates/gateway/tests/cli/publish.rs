//! Stories about `fanfare publish`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread::{JoinHandle, spawn};

use crate::fanfare::{fanfare, fanfare_with_input};
use crate::redis_server::{RedisProcess, free_port};

const EVENT: &str = r#"{"type":"order.updated","data":{"total":1.10}}"#;

/// A node's API for one request: answers with `status` and `body`, and returns the request line, its `authorization`, and
/// its body.
fn api(status: &'static str, body: &'static str) -> (String, JoinHandle<(String, String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let (mut first, mut key, mut length) = (String::new(), String::new(), 0);
        reader.read_line(&mut first).unwrap();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                None => break,
                Some(("authorization", value)) => value.clone_into(&mut key),
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
            }
        }
        let mut sent = vec![0; length];
        reader.read_exact(&mut sent).unwrap();
        write!(socket, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        (first.trim_end().to_owned(), key, String::from_utf8(sent).unwrap())
    });
    (url, serving)
}

#[test]
fn through_a_node_it_is_a_request_with_the_key() {
    let (url, serving) = api("200 OK", "{}");
    let said = fanfare(&["publish", "acme", "channel:a/b", EVENT, "--node", &url, "--api-key", "k3y"], &[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out, "published order.updated to channel:a/b of acme\n");
    let (line, key, body) = serving.join().unwrap();
    assert_eq!(line, "POST /v1/tenants/acme/topics/channel:a%2Fb/events HTTP/1.1");
    assert_eq!((key.as_str(), body.as_str()), ("Bearer k3y", EVENT));
}

#[test]
fn node_and_key_may_come_from_the_environment_and_the_event_from_standard_input() {
    let (url, serving) = api("202 Accepted", "{}");
    let variables = [("FANFARE_NODE_URL", url.as_str()), ("FANFARE_API_KEY", "k3y")];
    let said = fanfare_with_input(&["publish", "acme", "tenant", "-"], &variables, &format!("{EVENT}\n"));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let (_, key, body) = serving.join().unwrap();
    assert_eq!((key.as_str(), body.as_str()), ("Bearer k3y", EVENT));
}

#[test]
fn with_the_memory_backplane_it_goes_to_the_configured_node() {
    let (url, serving) = api("200 OK", "{}");
    let listen = url.trim_start_matches("http://");
    let variables = [("FANFARE_ADMIN_LISTEN", listen), ("FANFARE_API_KEYS", "app:first,app:second")];
    let said = fanfare(&["publish", "acme", "user:42", EVENT], &variables);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(serving.join().unwrap().1, "Bearer first");
}

#[test]
fn a_refusal_is_told_in_the_nodes_words() {
    let (url, serving) = api("403 Forbidden", r#"{"code":"forbidden","message":"this key may not publish to acme"}"#);
    let said = fanfare(&["publish", "acme", "tenant", EVENT, "--node", &url, "--api-key", "k3y"], &[]);
    serving.join().unwrap();
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert_eq!(said.err, "fanfare: the node refused it: this key may not publish to acme (forbidden)\n");
}

#[test]
fn what_can_not_be_published_is_refused_before_anything_is_sent() {
    let cases = [
        (["acme", "channel:a", "{\"data\":1}"], "the event can't be published: the event has no `type`"),
        (["acme", "channel:a", "nonsense"], "the event can't be published: the event is neither a JSON object"),
        (["acme", "orders", EVENT], "\"orders\" is no topic: a topic is `tenant`, `user:<id>` or `channel:<name>`"),
        (["a:b", "tenant", EVENT], "\"a:b\" is no tenant: the character ':' is not allowed in a tenant"),
    ];
    for (words, expected) in cases {
        let said = fanfare(&[&["publish"], &words[..]].concat(), &[("FANFARE_API_KEY", "k")]);
        assert_eq!((said.code, said.out.as_str()), (1, ""));
        assert!(said.err.starts_with(&format!("fanfare: {expected}")), "{}", said.err);
    }
}

#[test]
fn a_missing_key_a_bad_address_and_an_absent_node_are_told() {
    let said = fanfare(&["publish", "acme", "tenant", EVENT], &[]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (1, "fanfare: no API key: give --api-key or FANFARE_API_KEY; `fanfare serve --dev` prints one\n")
    );
    let said = fanfare(&["publish", "acme", "tenant", EVENT, "--node", "localhost", "--api-key", "k"], &[]);
    assert_eq!(said.err, "fanfare: --node is not an address of a node: give http://host:port\n");
    let unused = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{unused}");
    let said = fanfare(&["publish", "acme", "tenant", EVENT, "--node", &url, "--api-key", "k"], &[]);
    assert!(said.err.starts_with(&format!("fanfare: can't reach the node at {url}/")), "{}", said.err);
    let redis = format!("redis://{unused}");
    let said = fanfare(&["publish", "acme", "tenant", EVENT], &[("FANFARE_BACKPLANE", &redis)]);
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("fanfare: can't reach Redis: "), "{}", said.err);
}

#[test]
fn durable_through_a_node_is_a_request_that_says_so_and_prints_the_position() {
    let (url, serving) = api("200 OK", r#"{"published":true,"position":"1767225600000000-41"}"#);
    let words = ["publish", "acme", "tenant", EVENT, "--node", &url, "--api-key", "k3y", "--durable"];
    let said = fanfare(&words, &[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out, "published order.updated to tenant of acme at 1767225600000000-41\n");
    let (line, _, body) = serving.join().unwrap();
    assert_eq!(line, "POST /v1/tenants/acme/topics/tenant/events?durable=true HTTP/1.1");
    assert_eq!(body, EVENT);

    let (url, serving) = api("200 OK", r#"{"published":true}"#);
    let words = ["publish", "acme", "tenant", EVENT, "--node", &url, "--api-key", "k3y", "--durable"];
    let said = fanfare(&words, &[]);
    serving.join().unwrap();
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert_eq!(said.err, "fanfare: the node has published it without keeping it: is it an older one?\n");

    let said = fanfare(&[&words[..], &["--maxlen", "5"]].concat(), &[]);
    let refused = "a node's HTTP API has no --maxlen and no --ttl-s: leave them out, or publish through Redis";
    assert_eq!((said.code, said.err.as_str()), (1, format!("fanfare: {refused}\n").as_str()));
}

#[test]
fn how_an_event_is_kept_is_said_of_durable_ones_only() {
    for option in [["--id", "a"], ["--maxlen", "5"], ["--ttl-s", "60"]] {
        let said = fanfare(&[&["publish", "acme", "tenant", EVENT], &option[..]].concat(), &[]);
        assert_eq!((said.code, said.out.as_str()), (2, ""));
        assert!(said.err.contains("--durable"), "{}", said.err);
    }
}

#[test]
fn durable_through_redis_is_kept_as_it_is_said() {
    let redis = RedisProcess::start();
    let variables = [("FANFARE_BACKPLANE", &*redis.url())];
    let publish = |options: &[&str]| {
        let said = fanfare(&[&["publish", "acme", "channel:orders", EVENT, "--durable"], options].concat(), &variables);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{options:?}");
        said.out.trim_end().rsplit_once(" at ").unwrap().1.to_owned()
    };
    let stream = "fanfare:acme:channel:orders";
    let first = publish(&[]);
    assert!(redis.command(&["XRANGE", stream, &first, &first]).contains(EVENT));
    let seconds: u64 = redis.command(&["TTL", stream]).parse().unwrap();
    assert!(seconds > 86_000, "{seconds}");
    // The same id is the same event.
    let second = publish(&["--id", "order-7"]);
    assert_eq!(publish(&["--id", "order-7"]), second);
    assert_ne!(first, second);

    for refused in [["--ttl-s", "59"], ["--maxlen", "0"], ["--id", ""]] {
        let said = fanfare(&[&["publish", "acme", "tenant", EVENT, "--durable"], &refused[..]].concat(), &variables);
        assert_eq!(said.code, 1, "{refused:?}");
        let (_, why) = said.err.split_once("fanfare: not published: the backplane refused it: ").unwrap();
        assert!(why.contains(" must "), "{why}");
    }
    let short = ["publish", "acme", "channel:short", EVENT, "--durable", "--ttl-s", "60", "--maxlen", "1"];
    assert_eq!(fanfare(&short, &variables).code, 0);
    let seconds: u64 = redis.command(&["TTL", "fanfare:acme:channel:short"]).parse().unwrap();
    assert!((55..=75).contains(&seconds), "{seconds}");
}

#[test]
fn through_redis_it_keeps_to_the_rules_of_its_configuration() {
    let redis = RedisProcess::start();
    let rules = r#"[{"pattern":"channel:orders","durable":"always","ttl_ms":60000},
        {"pattern":"channel:cursors","durable":"never","event_bytes_max":64}]"#;
    let variables = [("FANFARE_BACKPLANE", &*redis.url()), ("FANFARE_TOPICS", rules)];
    let said = fanfare(&["publish", "acme", "channel:orders", EVENT], &variables);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let position = said.out.trim_end().rsplit_once(" at ").unwrap().1;
    assert!(redis.command(&["XRANGE", "fanfare:acme:channel:orders", position, position]).contains(EVENT));
    let seconds: u64 = redis.command(&["TTL", "fanfare:acme:channel:orders"]).parse().unwrap();
    assert!((1..=75).contains(&seconds), "{seconds}");
    let longer = ["publish", "acme", "channel:orders", EVENT, "--durable", "--ttl-s", "600"];
    assert_eq!(fanfare(&longer, &variables).code, 0);
    let seconds: u64 = redis.command(&["TTL", "fanfare:acme:channel:orders"]).parse().unwrap();
    assert!(seconds > 500, "what is said counts: {seconds}");

    let said = fanfare(&["publish", "acme", "channel:cursors", EVENT, "--durable"], &variables);
    let refused = "fanfare: the topic takes ephemeral events alone: publish it without durable\n";
    assert_eq!((said.code, said.err.as_str()), (1, refused));
    let said = fanfare(&["publish", "acme", "channel:cursors", &EVENT.replace("1.10", &"1".repeat(40))], &variables);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("bytes; at most 64 are allowed"), "{}", said.err);
    assert_eq!(fanfare(&["publish", "acme", "channel:cursors", EVENT], &variables).code, 0);
}
