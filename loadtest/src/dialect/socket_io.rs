//! Socket.IO over WebSocket: Engine.IO's packets (<https://socket.io/docs/v4/engine-io-protocol/>, revision 4) with Socket.IO's
//! inside (<https://socket.io/docs/v4/socket-io-protocol/>, revision 5). The server of this comparison knows `join` with a
//! room and sends `event`.

use super::send_text;
use crate::client::{Client, Stage};
use crate::codec::Codec;
use crate::tally::Tally;

/// A packet of Engine.IO with an event of Socket.IO in it.
const EVENT: &[u8] = br#"42["event","#;
const PING: &[u8] = b"2";
const PONG: &[u8] = b"3";

#[inline]
pub(super) fn message(client: &mut Client, packet: &[u8], now_ns: u64, tally: &mut Tally) -> Result<(), String> {
    if client.stage == Stage::Live && packet.starts_with(EVENT) {
        let mark = tally.mark(Codec::Json, packet);
        tally.event(&mut client.sequence, client.channel, mark, now_ns);
        return Ok(());
    }
    control(client, packet, now_ns, tally)
}

/// Joins the room and asks for an acknowledgement.
pub(super) fn subscribe(client: &mut Client, room: &str) -> Result<(), String> {
    client.stage = Stage::Subscribing;
    send_text(client, format!("420{}", serde_json::json!(["join", room])).as_bytes())
}

#[cold]
fn control(client: &mut Client, packet: &[u8], now_ns: u64, tally: &mut Tally) -> Result<(), String> {
    match packet {
        // Engine.IO is open: connect to the default namespace.
        [b'0', ..] if client.stage == Stage::Greeting => send_text(client, b"40"),
        [b'4', b'0', ..] if client.stage == Stage::Greeting => {
            client.welcome(now_ns, tally);
            Ok(())
        }
        [b'4', b'3', b'0', ..] if client.stage == Stage::Subscribing => {
            client.live(now_ns, tally);
            Ok(())
        }
        PING => send_text(client, PONG),
        other => Err(format!("protocol: an unexpected packet `{}`", String::from_utf8_lossy(other))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::dialect::Dialect;
    use crate::dialect::testing::{RUN, client, event, sent, text};
    use crate::websocket::TEXT;

    #[test]
    fn from_open_to_events_as_socket_io_4_8_says_it() {
        let (mut client, mut peer) = client(Dialect::SocketIo, Stage::Greeting);
        let mut tally = Tally::new(RUN);
        let open = r#"0{"sid":"gnttJUuSm_5ETQMrAAAA","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        client.consume(&text(open), 1, &mut tally).unwrap();
        assert_eq!(sent(&mut peer), (TEXT, b"40".to_vec()));
        client.consume(&text(r#"40{"sid":"7Phoj_g_9CSLFDD3AAAA"}"#), 2, &mut tally).unwrap();
        assert_eq!((client.stage, tally.progress.welcomed), (Stage::Welcome, 1));
        client.subscribe("channel:load-1", 3, &mut tally).unwrap();
        assert_eq!(sent(&mut peer), (TEXT, br#"420["join","load-1"]"#.to_vec()));
        let mut bytes = text("430[]");
        for seq in 0..3 {
            bytes.extend(text(&format!(r#"42["event",{}]"#, event(seq))));
        }
        assert_eq!(client.consume(&bytes, 4, &mut tally), Ok(bytes.len()));
        assert_eq!((client.stage, tally.progress.received), (Stage::Live, 3));
    }

    #[test]
    fn a_ping_is_answered_and_an_error_ends() {
        let (mut client, mut peer) = client(Dialect::SocketIo, Stage::Live);
        client.consume(&text("2"), 0, &mut Tally::new(RUN)).unwrap();
        assert_eq!(sent(&mut peer), (TEXT, b"3".to_vec()));
        let refused = client.consume(&text(r#"44{"message":"Invalid namespace"}"#), 0, &mut Tally::new(RUN));
        assert!(refused.unwrap_err().contains("Invalid namespace"));
    }
}
