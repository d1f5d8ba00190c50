//! Durable events of nodes on a real Redis: the library they need there, and what they are told when it can't be.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::{
    Backplane, FunctionLibrary, FunctionLibraryError, Keep, PublishError, Read, ReadError, ReadLimits, RedisConfig,
    RedisFunctions, RedisScripting, Tail,
};
use fanfare_protocol::{Position, TopicKey};

use support::node::{Node, Told, config, message, topic};
use support::redis_server::{RedisProcess, free_port, wait_until};

const SOURCE: &str = include_str!("../src/redis/fanfare.lua");
const LIMITS: ReadLimits = ReadLimits { events_max: 100, bytes_max: 100_000 };
const PATIENCE: Duration = Duration::from_secs(20);

fn orders() -> TopicKey {
    topic("acme:channel:orders")
}

async fn publish(node: &Node, topic: &TopicKey) -> Result<Position, PublishError> {
    node.backplane.publish_durable(topic, Bytes::from_static(b"{}"), &Keep::default()).await
}

/// Publishes as soon as the backplane takes it.
async fn published(node: &Node, topic: &TopicKey) -> Position {
    eventually(async || publish(node, topic).await.ok()).await
}

/// The words in which a durable event is refused.
async fn refusal(node: &Node) -> String {
    eventually(async || match publish(node, &orders()).await {
        Err(PublishError::Refused(words)) => Some(words),
        _ => None,
    })
    .await
}

async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it should have come")
}

async fn read(node: &Node, after: Option<Position>) -> Result<Tail, ReadError> {
    node.backplane.read(&[Read { topic: orders(), after }], LIMITS).await.remove(0)
}

async fn node(config: RedisConfig) -> Node {
    let node = Node::new(Backplane::redis(config));
    node.publish_when_possible(&topic("nobody:channel:warm-up"), "{}").await;
    node
}

fn version(server: &RedisProcess) -> String {
    server.command(&["FCALL_RO", "fanfare_version", "0"])
}

fn library_of_version(version: u64) -> String {
    let older = SOURCE.replace("\nlocal VERSION = 1\n", &format!("\nlocal VERSION = {version}\n"));
    assert_ne!(older, SOURCE);
    older
}

#[tokio::test]
async fn a_node_loads_the_library_when_it_is_missing_or_older_and_never_over_a_newer_one() {
    let server = RedisProcess::start();
    let first = node(config(&server.url())).await;
    assert_eq!(version(&server), "1");
    published(&first, &orders()).await;

    server.command(&["FUNCTION", "LOAD", "REPLACE", &library_of_version(0)]);
    assert_eq!(version(&server), "0");
    let second = node(config(&server.url())).await;
    assert_eq!(version(&server), "1");

    server.command(&["FUNCTION", "LOAD", "REPLACE", &library_of_version(7)]);
    let third = node(config(&server.url())).await;
    assert_eq!(version(&server), "7");
    let mut last = published(&first, &orders()).await;
    for node in [&second, &third] {
        let position = published(node, &orders()).await;
        assert_eq!(position, Position { seq: last.seq + 1, ..last });
        last = position;
    }
}

async fn vanishes_under_traffic(config: RedisConfig, server: &RedisProcess, vanish: &[&str]) {
    const EVENTS: u64 = 400;
    let node = node(config).await;
    let first = published(&node, &orders()).await;
    let (durable, tenant) = (orders(), topic("acme:tenant"));
    let publishing = async {
        for event in 0..EVENTS {
            let (one, two) = tokio::join!(publish(&node, &durable), publish(&node, &tenant));
            assert_eq!(one.unwrap(), Position { seq: first.seq + 1 + event, ..first });
            two.unwrap();
            let tail = read(&node, Some(first)).await.unwrap();
            assert_eq!(tail.position.seq, first.seq + 1 + event);
            if event % 20 == 0 {
                server.command(vanish);
            }
        }
    };
    publishing.await;
}

#[tokio::test]
async fn a_library_that_vanishes_under_traffic_is_loaded_again_and_nothing_is_lost() {
    let server = RedisProcess::start();
    vanishes_under_traffic(config(&server.url()), &server, &["FUNCTION", "FLUSH"]).await;
}

#[tokio::test]
async fn scripts_that_vanish_under_traffic_are_loaded_again_and_nothing_is_lost() {
    let server = RedisProcess::start();
    let mut with_scripts = config(&server.url());
    with_scripts.scripting = RedisScripting::Eval;
    vanishes_under_traffic(with_scripts, &server, &["SCRIPT", "FLUSH"]).await;
    assert_eq!(server.command(&["FUNCTION", "LIST"]), "");
}

#[tokio::test]
async fn of_many_publishers_that_find_the_library_gone_one_brings_it_back() {
    let server = RedisProcess::start();
    let mut with_scripts = config(&server.url());
    with_scripts.scripting = RedisScripting::Eval;
    for (config, vanish, load) in [
        (config(&server.url()), ["FUNCTION", "FLUSH"], "cmdstat_function|load:calls=1,"),
        (with_scripts, ["SCRIPT", "FLUSH"], "cmdstat_script|load:calls=1,"),
    ] {
        let node = node(config).await;
        let first = published(&node, &orders()).await.seq;
        server.command(&["CONFIG", "RESETSTAT"]);
        server.command(&vanish);
        let topic = orders();
        let all = futures_util::future::join_all((0..500).map(|_| publish(&node, &topic))).await;
        let mut seqs: Vec<_> = all.into_iter().map(|position| position.unwrap().seq).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, (first + 1..=first + 500).collect::<Vec<_>>());
        let stats = server.command(&["INFO", "commandstats"]);
        assert!(stats.contains(load), "{stats}");
    }
}

#[tokio::test]
async fn a_node_that_only_checks_names_the_command_that_loads() {
    let server = RedisProcess::start();
    let mut checks = config(&server.url());
    checks.functions = RedisFunctions::Check;
    let node = node(checks.clone()).await;
    let words = refusal(&node).await;
    let fix = "run `fanfare functions load`, or let nodes do it with FANFARE_REDIS_FUNCTIONS=load";
    assert_eq!(words, format!("the function library `fanfare` is not loaded: {fix}"));
    assert_eq!(read(&node, None).await, Err(ReadError::Refused(words.clone())));
    assert_eq!(node.backplane.history(&orders(), None, LIMITS).await, Err(ReadError::Refused(words)));
    assert_eq!(server.command(&["FUNCTION", "LIST"]), "");
    // As soon as somebody has loaded it, it works.
    assert_eq!(FunctionLibrary::on(checks.clone()).load().await, Ok(1));
    assert_eq!(FunctionLibrary::on(checks.clone()).load().await, Ok(1));
    assert_eq!(publish(&node, &orders()).await.unwrap().seq, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_vanished_is_brought_back_although_no_node_calls_it() {
    let server = RedisProcess::start();
    let _node = node(config(&server.url())).await;
    server.command(&["FUNCTION", "FLUSH"]);
    wait_until("a backend can publish again", || {
        server.command(&["FCALL", "fanfare_publish", "1", "fanfare:acme:channel:orders", "{}"]).ends_with("-1")
    });
}

#[tokio::test]
async fn another_library_of_the_same_name_is_told() {
    let server = RedisProcess::start();
    let other = "#!lua name=fanfare\nredis.register_function('other', function() return 1 end)";
    server.command(&["FUNCTION", "LOAD", other]);
    let node = node(config(&server.url())).await;
    let words = refusal(&node).await;
    assert!(words.contains("its names are taken by another library"), "{words}");
    assert_eq!(FunctionLibrary::on(config(&server.url())).load().await, Err(FunctionLibraryError::Refused(words)));
    assert_eq!(server.command(&["FCALL", "other", "0"]), "1");
}

#[tokio::test]
async fn a_redis_without_functions_names_the_setting() {
    let server = RedisProcess::start_with(&["--rename-command", "FCALL", "", "--rename-command", "FUNCTION", ""]);
    let node = node(config(&server.url())).await;
    let words = refusal(&node).await;
    assert!(words.ends_with("use scripts instead, with FANFARE_REDIS_SCRIPTING=eval"), "{words}");
}

/// The rights of a user, as the page on Redis gives them.
fn documented(user: &str) -> Vec<&'static str> {
    let page = include_str!("../../../docs/redis.md");
    let command = page.lines().find_map(|line| line.strip_prefix(&format!("ACL SETUSER {user} on >secret ")));
    command.expect("a command of the page").split(' ').collect()
}

fn grant(server: &RedisProcess, rights: &[&str]) {
    assert_eq!(server.command(&[&["ACL", "SETUSER", "node", "reset", "on", ">secret"], rights].concat()), "OK");
}

#[tokio::test]
async fn a_node_with_the_documented_rights_can_do_everything() {
    let server = RedisProcess::start();
    grant(&server, &documented("node"));
    let mut node = Node::new(Backplane::redis(config(&server.url_with("node", "secret"))));
    node.want(&[orders()]).await;
    node.publish_when_possible(&orders(), "{}").await;
    let begun = read(&node, None).await.unwrap();
    assert_eq!(begun.position.seq, 0);
    let keep = Keep { id: Some("a".into()), ttl: Duration::from_hours(48), maxlen: 5 };
    for _ in 0..2 {
        let position = node.backplane.publish_durable(&orders(), Bytes::from_static(b"{}"), &keep).await.unwrap();
        assert_eq!(position, Position { seq: 1, ..begun.position });
    }
    published(&node, &orders()).await;
    assert_eq!(read(&node, Some(begun.position)).await.unwrap().events.len(), 2);
    assert_eq!(node.backplane.history(&orders(), None, LIMITS).await.unwrap().events.len(), 2);
    for refused in server.command(&["ACL", "LOG"]).lines() {
        assert!(!refused.contains("command"), "{}", server.command(&["ACL", "LOG"]));
    }
    // One connection for all those reads: its use is not refused.
    let clients = server.command(&["CLIENT", "LIST"]);
    assert_eq!(clients.lines().filter(|client| client.contains("user=node")).count(), 3, "{clients}");
}

#[tokio::test]
async fn backends_with_the_documented_rights_can_publish() {
    let server = RedisProcess::start();
    let mut node = node(config(&server.url())).await;
    node.want(&[orders()]).await;
    let (channel, event) = ("fanfare:acme:channel:orders", r#"{"type":"t"}"#);
    let as_user = |user: &str, words: &[&str]| {
        server.command(&[&["ACL", "SETUSER", user, "on", ">secret"], &documented(user)[..]].concat());
        server.command(&[&["--no-auth-warning", "--user", user, "--pass", "secret"], words].concat())
    };
    assert_eq!(as_user("reporter", &["PUBLISH", channel, event]), "1");
    assert_eq!(node.next_but_confirmed().await, message(&orders(), event));
    assert_eq!(as_user("backend", &["FCALL", "fanfare_send", "1", channel, event]), "1");
    assert_eq!(node.next_but_confirmed().await, message(&orders(), event));
    let position = as_user("backend", &["FCALL", "fanfare_publish", "1", channel, event, "id", "a"]);
    assert_eq!(node.next_but_confirmed().await, message(&orders(), format!("@{position} {event}")));
    let refused = as_user("reporter", &["FCALL", "fanfare_publish", "1", channel, event]);
    assert!(refused.starts_with("NOPERM "), "{refused}");
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let server = RedisProcess::start();
    let without = |right: &str| documented("node").into_iter().filter(|other| *other != right).collect::<Vec<_>>();
    grant(&server, &without("+function|load"));
    let url = server.url_with("node", "secret");
    let words = refusal(&node(config(&url)).await).await;
    assert!(words.starts_with("NOPERM ") && words.contains("+function|load"), "{words}");
    assert!(words.contains("FANFARE_REDIS_FUNCTIONS=check"), "{words}");

    server.command(&["FUNCTION", "LOAD", SOURCE]);
    let node = node(config(&url)).await;
    published(&node, &orders()).await;
    for (right, expected) in [("+xadd", "+xadd ~<pattern>"), ("+fcall", "ACL SETUSER"), ("+info|replication", "+info")]
    {
        // The user's connections stay.
        server.command(&["ACL", "SETUSER", "node", &right.replace('+', "-").replace("|replication", "")]);
        server.command(&["DEL", "{fanfare:acme:channel:orders}:head"]);
        let words = refusal(&node).await;
        assert!(words.contains("NOPERM ") && words.contains(expected), "{right}: {words}");
        server.command(&["ACL", "SETUSER", "node", right]);
        published(&node, &orders()).await;
    }
    // What may not be read is refused, and no other topic.
    server.command(&["ACL", "SETUSER", "node", "resetkeys", "~fanfare:acme:*", "~{fanfare:acme:*"]);
    let rival = Read { topic: topic("rival:channel:orders"), after: None };
    let error = node.backplane.read(std::slice::from_ref(&rival), LIMITS).await.remove(0).unwrap_err();
    assert!(matches!(&error, ReadError::Refused(words) if words.starts_with("NOPERM ")), "{error:?}");
}

#[tokio::test]
async fn a_full_redis_is_named_and_keeps_what_it_has_readable() {
    let server = RedisProcess::start();
    let mut with_scripts = config(&server.url());
    with_scripts.scripting = RedisScripting::Eval;
    let (with_functions, with_scripts) = (node(config(&server.url())).await, node(with_scripts).await);
    let first = published(&with_functions, &orders()).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    for node in [&with_functions, &with_scripts] {
        let words = refusal(node).await;
        assert!(words.starts_with("OOM ") && words.contains("Redis is full (maxmemory)"), "{words}");
        node.publish(&orders(), "{}").await;
        let tail = read(node, Some(Position { seq: 0, ..first })).await.unwrap();
        assert_eq!((tail.position, tail.events.len()), (first, 1));
    }
    // An epoch that can't be begun: what there is comes, and nothing is vouched for.
    server.command(&["DEL", "{fanfare:acme:channel:orders}:head"]);
    let tail = read(&with_scripts, Some(Position { seq: 0, ..first })).await.unwrap();
    assert_eq!((tail.position, tail.events.len()), (Position::NONE, 1));
    let tail = read(&with_functions, Some(Position { seq: 0, ..first })).await.unwrap();
    assert_eq!((tail.position.seq, tail.events.len()), (0, 1));
    assert!(tail.position.epoch > first.epoch);
}

#[tokio::test]
async fn a_disk_that_takes_no_snapshot_is_named() {
    let server = RedisProcess::start_with(&["--dbfilename", "in-the-way", "--save", "3600 1"]);
    let node = node(config(&server.url())).await;
    published(&node, &orders()).await;
    std::fs::create_dir(server.directory().join("in-the-way")).unwrap();
    server.command(&["BGSAVE"]);
    wait_until("the snapshot has failed", || {
        server.command(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err")
    });
    let words = refusal(&node).await;
    assert!(words.starts_with("MISCONF ") && words.contains("free the disk"), "{words}");
    server.command(&["DEL", "{fanfare:acme:channel:orders}:head"]);
    node.publish(&orders(), "{}").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_loads_its_data_is_waited_for() {
    let mut server =
        RedisProcess::start_with(&["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"]);
    let node = node(config(&server.url())).await;
    let before = published(&node, &orders()).await;
    server.command(&["EVAL", "for i = 1, 1000 do redis.call('SET', i, ('x'):rep(2000)) end", "0"]);
    server.command(&["SAVE"]);
    server.kill();
    server.start_again();
    let words = refusal(&node).await;
    assert!(words.starts_with("LOADING ") && words.contains("as soon as its data is loaded"), "{words}");
    assert!(published(&node, &orders()).await.epoch > before.epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_becomes_a_replica_is_left_until_it_is_one_again() {
    let (server, other) = (RedisProcess::start(), RedisProcess::start());
    let node = node(config(&server.url())).await;
    let before = published(&node, &orders()).await;
    read(&node, None).await.unwrap();
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let words = refusal(&node).await;
    assert!(words.starts_with("READONLY ") && words.contains("use the address of its primary"), "{words}");
    eventually(async || (!node.backplane.can_publish()).then_some(())).await;
    assert_eq!(publish(&node, &orders()).await, Err(PublishError::Unavailable));
    assert_eq!(read(&node, Some(before)).await, Err(ReadError::Unavailable));
    server.command(&["REPLICAOF", "NO", "ONE"]);
    assert_ne!(published(&node, &orders()).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_becomes_a_replica_is_left_by_who_only_reads() {
    let (server, other) = (RedisProcess::start(), RedisProcess::start());
    let node = node(config(&server.url())).await;
    let before = published(&node, &orders()).await;
    wait_until("it is a replica with the data of the other", || {
        server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
        server.command(&["INFO", "replication"]).contains("master_link_status:up")
    });
    // Nothing is vouched for.
    match read(&node, Some(before)).await {
        Ok(tail) => assert_eq!(tail.position, Position::NONE),
        Err(ReadError::Refused(words)) => assert!(words.starts_with("READONLY "), "{words}"),
        Err(error) => assert_eq!(error, ReadError::Unavailable),
    }
    eventually(async || (!node.backplane.can_publish()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_is_never_read_from_an_old_pool() {
    let mut server = RedisProcess::start();
    let node = node(config(&server.url())).await;
    for _ in 0..3 {
        let before = published(&node, &orders()).await;
        assert_eq!(read(&node, None).await.unwrap().position, before);
        server.kill();
        eventually(async || (read(&node, None).await == Err(ReadError::Unavailable)).then_some(())).await;
        server.start_again();
        // Empty, with a new library, and with connections that work at the first use.
        let tail = eventually(async || match read(&node, Some(before)).await {
            Err(ReadError::Unavailable) => None,
            answer => Some(answer.unwrap()),
        })
        .await;
        assert_eq!((tail.position.seq, tail.events.len()), (0, 0));
        assert_ne!(tail.position.epoch, before.epoch);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_given_up_in_time() {
    let server = RedisProcess::start();
    let mut hasty = config(&server.url());
    hasty.response_timeout = Duration::from_millis(300);
    let node = node(hasty).await;
    published(&node, &orders()).await;
    read(&node, None).await.unwrap();
    server.freeze();
    let topic = orders();
    let (published, read, history) =
        tokio::join!(publish(&node, &topic), read(&node, None), node.backplane.history(&topic, None, LIMITS));
    assert!(matches!(published, Err(PublishError::Timeout | PublishError::Unavailable)), "{published:?}");
    assert!(matches!(read, Err(ReadError::Timeout | ReadError::Unavailable)), "{read:?}");
    assert!(matches!(history, Err(ReadError::Timeout | ReadError::Unavailable)), "{history:?}");
    server.thaw();
    eventually(async || publish(&node, &orders()).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_read_holds_up_no_publish() {
    let server = RedisProcess::start();
    let node = node(config(&server.url())).await;
    let envelope = Bytes::from([b"{".as_slice(), &vec![b' '; 1_000_000], b"}"].concat());
    let mut first = None;
    for _ in 0..40 {
        let position = node.backplane.publish_durable(&orders(), envelope.clone(), &Keep::default()).await.unwrap();
        first.get_or_insert(position);
    }
    let after = first.map(|first| Position { seq: 0, ..first });
    let limits = ReadLimits { events_max: 100, bytes_max: 100_000_000 };
    let reading = [Read { topic: orders(), after }];
    let reading = async { node.backplane.read(&reading, limits).await.remove(0).unwrap() };
    let publishing = async {
        for _ in 0..100 {
            publish(&node, &topic("acme:tenant")).await.unwrap();
        }
    };
    let (tail, ()) = tokio::join!(reading, publishing);
    assert_eq!((tail.events.len(), tail.more), (40, false));
}

#[tokio::test]
async fn a_rotated_password_counts_for_reads_too() {
    let server = RedisProcess::start_with(&["--requirepass", "first"]);
    let file = server.directory().join("password");
    std::fs::write(&file, "first\n").unwrap();
    let mut with_file = config(&server.url());
    with_file.password_file = Some(file.clone());
    let node = node(with_file).await;
    published(&node, &orders()).await;
    std::fs::write(&file, "second\n").unwrap();
    // The publishing connection stays logged in; a new one of the pool doesn't get in.
    server.command_as(Some("first"), &["CONFIG", "SET", "requirepass", "second"]);
    eventually(async || read(&node, None).await.ok()).await;
}

#[tokio::test]
async fn histories_are_read_over_tls_and_the_certificate_is_checked() {
    let port = free_port();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (certificate, key) = (text(&path("cert.pem")), text(&path("key.pem")));
    let port_text = port.to_string();
    let tls = ["--tls-port", &port_text, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let client = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"];
    let _server = RedisProcess::start_with(&[&tls[..], &client].concat());
    let mut trusting = config(&format!("rediss://localhost:{port}"));
    trusting.ca_file = Some(path("cert.pem"));
    let node = node(trusting).await;
    let position = published(&node, &orders()).await;
    assert_eq!(read(&node, None).await.unwrap().position, position);
}

#[tokio::test]
async fn a_unix_socket_is_read_as_well() {
    let server = RedisProcess::start();
    let node = node(config(&format!("unix://{}", server.socket_path().display()))).await;
    let position = published(&node, &orders()).await;
    assert_eq!(read(&node, None).await.unwrap().position, position);
}

#[tokio::test]
async fn a_denied_publish_is_neither_kept_nor_told() {
    let server = RedisProcess::start();
    server.command(&["ACL", "SETUSER", "node", "on", ">secret", "+@all", "~*", "resetchannels", "&fanfare:acme:*"]);
    let node = node_that_listens(&server).await;
    let (mut listener, denied) = node;
    let words = match publish(&denied, &topic("rival:tenant")).await {
        Err(PublishError::Refused(words)) => words,
        other => panic!("{other:?}"),
    };
    assert!(words.starts_with("NOPERM ") && words.contains("PUBLISH 'fanfare:rival:tenant'"), "{words}");
    assert_eq!(server.command(&["EXISTS", "fanfare:rival:tenant", "{fanfare:rival:tenant}:head"]), "0");
    // What comes next shows that nothing else was on its way.
    listener.publish(&topic("rival:tenant"), "last").await;
    assert_eq!(
        listener.next_but_confirmed().await,
        Told::Message("rival:tenant".to_owned(), Bytes::from_static(b"last"))
    );
}

/// One node that may do everything and listens, and one that may not publish to all tenants.
async fn node_that_listens(server: &RedisProcess) -> (Node, Node) {
    let mut listener = Node::new(Backplane::redis(config(&server.url())));
    assert_eq!(listener.next().await, Told::Up(true));
    listener.want(&[topic("rival:tenant")]).await;
    let denied = Node::new(Backplane::redis(config(&server.url_with("node", "secret"))));
    denied.publish_when_possible(&topic("acme:tenant"), "{}").await;
    listener.publish_when_possible(&topic("acme:tenant"), "{}").await;
    (listener, denied)
}
