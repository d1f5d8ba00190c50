//! Centrifugo with its memory engine, which its documentation calls the fastest
//! (<https://centrifugal.dev/docs/server/engines#memory-engine>): clients speak JSON, the publisher uses the HTTP API.

use serde_json::json;

use crate::address::WebSocketUrl;
use crate::cli::PeerArgs;
use crate::dialect::Dialect;
use crate::directory::Directory;
use crate::launch::{Launch, Server, free_port};
use crate::outlet::Outlet;
use crate::program::first_line;

use super::{PENDING_BYTES_MAX, Peer, Place, wait_until_listening};

pub(super) fn version(args: &PeerArgs) -> anyhow::Result<String> {
    first_line(&args.centrifugo, &["version"])?;
    Ok(format!("centrifugo {}", module_version(&std::fs::read(&args.centrifugo)?).unwrap_or("of an unknown version")))
}

/// What Go writes into a program about the modules it is built from; Centrifugo itself only knows its version in its own
/// releases.
fn module_version(program: &[u8]) -> Option<&str> {
    let label = b"github.com/centrifugal/centrifugo/v6\tv";
    let start = memchr::memmem::find(program, label)? + label.len();
    let version = program[start..].split(|byte| matches!(byte, b'\t' | b'\n')).next()?;
    std::str::from_utf8(version).ok()
}

pub(super) fn start(place: &Place<'_>) -> anyhow::Result<Peer> {
    let address = free_port()?;
    let directory = Directory::new()?;
    let configuration = json!({
        "http_server": {"address": address.ip(), "port": address.port()},
        "log": {"level": "error"},
        "usage_stats": {"enabled": false},
        // No tokens: a connection costs less so.
        "client": {
            "allow_anonymous_connect_without_token": true,
            "queue_max_size": PENDING_BYTES_MAX,
        },
        "channel": {"without_namespace": {"allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true}},
        "http_api": {"insecure": true},
        // https://centrifugal.dev/docs/transports/websocket, and the sizes of
        // https://centrifugal.dev/blog/2026/08/17/tuning-idle-connections; the further options of that page are PRO's.
        "websocket": {"use_write_buffer_pool": true, "read_buffer_size": 1024, "compression": false},
    });
    let file = directory.write("config.json", &configuration.to_string())?;
    let mut server = Server::start(Launch {
        name: "centrifugo",
        program: place.args.centrifugo.canonicalize()?.into(),
        arguments: vec!["--config".to_owned(), file],
        environment: Vec::new(),
        processors: place.processors.to_vec(),
    })?;
    wait_until_listening(&mut server, &[address])?;
    Ok(Peer {
        server,
        url: WebSocketUrl { address, path: "/connection/websocket".to_owned() },
        dialect: Dialect::Centrifugo,
        outlet: Outlet::Centrifugo(address),
        _directory: Some(directory),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_module() {
        let program =
            b"\0path\tgithub.com/centrifugal/centrifugo/v6\nmod\tgithub.com/centrifugal/centrifugo/v6\tv6.9.1\th1:x=\n";
        assert_eq!(module_version(program), Some("6.9.1"));
        assert_eq!(module_version(b"something else"), None);
    }
}
