//! A node's HTTP API, as far as the commands use it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use fanfare_protocol::{Tenant, Topic};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;

use crate::cli::variable;
use crate::config::{Config, is_loopback};
use crate::secret::Secret;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the API is, and a key for it.
pub(super) struct NodeApi {
    url: Url,
    key: Secret,
}

#[derive(Deserialize)]
struct Published {
    position: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
}

impl NodeApi {
    pub(super) fn new(url: &str, key: Secret) -> anyhow::Result<Self> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.context("--node is not an address of a node: give http://host:port")?;
        Ok(Self { url, key })
    }

    /// Publishes one envelope.
    pub(super) async fn publish(&self, tenant: &Tenant, topic: &Topic, envelope: Bytes) -> anyhow::Result<()> {
        let url = self.events_url(tenant, topic)?;
        self.answer_to(client(&url)?.post(url).body(envelope)).await.map(drop)
    }

    /// Publishes one envelope that is kept; with the same `id` only once. Returns its position.
    pub(super) async fn publish_durable(
        &self,
        tenant: &Tenant,
        topic: &Topic,
        envelope: Bytes,
        id: Option<&str>,
    ) -> anyhow::Result<String> {
        let mut url = self.events_url(tenant, topic)?;
        url.set_query(Some("durable=true"));
        let mut request = client(&url)?.post(url).body(envelope);
        if let Some(id) = id {
            request = request.header("idempotency-key", id);
        }
        let body = self.answer_to(request).await?;
        let published: Published = serde_json::from_slice(&body).context("the node's answer is not understood")?;
        published.position.context("the node has published it without keeping it: is it an older one?")
    }

    /// Who is connected where; of this user, too, when there is one. JSON, as the node wrote it.
    pub(super) async fn stats(&self, user: Option<(Tenant, &str)>) -> anyhow::Result<Bytes> {
        let mut url = self.url_of(&["v1", "stats"])?;
        if let Some((tenant, user)) = user {
            url.query_pairs_mut().append_pair("tenant", tenant.as_str()).append_pair("user", user);
        }
        self.answer_to(client(&url)?.get(url)).await
    }

    fn events_url(&self, tenant: &Tenant, topic: &Topic) -> anyhow::Result<Url> {
        self.url_of(&["v1", "tenants", tenant.as_str(), "topics", topic.as_str(), "events"])
    }

    fn url_of(&self, path: &[&str]) -> anyhow::Result<Url> {
        let mut url = self.url.clone();
        // Escapes what a topic may contain and a path may not.
        url.path_segments_mut().ok().context("the node's address can't have a path")?.pop_if_empty().extend(path);
        Ok(url)
    }

    async fn answer_to(&self, request: RequestBuilder) -> anyhow::Result<Bytes> {
        let request = request.bearer_auth(self.key.expose()).header("content-type", "application/json");
        let response =
            request.timeout(TIMEOUT).send().await.with_context(|| format!("can't reach the node at {}", self.url))?;
        let status = response.status();
        let body = response.bytes().await;
        if status.is_success() {
            return body.context("the node's answer broke off");
        }
        bail!("the node refused it: {}", refusal(status, &body.unwrap_or_default()));
    }
}

/// What a node says when it refuses something, `{"code","message"}`; of anything else the status.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> String {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { code, message }) => format!("{message} ({code})"),
        Err(_) => status.to_string(),
    }
}

/// A client for one address. A proxy is for the outside world, not for this machine.
pub(super) fn client(url: &Url) -> anyhow::Result<Client> {
    let mut client = Client::builder().connect_timeout(TIMEOUT).http1_only();
    if is_loopback(url) {
        client = client.no_proxy();
    }
    client.build().context("can't make an HTTP client")
}

/// The address that is given, or that of the environment, or that of the node that this configuration describes.
pub(super) fn node_url(given: Option<&str>, config: &Config) -> String {
    let given = given.map(str::to_owned).or_else(node_of_environment);
    let listen = config.network.api_listen.unwrap_or(config.network.admin_listen);
    given.unwrap_or_else(|| format!("http://{}", reachable(listen)))
}

/// `FANFARE_NODE_URL`.
pub(super) fn node_of_environment() -> Option<String> {
    variable("FANFARE_NODE_URL")?.into_string().ok()
}

/// The key that is given, or that of the environment, or the first of the node's own.
pub(super) fn api_key(given: Option<&Secret>, config: &Config) -> anyhow::Result<Secret> {
    let given = given.cloned();
    let given = given.or_else(|| Some(Secret::new(variable("FANFARE_API_KEY")?.into_string().ok()?)));
    let given = given.or_else(|| Some(config.api_keys.keys.first()?.key.clone()));
    given.context("no API key: give --api-key or FANFARE_API_KEY; `fanfare serve --dev` prints one")
}

/// An address to connect to: a node that listens everywhere is on this machine.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => [127, 0, 0, 1].into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_node_that_listens_everywhere_is_reached_on_loopback() {
        for (listen, connect) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), connect);
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_nodes_words() {
        let body = br#"{"code":"forbidden","message":"this key may not publish"}"#;
        assert_eq!(refusal(StatusCode::FORBIDDEN, body), "this key may not publish (forbidden)");
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, b"<html>"), "502 Bad Gateway");
    }
}
