//! The languages that clients of a load test speak: the contract of a Fanfare node, and those of the servers it is compared
//! with. A dialect knows what to ask for, what it hears, and where the events are; what is counted is the tally's matter.
//! The other side, how events are published, is [`crate::outlet`].

mod centrifugo;
mod fanfare;
mod nats;
mod nchan;
mod socket_io;

use serde::{Deserialize, Serialize};

pub(crate) use self::nats::{Stream as NatsStream, consume as consume_nats};
use crate::address::WebSocketUrl;
use crate::client::Client;
use crate::codec::Codec;
use crate::handshake;
use crate::tally::Tally;
use crate::websocket::{BINARY, TEXT, client_frame};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Dialect {
    /// The contract, which the floors speak as well.
    Fanfare(Codec),
    /// NATS' client protocol over WebSocket.
    Nats,
    /// Bare messages: the channel stands in the path.
    Nchan,
    /// Engine.IO 4 and Socket.IO 5.
    SocketIo,
    /// Centrifugo's client protocol in JSON.
    Centrifugo,
}

impl Dialect {
    /// The opening handshake of a client of this topic. Only a Fanfare node asks who it is.
    pub(crate) fn request(self, url: &WebSocketUrl, topic: &str, token: &str) -> Vec<u8> {
        match self {
            Dialect::Fanfare(codec) => handshake::request(url, token, codec),
            Dialect::Nchan => handshake::plain_request(url, &format!("{}{}", url.path, name(topic))),
            Dialect::Nats | Dialect::SocketIo | Dialect::Centrifugo => handshake::plain_request(url, &url.path),
        }
    }

    /// The opcode of its messages.
    #[inline]
    pub(crate) fn opcode(self) -> u8 {
        match self {
            Dialect::Fanfare(codec) => codec.opcode(),
            Dialect::Nats => BINARY,
            Dialect::Nchan | Dialect::SocketIo | Dialect::Centrifugo => TEXT,
        }
    }

    /// The upgrade is done.
    pub(crate) fn open(self, client: &mut Client, now_ns: u64, tally: &mut Tally) -> Result<(), String> {
        match self {
            Dialect::Nchan => client.welcome(now_ns, tally),
            Dialect::Centrifugo => return centrifugo::connect(client),
            Dialect::Fanfare(_) | Dialect::Nats | Dialect::SocketIo => {}
        }
        Ok(())
    }

    /// Asks for the topic of a client that is welcome.
    pub(crate) fn subscribe(
        self,
        client: &mut Client,
        topic: &str,
        now_ns: u64,
        tally: &mut Tally,
    ) -> Result<(), String> {
        match self {
            Dialect::Fanfare(codec) => fanfare::subscribe(client, codec, topic),
            Dialect::Nats => nats::subscribe(client, name(topic)),
            Dialect::Nchan => {
                client.live(now_ns, tally);
                Ok(())
            }
            Dialect::SocketIo => socket_io::subscribe(client, name(topic)),
            Dialect::Centrifugo => centrifugo::subscribe(client, name(topic)),
        }
    }

    /// Takes in a whole message. An error ends the connection and says why.
    #[inline]
    pub(crate) fn message(
        self,
        client: &mut Client,
        message: &[u8],
        now_ns: u64,
        tally: &mut Tally,
    ) -> Result<(), String> {
        match self {
            Dialect::Fanfare(codec) => fanfare::message(client, codec, message, now_ns, tally),
            Dialect::Nchan => nchan::message(client, message, now_ns, tally),
            Dialect::SocketIo => socket_io::message(client, message, now_ns, tally),
            Dialect::Centrifugo => centrifugo::message(client, message, now_ns, tally),
            // Its frames are no messages: see [`consume_nats`].
            Dialect::Nats => Err("protocol: NATS has no messages".to_owned()),
        }
    }
}

fn send_text(client: &Client, text: &[u8]) -> Result<(), String> {
    client.send(&client_frame(TEXT, text, rand::random()))
}

/// What other servers call a topic's channel: some of them give a meaning to the colon.
pub(crate) fn name(topic: &str) -> &str {
    topic.strip_prefix("channel:").unwrap_or(topic)
}

#[cfg(test)]
pub(crate) mod testing {
    //! A client without a server, for the tests of all dialects.
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};

    use super::Dialect;
    use crate::client::{Client, Stage};
    use crate::mark::{Envelope, Mark};
    use crate::websocket::{Header, TEXT, put_server_frame, unmask};

    /// The run of all marks.
    pub(crate) const RUN: u32 = 1;

    /// A client of channel 0, and the server's end of its socket.
    pub(crate) fn client(dialect: Dialect, stage: Stage) -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        (Client { stage, ..Client::new(socket.into(), dialect, 0, 0) }, peer)
    }

    /// The event with this number as JSON.
    pub(crate) fn event(seq: u64) -> String {
        let mark = Mark { run: RUN, channel: 0, seq, intended_ns: 0 };
        String::from_utf8(Envelope::new(128).unwrap().stamped(mark).to_vec()).unwrap()
    }

    /// A server's frame.
    pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        put_server_frame(&mut frame, opcode, &[payload]);
        frame
    }

    /// A server's text frame.
    pub(crate) fn text(payload: &str) -> Vec<u8> {
        frame(TEXT, payload.as_bytes())
    }

    /// The opcode and payload of the one frame that the client has sent.
    pub(crate) fn sent(peer: &mut TcpStream) -> (u8, Vec<u8>) {
        let mut bytes = vec![0; 4096];
        let read = peer.read(&mut bytes).unwrap();
        let header = Header::read(&bytes[..read]).unwrap().unwrap();
        assert_eq!(header.frame_bytes(), read, "one frame");
        let payload = &mut bytes[header.head_bytes..read];
        unmask(payload, header.mask.unwrap());
        (header.opcode, payload.to_vec())
    }
}
