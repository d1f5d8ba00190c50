//! One WebSocket client: from `connect` to its subscription, then events. Tiny, because there are thousands: a socket,
//! a stage, one sequence, and the bytes of a frame that has not come whole. It reads from a buffer that all share. What it
//! says and hears is its [`Dialect`]'s matter.

use rustix::net::{SendFlags, send};
use socket2::Socket;

use crate::dialect::{self, Dialect, NatsStream};
use crate::handshake;
use crate::sequence::Sequence;
use crate::tally::Tally;
use crate::websocket::{CLOSE, Header, PING, PONG, client_frame};

pub(crate) struct Client {
    pub(crate) socket: Socket,
    pub(crate) stage: Stage,
    pub(crate) dialect: Dialect,
    /// Among those of all tenants.
    pub(crate) channel: u32,
    pub(crate) started_ns: u64,
    pub(crate) sequence: Sequence,
    /// The beginning of what has not come whole. Almost always empty.
    pub(crate) carry: Vec<u8>,
    pub(crate) nats: NatsStream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// TCP is on its way.
    Connecting,
    /// The request is sent.
    Upgrading,
    /// `101` has come, the server's welcome not yet.
    Greeting,
    /// Connected; nothing subscribed.
    Welcome,
    /// The subscription is asked for.
    Subscribing,
    /// Subscribed: events may come.
    Live,
}

impl Client {
    /// One whose TCP connection is on its way.
    pub(crate) fn new(socket: Socket, dialect: Dialect, channel: u32, started_ns: u64) -> Self {
        Self {
            socket,
            stage: Stage::Connecting,
            dialect,
            channel,
            started_ns,
            sequence: Sequence::default(),
            carry: Vec::new(),
            nats: NatsStream::default(),
        }
    }

    /// Takes as many whole frames as `bytes` hold and returns how many bytes that was. An error ends the connection and
    /// says why.
    pub(crate) fn consume(&mut self, bytes: &[u8], now_ns: u64, tally: &mut Tally) -> Result<usize, String> {
        let mut used = 0;
        if self.stage == Stage::Upgrading {
            let Some(head_bytes) = handshake::accepted(bytes)? else { return Ok(0) };
            self.stage = Stage::Greeting;
            self.dialect.open(self, now_ns, tally)?;
            used = head_bytes;
        }
        if self.dialect == Dialect::Nats {
            return Ok(used + dialect::consume_nats(self, &bytes[used..], now_ns, tally)?);
        }
        while let Some(header) = Header::read(&bytes[used..])? {
            let Some(frame) = bytes.get(used..used + header.frame_bytes()) else { break };
            used += frame.len();
            let payload = &frame[header.head_bytes..];
            if header.opcode == self.dialect.opcode() && header.mask.is_none() {
                self.dialect.message(self, payload, now_ns, tally)?;
            } else {
                self.control(&header, payload)?;
            }
        }
        Ok(used)
    }

    /// Asks for the topic.
    pub(crate) fn subscribe(&mut self, topic: &str, now_ns: u64, tally: &mut Tally) -> Result<(), String> {
        self.dialect.subscribe(self, topic, now_ns, tally)
    }

    /// The server has taken it in.
    pub(crate) fn welcome(&mut self, now_ns: u64, tally: &mut Tally) {
        self.stage = Stage::Welcome;
        tally.progress.welcomed += 1;
        tally.progress.last_ready_ns = now_ns;
    }

    /// It is subscribed.
    pub(crate) fn live(&mut self, now_ns: u64, tally: &mut Tally) {
        self.stage = Stage::Live;
        tally.progress.subscribed += 1;
        tally.progress.last_ready_ns = now_ns;
    }

    /// Writes a small frame. There is always room for it unless the server has stopped reading.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), String> {
        send_whole(&self.socket, bytes)
    }

    /// A frame that is no message of its dialect.
    #[cold]
    pub(crate) fn control(&self, header: &Header, payload: &[u8]) -> Result<(), String> {
        if header.mask.is_some() {
            return Err("protocol: a masked frame from the server".to_owned());
        }
        match header.opcode {
            PING => self.send(&client_frame(PONG, payload, rand::random())),
            PONG => Ok(()),
            CLOSE => Err(close_reason(payload)),
            opcode => Err(format!("protocol: opcode {opcode}")),
        }
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
    use super::*;
    use crate::codec::Codec;
    use crate::dialect::testing::{RUN, client, frame, sent};
    use crate::websocket::TEXT;

    const DIALECTS: [Dialect; 5] =
        [Dialect::Fanfare(Codec::Json), Dialect::Nats, Dialect::Nchan, Dialect::SocketIo, Dialect::Centrifugo];

    #[test]
    fn a_ping_is_answered_in_every_dialect() {
        for dialect in DIALECTS {
            let (mut client, mut peer) = client(dialect, Stage::Live);
            assert!(client.consume(&frame(PING, b"x"), 0, &mut Tally::new(RUN)).is_ok());
            assert_eq!(sent(&mut peer), (PONG, b"x".to_vec()));
        }
    }

    #[test]
    fn whatever_ends_a_connection_is_told_in_every_dialect() {
        let closed = frame(CLOSE, &[&4413_u16.to_be_bytes(), b"slow".as_slice()].concat());
        let masked = client_frame(TEXT, b"{}", [1, 2, 3, 4]);
        for dialect in DIALECTS {
            for (bytes, reason) in [
                (&closed, "close 4413 slow"),
                (&vec![0x83, 0], "protocol: opcode 3"),
                (&vec![0x01, 0], "a fragmented frame or one with reserved bits"),
                (&masked, "protocol: a masked frame from the server"),
            ] {
                let (mut client, _peer) = client(dialect, Stage::Live);
                assert_eq!(client.consume(bytes, 0, &mut Tally::new(RUN)), Err(reason.to_owned()), "{dialect:?}");
            }
        }
    }
}
