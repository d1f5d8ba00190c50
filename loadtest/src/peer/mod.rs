//! The servers that Fanfare is compared with: each started here, in its best documented configuration for this load. Where a
//! setting comes from stands beside it. Their clients' side is [`crate::dialect`], their publishers' [`crate::outlet`].
//! Deliberately nothing that runs already: what is compared has the same processor and nobody else.

mod centrifugo;
mod nats;
mod nchan;
mod socket_io;

use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, bail};

use crate::address::{RedisUrl, WebSocketUrl};
use crate::cli::{Kind, PeerArgs};
use crate::dialect::Dialect;
use crate::directory::Directory;
use crate::launch::{Server, on_free_ports};
use crate::outlet::Outlet;

/// Far more than a client of these runs ever leaves waiting: who falls behind shows as latency, not as a connection that its
/// server ends.
const PENDING_BYTES_MAX: u32 = 64 << 20;

/// A server that is started and ready. It is stopped on drop.
pub(crate) struct Peer {
    pub(crate) server: Server,
    pub(crate) url: WebSocketUrl,
    pub(crate) dialect: Dialect,
    pub(crate) outlet: Outlet,
    _directory: Option<Directory>,
}

/// What a peer is started with.
pub(crate) struct Place<'a> {
    pub(crate) args: &'a PeerArgs,
    pub(crate) processors: &'a [usize],
    pub(crate) redis: &'a RedisUrl,
}

pub(crate) fn start(kind: Kind, place: &Place<'_>) -> anyhow::Result<Peer> {
    on_free_ports(|| match kind {
        Kind::Nats => nats::start(place),
        Kind::Nchan => nchan::start(place),
        Kind::SocketIo => socket_io::start(place),
        Kind::Centrifugo => centrifugo::start(place),
        Kind::Fanfare | Kind::Floor | Kind::FloorCoalescing => bail!("{} is no peer", kind.name()),
    })
}

/// What is installed, in words; an error says how to install it.
pub(crate) fn version(kind: Kind, args: &PeerArgs) -> anyhow::Result<String> {
    let version = match kind {
        Kind::Nats => nats::version(),
        Kind::Nchan => nchan::version(),
        Kind::SocketIo => socket_io::version(args),
        Kind::Centrifugo => centrifugo::version(args),
        Kind::Fanfare | Kind::Floor | Kind::FloorCoalescing => bail!("{} is no peer", kind.name()),
    };
    version.with_context(|| format!("{} is not installed: loadtest/peers/install {} does it", kind.name(), kind.name()))
}

/// Waits until something answers at all of these addresses.
fn wait_until_listening(server: &mut Server, addresses: &[SocketAddr]) -> anyhow::Result<()> {
    server.wait_until(|_| addresses.iter().all(|address| TcpStream::connect(address).is_ok()).then_some(()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn a_peer_that_is_not_installed_is_told_with_what_to_do() {
        let args = PeerArgs { centrifugo: "/nowhere/centrifugo".into(), socket_io: "/nowhere".into() };
        for kind in [Kind::Centrifugo, Kind::SocketIo] {
            let error = format!("{:#}", version(kind, &args).unwrap_err());
            assert!(error.contains(&format!("loadtest/peers/install {}", kind.name())), "{error}");
        }
    }
}
