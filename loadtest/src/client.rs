//! One WebSocket client: from `connect` to its subscription, then events. Tiny, because there are thousands: a socket,
//! a stage, one sequence, and the bytes of a frame that has not come whole. It reads from a buffer that all share.

use rustix::net::{SendFlags, send};
use serde_json::json;
use socket2::Socket;

use crate::codec::Codec;
use crate::handshake;
use crate::sequence::Sequence;
use crate::tally::Tally;
use crate::websocket::{BINARY, CLOSE, Header, PING, PONG, TEXT, client_frame};

pub(crate) struct Client {
    pub(crate) socket: Socket,
    pub(crate) stage: Stage,
    pub(crate) codec: Codec,
    /// Among those of all tenants.
    pub(crate) channel: u32,
    pub(crate) started_ns: u64,
    pub(crate) sequence: Sequence,
    /// The beginning of what has not come whole. Almost always empty.
    pub(crate) carry: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// TCP is on its way.
    Connecting,
    /// The request is sent.
    Upgrading,
    /// `101` has come, `welcome` not yet.
    Greeting,
    /// Connected; nothing subscribed.
    Welcome,
    /// `subscribe` is sent.
    Subscribing,
    /// Subscribed: events may come.
    Live,
}

impl Client {
    /// Takes as many whole frames as `bytes` hold and returns how many bytes that was. An error ends the connection and
    /// says why.
    pub(crate) fn consume(&mut self, bytes: &[u8], now_ns: u64, tally: &mut Tally) -> Result<usize, String> {
        let mut used = 0;
        if self.stage == Stage::Upgrading {
            let Some(head_bytes) = handshake::accepted(bytes)? else { return Ok(0) };
            self.stage = Stage::Greeting;
            used = head_bytes;
        }
        while let Some(header) = Header::read(&bytes[used..])? {
            let Some(frame) = bytes.get(used..used + header.frame_bytes()) else { break };
            used += frame.len();
            let payload = &frame[header.head_bytes..];
            let is_ours = header.opcode == self.codec.opcode();
            if is_ours && self.stage == Stage::Live && self.codec.starts_event(payload) {
                self.event(payload, now_ns, tally);
            } else {
                self.control(&header, payload, now_ns, tally)?;
            }
        }
        Ok(used)
    }

    /// Asks for the topic.
    pub(crate) fn subscribe(&mut self, topic: &str) -> Result<(), String> {
        self.stage = Stage::Subscribing;
        self.send(&self.codec.client_frame(&json!({"op": "subscribe", "id": 1, "topic": topic}))?)
    }

    /// Writes a small frame. There is always room for it unless the server has stopped reading.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), String> {
        send_whole(&self.socket, bytes)
    }

    #[inline]
    fn event(&mut self, frame: &[u8], now_ns: u64, tally: &mut Tally) {
        let mark = tally.mark(self.codec, frame);
        tally.event(&mut self.sequence, self.channel, mark, now_ns);
    }

    #[cold]
    fn control(&mut self, header: &Header, payload: &[u8], now_ns: u64, tally: &mut Tally) -> Result<(), String> {
        if header.mask.is_some() {
            return Err("protocol: a masked frame from the server".to_owned());
        }
        match header.opcode {
            TEXT | BINARY if header.opcode == self.codec.opcode() => self.frame(payload, now_ns, tally),
            PING => self.send(&client_frame(PONG, payload, rand::random())),
            PONG => Ok(()),
            CLOSE => Err(close_reason(payload)),
            opcode => Err(format!("protocol: opcode {opcode}")),
        }
    }

    fn frame(&mut self, payload: &[u8], now_ns: u64, tally: &mut Tally) -> Result<(), String> {
        let frame = self.codec.read(payload).map_err(|error| format!("protocol: {error}"))?;
        match frame.op.as_ref() {
            "welcome" if self.stage == Stage::Greeting => {
                self.stage = Stage::Welcome;
                tally.progress.welcomed += 1;
                tally.progress.last_ready_ns = now_ns;
            }
            "subscribed" if self.stage == Stage::Subscribing => {
                self.stage = Stage::Live;
                tally.progress.subscribed += 1;
                tally.progress.last_ready_ns = now_ns;
            }
            "event" if self.stage == Stage::Live => self.event(payload, now_ns, tally),
            "event" => return Err("protocol: an event before `subscribed`".to_owned()),
            "gap" => {
                self.sequence.gap();
                tally.progress.gaps += 1;
            }
            "ping" => return self.send(&self.codec.client_frame(&json!({"op": "pong"}))?),
            "error" => {
                let code = frame.code.as_ref().and_then(|code| code.as_str()).unwrap_or_default();
                return Err(format!("error {code}: {}", frame.message.as_deref().unwrap_or_default()));
            }
            // `disconnect` is followed by a close that says the same; what is unknown is ignored, as the contract asks.
            _ => {}
        }
        Ok(())
    }
}

/// Writes all or fails.
pub(crate) fn send_whole(socket: &Socket, bytes: &[u8]) -> Result<(), String> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(_) => Err("the server does not read".to_owned()),
        Err(error) => Err(format!("write: {}", std::io::Error::from(error))),
    }
}

/// What a close frame says.
pub(crate) fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            format!("close {code} {}", String::from_utf8_lossy(reason)).trim_end().to_owned()
        }
        _ => "close without a code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::mark::{Envelope, Mark};
    use crate::websocket::{put_server_frame, unmask};

    fn client(stage: Stage) -> (Client, TcpStream) {
        client_of(Codec::Json, stage)
    }

    fn client_of(codec: Codec, stage: Stage) -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        let sequence = Sequence::default();
        (Client { socket: socket.into(), stage, codec, channel: 0, started_ns: 0, sequence, carry: Vec::new() }, peer)
    }

    fn text(payload: &str) -> Vec<u8> {
        let mut frame = Vec::new();
        put_server_frame(&mut frame, TEXT, &[payload.as_bytes()]);
        frame
    }

    fn event(seq: u64) -> Vec<u8> {
        let mut envelope = Envelope::new(128).unwrap();
        let mark = Mark { run: 1, channel: 0, seq, intended_ns: 0 };
        text(&format!(
            r#"{{"op":"event","topic":"channel:load","event":{}}}"#,
            String::from_utf8_lossy(envelope.stamped(mark))
        ))
    }

    #[test]
    fn from_the_answer_to_the_first_event_in_one_read() {
        let (mut client, mut peer) = client(Stage::Upgrading);
        let mut tally = Tally::new(1);
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        bytes.extend(text(r#"{"op":"welcome","version":1}"#));
        assert_eq!(client.consume(&bytes, 5, &mut tally), Ok(bytes.len()));
        assert_eq!((client.stage, tally.progress.welcomed), (Stage::Welcome, 1));

        client.subscribe("channel:load").unwrap();
        let mut sent = vec![0; 256];
        let read = peer.read(&mut sent).unwrap();
        let header = Header::read(&sent).unwrap().unwrap();
        let payload = &mut sent[header.head_bytes..read];
        unmask(payload, header.mask.unwrap());
        let frame: serde_json::Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(frame, serde_json::json!({"op": "subscribe", "id": 1, "topic": "channel:load"}));

        let mut bytes = text(r#"{"op":"subscribed","id":1,"topic":"channel:load","position":"0-0"}"#);
        bytes.extend(event(0));
        bytes.extend(event(1));
        let whole = bytes.len();
        bytes.extend(&event(2)[..50]);
        assert_eq!(client.consume(&bytes, 9, &mut tally), Ok(whole), "half a frame is left");
        assert_eq!((client.stage, tally.progress.received), (Stage::Live, 2));
    }

    #[test]
    fn a_client_that_speaks_message_pack() {
        let (mut client, mut peer) = client_of(Codec::Msgpack, Stage::Greeting);
        let mut tally = Tally::new(1);
        let binary = |frame: serde_json::Value| {
            let mut bytes = Vec::new();
            put_server_frame(&mut bytes, BINARY, &[&rmp_serde::to_vec_named(&frame).unwrap()]);
            bytes
        };
        client.consume(&binary(json!({"op": "welcome", "version": 1})), 5, &mut tally).unwrap();
        client.subscribe("channel:load").unwrap();
        let mut sent = vec![0; 256];
        let read = peer.read(&mut sent).unwrap();
        let header = Header::read(&sent).unwrap().unwrap();
        let payload = &mut sent[header.head_bytes..read];
        unmask(payload, header.mask.unwrap());
        let frame: serde_json::Value = rmp_serde::from_slice(payload).unwrap();
        assert_eq!((header.opcode, frame), (BINARY, json!({"op": "subscribe", "id": 1, "topic": "channel:load"})));

        let mark = Mark { run: 1, channel: 0, seq: 0, intended_ns: 0 };
        let envelope: serde_json::Value = serde_json::from_slice(Envelope::new(128).unwrap().stamped(mark)).unwrap();
        // As a node writes it: a map of three that begins with `op`.
        let mut event = b"\x83\xa2op\xa5event\xa5topic\xacchannel:load\xa5event".to_vec();
        event.extend(rmp_serde::to_vec_named(&envelope).unwrap());
        let mut bytes = binary(json!({"op": "subscribed", "id": 1, "topic": "channel:load", "position": "0-0"}));
        put_server_frame(&mut bytes, BINARY, &[&event]);
        bytes.extend(binary(json!({"op": "gap", "topic": "channel:load", "lost": "all", "reason": "epoch"})));
        assert_eq!(client.consume(&bytes, 9, &mut tally), Ok(bytes.len()));
        assert_eq!((client.stage, tally.progress.received, tally.progress.gaps), (Stage::Live, 1, 1));
        assert_eq!(client.consume(&text("{}"), 9, &mut tally), Err("protocol: opcode 1".to_owned()));
    }

    #[test]
    fn an_application_ping_is_answered() {
        let (mut client, mut peer) = client(Stage::Live);
        client.consume(&text(r#"{"op":"ping"}"#), 0, &mut Tally::new(1)).unwrap();
        let mut sent = vec![0; 64];
        let read = peer.read(&mut sent).unwrap();
        let header = Header::read(&sent).unwrap().unwrap();
        unmask(&mut sent[header.head_bytes..read], header.mask.unwrap());
        assert_eq!(&sent[header.head_bytes..read], br#"{"op":"pong"}"#);
    }

    #[test]
    fn a_gap_is_counted_and_covers() {
        let (mut client, _peer) = client(Stage::Live);
        let mut tally = Tally::new(1);
        let gap = r#"{"op":"gap","topic":"channel:load","lost":"ephemeral","reason":"backplane"}"#;
        let bytes = [event(0), text(gap), event(4)].concat();
        client.consume(&bytes, 0, &mut tally).unwrap();
        assert_eq!(tally.progress.gaps, 1);
        assert_eq!(client.sequence.missing(5, &[]).covered, 3);
    }

    #[test]
    fn whatever_ends_a_connection_is_told() {
        let mut closed = Vec::new();
        put_server_frame(&mut closed, CLOSE, &[&4413_u16.to_be_bytes(), b"slow"]);
        for (stage, bytes, reason) in [
            (Stage::Live, closed, "close 4413 slow"),
            (Stage::Subscribing, event(0), "protocol: an event before `subscribed`"),
            (
                Stage::Subscribing,
                text(r#"{"op":"error","id":1,"code":"forbidden","message":"no"}"#),
                "error forbidden: no",
            ),
            (Stage::Live, vec![0x82, 0], "protocol: opcode 2"),
            (Stage::Live, vec![0x01, 0], "a fragmented frame or one with reserved bits"),
        ] {
            let (mut client, _peer) = client(stage);
            assert_eq!(client.consume(&bytes, 0, &mut Tally::new(1)), Err(reason.to_owned()));
        }
    }
}
