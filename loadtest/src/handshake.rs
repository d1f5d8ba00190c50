//! The opening handshake (RFC 6455, section 4), both sides: what a client asks, and what a floor server answers.
//! Only what both need; no general HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::address::WebSocketUrl;
use crate::codec::Codec;

/// A handshake is longer than this only if something is wrong.
const HEAD_BYTES_MAX: usize = 16 << 10;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// The request of one client of a Fanfare node.
pub(crate) fn request(url: &WebSocketUrl, token: &str, codec: Codec) -> Vec<u8> {
    let protocol = codec.subprotocol();
    let own = format!("Sec-WebSocket-Protocol: {protocol}\r\nAuthorization: Bearer {token}\r\n");
    upgrade(url, &url.path, &own)
}

/// The request of a client that offers nothing and doesn't say who it is.
pub(crate) fn plain_request(url: &WebSocketUrl, path: &str) -> Vec<u8> {
    upgrade(url, path, "")
}

/// `own`: further headers, each with its line end. The key is the same for all: it proves to the client that the server
/// speaks WebSocket, which the first frame proves as well.
fn upgrade(url: &WebSocketUrl, path: &str, own: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{own}\r\n",
        url.address
    )
    .into_bytes()
}

/// Reads a server's answer: the length of its head once it is complete and says `101`; `Err` with the status and the
/// server's own error code when it refuses.
pub(crate) fn accepted(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(head_bytes) = head(bytes)? else { return Ok(None) };
    let status = bytes[..head_bytes].split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if status == b"101" {
        return Ok(Some(head_bytes));
    }
    let code = serde_json::from_slice::<serde_json::Value>(&bytes[head_bytes..]).ok();
    let code = code.as_ref().and_then(|body| body.get("code")).and_then(|code| code.as_str()).unwrap_or_default();
    Err(format!("HTTP {} {code}", String::from_utf8_lossy(status)).trim_end().to_owned())
}

/// Reads a client's request: the length of its head and the answer to it, once it is complete.
pub(crate) fn answer(bytes: &[u8]) -> Result<Option<(usize, Vec<u8>)>, String> {
    let Some(head_bytes) = head(bytes)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes[..head_bytes]);
    let key = header(&text, "sec-websocket-key").ok_or("no Sec-WebSocket-Key")?;
    let protocol = match header(&text, "sec-websocket-protocol") {
        Some(offered) if offered.split(',').any(|name| name.trim() == "fanfare.v1.json") => {
            "Sec-WebSocket-Protocol: fanfare.v1.json\r\n"
        }
        _ => "",
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
        accept_key(key)
    );
    Ok(Some((head_bytes, answer.into_bytes())))
}

fn head(bytes: &[u8]) -> Result<Option<usize>, String> {
    match memchr::memmem::find(bytes, END_OF_HEAD) {
        Some(at) => Ok(Some(at + END_OF_HEAD.len())),
        None if bytes.len() > HEAD_BYTES_MAX => Err("a handshake over 16 KiB".to_owned()),
        None => Ok(None),
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn accept_key(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn the_example_key_of_the_rfc() {
        // RFC 6455, section 1.3.
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_request_is_answered_and_the_answer_accepted() {
        let url = "ws://127.0.0.1:8080/ws".parse().unwrap();
        let request = request(&url, "t0ken", Codec::Json);
        assert_eq!(answer(&request[..request.len() - 1]).unwrap(), None, "not complete");
        let (head_bytes, answer) = answer(&request).unwrap().unwrap();
        assert_eq!(head_bytes, request.len());
        assert_eq!(accepted(&answer).unwrap(), Some(answer.len()));
        assert_eq!(accepted(&answer[..20]).unwrap(), None);
    }

    #[test]
    fn a_refusal_names_its_status_and_code() {
        let refused = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{\"code\":\"unauthenticated\"}";
        assert_eq!(accepted(refused).unwrap_err(), "HTTP 401 unauthenticated");
        assert_eq!(accepted(b"HTTP/1.1 503 No\r\n\r\n").unwrap_err(), "HTTP 503");
    }
}
