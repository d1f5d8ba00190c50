//! The floor servers' connections: accept, handshake, `subscribe`, and sending. A connection that can't take everything
//! keeps the rest until its socket is writable; one that falls too far behind is closed.

use anyhow::Context as _;
use rustix::event::epoll::{self, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};
use serde::Deserialize;
use socket2::Socket;

use crate::handshake;
use crate::websocket::{CLOSE, Header, PING, PONG, TEXT, put_server_frame, unmask};

/// Far more than a test that makes sense leaves waiting.
const PENDING_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 64 << 10;
const WELCOME: &[u8] = br#"{"op":"welcome","version":1,"features":[]}"#;

pub(super) struct Connections {
    epoll: OwnedFd,
    slots: Vec<Option<Connection>>,
    free: Vec<u32>,
    /// Ended, and still in their slots.
    broken: Vec<u32>,
    buffer: Vec<u8>,
}

struct Connection {
    socket: OwnedFd,
    upgraded: bool,
    broken: bool,
    /// The topic it asked for; one in a life.
    wants: Option<usize>,
    place: Option<Place>,
    /// Input that has not come whole.
    carry: Vec<u8>,
    /// Output that did not fit.
    pending: Vec<u8>,
}

/// Where a connection stands among the subscribers of its topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) topic: usize,
    pub(super) position: usize,
}

/// A client asks for a topic.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    pub(super) id: i64,
    pub(super) topic: String,
}

impl Connections {
    pub(super) fn new(epoll: OwnedFd) -> Self {
        Self { epoll, slots: Vec::new(), free: Vec::new(), broken: Vec::new(), buffer: vec![0; READ_BYTES] }
    }

    pub(super) fn epoll(&self) -> &OwnedFd {
        &self.epoll
    }

    /// Accepts all that wait.
    pub(super) fn accept_all(&mut self, listener: &Socket) -> anyhow::Result<()> {
        loop {
            let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error).context("accepting: is the open-files limit (ulimit -n) too low?"),
            };
            sockopt::set_tcp_nodelay(&socket, true)?;
            let index = if let Some(index) = self.free.pop() {
                index
            } else {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1)?
            };
            epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(index.into()), EventFlags::IN)?;
            let (carry, pending) = (Vec::new(), Vec::new());
            let connection =
                Connection { socket, upgraded: false, broken: false, wants: None, place: None, carry, pending };
            self.slots[index as usize] = Some(connection);
        }
    }

    /// Reads once and returns what the client asks for.
    pub(super) fn read(&mut self, index: u32) -> Vec<Asked> {
        let Some(connection) = self.slots[index as usize].as_mut() else { return Vec::new() };
        let read = match recv(&connection.socket, self.buffer.as_mut_slice(), RecvFlags::empty()) {
            Ok((read, _)) if read > 0 => read,
            Err(Errno::AGAIN | Errno::INTR) => return Vec::new(),
            Ok(_) | Err(_) => {
                self.break_off(index);
                return Vec::new();
            }
        };
        connection.carry.extend_from_slice(&self.buffer[..read]);
        let mut answer = Vec::new();
        let asked = connection.take_in(&mut answer);
        if !answer.is_empty() {
            self.send(index, &answer);
        }
        asked.unwrap_or_else(|End| {
            self.break_off(index);
            Vec::new()
        })
    }

    /// The floor servers' one call that counts: `send(2)`, and nothing else unless the socket is full.
    #[inline]
    pub(super) fn send(&mut self, index: u32, bytes: &[u8]) {
        let Some(connection) = self.slots[index as usize].as_mut() else { return };
        let sent = if connection.pending.is_empty() {
            match send(&connection.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) if sent == bytes.len() => return,
                Ok(sent) => sent,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(_) => return self.break_off(index),
            }
        } else {
            0
        };
        self.put_off(index, &bytes[sent..]);
    }

    /// The socket is writable again.
    pub(super) fn flush(&mut self, index: u32) {
        let Some(connection) = self.slots[index as usize].as_mut() else { return };
        match send(&connection.socket, &connection.pending, SendFlags::NOSIGNAL) {
            Ok(sent) => drop(connection.pending.drain(..sent)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return self.break_off(index),
        }
        if connection.pending.is_empty() {
            connection.pending = Vec::new();
            self.watch(index, EventFlags::IN);
        }
    }

    /// Takes note of the topic a connection wants; false when it has one.
    pub(super) fn want(&mut self, index: u32, topic: usize) -> bool {
        match self.slots[index as usize].as_mut() {
            Some(connection) if connection.wants.is_none() => {
                connection.wants = Some(topic);
                true
            }
            _ => false,
        }
    }

    /// Whether a connection is there and waits for this topic.
    pub(super) fn wants(&self, index: u32, topic: usize) -> bool {
        let connection = self.slots[index as usize].as_ref();
        connection.is_some_and(|connection| connection.wants == Some(topic) && connection.place.is_none())
    }

    pub(super) fn place(&mut self, index: u32, place: Place) {
        if let Some(connection) = self.slots[index as usize].as_mut() {
            connection.place = Some(place);
        }
    }

    /// A connection that has ended and is not yet closed.
    pub(super) fn next_broken(&mut self) -> Option<u32> {
        self.broken.pop()
    }

    /// Closes a connection and returns the place it leaves.
    pub(super) fn close(&mut self, index: u32) -> Option<Place> {
        let connection = self.slots[index as usize].take()?;
        self.free.push(index);
        connection.place
    }

    #[cold]
    fn put_off(&mut self, index: u32, bytes: &[u8]) {
        let Some(connection) = self.slots[index as usize].as_mut() else { return };
        let waited = !connection.pending.is_empty();
        connection.pending.extend_from_slice(bytes);
        if connection.pending.len() > PENDING_BYTES_MAX {
            self.break_off(index);
        } else if !waited {
            self.watch(index, EventFlags::IN | EventFlags::OUT);
        }
    }

    fn watch(&mut self, index: u32, flags: EventFlags) {
        let Some(connection) = self.slots[index as usize].as_ref() else { return };
        if epoll::modify(&self.epoll, &connection.socket, epoll::EventData::new_u64(index.into()), flags).is_err() {
            self.break_off(index);
        }
    }

    #[cold]
    fn break_off(&mut self, index: u32) {
        if let Some(connection) = self.slots[index as usize].as_mut()
            && !std::mem::replace(&mut connection.broken, true)
        {
            self.broken.push(index);
        }
    }
}

/// The connection is over: closed by the client, or not understood.
struct End;

impl Connection {
    /// Takes whole messages out of the carry; what is to be answered goes to `answer`.
    fn take_in(&mut self, answer: &mut Vec<u8>) -> Result<Vec<Asked>, End> {
        let mut asked = Vec::new();
        let mut used = 0;
        if !self.upgraded {
            let Some((head_bytes, response)) = handshake::answer(&self.carry).map_err(|_| End)? else {
                return Ok(asked);
            };
            used = head_bytes;
            self.upgraded = true;
            answer.extend(response);
            put_server_frame(answer, TEXT, &[WELCOME]);
        }
        while let Some(header) = Header::read(&self.carry[used..]).map_err(|_| End)? {
            let Some(frame) = self.carry.get_mut(used..used + header.frame_bytes()) else { break };
            used += frame.len();
            let payload = &mut frame[header.head_bytes..];
            unmask(payload, header.mask.ok_or(End)?);
            match header.opcode {
                CLOSE => return Err(End),
                PING => put_server_frame(answer, PONG, &[payload]),
                TEXT => asked.extend(serde_json::from_slice::<Asked>(payload).ok()),
                _ => {}
            }
        }
        self.carry.drain(..used);
        if self.carry.is_empty() {
            self.carry = Vec::new();
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::websocket::client_frame;

    fn connection() -> Connection {
        let (socket, _) = UnixStream::pair().unwrap();
        let (carry, pending) = (Vec::new(), Vec::new());
        Connection { socket: socket.into(), upgraded: true, broken: false, wants: None, place: None, carry, pending }
    }

    #[test]
    fn a_subscription_cut_anywhere_is_understood() {
        let frame = client_frame(TEXT, br#"{"op":"subscribe","id":7,"topic":"channel:load"}"#, [1, 2, 3, 4]);
        for cut in 0..frame.len() {
            let mut connection = connection();
            let mut answer = Vec::new();
            connection.carry.extend_from_slice(&frame[..cut]);
            assert!(connection.take_in(&mut answer).is_ok_and(|asked| asked.is_empty()));
            connection.carry.extend_from_slice(&frame[cut..]);
            let asked = connection.take_in(&mut answer).unwrap_or_default();
            assert_eq!((asked[0].id, asked[0].topic.as_str()), (7, "channel:load"));
            assert!(connection.carry.is_empty());
        }
    }

    #[test]
    fn pings_are_answered_and_a_close_ends() {
        let mut connection = connection();
        let mut answer = Vec::new();
        connection.carry = client_frame(PING, b"x", [0; 4]);
        assert!(connection.take_in(&mut answer).is_ok());
        assert_eq!(answer, [0x80 | PONG, 1, b'x']);
        connection.carry = client_frame(CLOSE, &[], [0; 4]);
        assert!(connection.take_in(&mut answer).is_err());
    }
}
