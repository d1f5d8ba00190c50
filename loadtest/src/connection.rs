//! The client's end of one WebSocket connection, from `connect` to whole text messages. What the messages say is the owner's
//! matter. For clients that look into every message: those that must be cheap are in [`crate::client`].

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};

use crate::address::WebSocketUrl;
use crate::client::{close_reason, send_whole};
use crate::codec::Codec;
use crate::handshake;
use crate::websocket::{CLOSE, Header, PING, PONG, TEXT, client_frame};

/// Room for what is written before the server has read it.
const SEND_BUFFER_BYTES: usize = 128 << 10;

pub(crate) struct Connection {
    socket: Socket,
    stage: Stage,
    /// The beginning of what has not come whole.
    carry: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// TCP is on its way.
    Connecting,
    /// The request is sent.
    Upgrading,
    Open,
}

/// What a server says that its client must do something about.
pub(crate) enum Heard<'a> {
    Text(&'a [u8]),
    /// To be answered with the same payload.
    Ping(&'a [u8]),
}

impl Connection {
    /// Begins to connect. The socket is watched in `epoll` under this key.
    pub(crate) fn start(url: &WebSocketUrl, epoll: &OwnedFd, key: u64) -> std::io::Result<Connection> {
        let domain = Domain::for_address(url.address);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        match socket.connect(&url.address.into()) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => return Err(error),
            _ => {}
        }
        epoll::add(epoll, &socket, EventData::new_u64(key), EventFlags::OUT)?;
        Ok(Connection { socket, stage: Stage::Connecting, carry: Vec::new() })
    }

    /// Whether the server has not been asked for an upgrade yet.
    pub(crate) fn is_connecting(&self) -> bool {
        self.stage == Stage::Connecting
    }

    /// TCP is connected, or has failed: asks for the upgrade.
    pub(crate) fn upgrade(&mut self, url: &WebSocketUrl, token: &str, epoll: &OwnedFd, key: u64) -> Result<(), String> {
        if let Ok(Some(error)) = self.socket.take_error() {
            return Err(format!("connect: {error}"));
        }
        send_whole(&self.socket, &handshake::request(url, token, Codec::Json))?;
        epoll::modify(epoll, &self.socket, EventData::new_u64(key), EventFlags::IN)
            .map_err(|error| format!("epoll: {error}"))?;
        self.stage = Stage::Upgrading;
        Ok(())
    }

    /// Writes one text message. An error ends the connection and says why.
    pub(crate) fn send(&self, text: &[u8]) -> Result<(), String> {
        send_whole(&self.socket, &client_frame(TEXT, text, rand::random()))
    }

    /// Reads all that has come, by way of a buffer that many share, and hands out whole text messages.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        mut message: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            let kept = self.carry.len();
            buffer[..kept].copy_from_slice(&self.carry);
            let room = buffer.len() - kept;
            let read = match recv(&self.socket, &mut buffer[kept..], RecvFlags::empty()) {
                Ok((0, _)) => return Err("closed without a close frame".to_owned()),
                Ok((read, _)) => read,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(error) => return Err(format!("read: {}", std::io::Error::from(error))),
            };
            let filled = &buffer[..kept + read];
            let used = self.consume(filled, &mut message)?;
            self.carry.clear();
            self.carry.extend_from_slice(&filled[used..]);
            if read < room {
                return Ok(());
            }
        }
    }

    /// Returns how many bytes the whole messages were.
    fn consume(
        &mut self,
        bytes: &[u8],
        message: &mut impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<usize, String> {
        let mut used = 0;
        if self.stage == Stage::Upgrading {
            let Some(head_bytes) = handshake::accepted(bytes)? else { return Ok(0) };
            self.stage = Stage::Open;
            used = head_bytes;
        }
        used += each_frame(&bytes[used..], |heard| match heard {
            Heard::Text(text) => message(text),
            Heard::Ping(payload) => send_whole(&self.socket, &client_frame(PONG, payload, rand::random())),
        })?;
        Ok(used)
    }
}

/// Hands out what whole frames bring, and returns how many bytes they were. A close frame is an error that says why.
pub(crate) fn each_frame(bytes: &[u8], mut hear: impl FnMut(Heard<'_>) -> Result<(), String>) -> Result<usize, String> {
    let mut used = 0;
    while let Some(header) = Header::read(&bytes[used..])? {
        let Some(frame) = bytes.get(used..used + header.frame_bytes()) else { break };
        used += frame.len();
        let payload = &frame[header.head_bytes..];
        match header.opcode {
            TEXT => hear(Heard::Text(payload))?,
            PING => hear(Heard::Ping(payload))?,
            PONG => {}
            CLOSE => return Err(close_reason(payload)),
            opcode => return Err(format!("protocol: opcode {opcode}")),
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use rustix::event::epoll;

    use super::*;
    use crate::websocket::put_server_frame;

    #[test]
    fn from_connect_to_messages_that_come_in_pieces() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = WebSocketUrl { address: listener.local_addr().unwrap(), path: "/ws".to_owned() };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut connection = Connection::start(&url, &epoll, 7).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert!(connection.is_connecting());
        connection.upgrade(&url, "t0ken", &epoll, 7).unwrap();
        let mut request = vec![0; 1024];
        let request_bytes = server.read(&mut request).unwrap();
        let (_, mut answer) = handshake::answer(&request[..request_bytes]).unwrap().unwrap();
        put_server_frame(&mut answer, TEXT, &[b"one"]);
        put_server_frame(&mut answer, TEXT, &[b"two"]);
        let (mut buffer, mut heard) = (vec![0; 1024], Vec::new());
        for piece in answer.chunks(5) {
            server.write_all(piece).unwrap();
            rustix::event::poll(
                &mut [rustix::event::PollFd::new(&connection.socket, rustix::event::PollFlags::IN)],
                None,
            )
            .unwrap();
            connection
                .read(&mut buffer, |message| {
                    heard.push(message.to_vec());
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(heard, [b"one", b"two"]);
        drop(server);
        assert_eq!(connection.read(&mut buffer, |_| Ok(())).unwrap_err(), "closed without a close frame");
    }
}
