//! nats-server: clients over its WebSocket listener, the publisher over TCP as a backend would.

use crate::address::WebSocketUrl;
use crate::dialect::Dialect;
use crate::directory::Directory;
use crate::launch::{Launch, Server, free_port};
use crate::outlet::Outlet;
use crate::program::{find_program, first_line};

use super::{PENDING_BYTES_MAX, Peer, Place, wait_until_listening};

pub(super) fn version() -> anyhow::Result<String> {
    first_line(&find_program("nats-server")?, &["--version"])
}

pub(super) fn start(place: &Place<'_>) -> anyhow::Result<Peer> {
    let (tcp, websocket) = (free_port()?, free_port()?);
    let directory = Directory::new()?;
    // https://docs.nats.io/running-a-nats-service/configuration and …/configuration/websocket/websocket_conf
    let configuration = format!(
        "listen: \"{tcp}\"\n\
         websocket {{\n  listen: \"{websocket}\"\n  no_tls: true\n  compression: false\n}}\n\
         # 64 MiB is the default.\n\
         max_pending: {PENDING_BYTES_MAX}\n\
         # All connect at once.\n\
         max_connections: 100000\n"
    );
    let file = directory.write("nats.conf", &configuration)?;
    let mut server = Server::start(Launch {
        name: "nats-server",
        program: find_program("nats-server")?.into(),
        arguments: vec!["--config".to_owned(), file],
        environment: Vec::new(),
        processors: place.processors.to_vec(),
    })?;
    wait_until_listening(&mut server, &[tcp, websocket])?;
    Ok(Peer {
        server,
        url: WebSocketUrl { address: websocket, path: "/".to_owned() },
        dialect: Dialect::Nats,
        outlet: Outlet::Nats(tcp),
        _directory: Some(directory),
    })
}
