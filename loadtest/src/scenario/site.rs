//! Where a scenario with durable events takes place: a Redis and nodes that are started here, or ones that run already.

use std::net::SocketAddr;
use std::path::Path;

use crate::address::{RedisUrl, WebSocketUrl};
use crate::admin_port;
use crate::cli::NodeArgs;
use crate::fleet::{self, Node, NodePlan, Store};
use crate::launch::bind_to;
use crate::target::{new_secret, split_processors};

/// The metric that tells what a node announces.
const ACCEPT_BUDGET: &str = "fanfare_accept_budget_per_second";

/// Subscriptions a connection has by itself: its tenant's and its user's topic.
const OWN_TOPICS: u32 = 2;

/// Processors for nodes and for everything else.
pub(crate) struct Processors {
    pub(crate) nodes: Vec<usize>,
    pub(crate) rest: Vec<usize>,
}

/// A Redis and nodes that are started here.
pub(crate) struct Site {
    pub(crate) store: Store,
    pub(crate) nodes: Vec<Node>,
    pub(crate) plan: NodePlan,
}

/// Where clients and events go.
pub(crate) struct Venue {
    pub(crate) redis: RedisUrl,
    pub(crate) urls: Vec<WebSocketUrl>,
    /// The admin ports of nodes that were started here.
    pub(crate) admins: Vec<SocketAddr>,
    pub(crate) secret: String,
    pub(crate) node_pids: Vec<u32>,
}

impl Processors {
    /// Binds this process, and what it starts from now on, unless that is not wanted.
    pub(crate) fn share_out(args: &NodeArgs, is_wanted: bool) -> anyhow::Result<Processors> {
        let (nodes, rest) = split_processors(1, is_wanted && !args.no_pin)?;
        bind_to(&rest)?;
        Ok(Processors { nodes, rest })
    }
}

impl Site {
    /// Starts Redis. Nodes come with [`Site::start_nodes`].
    pub(crate) fn prepare(
        args: &NodeArgs,
        program: &Path,
        processors: &Processors,
        topics_each: u32,
        keeps_data: bool,
    ) -> anyhow::Result<Site> {
        let program = fleet::program(program)?;
        let store = Store::start(&processors.rest, keeps_data)?;
        let subscriptions = (topics_each + OWN_TOPICS).max(10_000);
        let name = "FANFARE_SUBSCRIPTIONS_PER_CONNECTION_MAX".to_owned();
        let mut environment = vec![(name, subscriptions.to_string())];
        environment.extend(args.environment.iter().cloned());
        let plan = NodePlan {
            program,
            redis: store.url.clone(),
            prefix: args.prefix.clone(),
            secret: args.secret.clone().unwrap_or_else(new_secret),
            environment,
            processors: processors.nodes.clone(),
        };
        Ok(Site { store, nodes: Vec::new(), plan })
    }

    /// Settings that scenarios need and `--env` may change.
    pub(crate) fn settings(&mut self, settings: &[(&str, &str)]) {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.plan.environment.splice(0..0, settings);
    }

    pub(crate) fn start_nodes(&mut self, nodes: u32) -> anyhow::Result<()> {
        for _ in 0..nodes {
            self.nodes.push(Node::start(&self.plan)?);
        }
        Ok(())
    }

    pub(crate) fn venue(&self) -> Venue {
        Venue {
            redis: self.plan.redis.clone(),
            urls: self.nodes.iter().map(|node| node.url.clone()).collect(),
            admins: self.nodes.iter().map(|node| node.admin).collect(),
            secret: self.plan.secret.clone(),
            node_pids: self.nodes.iter().map(Node::pid).collect(),
        }
    }

    /// How many clients a second each node announces to be ready for: the least of them. Older nodes announce nothing.
    pub(crate) fn accept_budget_per_s(&self) -> Option<f64> {
        let announced = self.nodes.iter().filter_map(|node| admin_port::metric(node.admin, ACCEPT_BUDGET));
        announced.reduce(f64::min)
    }

    /// What nodes said that have ended although nobody asked them to.
    pub(crate) fn post_mortems(&mut self) -> Vec<String> {
        self.nodes.iter_mut().filter_map(Node::post_mortem).collect()
    }
}
