//! Who is there, as every backplane must keep it: stories that run in memory, on a real Redis, as functions and as a script,
//! and on a real Redis Cluster.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod redis_alone;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fanfare_backplane::{
    Backplane, InboxLimits, Prefix, PresenceCursor, PresenceLimits, PresencePage, PresenceUser, PresenceUsers,
    RedisScripting, Refreshed, State, Voucher,
};
use fanfare_protocol::TopicKey;

use support::cluster::ClusterProcess;
use support::node::{Node, Told, config, message, topic};
use support::redis_server::RedisProcess;

/// Longer than any test.
const LONG: Duration = Duration::from_hours(1);
const ALL: PresenceLimits = PresenceLimits { users_max: 1_000, bytes_max: 1 << 30 };
const INFO: &str = r#"{"name":"Ana \"A\"","n":1.10}"#;

/// A backplane under test, and what it stands on.
struct World {
    origin: Node,
    _server: Option<RedisProcess>,
    cluster: Option<Arc<ClusterProcess>>,
}

impl World {
    fn memory() -> World {
        let origin = Node::new(Backplane::memory(InboxLimits::default()));
        World { origin, _server: None, cluster: None }
    }

    fn redis() -> World {
        let server = RedisProcess::start();
        let origin = Node::new(Backplane::redis(config(&server.url())));
        World { origin, _server: Some(server), cluster: None }
    }

    fn redis_with_scripts() -> World {
        let server = RedisProcess::start_with(&["--rename-command", "FCALL", "", "--rename-command", "FUNCTION", ""]);
        let mut config = config(&server.url());
        config.scripting = RedisScripting::Eval;
        World { origin: Node::new(Backplane::redis(config)), _server: Some(server), cluster: None }
    }

    /// One for all stories that run at the same time, each with a prefix of its own.
    fn cluster() -> World {
        static STORIES: AtomicUsize = AtomicUsize::new(0);
        let cluster = ClusterProcess::shared();
        let mut config = config(&cluster.url());
        config.prefix = Prefix::parse(&format!("presence-{}", STORIES.fetch_add(1, Ordering::Relaxed))).unwrap();
        World { origin: Node::new(Backplane::redis(config)), _server: None, cluster: Some(cluster) }
    }

    /// A node whose connections stand, and that hears who comes and goes in a topic.
    async fn listener(&self, topics: &[TopicKey]) -> Node {
        let mut node = Node::new(self.origin.backplane.node());
        assert_eq!(node.next().await, Told::Up(true));
        node.publish_when_possible(&topic("nobody:channel:warm-up"), "{}").await;
        if self.cluster.is_some() {
            node.until_state(State::is_up).await;
        }
        let channels: Vec<_> = topics.iter().map(TopicKey::presence).collect();
        node.want(&channels).await;
        node
    }
}

/// Runs each story on each backplane.
macro_rules! stories {
    ($($story:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $story() { super::$story(super::World::memory()).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $story() { super::$story(super::World::redis()).await; })*
        }
        mod redis_with_scripts {
            $(#[tokio::test] async fn $story() { super::$story(super::World::redis_with_scripts()).await; })*
        }
        mod cluster {
            $(#[tokio::test] async fn $story() { super::$story(super::World::cluster()).await; })*
        }
    };
}

stories! {
    a_user_comes_with_the_first_node_and_leaves_with_the_last,
    to_say_it_twice_changes_nothing,
    many_users_of_many_topics_share_a_call,
    whose_time_is_over_has_left,
    a_list_leaves_out_whose_time_is_over,
    a_refresh_finds_who_is_missing,
    a_large_list_comes_in_pages,
    a_small_list_comes_in_pages_of_one,
    a_page_is_bounded_in_bytes,
    users_with_long_infos_stand_on_one_page_each,
    a_topic_is_not_another,
}

fn board() -> TopicKey {
    topic("acme:channel:board")
}

fn voucher(node: &str, ttl: Duration) -> Voucher {
    Voucher { node: node.into(), ttl }
}

fn user(name: &str, info: Option<&str>) -> PresenceUser {
    PresenceUser { user: name.into(), info: info.map(Into::into) }
}

fn users(topic: &TopicKey, names: &[&str]) -> PresenceUsers {
    PresenceUsers { topic: topic.clone(), users: names.iter().map(|name| user(name, None)).collect() }
}

async fn join(node: &Node, of: &str, topic: &TopicKey, names: &[&str]) {
    assert_eq!(node.backplane.presence_join(&voucher(of, LONG), &[users(topic, names)]).await, [Ok(())]);
}

async fn leave(node: &Node, of: &str, topic: &TopicKey, names: &[&str]) {
    assert_eq!(node.backplane.presence_leave(&voucher(of, LONG), &[users(topic, names)]).await, [Ok(())]);
}

async fn page(node: &Node, topic: &TopicKey, limits: PresenceLimits, cursor: &PresenceCursor) -> PresencePage {
    node.backplane.presence_list(&voucher("reader", LONG), topic, limits, cursor).await.unwrap()
}

/// Who is there, on one page.
async fn listed(node: &Node, topic: &TopicKey) -> BTreeSet<String> {
    let page = page(node, topic, ALL, &PresenceCursor::default()).await;
    assert_eq!((page.users.len() as u64, page.cursor), (page.count, None));
    page.users.iter().map(|user| user.user.to_string()).collect()
}

/// All users of a topic by pages of this size, which must hold no more; and how many pages there were.
async fn paged(node: &Node, topic: &TopicKey, limits: PresenceLimits) -> (Vec<String>, usize) {
    let (mut cursor, mut found, mut pages) = (PresenceCursor::default(), Vec::new(), 0);
    loop {
        let page = page(node, topic, limits, &cursor).await;
        assert!(page.users.len() <= limits.users_max, "{}", page.users.len());
        found.extend(page.users.iter().map(|user| user.user.to_string()));
        pages += 1;
        match page.cursor {
            // Through its text, as a client gives it back.
            Some(next) => cursor = next.to_string().parse().unwrap(),
            None => return (found, pages),
        }
    }
}

/// The next thing told is this change of this user.
async fn expect_told(node: &mut Node, topic: &TopicKey, op: &str, name: &str, count: u64) {
    let expected = format!(r#"{{"op":"{op}","user":"{name}","count":{count}}}"#);
    assert_eq!(node.next_but_confirmed().await, message(&topic.presence(), expected));
}

async fn a_user_comes_with_the_first_node_and_leaves_with_the_last(world: World) {
    let mut node = world.listener(&[board()]).await;
    let ana = PresenceUsers { topic: board(), users: vec![user(r#"a"n\a"#, Some(INFO))] };
    assert_eq!(node.backplane.presence_join(&voucher("one", LONG), std::slice::from_ref(&ana)).await, [Ok(())]);
    let joined = format!(r#"{{"op":"joined","user":"a\"n\\a","info":{INFO},"count":1}}"#);
    assert_eq!(node.next_but_confirmed().await, message(&board().presence(), joined));
    join(&node, "two", &board(), &["bo"]).await;
    expect_told(&mut node, &board(), "joined", "bo", 2).await;
    assert_eq!(node.backplane.presence_join(&voucher("two", LONG), std::slice::from_ref(&ana)).await, [Ok(())]);
    let page = page(&node, &board(), ALL, &PresenceCursor::default()).await;
    assert_eq!((page.count, page.cursor), (2, None));
    assert!(page.users.contains(&user(r#"a"n\a"#, Some(INFO))) && page.users.contains(&user("bo", None)));

    leave(&node, "one", &board(), &[r#"a"n\a"#]).await;
    leave(&node, "two", &board(), &["bo"]).await;
    // Nothing of the other user's first node.
    expect_told(&mut node, &board(), "left", "bo", 1).await;
    leave(&node, "two", &board(), &[r#"a"n\a"#]).await;
    let left = format!(r#"{{"op":"left","user":"a\"n\\a","info":{INFO},"count":0}}"#);
    assert_eq!(node.next_but_confirmed().await, message(&board().presence(), left));
    assert!(listed(&node, &board()).await.is_empty());
}

async fn to_say_it_twice_changes_nothing(world: World) {
    let mut node = world.listener(&[board()]).await;
    for _ in 0..2 {
        join(&node, "one", &board(), &["ana", "bo"]).await;
    }
    for _ in 0..2 {
        leave(&node, "one", &board(), &["ana"]).await;
    }
    leave(&node, "two", &board(), &["bo", "nobody"]).await;
    expect_told(&mut node, &board(), "joined", "ana", 1).await;
    expect_told(&mut node, &board(), "joined", "bo", 2).await;
    expect_told(&mut node, &board(), "left", "ana", 1).await;
    leave(&node, "one", &board(), &["bo"]).await;
    expect_told(&mut node, &board(), "left", "bo", 0).await;
}

async fn many_users_of_many_topics_share_a_call(world: World) {
    let topics: Vec<_> = (0..300).map(|number| topic(&format!("acme:channel:t{number}"))).collect();
    let node = world.listener(&[]).await;
    let all: Vec<_> = topics.iter().map(|topic| users(topic, &["ana", "bo"])).collect();
    assert!(node.backplane.presence_join(&voucher("one", LONG), &all).await.iter().all(Result::is_ok));
    let refreshed = node.backplane.presence_refresh(&voucher("one", LONG), &all, true).await;
    assert!(refreshed.iter().all(|refreshed| *refreshed == Ok(Refreshed::default())), "{refreshed:?}");
    let some: Vec<_> = topics.iter().map(|topic| users(topic, &["ana"])).collect();
    assert!(node.backplane.presence_leave(&voucher("one", LONG), &some).await.iter().all(Result::is_ok));
    for topic in [&topics[0], &topics[150], &topics[299]] {
        assert_eq!(listed(&node, topic).await, BTreeSet::from(["bo".to_owned()]));
    }
}

async fn whose_time_is_over_has_left(world: World) {
    let mut node = world.listener(&[board()]).await;
    join(&node, "lives", &board(), &["ana", "bo"]).await;
    let dies = voucher("dies", Duration::from_millis(50));
    node.backplane.presence_join(&dies, &[users(&board(), &["bo", "cy"])]).await.remove(0).unwrap();
    for (count, name) in (1..).zip(["ana", "bo", "cy"]) {
        expect_told(&mut node, &board(), "joined", name, count).await;
    }
    // Only who is with no other node is gone, and is told once, whoever finds out first.
    let everybody = [users(&board(), &["ana", "bo"])];
    let mut turns = 0;
    while node.waiting_bytes() == 0 {
        turns += 1;
        assert!(turns < 10_000, "nobody has left");
        let refreshed = node.backplane.presence_refresh(&voucher("lives", LONG), &everybody, true).await;
        assert_eq!(refreshed, [Ok(Refreshed::default())]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    expect_told(&mut node, &board(), "left", "cy", 2).await;
    node.backplane.presence_refresh(&voucher("other", LONG), &[users(&board(), &[])], true).await.remove(0).unwrap();
    leave(&node, "lives", &board(), &["ana"]).await;
    expect_told(&mut node, &board(), "left", "ana", 1).await;
}

async fn a_list_leaves_out_whose_time_is_over(world: World) {
    let node = world.listener(&[]).await;
    let dies = voucher("dies", Duration::from_millis(50));
    let names: Vec<_> = (0..1_000).map(|number| format!("u{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    join(&node, "lives", &board(), &["ana", "u7"]).await;
    node.backplane.presence_join(&dies, &[users(&board(), &names)]).await.remove(0).unwrap();
    let expected = BTreeSet::from(["ana".to_owned(), "u7".to_owned()]);
    let mut lists = 0;
    while page(&node, &board(), ALL, &PresenceCursor::default()).await.count != 2 {
        lists += 1;
        assert!(lists < 10_000, "they are still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(listed(&node, &board()).await, expected);
}

async fn a_refresh_finds_who_is_missing(world: World) {
    let mut node = world.listener(&[board()]).await;
    join(&node, "one", &board(), &["ana", "cy"]).await;
    join(&node, "two", &board(), &["bo"]).await;
    let all = [users(&board(), &["ana", "bo", "cy", "di"])];
    let refreshed = node.backplane.presence_refresh(&voucher("one", LONG), &all, false).await;
    assert_eq!(refreshed, [Ok(Refreshed { missing: vec![1, 3], more: false })]);
    for (count, name) in (1..).zip(["ana", "cy", "bo"]) {
        expect_told(&mut node, &board(), "joined", name, count).await;
    }
    // It has changed nothing.
    leave(&node, "one", &board(), &["di", "bo", "ana"]).await;
    expect_told(&mut node, &board(), "left", "ana", 2).await;
}

async fn a_large_list_comes_in_pages(world: World) {
    let node = world.listener(&[]).await;
    let names: BTreeSet<_> = (0..2_500).map(|number| format!("user-{number}")).collect();
    for chunk in names.iter().map(String::as_str).collect::<Vec<_>>().chunks(1_000) {
        join(&node, "one", &board(), chunk).await;
    }
    for users_max in [1_000, 333, 7] {
        let limits = PresenceLimits { users_max, ..ALL };
        let (found, pages) = paged(&node, &board(), limits).await;
        assert_eq!(found.len(), 2_500, "nobody twice while nothing changes");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), names);
        assert!(pages <= 2 * 2_500 / users_max + 2, "{pages} pages of {users_max}");
    }
    assert_eq!(
        page(&node, &board(), PresenceLimits { users_max: 1, ..ALL }, &PresenceCursor::default()).await.count,
        2_500
    );
}

async fn a_small_list_comes_in_pages_of_one(world: World) {
    let node = world.listener(&[]).await;
    join(&node, "one", &board(), &["ana", "bo", "cy", "a:b"]).await;
    let (found, pages) = paged(&node, &board(), PresenceLimits { users_max: 1, ..ALL }).await;
    assert_eq!(found.len(), 4);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), 4);
    assert!((4..=5).contains(&pages), "{pages}");
}

async fn a_page_is_bounded_in_bytes(world: World) {
    let node = world.listener(&[]).await;
    let info = format!("\"{}\"", "x".repeat(1_000));
    let many = (0..300).map(|number| user(&format!("u{number}"), Some(&info))).collect();
    let users = PresenceUsers { topic: board(), users: many };
    assert_eq!(node.backplane.presence_join(&voucher("one", LONG), &[users]).await, [Ok(())]);
    let limits = PresenceLimits { users_max: 1_000, bytes_max: 5_500 };
    let first = page(&node, &board(), limits, &PresenceCursor::default()).await;
    assert!((1..=5).contains(&first.users.len()), "{}", first.users.len());
    let (found, _) = paged(&node, &board(), limits).await;
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), 300);
    let (found, pages) = paged(&node, &board(), PresenceLimits { users_max: 1_000, bytes_max: 1 }).await;
    assert_eq!((found.len(), pages >= 300), (300, true), "one always fits");
}

async fn users_with_long_infos_stand_on_one_page_each(world: World) {
    let node = world.listener(&[]).await;
    let info = format!("\"{}\"", "x".repeat(100));
    let many = (0..50).map(|number| user(&format!("u{number}"), Some(&info))).collect();
    let users = PresenceUsers { topic: board(), users: many };
    assert_eq!(node.backplane.presence_join(&voucher("one", LONG), &[users]).await, [Ok(())]);
    for users_max in [10, 30, 49] {
        let (found, _) = paged(&node, &board(), PresenceLimits { users_max, ..ALL }).await;
        assert_eq!(found.len(), 50, "nobody twice while nothing changes, {users_max} on a page");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), 50);
    }
}

async fn a_topic_is_not_another(world: World) {
    let mut node = world.listener(&[board()]).await;
    for other in ["rival:channel:board", "acme:channel:board:presence", "acme:user:board", "acme:tenant"] {
        join(&node, "one", &topic(other), &["ana"]).await;
        assert_eq!(listed(&node, &topic(other)).await.len(), 1);
    }
    join(&node, "one", &board(), &["bo"]).await;
    expect_told(&mut node, &board(), "joined", "bo", 1).await;
    assert_eq!(listed(&node, &board()).await, BTreeSet::from(["bo".to_owned()]));
}
