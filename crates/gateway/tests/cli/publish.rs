//! Stories about `fanfare publish`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread::{JoinHandle, spawn};

use crate::fanfare::{fanfare, fanfare_with_input};

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
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{unused}");
    let said = fanfare(&["publish", "acme", "tenant", EVENT, "--node", &url, "--api-key", "k"], &[]);
    assert!(said.err.starts_with(&format!("fanfare: can't reach the node at {url}/")), "{}", said.err);
    let redis = format!("redis://{unused}");
    let said = fanfare(&["publish", "acme", "tenant", EVENT], &[("FANFARE_BACKPLANE", &redis)]);
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("fanfare: can't reach Redis: "), "{}", said.err);
}

#[test]
fn durable_is_refused_until_there_is_such_a_thing() {
    let said = fanfare(&["publish", "acme", "tenant", EVENT, "--durable"], &[]);
    assert_eq!(said.code, 1);
    assert_eq!(
        said.err,
        "fanfare: this version has no durable events yet: leave --durable out to reach those who are connected now\n"
    );
}
