//! A Redis that is full, can't write, loads, hangs, restarts or is no primary any more.

use std::time::Duration;

use fanfare_backplane::{PublishError, ReadError, RedisScripting};
use fanfare_protocol::Position;

use crate::support::node::config;
use crate::support::redis_server::{RedisProcess, wait_until};
use crate::{LIMITS, eventually, node, orders, publish, published, read, refusal};

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
    // Twenty seconds in all, or until it has been seen.
    let mut server =
        RedisProcess::start_with(&["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"]);
    let node = node(config(&server.url())).await;
    let before = published(&node, &orders()).await;
    server.command(&["EVAL", "for i = 1, 1000 do redis.call('SET', i, ('x'):rep(2000)) end", "0"]);
    server.command(&["SAVE"]);
    server.kill();
    server.start_again();
    let words = refusal(&node).await;
    assert!(words.starts_with("LOADING ") && words.contains("as soon as its data is loaded"), "{words}");
    server.command(&["CONFIG", "SET", "key-load-delay", "0"]);
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
    hasty.response_timeout = Duration::from_secs(2);
    let node = node(hasty).await;
    published(&node, &orders()).await;
    eventually(async || read(&node, None).await.ok()).await;
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
