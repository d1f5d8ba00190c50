//! `fanfare health`: does the node of this configuration live? For the health check of a container, in whose image nothing
//! else can ask. It is not about Redis or the drain: who sends clients asks `/readyz/node`.

use std::iter;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::block_on;
use super::node_api::reachable;
use crate::config::Config;
use crate::settings::Settings;

/// Less than health checks usually wait, so that they learn the reason.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    _settings: Settings,
}

/// Prints what `/healthz` of the admin port answers; fails when that is no yes within [`TIMEOUT`].
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    let listen = config.network.admin_listen;
    let node = reachable(listen);
    // Who listens to all of IPv6 is heard by IPv4 too, and a container may have no IPv6.
    let by_ipv4 = listen.is_ipv6() && listen.ip().is_unspecified();
    let addresses: Vec<SocketAddr> =
        iter::once(node).chain(by_ipv4.then(|| (Ipv4Addr::LOCALHOST, listen.port()).into())).collect();
    let answer = block_on(async {
        let answer = tokio::time::timeout(TIMEOUT, ask(&addresses)).await;
        let late = || format!("the node at {node} has not answered within {} s", TIMEOUT.as_secs());
        answer.with_context(late)?.with_context(|| format!("the node at {node} is not healthy"))
    })?;
    println!("{answer}");
    Ok(())
}

/// Asks at the first of these addresses that can be connected to.
async fn ask(addresses: &[SocketAddr]) -> anyhow::Result<String> {
    let socket = TcpStream::connect(addresses).await?;
    let host = socket.peer_addr()?.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    // It ends with the runtime.
    tokio::spawn(connection);
    let request = Request::get("/healthz").header(HOST, host).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    if !status.is_success() {
        bail!("it answered {status}");
    }
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}
