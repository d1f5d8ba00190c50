//! NATS' client protocol over WebSocket (<https://docs.nats.io/reference/reference-protocols/nats-protocol>). The frames are
//! only a way to send bytes: one holds several protocol messages, and a protocol message may go on in the next one
//! (<https://docs.nats.io/running-a-nats-service/configuration/websocket>). So a frame is read as it comes, whatever its length.

use crate::client::{Client, Stage};
use crate::codec::Codec;
use crate::tally::Tally;
use crate::websocket::{BINARY, Header, client_frame};

/// The longest line is the server's `INFO`.
const LINE_BYTES_MAX: usize = 64 << 10;
const CONNECT: &[u8] =
    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"loadtest\",\"version\":\"1\",\"protocol\":1}\r\nPING\r\n";

/// Where a client stands in what its server sends.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Bytes of the current frame that have not come.
    frame_left: usize,
    /// The beginning of a protocol message that has not come whole.
    begun: Vec<u8>,
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    Message(&'a [u8]),
    Info,
    Ping,
    Pong,
    Ok,
    Error(&'a str),
}

/// What the first bytes are: a protocol message of a length, or one of which at least so many bytes are missing.
#[derive(Debug, PartialEq, Eq)]
enum Found<'a> {
    Whole(Said<'a>, usize),
    Missing(usize),
}

/// Takes in all frames, and the part of the last one that is there. Returns how many bytes that was.
pub(crate) fn consume(client: &mut Client, bytes: &[u8], now_ns: u64, tally: &mut Tally) -> Result<usize, String> {
    let mut used = 0;
    loop {
        if client.nats.frame_left == 0 {
            let Some(header) = Header::read_any(&bytes[used..])? else { return Ok(used) };
            if header.opcode != BINARY || header.mask.is_some() {
                let Some(frame) = bytes.get(used..used + header.frame_bytes()) else { return Ok(used) };
                client.control(&header, &frame[header.head_bytes..])?;
                used += frame.len();
                continue;
            }
            used += header.head_bytes;
            client.nats.frame_left = header.payload_bytes;
        }
        let end = bytes.len().min(used.saturating_add(client.nats.frame_left));
        if end == used {
            return Ok(used);
        }
        part(client, &bytes[used..end], now_ns, tally)?;
        client.nats.frame_left -= end - used;
        used = end;
    }
}

pub(super) fn subscribe(client: &mut Client, subject: &str) -> Result<(), String> {
    client.stage = Stage::Subscribing;
    // The answer to the ping says that the subscription has been dealt with.
    send(client, format!("SUB {subject} 1\r\nPING\r\n").as_bytes())
}

/// Some bytes of the protocol, cut anywhere.
fn part(client: &mut Client, part: &[u8], now_ns: u64, tally: &mut Tally) -> Result<(), String> {
    let mut rest = part;
    let mut begun = std::mem::take(&mut client.nats.begun);
    while !begun.is_empty() {
        match find(&begun)? {
            Found::Whole(said, _) => {
                hear(client, &said, now_ns, tally)?;
                begun.clear();
            }
            Found::Missing(_) if rest.is_empty() => break,
            Found::Missing(bytes) => {
                let (first, others) = rest.split_at(bytes.min(rest.len()));
                begun.extend_from_slice(first);
                rest = others;
            }
        }
    }
    client.nats.begun = begun;
    while !rest.is_empty() {
        let Found::Whole(said, used) = find(rest)? else { break };
        hear(client, &said, now_ns, tally)?;
        rest = &rest[used..];
    }
    client.nats.begun.extend_from_slice(rest);
    Ok(())
}

#[inline]
fn hear(client: &mut Client, said: &Said<'_>, now_ns: u64, tally: &mut Tally) -> Result<(), String> {
    match said {
        Said::Message(payload) if client.stage == Stage::Live => {
            let mark = tally.mark(Codec::Json, payload);
            tally.event(&mut client.sequence, client.channel, mark, now_ns);
        }
        Said::Message(_) => return Err("protocol: a message before the subscription was confirmed".to_owned()),
        Said::Info if client.stage == Stage::Greeting => return send(client, CONNECT),
        Said::Pong if client.stage == Stage::Greeting => client.welcome(now_ns, tally),
        Said::Pong if client.stage == Stage::Subscribing => client.live(now_ns, tally),
        Said::Ping => return send(client, b"PONG\r\n"),
        Said::Error(error) => return Err(format!("error {error}")),
        Said::Info | Said::Pong | Said::Ok => {}
    }
    Ok(())
}

#[inline]
fn find(bytes: &[u8]) -> Result<Found<'_>, String> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return if bytes.len() > LINE_BYTES_MAX {
            Err("protocol: an endless line".to_owned())
        } else {
            Ok(Found::Missing(1))
        };
    };
    let (line, start) = (bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]), end + 1);
    if let Some(arguments) = line.strip_prefix(b"MSG ") {
        let size = arguments.rsplit(|byte| *byte == b' ').next().and_then(number);
        let size =
            size.ok_or_else(|| format!("protocol: a message of no size: `{}`", String::from_utf8_lossy(line)))?;
        let whole = start + size + 2;
        return Ok(match bytes.get(start..start + size) {
            Some(payload) if bytes.len() >= whole => Found::Whole(Said::Message(payload), whole),
            _ => Found::Missing(whole - bytes.len()),
        });
    }
    let said = match line {
        b"PING" => Said::Ping,
        b"PONG" => Said::Pong,
        b"+OK" => Said::Ok,
        [b'I', b'N', b'F', b'O', b' ', ..] => Said::Info,
        [b'-', b'E', b'R', b'R', b' ', reason @ ..] => Said::Error(std::str::from_utf8(reason).unwrap_or("not UTF-8")),
        other => return Err(format!("protocol: `{}`", String::from_utf8_lossy(other))),
    };
    Ok(Found::Whole(said, start))
}

/// A size in decimal digits; nothing that is sent here is of more than nine.
#[inline]
fn number(digits: &[u8]) -> Option<usize> {
    let is_number = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

fn send(client: &Client, bytes: &[u8]) -> Result<(), String> {
    client.send(&client_frame(BINARY, bytes, rand::random()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::dialect::Dialect;
    use crate::dialect::testing::{RUN, client, event, frame, sent};
    use crate::websocket::CLOSE;

    /// As nats-server 2.9.10 says it.
    const INFO: &[u8] = br#"INFO {"server_id":"NAMLB3TN","server_name":"NAMLB3TN","version":"2.9.10","proto":1,"go":"go1.19.8","host":"127.0.0.1","port":24222,"headers":true,"max_payload":1048576,"client_id":4,"client_ip":"127.0.0.1"} "#;

    fn messages(seqs: std::ops::Range<u64>) -> Vec<u8> {
        seqs.map(event).flat_map(|event| format!("MSG load 1 {}\r\n{event}\r\n", event.len()).into_bytes()).collect()
    }

    #[test]
    fn from_info_to_messages() {
        let (mut client, mut peer) = client(Dialect::Nats, Stage::Upgrading);
        let mut tally = Tally::new(RUN);
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec();
        bytes.extend(frame(BINARY, &[INFO, b"\r\n"].concat()));
        assert_eq!(client.consume(&bytes, 1, &mut tally), Ok(bytes.len()));
        let (opcode, said) = sent(&mut peer);
        assert_eq!((opcode, said.starts_with(b"CONNECT {"), said.ends_with(b"}\r\nPING\r\n")), (BINARY, true, true));
        client.consume(&frame(BINARY, b"PONG\r\n"), 2, &mut tally).unwrap();
        assert_eq!((client.stage, tally.progress.welcomed), (Stage::Welcome, 1));
        client.subscribe("channel:load", 3, &mut tally).unwrap();
        assert_eq!(sent(&mut peer), (BINARY, b"SUB load 1\r\nPING\r\n".to_vec()));
        let bytes = frame(BINARY, &[b"PONG\r\n".as_slice(), &messages(0..3)].concat());
        assert_eq!(client.consume(&bytes, 4, &mut tally), Ok(bytes.len()));
        assert_eq!((client.stage, tally.progress.received), (Stage::Live, 3));
        client.consume(&frame(BINARY, b"PING\r\n"), 5, &mut tally).unwrap();
        assert_eq!(sent(&mut peer), (BINARY, b"PONG\r\n".to_vec()));
    }

    #[test]
    fn messages_are_cut_by_frames_and_frames_by_reads_anywhere() {
        let stream = messages(0..4);
        for cut in 1..stream.len() {
            let bytes = [frame(BINARY, &stream[..cut]), frame(BINARY, &stream[cut..])].concat();
            for step in [1, 7, 200, bytes.len()] {
                let (mut client, _peer) = client(Dialect::Nats, Stage::Live);
                let mut tally = Tally::new(RUN);
                let mut carry = Vec::new();
                for chunk in bytes.chunks(step) {
                    carry.extend_from_slice(chunk);
                    let used = client.consume(&carry, 0, &mut tally).unwrap();
                    carry.drain(..used);
                }
                assert_eq!(tally.progress.received, 4, "cut at {cut}, read by {step}");
                assert_eq!(tally.report().counts, crate::orders::Counts::default());
                assert!(client.nats.begun.is_empty() && carry.is_empty());
            }
        }
    }

    #[test]
    fn what_is_refused_ends_the_connection() {
        let closed = frame(CLOSE, &[&1002_u16.to_be_bytes(), b"Protocol Violation".as_slice()].concat());
        for (bytes, told) in [
            (frame(BINARY, b"-ERR 'Authorization Violation'\r\n"), "error 'Authorization Violation'"),
            (frame(BINARY, b"MSG load 1 x\r\n"), "protocol: a message of no size: `MSG load 1 x`"),
            (frame(BINARY, b"NONSENSE\r\n"), "protocol: `NONSENSE`"),
            (closed, "close 1002 Protocol Violation"),
        ] {
            let (mut client, _peer) = client(Dialect::Nats, Stage::Live);
            assert_eq!(client.consume(&bytes, 0, &mut Tally::new(RUN)), Err(told.to_owned()));
        }
    }
}
