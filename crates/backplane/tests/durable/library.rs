//! The function library on the server: who loads it, when, and what is told where that can't be.

use fanfare_backplane::{
    FunctionLibrary, FunctionLibraryError, ReadError, RedisConfig, RedisFunctions, RedisScripting,
};
use fanfare_protocol::Position;

use crate::support::node::{config, topic};
use crate::support::redis_server::{RedisProcess, wait_until};
use crate::{LIMITS, SOURCE, node, orders, publish, published, read, refusal};

fn version(server: &RedisProcess) -> String {
    server.command(&["FCALL_RO", "fanfare_version", "0"])
}

fn library_of_version(version: u64) -> String {
    let older = SOURCE.replace("\nlocal VERSION = 2\n", &format!("\nlocal VERSION = {version}\n"));
    assert_ne!(older, SOURCE);
    older
}

#[tokio::test]
async fn a_node_loads_the_library_when_it_is_missing_or_older_and_never_over_a_newer_one() {
    let server = RedisProcess::start();
    let first = node(config(&server.url())).await;
    assert_eq!(version(&server), "2");
    published(&first, &orders()).await;

    server.command(&["FUNCTION", "LOAD", "REPLACE", &library_of_version(0)]);
    assert_eq!(version(&server), "0");
    let second = node(config(&server.url())).await;
    assert_eq!(version(&server), "2");

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
    assert_eq!(FunctionLibrary::on(checks.clone()).load().await, Ok(2));
    assert_eq!(FunctionLibrary::on(checks.clone()).load().await, Ok(2));
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
