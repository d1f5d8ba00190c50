//! Centrifugo's client protocol in JSON (<https://centrifugal.dev/docs/transports/client_protocol>): commands with an id,
//! replies with the same, and pushes without one. Several of them share a frame, a line each.

use serde::Deserialize;

use super::send_text;
use crate::client::{Client, Stage};
use crate::codec::Codec;
use crate::tally::Tally;

const PUSH: &[u8] = br#"{"push":{"#;
/// A ping of the server, and the pong to it.
const EMPTY: &[u8] = b"{}";

/// A reply to a command, as far as a load generator looks into it.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    connect: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    subscribe: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: u32,
    message: String,
}

#[inline]
pub(super) fn message(client: &mut Client, message: &[u8], now_ns: u64, tally: &mut Tally) -> Result<(), String> {
    let mut rest = message;
    while !rest.is_empty() {
        let (line, after) = match memchr::memchr(b'\n', rest) {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &[][..]),
        };
        rest = after;
        if client.stage == Stage::Live && line.starts_with(PUSH) {
            let mark = tally.mark(Codec::Json, line);
            tally.event(&mut client.sequence, client.channel, mark, now_ns);
        } else {
            control(client, line, now_ns, tally)?;
        }
    }
    Ok(())
}

pub(super) fn connect(client: &Client) -> Result<(), String> {
    send_text(client, br#"{"id":1,"connect":{}}"#)
}

pub(super) fn subscribe(client: &mut Client, channel: &str) -> Result<(), String> {
    client.stage = Stage::Subscribing;
    send_text(client, serde_json::json!({"id": 2, "subscribe": {"channel": channel}}).to_string().as_bytes())
}

#[cold]
fn control(client: &mut Client, line: &[u8], now_ns: u64, tally: &mut Tally) -> Result<(), String> {
    if line == EMPTY {
        return send_text(client, EMPTY);
    }
    let reply: Reply = serde_json::from_slice(line)
        .map_err(|error| format!("protocol: {error}: `{}`", String::from_utf8_lossy(line)))?;
    match reply {
        Reply { error: Some(refusal), .. } => return Err(format!("error {}: {}", refusal.code, refusal.message)),
        Reply { connect: Some(_), .. } if client.stage == Stage::Greeting => client.welcome(now_ns, tally),
        Reply { subscribe: Some(_), .. } if client.stage == Stage::Subscribing => client.live(now_ns, tally),
        _ => return Err(format!("protocol: an unexpected reply `{}`", String::from_utf8_lossy(line))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::dialect::Dialect;
    use crate::dialect::testing::{RUN, client, event, sent, text};
    use crate::websocket::TEXT;

    #[test]
    fn from_the_upgrade_to_several_pushes_in_a_frame() {
        let (mut client, mut peer) = client(Dialect::Centrifugo, Stage::Upgrading);
        let mut tally = Tally::new(RUN);
        client.consume(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", 1, &mut tally).unwrap();
        assert_eq!(sent(&mut peer), (TEXT, br#"{"id":1,"connect":{}}"#.to_vec()));
        let connected = r#"{"id":1,"connect":{"client":"9ac9de4e-5289-4ad6-9aa7-8447f007083e","version":"6.9.1","ping":25,"pong":true}}"#;
        client.consume(&text(connected), 2, &mut tally).unwrap();
        assert_eq!((client.stage, tally.progress.welcomed), (Stage::Welcome, 1));
        client.subscribe("channel:load-1", 3, &mut tally).unwrap();
        assert_eq!(sent(&mut peer), (TEXT, br#"{"id":2,"subscribe":{"channel":"load-1"}}"#.to_vec()));
        let push = |seq| format!(r#"{{"push":{{"channel":"load-1","pub":{{"data":{}}}}}}}"#, event(seq));
        let first = format!("{}\n{}", r#"{"id":2,"subscribe":{}}"#, push(0));
        let bytes = [text(&first), text(&format!("{}\n{}\n", push(1), push(2)))].concat();
        assert_eq!(client.consume(&bytes, 4, &mut tally), Ok(bytes.len()));
        assert_eq!((client.stage, tally.progress.received), (Stage::Live, 3));
    }

    #[test]
    fn a_ping_is_answered_and_an_error_ends() {
        let (mut client, mut peer) = client(Dialect::Centrifugo, Stage::Live);
        client.consume(&text("{}"), 0, &mut Tally::new(RUN)).unwrap();
        assert_eq!(sent(&mut peer), (TEXT, b"{}".to_vec()));
        let denied = r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#;
        let told = client.consume(&text(denied), 0, &mut Tally::new(RUN));
        assert_eq!(told, Err("error 103: permission denied".to_owned()));
    }
}
