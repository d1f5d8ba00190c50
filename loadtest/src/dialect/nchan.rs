//! What nchan sends to a WebSocket subscriber: each message as it was published, in a frame of its own. A subscription is the
//! connection itself, and nothing is ever asked.

use crate::client::{Client, Stage};
use crate::codec::Codec;
use crate::tally::Tally;

#[inline]
pub(super) fn message(client: &mut Client, message: &[u8], now_ns: u64, tally: &mut Tally) -> Result<(), String> {
    if client.stage != Stage::Live {
        return Err("protocol: a message before anything was published".to_owned());
    }
    let mark = tally.mark(Codec::Json, message);
    tally.event(&mut client.sequence, client.channel, mark, now_ns);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::dialect::Dialect;
    use crate::dialect::testing::{RUN, client, event, text};

    #[test]
    fn the_upgrade_is_the_subscription_and_messages_are_events() {
        let (mut client, _peer) = client(Dialect::Nchan, Stage::Upgrading);
        let mut tally = Tally::new(RUN);
        let accepted = b"HTTP/1.1 101 Switching Protocols\r\nServer: nginx/1.22.1\r\nContent-Length: 0\r\n\
            Connection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nUpgrade: websocket\r\n\r\n";
        client.consume(accepted, 5, &mut tally).unwrap();
        assert_eq!((client.stage, tally.progress.welcomed), (Stage::Welcome, 1));
        client.subscribe("channel:load", 6, &mut tally).unwrap();
        assert_eq!((client.stage, tally.progress.subscribed), (Stage::Live, 1));
        let bytes = [text(&event(0)), text(&event(1))].concat();
        assert_eq!(client.consume(&bytes, 9, &mut tally), Ok(bytes.len()));
        assert_eq!(tally.progress.received, 2);
    }
}
