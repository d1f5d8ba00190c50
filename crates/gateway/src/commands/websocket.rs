//! A client of a node, over WebSocket: just enough to listen. Frames are JSON.

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastwebsockets::handshake::generate_key;
use fastwebsockets::{CloseCode, FragmentCollector, Frame, OpCode, Payload, Role, WebSocket};
use reqwest::{StatusCode, Upgraded, Url, header};

use super::node_api::{client, refusal};

const SUBPROTOCOL: &str = "fanfare.v1.json";

/// An open connection to a node.
pub(super) struct NodeSocket {
    socket: FragmentCollector<Upgraded>,
}

impl NodeSocket {
    /// Connects and authenticates. `url` is `ws://`, `wss://`, `http://` or `https://`; without a path it is `/ws`.
    pub(super) async fn connect(url: &str, token: &str) -> anyhow::Result<Self> {
        let url = http_url(url)?;
        let key = generate_key();
        let request = client(&url)?
            .get(url.clone())
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key)
            .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
            .bearer_auth(token);
        let response = request.send().await.with_context(|| format!("can't reach the node at {url}"))?;
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            bail!("the node refused the connection: {}", refusal(status, &response.bytes().await.unwrap_or_default()));
        }
        let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT).and_then(|value| value.to_str().ok());
        ensure!(accepted == Some(&accept(&key)), "{url} answers, and not as a WebSocket server");
        let upgraded = response.upgrade().await.context("the connection broke during the upgrade")?;
        Ok(Self { socket: FragmentCollector::new(WebSocket::after_handshake(upgraded, Role::Client)) })
    }

    /// The next frame of the contract, as JSON. Not cancel-safe.
    pub(super) async fn receive(&mut self) -> anyhow::Result<String> {
        loop {
            let frame = self.socket.read_frame().await.context("the connection is lost")?;
            match frame.opcode {
                OpCode::Text => return String::from_utf8(frame.payload.to_vec()).context("the node sent no UTF-8"),
                OpCode::Close => bail!("the node closed the connection{}", close_reason(&frame.payload)),
                _ => {}
            }
        }
    }

    /// Sends a frame of the contract.
    pub(super) async fn send(&mut self, json: String) -> anyhow::Result<()> {
        let frame = Frame::text(Payload::Owned(json.into_bytes()));
        self.socket.write_frame(frame).await.context("the connection is lost")
    }

    /// Says goodbye; what goes wrong with it doesn't matter any more.
    pub(super) async fn close(mut self) {
        _ = self.socket.write_frame(Frame::close(CloseCode::Normal.into(), b"")).await;
    }
}

fn http_url(text: &str) -> anyhow::Result<Url> {
    let http = match (text.strip_prefix("ws://"), text.strip_prefix("wss://")) {
        (Some(rest), _) => format!("http://{rest}"),
        (_, Some(rest)) => format!("https://{rest}"),
        _ => text.to_owned(),
    };
    let url = Url::parse(&http).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let mut url = url.context("--node is not an address of a node: give ws://host:port")?;
    if url.path() == "/" {
        url.set_path("/ws");
    }
    Ok(url)
}

/// RFC 6455 section 4.2.2: what only a WebSocket server answers to a key.
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

fn close_reason(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        None => String::new(),
        Some((code, reason)) => {
            format!(": {} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(reason)).trim_end().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_node_is_named_by_any_of_its_schemes() {
        let cases = [
            ("ws://h:1", "http://h:1/ws"),
            ("wss://h/", "https://h/ws"),
            ("http://h/other", "http://h/other"),
            ("h:1", ""),
            ("ftp://h", ""),
        ];
        for (text, expected) in cases {
            let found = http_url(text).map(|url| url.to_string()).unwrap_or_default();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_close_frame_is_told_with_its_code() {
        assert_eq!(close_reason(&[]), "");
        assert_eq!(close_reason(&[0x11, 0x31]), ": 4401");
        assert_eq!(close_reason(b"\x11\x31bad token"), ": 4401 bad token");
    }
}
