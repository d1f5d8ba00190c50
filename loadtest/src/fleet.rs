//! Servers that are started here and may be killed, frozen, drained and replaced: one Redis and the nodes on it. Deliberately
//! no way to do any of that to a server that was there before.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;

use crate::address::{RedisUrl, WebSocketUrl};
use crate::admin_port::{self, READY};
use crate::directory::Directory;
use crate::launch::{Launch, Server, free_port, on_free_ports};
use crate::redis_link::RedisLink;

/// How long a node may take to leave that has no clients.
const DISMISSED_WITHIN: Duration = Duration::from_mins(1);

/// A redis-server on a port of its own.
pub(crate) struct Store {
    pub(crate) url: RedisUrl,
    processors: Vec<usize>,
    /// Where it keeps its data, if it does.
    directory: Option<Directory>,
    server: Option<Server>,
}

/// How to start a node.
#[derive(Clone)]
pub(crate) struct NodePlan {
    pub(crate) program: PathBuf,
    pub(crate) redis: RedisUrl,
    pub(crate) prefix: String,
    pub(crate) secret: String,
    /// Further settings.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) processors: Vec<usize>,
}

/// A node that was started here. It keeps its address when its process is replaced.
pub(crate) struct Node {
    pub(crate) url: WebSocketUrl,
    pub(crate) admin: SocketAddr,
    server: Server,
}

impl Store {
    /// Starts it: with every write on the disk before it is answered, or keeping nothing.
    pub(crate) fn start(processors: &[usize], keeps_data: bool) -> anyhow::Result<Store> {
        on_free_ports(|| {
            let url = RedisUrl { address: free_port()?, user: None, password: None };
            let directory = if keeps_data { Some(Directory::new()?) } else { None };
            let mut store = Store { url, processors: processors.to_vec(), directory, server: None };
            store.start_again()?;
            Ok(store)
        })
    }

    /// Starts it on the same port after it was killed; with its data, if it keeps any.
    pub(crate) fn start_again(&mut self) -> anyhow::Result<()> {
        let port = self.url.address.port().to_string();
        let mut arguments = vec!["--port", &port, "--bind", "127.0.0.1", "--save", ""];
        match &self.directory {
            Some(directory) => {
                let path = directory.name()?;
                arguments.extend(["--appendonly", "yes", "--appendfsync", "always", "--dir", path]);
            }
            None => arguments.extend(["--appendonly", "no"]),
        }
        let mut server = Server::start(Launch {
            name: "redis-server",
            program: "redis-server".into(),
            arguments: arguments.into_iter().map(ToOwned::to_owned).collect(),
            environment: Vec::new(),
            processors: self.processors.clone(),
        })
        .context("is redis-server installed?")?;
        let its = format!("process_id:{}\r", server.pid());
        server.wait_until(|_| {
            let info = RedisLink::connect(&self.url).and_then(|mut link| link.call(&[b"INFO", b"server"]));
            info.is_ok_and(|info| info.contains(&its)).then_some(())
        })?;
        self.server = Some(server);
        Ok(())
    }

    /// Kills it without a warning.
    pub(crate) fn kill(&mut self) {
        self.server = None;
    }

    /// It doesn't move any more until [`Store::thaw`], and its connections stay open.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        self.server.as_ref().context("Redis is not running")?.signal(Signal::STOP)
    }

    pub(crate) fn thaw(&self) -> anyhow::Result<()> {
        self.server.as_ref().context("Redis is not running")?.signal(Signal::CONT)
    }
}

impl Node {
    pub(crate) fn start(plan: &NodePlan) -> anyhow::Result<Node> {
        on_free_ports(|| {
            let url = WebSocketUrl { address: free_port()?, path: "/ws".to_owned() };
            let admin = free_port()?;
            let server = launch(plan, url.address, admin)?;
            Ok(Node { url, admin, server })
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Tells it to leave (SIGTERM).
    pub(crate) fn leave(&self) -> anyhow::Result<()> {
        self.server.signal(Signal::TERM)
    }

    /// Whether it has left; an error if it ended badly.
    pub(crate) fn has_left(&mut self) -> anyhow::Result<bool> {
        self.server.has_ended_well()
    }

    /// Makes it leave while nobody is connected.
    pub(crate) fn dismiss(mut self) -> anyhow::Result<()> {
        self.leave()?;
        let since = Instant::now();
        while !self.has_left()? {
            ensure!(since.elapsed() < DISMISSED_WITHIN, "a node without clients has not left when it was told to");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Another one in its place, after it has ended.
    pub(crate) fn replace(&mut self, plan: &NodePlan) -> anyhow::Result<()> {
        self.server = launch(plan, self.url.address, self.admin)?;
        Ok(())
    }

    pub(crate) fn into_server(self) -> Server {
        self.server
    }

    /// The last words of one that has ended although nobody asked it to.
    pub(crate) fn post_mortem(&mut self) -> Option<String> {
        self.server.post_mortem()
    }
}

/// A program that is there, whatever directory the server is started in.
pub(crate) fn program(path: &Path) -> anyhow::Result<PathBuf> {
    ensure!(
        path.is_file(),
        "{} is not there: build it with `cargo build --release -p fanfare-gateway`, or say where by --fanfare",
        path.display()
    );
    path.canonicalize().with_context(|| path.display().to_string())
}

fn launch(plan: &NodePlan, listen: SocketAddr, admin: SocketAddr) -> anyhow::Result<Server> {
    let mut environment: Vec<(String, String)> = [
        ("FANFARE_LISTEN", listen.to_string()),
        ("FANFARE_ADMIN_LISTEN", admin.to_string()),
        ("FANFARE_BACKPLANE", plan.redis.to_url()),
        ("FANFARE_REDIS_PREFIX", plan.prefix.clone()),
        ("FANFARE_JWT_HS256_SECRET", plan.secret.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    environment.extend(plan.environment.iter().cloned());
    let mut server = Server::start(Launch {
        name: "fanfare",
        program: plan.program.clone().into(),
        arguments: vec!["serve".to_owned()],
        environment,
        processors: plan.processors.clone(),
    })?;
    server.wait_until(|_| admin_port::is_yes(admin, READY).then_some(()))?;
    Ok(server)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_told_with_what_to_do() {
        let error = program(Path::new("/nowhere/fanfare")).unwrap_err().to_string();
        assert!(error.contains("cargo build --release"), "{error}");
    }
}
