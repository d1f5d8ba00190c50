//! What is measured, and the ground it stands on: a Redis, processors, and a server that was there or is started here.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::address::{RedisUrl, WebSocketUrl};
use crate::cli::{Kind, TargetArgs};
use crate::dialect::Dialect;
use crate::fleet::{self, Node, NodePlan, Store};
use crate::launch::{self, Launch, Server, bind_to};
use crate::outlet::Outlet;
use crate::peer::{self, Peer, Place};
use crate::process;
use crate::redis_link::RedisLink;

const URL: &str = "ws://127.0.0.1:8080/ws";
const REDIS: &str = "redis://127.0.0.1:6379";

/// What all targets of one run share.
pub(crate) struct Ground {
    pub(crate) redis: RedisUrl,
    server_processors: Vec<usize>,
    /// Processors left for the clients, the publisher and Redis.
    pub(crate) generator_processors: usize,
    secret: Option<String>,
    redis_pid: Option<u32>,
    _store: Option<Store>,
}

/// One server, ready to be measured. It is stopped on drop if it was started here.
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) url: WebSocketUrl,
    pub(crate) secret: String,
    pub(crate) pid: Option<u32>,
    /// What its clients speak; a Fanfare node's and a floor's are as asked for.
    pub(crate) dialect: Option<Dialect>,
    /// Where its events go in.
    pub(crate) outlet: Outlet,
    server: Option<Started>,
}

/// A server that goes with the target.
enum Started {
    Own(Server),
    Peer(Peer),
}

impl Started {
    fn server(&mut self) -> &mut Server {
        match self {
            Started::Own(server) => server,
            Started::Peer(peer) => &mut peer.server,
        }
    }
}

impl Target {
    /// The last words of a server that was started here and has ended meanwhile.
    pub(crate) fn post_mortem(&mut self) -> Option<String> {
        self.server.as_mut()?.server().post_mortem()
    }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Fanfare => "fanfare",
            Kind::Floor => "floor",
            Kind::FloorCoalescing => "floor-coalescing",
            Kind::Nats => "nats",
            Kind::Nchan => "nchan",
            Kind::SocketIo => "socket.io",
            Kind::Centrifugo => "centrifugo",
        }
    }

    /// Whether it is a server of somebody else.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Kind::Nats | Kind::Nchan | Kind::SocketIo | Kind::Centrifugo)
    }
}

impl TargetArgs {
    /// What to measure, in order.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        if self.compare.is_empty() { vec![self.target] } else { self.compare.clone() }
    }

    /// A given URL belongs to what is being measured; in a comparison that is Fanfare.
    fn is_at_url(&self, kind: Kind) -> bool {
        match kind {
            Kind::Fanfare => !self.node.spawn,
            Kind::Floor | Kind::FloorCoalescing => self.compare.is_empty() && self.url.is_some(),
            Kind::Nats | Kind::Nchan | Kind::SocketIo | Kind::Centrifugo => false,
        }
    }
}

impl Ground {
    /// Binds processors and starts Redis, if that is asked for.
    pub(crate) fn prepare(args: &TargetArgs) -> anyhow::Result<Ground> {
        let fanfare_starts = args.node.spawn && args.kinds().contains(&Kind::Fanfare);
        if fanfare_starts {
            fleet::program(&args.node.fanfare)?;
        }
        for kind in args.kinds().into_iter().filter(|kind| kind.is_peer()) {
            peer::version(kind, &args.peer)?;
        }
        let starts_anything = args.kinds().iter().any(|kind| !args.is_at_url(*kind));
        let (server_processors, generator) = split_processors(args.server_cores, starts_anything && !args.node.no_pin)?;
        bind_to(&generator)?;
        let store = if args.node.spawn { Some(Store::start(&generator, false)?) } else { None };
        let redis = match &store {
            Some(store) => store.url.clone(),
            None => args.redis.clone().map_or_else(|| REDIS.parse(), Ok).map_err(anyhow::Error::msg)?,
        };
        RedisLink::connect(&redis)?;
        Ok(Ground {
            redis_pid: process::listener_on(redis.address),
            redis,
            server_processors,
            // An empty list leaves the choice to the system.
            generator_processors: if generator.is_empty() { launch::processors().len() } else { generator.len() },
            secret: args.node.secret.clone(),
            _store: store,
        })
    }

    /// CPU time of Redis, 0 if its process can't be seen.
    pub(crate) fn redis_cpu_us(&self) -> u64 {
        self.redis_pid.and_then(|pid| process::cpu_us(pid).ok()).unwrap_or_default()
    }

    /// Makes one target ready.
    pub(crate) fn target(&self, args: &TargetArgs, kind: Kind) -> anyhow::Result<Target> {
        if args.is_at_url(kind) {
            return self.running(args, kind);
        }
        match kind {
            Kind::Fanfare => self.start_fanfare(args),
            Kind::Floor | Kind::FloorCoalescing => self.start_floor(args, kind),
            Kind::Nats | Kind::Nchan | Kind::SocketIo | Kind::Centrifugo => self.start_peer(args, kind),
        }
    }

    fn start_peer(&self, args: &TargetArgs, kind: Kind) -> anyhow::Result<Target> {
        let place = Place { args: &args.peer, processors: &self.server_processors, redis: &self.redis };
        let peer = peer::start(kind, &place).with_context(|| format!("starting {}", kind.name()))?;
        Ok(Target {
            kind,
            url: peer.url.clone(),
            secret: String::from("peers look at no token"),
            pid: Some(peer.server.pid()),
            dialect: Some(peer.dialect),
            outlet: peer.outlet.clone(),
            server: Some(Started::Peer(peer)),
        })
    }

    fn running(&self, args: &TargetArgs, kind: Kind) -> anyhow::Result<Target> {
        let url = args.url.clone().map_or_else(|| URL.parse(), Ok).map_err(anyhow::Error::msg)?;
        let address = url.address;
        TcpStream::connect_timeout(&address, Duration::from_secs(5))
            .with_context(|| format!("nothing answers at {address}: start the server, or give --url or --spawn"))?;
        let pid = args.server_pid.or_else(|| process::listener_on(address));
        Ok(Target { pid, ..self.own(kind, url, self.secret_for(kind)?, None) })
    }

    /// Floors look at no token; a node's secret must be known.
    fn secret_for(&self, kind: Kind) -> anyhow::Result<String> {
        if let Some(secret) = &self.secret {
            return Ok(secret.clone());
        }
        if kind != Kind::Fanfare {
            return Ok(String::from("floors look at no token"));
        }
        let several = std::env::var("FANFARE_JWT_HS256_SECRET").unwrap_or_default();
        match several.split(',').next() {
            Some(first) if !first.is_empty() => Ok(first.to_owned()),
            _ => bail!("the clients need tokens: give the node's HS256 secret with --secret"),
        }
    }

    fn start_fanfare(&self, args: &TargetArgs) -> anyhow::Result<Target> {
        let secret = self.secret.clone().unwrap_or_else(new_secret);
        let node = Node::start(&NodePlan {
            program: fleet::program(&args.node.fanfare)?,
            redis: self.redis.clone(),
            prefix: args.node.prefix.clone(),
            secret: secret.clone(),
            environment: args.node.environment.clone(),
            processors: self.server_processors.clone(),
        })?;
        let url = node.url.clone();
        Ok(self.own(Kind::Fanfare, url, secret, Some(node.into_server())))
    }

    fn start_floor(&self, args: &TargetArgs, kind: Kind) -> anyhow::Result<Target> {
        let redis = self.redis.to_url();
        let mut arguments = vec!["floor", "--listen", "127.0.0.1:0", "--redis", &redis];
        arguments.extend(["--tenant", &args.node.tenant, "--prefix", &args.node.prefix]);
        if kind == Kind::FloorCoalescing {
            arguments.push("--coalesce");
        }
        let mut server = Server::start(Launch {
            name: kind.name(),
            program: std::env::current_exe()?.into(),
            arguments: arguments.into_iter().map(ToOwned::to_owned).collect(),
            environment: Vec::new(),
            processors: self.server_processors.clone(),
        })?;
        let address = server.wait_until(|said| {
            said.iter().find_map(|line| line.strip_prefix(crate::floor::LISTENING)?.parse::<SocketAddr>().ok())
        })?;
        let url = WebSocketUrl { address, path: "/ws".to_owned() };
        Ok(self.own(kind, url, self.secret_for(kind)?, Some(server)))
    }

    /// A Fanfare node or a floor.
    fn own(&self, kind: Kind, url: WebSocketUrl, secret: String, server: Option<Server>) -> Target {
        let pid = server.as_ref().map(Server::pid);
        let outlet = Outlet::Redis(self.redis.clone());
        Target { kind, url, secret, pid, dialect: None, outlet, server: server.map(Started::Own) }
    }
}

/// Processors for the servers and for everything else; empty: wherever the system likes.
pub(crate) fn split_processors(server_cores: u32, is_wanted: bool) -> anyhow::Result<(Vec<usize>, Vec<usize>)> {
    if !is_wanted {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut server = launch::processors();
    let server_cores = usize::try_from(server_cores)?;
    ensure!(
        server.len() > server_cores,
        "the server is to have {server_cores} processors of its own, and there are {} in all: use --no-pin, and \
         read the figures with care",
        server.len()
    );
    let generator = server.split_off(server_cores);
    Ok((server, generator))
}

/// A secret for nodes that are started here.
pub(crate) fn new_secret() -> String {
    format!("{:032x}", rand::random::<u128>())
}
