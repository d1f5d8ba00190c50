//! Socket.IO with its Redis adapter: our own small server, `loadtest/peers/socket-io/server.js`, on the Redis of the run.

use anyhow::{Context as _, ensure};

use crate::address::WebSocketUrl;
use crate::cli::PeerArgs;
use crate::dialect::Dialect;
use crate::launch::{Launch, Server, free_port};
use crate::outlet::Outlet;
use crate::program::{find_program, first_line};

use super::{Peer, Place, wait_until_listening};

pub(super) fn version(args: &PeerArgs) -> anyhow::Result<String> {
    let node = first_line(&find_program("node")?, &["--version"])?;
    let of = |package: &str| {
        let path = args.socket_io.join("node_modules").join(package).join("package.json");
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let package: serde_json::Value = serde_json::from_slice(&text)?;
        anyhow::Ok(package["version"].as_str().unwrap_or_default().to_owned())
    };
    ensure!(args.socket_io.join("server.js").is_file(), "there is no server.js in {}", args.socket_io.display());
    let (server, adapter, engine) = (of("socket.io")?, of("@socket.io/redis-adapter")?, of("ws")?);
    Ok(format!("socket.io {server}, redis-adapter {adapter}, ws {engine}, node {node}"))
}

pub(super) fn start(place: &Place<'_>) -> anyhow::Result<Peer> {
    let address = free_port()?;
    let program = place.args.socket_io.join("server.js");
    let arguments = [
        program.to_str().context("the Socket.IO server's directory has no UTF-8 name")?.to_owned(),
        address.ip().to_string(),
        address.port().to_string(),
        place.redis.to_url(),
    ];
    let mut server = Server::start(Launch {
        name: "socket.io",
        program: find_program("node")?.into(),
        arguments: arguments.to_vec(),
        // https://expressjs.com and most packages of Node take this for "no help for developers".
        environment: vec![("NODE_ENV".to_owned(), "production".to_owned())],
        processors: place.processors.to_vec(),
    })?;
    wait_until_listening(&mut server, &[address])?;
    Ok(Peer {
        server,
        url: WebSocketUrl { address, path: "/socket.io/?EIO=4&transport=websocket".to_owned() },
        dialect: Dialect::SocketIo,
        outlet: Outlet::SocketIo(place.redis.clone()),
        _directory: None,
    })
}
