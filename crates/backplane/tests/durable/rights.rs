//! Users of Redis with the rights that the documentation gives them, and with fewer.

use std::time::Duration;

use bytes::Bytes;
use fanfare_backplane::{Backplane, Keep, PublishError, Read, ReadError};
use fanfare_protocol::{Position, Tenant, TopicKey};

use crate::support::node::{Node, Told, config, message, topic};
use crate::support::redis_server::RedisProcess;
use crate::{LIMITS, SOURCE, node, orders, publish, published, read, refusal};

/// The rights of a user, as the page on Redis gives them.
fn documented(user: &str) -> Vec<&'static str> {
    let page = include_str!("../../../../docs/redis.md");
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
    node.backplane.revoke("t-1", None, keep.ttl).await.unwrap();
    let acme = Tenant::parse("acme").unwrap();
    assert_eq!(node.backplane.revoked(&[("t-1", &acme), ("t-2", &acme)]).await, Ok(vec![true, false]));
    node.backplane.report("node-1", Bytes::from_static(b"{}"), keep.ttl).await.unwrap();
    assert_eq!(node.backplane.reports().await.unwrap().len(), 1);
    let own = [TopicKey::control(), TopicKey::replies(&acme, "node-1"), orders().presence()];
    node.want(&own).await;
    for channel in &own {
        node.publish(channel, "heard").await;
        assert_eq!(node.next_but_confirmed().await, message(channel, "heard"));
    }
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
