//! One primary of a cluster: its connections with their supervisors, which end with it.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::fences::Posts;
use super::part::{Common, Part};
use super::probe::Prover;
use super::subscriber::Subscriber;
use crate::redis::config::RedisConfig;
use crate::redis::publisher::{self, Publisher};
use crate::redis::server::{Address, Endpoint, RedisServer};

/// A primary, as long as it serves slots or a redirection leads to it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) part: Arc<Part>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) posts: Arc<Posts>,
    start: Instant,
    supervisors: [JoinHandle<()>; 2],
}

impl Member {
    pub(super) fn start(config: &RedisConfig, probe: &Arc<str>, common: &Arc<Common>, endpoint: &Endpoint) -> Member {
        let config = Arc::new(configured(config, Address::Primary(endpoint.clone())));
        let endpoint = Arc::new(endpoint.clone());
        let part = Arc::new(Part::new(Arc::clone(common)));
        let posts = Arc::<Posts>::default();
        let publisher = Arc::new(Publisher::new(Arc::clone(&config)));
        let prover = Prover {
            config: Arc::clone(&config),
            endpoint: Arc::clone(&endpoint),
            publisher: Arc::clone(&publisher),
            part: Arc::clone(&part),
            channel: Arc::clone(probe),
        };
        let subscriber = Subscriber {
            config,
            endpoint: Arc::clone(&endpoint),
            part: Arc::clone(&part),
            posts: Arc::clone(&posts),
            prover,
        };
        let supervisors =
            [tokio::spawn(subscriber.supervise()), tokio::spawn(publisher::supervise(Arc::clone(&publisher)))];
        Member { endpoint, part, publisher, posts, start: Instant::now(), supervisors }
    }

    /// When it was first heard of.
    pub(super) fn start_time(&self) -> Instant {
        self.start
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        for supervisor in &self.supervisors {
            supervisor.abort();
        }
    }
}

/// The cluster's configuration with the address of one of its nodes.
pub(super) fn configured(config: &RedisConfig, address: Address) -> RedisConfig {
    RedisConfig { server: RedisServer { address, ..config.server.clone() }, ..config.clone() }
}
