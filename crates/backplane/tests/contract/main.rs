//! What every backplane must do, told as stories that run on each of them: memory, a real Redis and a
//! real Redis Cluster.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod durable;
mod in_memory;
mod live;
mod revocations;
mod shared;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfare_backplane::{Backplane, InboxLimits, Prefix, RedisScripting, State};

use support::cluster::ClusterProcess;
use support::node::{Node, Told, config, message, topic};
use support::redis_server::RedisProcess;

/// A backplane under test, and what it stands on.
struct World {
    /// A place that all nodes of the story are made from; it wants nothing.
    origin: Node,
    server: Option<RedisProcess>,
    cluster: Option<Arc<ClusterProcess>>,
}

impl World {
    fn memory() -> World {
        World { origin: Node::new(Backplane::memory(InboxLimits::default())), server: None, cluster: None }
    }

    fn redis() -> World {
        let server = RedisProcess::start();
        World { origin: Node::new(Backplane::redis(config(&server.url()))), server: Some(server), cluster: None }
    }

    /// One cluster for all stories that run at the same time, each with a prefix of its own.
    fn cluster() -> World {
        static STORIES: AtomicUsize = AtomicUsize::new(0);
        let cluster = ClusterProcess::shared();
        let mut config = config(&cluster.url());
        config.prefix = Prefix::parse(&format!("story-{}", STORIES.fetch_add(1, Ordering::Relaxed))).unwrap();
        World { origin: Node::new(Backplane::redis(config)), server: None, cluster: Some(cluster) }
    }

    /// Where functions are forbidden.
    fn redis_with_scripts() -> World {
        let server = RedisProcess::start_with(&["--rename-command", "FCALL", "", "--rename-command", "FUNCTION", ""]);
        let mut config = config(&server.url());
        config.scripting = RedisScripting::Eval;
        World { origin: Node::new(Backplane::redis(config)), server: Some(server), cluster: None }
    }

    /// A node that has been told that its connection stands, and can publish.
    async fn node(&self) -> Node {
        let mut node = Node::new(self.origin.backplane.node());
        assert_eq!(node.next().await, Told::Up(true));
        node.publish_when_possible(&topic("nobody:channel:warm-up"), "{}").await;
        if self.cluster.is_some() {
            // Each primary is connected to by itself.
            node.until_state(State::is_up).await;
        }
        node
    }
}

/// Runs each story on each backplane.
macro_rules! stories {
    ($($file:ident: $($story:ident),*;)*) => {
        mod memory {
            $($(#[tokio::test] async fn $story() { super::$file::$story(super::World::memory()).await; })*)*
        }
        mod redis {
            $($(#[tokio::test] async fn $story() { super::$file::$story(super::World::redis()).await; })*)*
        }
        mod redis_with_scripts {
            $($(#[tokio::test] async fn $story() { super::$file::$story(super::World::redis_with_scripts()).await; })*)*
        }
        mod cluster {
            $($(#[tokio::test] async fn $story() { super::$file::$story(super::World::cluster()).await; })*)*
        }
    };
}

stories! {
    live:
        reaches_every_node_that_wants_the_topic_and_nobody_else,
        keeps_the_order_of_a_topic,
        confirms_before_the_first_message,
        confirms_each_topic_once,
        stops_when_a_topic_is_not_wanted_any_more,
        wanted_again_is_confirmed_again,
        ends_right_after_quick_changes_of_mind,
        carries_bytes_untouched,
        publishes_to_nobody_without_an_error,
        ends_the_inbox_when_the_last_handle_is_dropped,
        a_node_that_leaves_disturbs_nobody,
        is_up;
    durable:
        durable_events_arrive_with_their_positions,
        what_came_after_a_position_is_read,
        a_topic_without_history_has_a_position_to_resume_from,
        a_position_of_another_epoch_brings_all_of_the_present_one,
        a_read_is_bounded_in_events_and_in_bytes,
        many_topics_are_read_at_once_and_answered_in_order,
        a_history_is_paged_backwards,
        an_id_is_published_once,
        what_cant_be_kept_is_refused_with_the_fix,
        a_topic_keeps_its_newest_events;
    shared:
        channels_of_the_nodes_own_carry_messages_and_meet_no_topic,
        every_node_hears_what_concerns_all,
        a_channel_that_is_not_wanted_any_more_is_silent,
        a_revoked_token_is_known_to_every_node,
        any_text_is_the_id_of_a_token_and_no_other,
        many_tokens_are_asked_about_at_once_and_answered_in_order,
        a_revoked_token_is_forgotten_in_time,
        what_a_node_reports_is_read_by_all_until_it_is_silent;
    revocations:
        a_token_stays_revoked_whatever_another_tenant_revokes,
        to_revoke_again_never_makes_it_shorter;
}

#[tokio::test]
async fn prefixes_on_one_redis_do_not_meet() {
    let world = World::redis();
    let server = world.server.as_ref().unwrap();
    let mut other_prefix = config(&server.url());
    other_prefix.prefix = Prefix::parse("staging").unwrap();
    let mut staging = Node::new(Backplane::redis(other_prefix));
    let mut production = world.node().await;
    let orders = topic("acme:channel:orders");
    staging.want(std::slice::from_ref(&orders)).await;
    production.want(std::slice::from_ref(&orders)).await;

    assert_eq!(server.command(&["PUBLISH", "fanfare:acme:channel:orders", "to production"]), "1");
    assert_eq!(server.command(&["PUBLISH", "staging:acme:channel:orders", "to staging"]), "1");
    assert_eq!(production.next().await, message(&orders, "to production"));
    assert_eq!(staging.next().await, message(&orders, "to staging"));
}

#[tokio::test]
async fn a_unix_socket_works_as_well() {
    let server = RedisProcess::start();
    let url = format!("unix://{}", server.socket_path().display());
    let mut node = Node::new(Backplane::redis(config(&url)));
    let orders = topic("acme:channel:orders");
    node.want(std::slice::from_ref(&orders)).await;
    node.publish_when_possible(&orders, "over a socket").await;
    assert_eq!(node.next().await, message(&orders, "over a socket"));
}
