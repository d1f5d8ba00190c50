//! What every primary contributes: topics, fences, functions; and how a node finds and enters the cluster.

use std::collections::HashSet;

use bytes::Bytes;
use fanfare_backplane::{Backplane, FunctionLibrary, Keep, RedisFunctions, State};

use crate::support::cluster::{ClusterProcess, first_owner};
use crate::support::node::{Node, Told, config, message, topic};
use crate::support::redis_server::{RedisProcess, free_port, wait_until};
use crate::{channel, envelope, one_of_each, read, settled, slot, topics_where};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_come_from_every_primary_and_many_of_one_slot() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let crowded = slot(&topic("acme:channel:0"));
    assert_eq!(cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "fanfare:acme:channel:0"]), crowded.to_string());
    let spread = topics_where(|slot| slot != crowded, 3_000);
    let topics = [topics_where(|slot| slot == crowded, 20), spread].concat();
    let mut node = settled(config(&cluster.url()), &topics).await;
    let publisher = settled(config(&cluster.url()), &[]).await;
    let mut expected = HashSet::new();
    for topic in &topics {
        publisher.publish(topic, topic.as_str()).await;
        expected.insert((topic.as_str().to_owned(), Bytes::from(topic.as_str().to_owned())));
    }
    while !expected.is_empty() {
        let Told::Message(topic, payload) = node.next().await else { panic!("not a message") };
        assert!(expected.remove(&(topic, payload)));
    }

    // Whatever a backend sends on any primary by its slot; a plain PUBLISH reaches nobody.
    for topic in one_of_each() {
        let primary = &cluster.nodes[first_owner(slot(&topic))];
        assert_eq!(primary.command(&["PUBLISH", &channel(&topic), "nowhere"]), "0");
        assert_eq!(primary.command(&["FCALL", "fanfare_send", "1", &channel(&topic), "sent"]), "1");
        assert_eq!(node.next().await, message(&topic, "sent"));
        let position = primary.command(&["FCALL", "fanfare_publish", "1", &channel(&topic), r#"{"type":"kept"}"#]);
        assert_eq!(node.next().await, message(&topic, format!(r#"@{position} {{"type":"kept"}}"#)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_comes_after_everything_that_any_primary_sent() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let mut node = settled(config(&cluster.url()), &topics).await;
    let publisher = settled(config(&cluster.url()), &[]).await;
    for number in 1..=50 {
        let mut missing: HashSet<_> = topics.iter().map(|topic| topic.as_str().to_owned()).collect();
        for topic in &topics {
            publisher.publish(topic, "before").await;
        }
        node.backplane.fence(number);
        loop {
            match node.next().await {
                Told::Message(topic, _) => assert!(missing.remove(&topic)),
                Told::Fence(passed) => {
                    assert_eq!((passed, missing.len()), (number, 0));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_address_is_told_with_the_fix() {
    let error_of = async |url: &str| {
        let node = Node::new(Backplane::redis(config(url)));
        let state = node.until_state(|state| *state != State::Connecting { error: None }).await;
        let State::Connecting { error: Some(error) } = state else { panic!("not an error: {state:?}") };
        error
    };
    let single = RedisProcess::start();
    let error = error_of(&format!("redis+cluster://127.0.0.1:{}", single.port())).await;
    assert!(error.contains("it is no node of a Redis Cluster: use redis:// for a single server"), "{error}");
    let port = free_port();
    let error = error_of(&format!("redis+cluster://127.0.0.1:{port}")).await;
    let expected =
        format!("no node of the cluster answers; are their addresses right? 127.0.0.1:{port}: connection refused");
    assert!(error.contains(&expected), "{error}");
    let alone = RedisProcess::start_with(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
    let error = error_of(&format!("redis+cluster://127.0.0.1:{}", alone.port())).await;
    assert!(error.contains("make the cluster with `redis-cli --cluster create`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_library_that_vanishes_from_one_primary_is_brought_back() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let topics = one_of_each();
    let node = settled(config(&cluster.url()), &[]).await;
    cluster.nodes[1].command(&["FUNCTION", "FLUSH"]);
    for topic in &topics {
        node.backplane.publish_durable(topic, envelope(1), &Keep::default()).await.unwrap();
        cluster.nodes[2].command(&["FUNCTION", "FLUSH"]);
        assert_eq!(read(&node, topic, None).await.position.seq, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_used_for_every_node() {
    let cluster = ClusterProcess::start_primaries(&[]);
    for server in &cluster.nodes {
        server.command(&["CONFIG", "SET", "requirepass", "hunter2"]);
    }
    let topics = one_of_each();
    let mut node = settled(config(&cluster.url_with(":hunter2@")), &topics).await;
    for topic in &topics {
        node.publish(topic, "with a password").await;
        assert_eq!(node.next().await, message(topic, "with a password"));
        assert_eq!(read(&node, topic, None).await.position.seq, 0);
    }
    let wrong = Node::new(Backplane::redis(config(&cluster.url_with(":hunter3@"))));
    let state = wrong.until_state(|state| *state != State::Connecting { error: None }).await;
    let State::Connecting { error: Some(error) } = state else { panic!("not an error: {state:?}") };
    assert!(error.contains("it does not accept the user name or the password"), "{error}");
    assert!(!error.contains("hunter3"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_loads_the_function_library_on_every_primary() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let library = FunctionLibrary::on(config(&cluster.url()));
    assert_eq!(library.loaded_version().await, Ok(None));
    assert_eq!(library.load().await, Ok(FunctionLibrary::VERSION));
    assert_eq!(library.loaded_version().await, Ok(Some(FunctionLibrary::VERSION)));
    for node in &cluster.nodes {
        assert_eq!(node.command(&["FCALL_RO", "fanfare_version", "0"]), FunctionLibrary::VERSION.to_string());
    }
    // One that lost it counts.
    cluster.nodes[1].command(&["FUNCTION", "FLUSH"]);
    assert_eq!(library.loaded_version().await, Ok(None));
    assert_eq!(library.load().await, Ok(FunctionLibrary::VERSION));
    assert_eq!(library.loaded_version().await, Ok(Some(FunctionLibrary::VERSION)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_tells_the_lowest_version_of_the_library_that_it_sees() {
    let cluster = ClusterProcess::start_primaries(&[]);
    let mut checks = config(&cluster.url());
    checks.functions = RedisFunctions::Check;
    let node = settled(checks.clone(), &[]).await;
    let tells = |version| {
        wait_until(&format!("it tells {version}"), || node.backplane.functions_version() == Some(version));
    };
    tells(0);
    FunctionLibrary::on(checks).load().await.unwrap();
    tells(FunctionLibrary::VERSION);
    cluster.nodes[1].command(&["FUNCTION", "FLUSH"]);
    tells(0);
}
