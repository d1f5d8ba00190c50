//! What only Redis has: what presence costs it, its keys, its rights, and what it does when it is full.

use std::time::Duration;

use fanfare_backplane::{Backplane, PresenceUsers, PublishError, RedisScripting, Refreshed};

use crate::support::node::{Node, config, topic};
use crate::support::redis_server::{RedisProcess, wait_until};
use crate::{INFO, LONG, board, join, leave, listed, user, users, voucher};

/// How often each command ran, those inside functions included.
fn commands(server: &RedisProcess) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]);
    let calls = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let own = ["info", "config|resetstat", "ping", "publish", "client|list"].contains(&name);
        rest.split(',').next()?.parse::<u64>().ok().filter(|_| !own)
    });
    calls.sum()
}

/// A node on its own that asks for no signs of life meanwhile.
async fn quiet_node(server: &RedisProcess) -> Node {
    let mut config = config(&server.url());
    config.ping_interval = LONG;
    config.probe_interval = None;
    let node = Node::new(Backplane::redis(config));
    node.publish_when_possible(&topic("nobody:channel:warm-up"), "{}").await;
    node
}

#[tokio::test]
async fn a_refresh_of_a_large_topic_costs_redis_less_than_one_command_for_100_users() {
    const USERS: usize = 50_000;
    let server = RedisProcess::start();
    let node = quiet_node(&server).await;
    let all: Vec<_> = (0..USERS).map(|number| user(&format!("user-{number}"), Some(INFO))).collect();
    let chunks: Vec<_> =
        all.chunks(1_000).map(|chunk| PresenceUsers { topic: board(), users: chunk.to_vec() }).collect();
    for result in node.backplane.presence_join(&voucher("one", LONG), &chunks).await {
        result.unwrap();
    }
    server.command(&["CONFIG", "RESETSTAT"]);
    let before = commands(&server);
    let (last, rest) = chunks.split_last().unwrap();
    for (chunks, purge) in [(rest, false), (std::slice::from_ref(last), true)] {
        for result in node.backplane.presence_refresh(&voucher("one", LONG), chunks, purge).await {
            assert_eq!(result, Ok(Refreshed::default()));
        }
    }
    let cost = commands(&server) - before;
    println!("refreshing {USERS} users took {cost} commands");
    assert!(cost <= USERS as u64 / 100, "{cost} commands for {USERS} users");
}

#[tokio::test]
async fn what_nobody_refreshes_is_forgotten_by_redis_itself() {
    let server = RedisProcess::start();
    let node = quiet_node(&server).await;
    // The keys live twice as long, and by then their number must be known.
    let short = voucher("one", Duration::from_secs(1));
    node.backplane.presence_join(&short, &[users(&board(), &["ana"])]).await.remove(0).unwrap();
    assert_eq!(server.command(&["DBSIZE"]), "2");
    wait_until("both keys have expired", || server.command(&["DBSIZE"]) == "0");
}

#[tokio::test]
async fn keys_that_somebody_has_deleted_are_made_again() {
    let server = RedisProcess::start();
    let node = quiet_node(&server).await;
    let both = [users(&board(), &["ana", "bo"])];
    for deleted in ["presence", "info"] {
        join(&node, "one", &board(), &["ana", "bo"]).await;
        join(&node, "two", &board(), &["bo"]).await;
        server.command(&["DEL", &format!("{{fanfare:acme:channel:board}}:{deleted}")]);
        let missing = Ok(Refreshed { missing: vec![0, 1], more: false });
        assert_eq!(node.backplane.presence_refresh(&voucher("one", LONG), &both, true).await, [missing], "{deleted}");
        join(&node, "one", &board(), &["ana", "bo"]).await;
        assert_eq!(listed(&node, &board()).await.len(), 2);
        leave(&node, "one", &board(), &["ana", "bo"]).await;
        assert!(listed(&node, &board()).await.is_empty(), "no node is counted twice");
    }
}

#[tokio::test]
async fn who_comes_after_the_infos_were_deleted_hides_nobody() {
    let server = RedisProcess::start();
    let node = quiet_node(&server).await;
    join(&node, "one", &board(), &["ana", "bo"]).await;
    server.command(&["DEL", "{fanfare:acme:channel:board}:info"]);
    join(&node, "two", &board(), &["cy"]).await;
    assert_ne!(server.command(&["PTTL", "{fanfare:acme:channel:board}:info"]), "-1");
    let both = [users(&board(), &["ana", "bo"])];
    let missing = Ok(Refreshed { missing: vec![0, 1], more: false });
    assert_eq!(node.backplane.presence_refresh(&voucher("one", LONG), &both, true).await, [missing]);
    join(&node, "one", &board(), &["ana", "bo"]).await;
    assert_eq!(listed(&node, &board()).await.len(), 3);
}

#[tokio::test]
async fn what_is_no_topic_or_no_user_is_refused() {
    let server = RedisProcess::start();
    let _node = quiet_node(&server).await;
    let call = |words: &[&str]| server.command(&[&["FCALL"], words].concat());
    let (presence, info) = ("{fanfare:acme:tenant}:presence", "{fanfare:acme:tenant}:info");
    for (words, expected) in [
        (&["fanfare_presence_join", "0"][..], "two keys are needed"),
        (&["fanfare_presence_join", "1", presence, "n", "1000"], "two keys are needed"),
        (&["fanfare_presence_join", "2", presence, presence, "n", "1000", "0"], "are not {<topic>}:presence"),
        (&["fanfare_presence_join", "2", "a", "b", "n", "1000", "0"], "are not {<topic>}:presence"),
        (&["fanfare_presence_join", "2", presence, info], "the name of the node"),
        (&["fanfare_presence_join", "2", presence, info, "n n", "1000", "0"], "the name of the node"),
        (&["fanfare_presence_join", "2", presence, info, "n", "49", "0"], "how long it holds"),
        (&["fanfare_presence_join", "2", presence, info, "n", "1e3", "0"], "how long it holds"),
        (&["fanfare_presence_join", "2", presence, info, "n", "1000"], "how many users follow"),
        (&["fanfare_presence_join", "2", presence, info, "n", "1000", "1", "ana"], "how many users follow"),
        (&["fanfare_presence_join", "2", presence, info, "n", "1000", "1", "a b", ""], "is no user"),
        (&["fanfare_presence_leave", "2", presence, info, "n", "1000", "1", "ana", "bo"], "more arguments"),
        (&["fanfare_presence_list", "2", presence, info, "0", "1", "0"], "how many users, 1 to"),
        (&["fanfare_presence_list", "2", presence, info, "1", "1", "x"], "the cursor, at first 0"),
    ] {
        let answer = call(words);
        assert!(answer.starts_with("ERR ") && answer.contains(expected), "{words:?}: {answer}");
    }
    assert_eq!(server.command(&["DBSIZE"]), "0");
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_and_nothing_is_half_done() {
    let server = RedisProcess::start();
    let page = include_str!("../../../../docs/redis.md");
    let rights = page.lines().find_map(|line| line.strip_prefix("ACL SETUSER node on >secret ")).unwrap();
    let rights: Vec<_> = rights.split(' ').collect();
    server.command(&[&["ACL", "SETUSER", "node", "on", ">secret"], &rights[..]].concat());
    let node = Node::new(Backplane::redis(config(&server.url_with("node", "secret"))));
    node.publish_when_possible(&topic("nobody:channel:warm-up"), "{}").await;
    // All of it works with the documented rights.
    join(&node, "one", &board(), &["ana"]).await;
    let dies = voucher("dies", Duration::from_millis(50));
    node.backplane.presence_join(&dies, &[users(&board(), &["bo"])]).await.remove(0).unwrap();
    wait_until("his time is over", || {
        let far = "9999999999999";
        let time = server.command(&["TIME"]);
        let (seconds, micros) = time.split_once('\n').unwrap();
        let now = format!("{seconds}{:03}", micros.parse::<u32>().unwrap() / 1_000);
        server.command(&["ZCOUNT", "{fanfare:acme:channel:board}:presence", &now, far]) == "1"
    });
    let all = [users(&board(), &["ana"])];
    assert_eq!(node.backplane.presence_refresh(&voucher("one", LONG), &all, true).await, [Ok(Refreshed::default())]);
    assert_eq!(listed(&node, &board()).await.len(), 1);
    leave(&node, "one", &board(), &["ana"]).await;
    let log = server.command(&["ACL", "LOG"]);
    assert!(!log.contains("command"), "{log}");

    for right in ["+zadd", "+hset", "+pexpireat", "+del", "+publish"] {
        server.command(&["ACL", "SETUSER", "node", &right.replace('+', "-")]);
        let refused = node.backplane.presence_join(&voucher("one", LONG), &[users(&board(), &["cy"])]).await.remove(0);
        assert!(matches!(&refused, Err(PublishError::Refused(words)) if words.contains(right)), "{refused:?}");
        assert_eq!(server.command(&["EXISTS", "{fanfare:acme:channel:board}:presence"]), "0", "{right}");
        server.command(&["ACL", "SETUSER", "node", right]);
    }
    join(&node, "one", &board(), &["cy"]).await;
    for right in ["+zrem", "+hdel"] {
        server.command(&["ACL", "SETUSER", "node", &right.replace('+', "-")]);
        let refused = node.backplane.presence_leave(&voucher("one", LONG), &[users(&board(), &["cy"])]).await.remove(0);
        assert!(matches!(&refused, Err(PublishError::Refused(words)) if words.contains(right)), "{refused:?}");
        server.command(&["ACL", "SETUSER", "node", right]);
        assert_eq!(listed(&node, &board()).await.len(), 1, "{right}");
    }
}

#[tokio::test]
async fn a_full_redis_takes_nobody_in_and_lets_go_of_whom_it_has() {
    let server = RedisProcess::start();
    let mut with_scripts = config(&server.url());
    with_scripts.scripting = RedisScripting::Eval;
    let scripted = Node::new(Backplane::redis(with_scripts));
    scripted.publish_when_possible(&topic("nobody:channel:warm-up"), "{}").await;
    for node in [&quiet_node(&server).await, &scripted] {
        join(node, "one", &board(), &["ana", "bo"]).await;
        server.command(&["CONFIG", "SET", "maxmemory", "1"]);
        let all = [users(&board(), &["ana", "bo"])];
        let refreshed = node.backplane.presence_refresh(&voucher("one", LONG), &all, true).await;
        assert_eq!(refreshed, [Ok(Refreshed::default())]);
        leave(node, "one", &board(), &["ana", "bo"]).await;
        let refused = node.backplane.presence_join(&voucher("one", LONG), &[users(&board(), &["cy"])]).await.remove(0);
        assert!(matches!(&refused, Err(PublishError::Refused(words)) if words.contains("OOM")), "{refused:?}");
        server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    }
}
