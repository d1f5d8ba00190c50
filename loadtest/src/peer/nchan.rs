//! nginx with the nchan module: WebSocket subscribers, messages by POST, its memory store.

use std::path::{Path, PathBuf};

use anyhow::ensure;

use crate::address::WebSocketUrl;
use crate::dialect::Dialect;
use crate::directory::Directory;
use crate::launch::{Launch, Server, free_port};
use crate::outlet::Outlet;
use crate::program::{find_program, first_line};

use super::{Peer, Place, wait_until_listening};

/// Where Debian's package puts it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

pub(super) fn version() -> anyhow::Result<String> {
    ensure!(Path::new(MODULE).is_file(), "{MODULE} is not there");
    let nginx = first_line(&find_program("nginx")?, &["-v"])?;
    let nginx = nginx.rsplit_once('/').map_or(nginx.as_str(), |(_, version)| version);
    Ok(format!("nchan {}, nginx {nginx}", package_version().unwrap_or_else(|_| "of an unknown version".to_owned())))
}

/// The module says its version only on its status page.
fn package_version() -> anyhow::Result<String> {
    let version =
        first_line(&find_program("dpkg-query")?, &["--show", "--showformat=${Version}", "libnginx-mod-nchan"])?;
    Ok(version.rsplit_once(':').map_or(version.clone(), |(_epoch, version)| version.to_owned()))
}

pub(super) fn start(place: &Place<'_>) -> anyhow::Result<Peer> {
    let address = free_port()?;
    let directory = Directory::new()?;
    let file = directory.write("nginx.conf", &configuration(address, directory.name()?))?;
    let program: PathBuf = find_program("nginx")?;
    let mut server = Server::start(Launch {
        name: "nginx",
        program: program.into(),
        arguments: ["-c", &file, "-p", directory.name()?].map(ToOwned::to_owned).to_vec(),
        environment: Vec::new(),
        processors: place.processors.to_vec(),
    })?;
    wait_until_listening(&mut server, &[address])?;
    Ok(Peer {
        server,
        url: WebSocketUrl { address, path: "/sub/".to_owned() },
        dialect: Dialect::Nchan,
        outlet: Outlet::Nchan(address),
        _directory: Some(directory),
    })
}

fn configuration(address: std::net::SocketAddr, directory: &str) -> String {
    format!(
        "load_module {MODULE};
daemon off;
# One process, which is its own worker: it does the same work, and ends with whoever started it.
master_process off;
worker_rlimit_nofile 20000;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 19900; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  # The publisher keeps its connection.
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  # https://nchan.io/#nchan_shared_memory_size: room for the buffers of 10,000 channels.
  nchan_shared_memory_size 256M;
  server {{
    listen {address} backlog=4096;
    location ~ ^/sub/(.+)$ {{
      nchan_subscriber websocket;
      nchan_channel_id $1;
      # https://nchan.io/#nchan_subscriber_first_message: only what is published from now on.
      nchan_subscriber_first_message newest;
    }}
    location ~ ^/pub/(.+)$ {{
      nchan_publisher http;
      nchan_channel_id $1;
      # https://nchan.io/#nchan_store_messages: without a buffer messages may be missed when publishing quickly; so it holds
      # a whole burst, for a short time.
      nchan_message_buffer_length 1000;
      nchan_message_timeout 10s;
    }}
  }}
}}
"
    )
}
