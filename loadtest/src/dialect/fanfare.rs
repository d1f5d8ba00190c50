//! The contract of a Fanfare node, as its clients see it.

use serde_json::json;

use crate::client::{Client, Stage};
use crate::codec::Codec;
use crate::tally::Tally;

#[inline]
pub(super) fn message(
    client: &mut Client,
    codec: Codec,
    frame: &[u8],
    now_ns: u64,
    tally: &mut Tally,
) -> Result<(), String> {
    if client.stage == Stage::Live && codec.starts_event(frame) {
        event(client, codec, frame, now_ns, tally);
        return Ok(());
    }
    control(client, codec, frame, now_ns, tally)
}

pub(super) fn subscribe(client: &mut Client, codec: Codec, topic: &str) -> Result<(), String> {
    client.stage = Stage::Subscribing;
    client.send(&codec.client_frame(&json!({"op": "subscribe", "id": 1, "topic": topic}))?)
}

#[inline]
fn event(client: &mut Client, codec: Codec, frame: &[u8], now_ns: u64, tally: &mut Tally) {
    let mark = tally.mark(codec, frame);
    tally.event(&mut client.sequence, client.channel, mark, now_ns);
}

#[cold]
fn control(client: &mut Client, codec: Codec, frame: &[u8], now_ns: u64, tally: &mut Tally) -> Result<(), String> {
    let told = codec.read(frame).map_err(|error| format!("protocol: {error}"))?;
    match told.op.as_ref() {
        "welcome" if client.stage == Stage::Greeting => client.welcome(now_ns, tally),
        "subscribed" if client.stage == Stage::Subscribing => client.live(now_ns, tally),
        "event" if client.stage == Stage::Live => event(client, codec, frame, now_ns, tally),
        "event" => return Err("protocol: an event before `subscribed`".to_owned()),
        "gap" => {
            client.sequence.gap();
            tally.progress.gaps += 1;
        }
        "ping" => return client.send(&codec.client_frame(&json!({"op": "pong"}))?),
        "error" => {
            let code = told.code.as_ref().and_then(|code| code.as_str()).unwrap_or_default();
            return Err(format!("error {code}: {}", told.message.as_deref().unwrap_or_default()));
        }
        // `disconnect` is followed by a close that says the same; what is unknown is ignored, as the contract asks.
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::dialect::Dialect;
    use crate::dialect::testing::{RUN, client, event, frame, sent, text};
    use crate::mark::{Envelope, Mark};
    use crate::websocket::{BINARY, TEXT};

    const JSON: Dialect = Dialect::Fanfare(Codec::Json);

    fn event_frame(seq: u64) -> Vec<u8> {
        text(&format!(r#"{{"op":"event","topic":"channel:load","event":{}}}"#, event(seq)))
    }

    #[test]
    fn from_the_answer_to_the_first_event_in_one_read() {
        let (mut client, mut peer) = client(JSON, Stage::Upgrading);
        let mut tally = Tally::new(RUN);
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        bytes.extend(text(r#"{"op":"welcome","version":1}"#));
        assert_eq!(client.consume(&bytes, 5, &mut tally), Ok(bytes.len()));
        assert_eq!((client.stage, tally.progress.welcomed), (Stage::Welcome, 1));

        client.subscribe("channel:load", 6, &mut tally).unwrap();
        let (opcode, payload) = sent(&mut peer);
        let asked: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((opcode, asked), (TEXT, json!({"op": "subscribe", "id": 1, "topic": "channel:load"})));

        let mut bytes = text(r#"{"op":"subscribed","id":1,"topic":"channel:load","position":"0-0"}"#);
        bytes.extend(event_frame(0));
        bytes.extend(event_frame(1));
        let whole = bytes.len();
        bytes.extend(&event_frame(2)[..50]);
        assert_eq!(client.consume(&bytes, 9, &mut tally), Ok(whole), "half a frame is left");
        assert_eq!((client.stage, tally.progress.received), (Stage::Live, 2));
    }

    #[test]
    fn a_client_that_speaks_message_pack() {
        let (mut client, mut peer) = client(Dialect::Fanfare(Codec::Msgpack), Stage::Greeting);
        let mut tally = Tally::new(RUN);
        let binary = |told: serde_json::Value| frame(BINARY, &rmp_serde::to_vec_named(&told).unwrap());
        client.consume(&binary(json!({"op": "welcome", "version": 1})), 5, &mut tally).unwrap();
        client.subscribe("channel:load", 6, &mut tally).unwrap();
        let (opcode, payload) = sent(&mut peer);
        let asked: serde_json::Value = rmp_serde::from_slice(&payload).unwrap();
        assert_eq!((opcode, asked), (BINARY, json!({"op": "subscribe", "id": 1, "topic": "channel:load"})));

        let mark = Mark { run: RUN, channel: 0, seq: 0, intended_ns: 0 };
        let envelope: serde_json::Value = serde_json::from_slice(Envelope::new(128).unwrap().stamped(mark)).unwrap();
        // As a node writes it: a map of three that begins with `op`.
        let mut event = b"\x83\xa2op\xa5event\xa5topic\xacchannel:load\xa5event".to_vec();
        event.extend(rmp_serde::to_vec_named(&envelope).unwrap());
        let mut bytes = binary(json!({"op": "subscribed", "id": 1, "topic": "channel:load", "position": "0-0"}));
        bytes.extend(frame(BINARY, &event));
        bytes.extend(binary(json!({"op": "gap", "topic": "channel:load", "lost": "all", "reason": "epoch"})));
        assert_eq!(client.consume(&bytes, 9, &mut tally), Ok(bytes.len()));
        assert_eq!((client.stage, tally.progress.received, tally.progress.gaps), (Stage::Live, 1, 1));
        assert_eq!(client.consume(&text("{}"), 9, &mut tally), Err("protocol: opcode 1".to_owned()));
    }

    #[test]
    fn an_application_ping_is_answered() {
        let (mut client, mut peer) = client(JSON, Stage::Live);
        client.consume(&text(r#"{"op":"ping"}"#), 0, &mut Tally::new(RUN)).unwrap();
        assert_eq!(sent(&mut peer), (TEXT, br#"{"op":"pong"}"#.to_vec()));
    }

    #[test]
    fn a_gap_is_counted_and_covers() {
        let (mut client, _peer) = client(JSON, Stage::Live);
        let mut tally = Tally::new(RUN);
        let gap = r#"{"op":"gap","topic":"channel:load","lost":"ephemeral","reason":"backplane"}"#;
        let bytes = [event_frame(0), text(gap), event_frame(4)].concat();
        client.consume(&bytes, 0, &mut tally).unwrap();
        assert_eq!(tally.progress.gaps, 1);
        assert_eq!(client.sequence.missing(5, &[]).covered, 3);
    }

    #[test]
    fn whatever_ends_a_connection_is_told() {
        for (stage, bytes, reason) in [
            (Stage::Subscribing, event_frame(0), "protocol: an event before `subscribed`"),
            (
                Stage::Subscribing,
                text(r#"{"op":"error","id":1,"code":"forbidden","message":"no"}"#),
                "error forbidden: no",
            ),
            (Stage::Live, vec![0x82, 0], "protocol: opcode 2"),
        ] {
            let (mut client, _peer) = client(JSON, stage);
            assert_eq!(client.consume(&bytes, 0, &mut Tally::new(RUN)), Err(reason.to_owned()));
        }
    }
}
