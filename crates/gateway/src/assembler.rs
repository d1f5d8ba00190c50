//! From a client's bytes to whole messages. Each frame's header is judged before anything is kept for it (RFC 6455 §5.2,
//! §5.5): what fastwebsockets would accept too kindly (unmasked frames, long control frames, a message that grows by
//! fragments) never reaches it. It then takes whole frames from memory: it unmasks, checks UTF-8, joins fragments.
//! Nothing is kept between messages, so an idle connection has no buffer. Deliberately without a socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use fanfare_protocol::CloseCode;
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Role, WebSocketError, after_handshake_split};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};

/// The longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// A message may have this many fragments, or as many as would be this long each.
const FRAGMENTS_MIN: usize = 1_024;
const FRAGMENT_BYTES: usize = 16;

/// Puts a client's bytes together to messages of at most `message_bytes_max` bytes.
pub struct Assembler {
    message_bytes_max: usize,
    /// Bytes that no whole frame has been made of yet.
    tail: BytesMut,
    /// Payload bytes of the fragments that wait for their last one.
    fragment_bytes: usize,
    in_fragments: bool,
    /// Fragments of the message so far: empty ones cost no bytes, but work.
    fragments: usize,
    parser: Option<Box<Parser>>,
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message, valid UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A protocol-level ping and its payload, to be sent back.
    Ping(Bytes),
    /// A protocol-level pong.
    Pong,
    /// A close frame and its code, if it has one.
    Close(Option<u16>),
}

/// How a client broke RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// §5.1: a client has to mask.
    #[error("frame is not masked")]
    Unmasked,
    /// §5.2: no extension was agreed.
    #[error("reserved bit set")]
    ReservedBit,
    /// §5.2: opcodes 3–7 and 11–15.
    #[error("reserved opcode {0}")]
    ReservedOpcode(u8),
    /// §5.2: the shortest form has to be used, and the top bit has to be 0.
    #[error("length not in its shortest form")]
    Length,
    /// §5.5.
    #[error("control frame is fragmented")]
    FragmentedControl,
    /// §5.5.
    #[error("control frame over 125 bytes")]
    LongControl,
    /// §5.4.
    #[error("continuation without a beginning, or a beginning inside a message")]
    Fragmentation,
    /// §5.5.1, §7.4.
    #[error("close frame with a code that must not be sent")]
    CloseCode,
    /// §8.1.
    #[error("text is not UTF-8")]
    Utf8,
    /// So fine that it can only be meant to cost work.
    #[error("message in too many fragments")]
    TooManyFragments,
    /// More than this node takes.
    #[error("message over {0} bytes")]
    TooLarge(usize),
}

impl Violation {
    /// The code that the connection is closed with (RFC 6455 §7.4.1).
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Utf8 => CloseCode::InvalidUtf8,
            Self::TooLarge(_) | Self::TooManyFragments => CloseCode::TooLarge,
            _ => CloseCode::Protocol,
        }
    }
}

impl Assembler {
    /// Nothing is allocated until bytes come.
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            tail: BytesMut::new(),
            fragment_bytes: 0,
            in_fragments: false,
            fragments: 0,
            parser: None,
        }
    }

    /// From the next frame on, messages may have so many bytes.
    pub fn allow(&mut self, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max;
    }

    /// Takes what came from the socket.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// The next whole message. After a violation nothing more may be asked.
    pub fn next_message(&mut self) -> Option<Result<Message, Violation>> {
        loop {
            let header = match Header::parse(&self.tail) {
                Ok(header) => header,
                Err(violation) => return Some(Err(violation)),
            };
            let whole = match header.map(|header| self.judge(header)) {
                Some(Err(violation)) => return Some(Err(violation)),
                Some(Ok(frame_bytes)) if frame_bytes <= self.tail.len() => self.tail.split_to(frame_bytes),
                _ => {
                    self.rest();
                    return None;
                }
            };
            if let Some(message) = self.parse(whole) {
                return Some(message);
            }
        }
    }

    /// What a header announces has to be allowed before its payload is awaited. Returns the frame's length.
    fn judge(&self, header: Header) -> Result<usize, Violation> {
        let Ok(payload) = usize::try_from(header.payload_bytes) else {
            return Err(Violation::TooLarge(self.message_bytes_max));
        };
        if header.is_control() {
            if !header.fin {
                return Err(Violation::FragmentedControl);
            }
            if payload > CONTROL_BYTES_MAX {
                return Err(Violation::LongControl);
            }
        } else {
            if (header.opcode == OpCode::Continuation) != self.in_fragments {
                return Err(Violation::Fragmentation);
            }
            if self.fragments > FRAGMENTS_MIN.max(self.message_bytes_max / FRAGMENT_BYTES) {
                return Err(Violation::TooManyFragments);
            }
            if payload > self.message_bytes_max - self.fragment_bytes.min(self.message_bytes_max) {
                return Err(Violation::TooLarge(self.message_bytes_max));
            }
        }
        Ok(header.len + payload)
    }

    /// Gives one whole, judged frame to the parser; `None` when it is not the last of its message.
    fn parse(&mut self, frame: BytesMut) -> Option<Result<Message, Violation>> {
        let header = Header::parse(&frame).ok().flatten()?;
        if !header.is_control() {
            self.in_fragments = !header.fin;
            self.fragments = if header.fin { 0 } else { self.fragments + 1 };
            self.fragment_bytes += frame.len() - header.len;
        }
        let parser = self.parser.get_or_insert_with(Parser::boxed);
        let message = match parser.parse(frame) {
            None => return None,
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Some(Err(violation(&error))),
        };
        let expected_bytes =
            if header.is_control() { message.payload.len() } else { std::mem::take(&mut self.fragment_bytes) };
        Some(judge_message(message, expected_bytes))
    }

    /// Between messages no buffer is kept.
    fn rest(&mut self) {
        if !self.in_fragments {
            self.parser = None;
        }
        if self.tail.is_empty() {
            self.tail = BytesMut::new();
        }
    }
}

/// A frame's header (RFC 6455 §5.2).
#[derive(Clone, Copy)]
struct Header {
    fin: bool,
    opcode: OpCode,
    /// Bytes of the header itself.
    len: usize,
    payload_bytes: u64,
}

impl Header {
    /// `None` while it is not all there.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBit);
        }
        let opcode = OpCode::try_from(first & 0x0f).map_err(|_| Violation::ReservedOpcode(first & 0x0f))?;
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        let (length_bytes, payload_bytes) = match second & 0x7f {
            126 => match rest.first_chunk() {
                Some(length) => (2, u64::from(u16::from_be_bytes(*length))),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(length) => (8, u64::from_be_bytes(*length)),
                None => return Ok(None),
            },
            short => (0, u64::from(short)),
        };
        let least = match length_bytes {
            2 => 126,
            8 => 65_536,
            _ => 0,
        };
        if payload_bytes < least || payload_bytes >> 63 != 0 {
            return Err(Violation::Length);
        }
        // Two bytes, the length, the mask.
        Ok(Some(Self { fin: first & 0x80 != 0, opcode, len: 2 + length_bytes + 4, payload_bytes }))
    }

    fn is_control(&self) -> bool {
        matches!(self.opcode, OpCode::Close | OpCode::Ping | OpCode::Pong)
    }
}

/// fastwebsockets over memory. It allocates 8 KiB when it is made, so it lives only as long as a message does.
struct Parser {
    source: Source,
    reader: FragmentCollectorRead<Source>,
}

/// Bytes of whole frames. At their end a reader waits instead of seeing an end.
#[derive(Clone, Default)]
struct Source(Arc<Mutex<BytesMut>>);

impl Parser {
    fn boxed() -> Box<Self> {
        let source = Source::default();
        let (mut reader, _) = after_handshake_split(source.clone(), tokio::io::sink(), Role::Server);
        reader.set_auto_close(false);
        reader.set_auto_pong(false);
        // The headers were judged already.
        reader.set_max_message_size(usize::MAX);
        Box::new(Self { source, reader: FragmentCollectorRead::new(reader) })
    }

    fn parse(&mut self, frame: BytesMut) -> Option<Result<Frame<'static>, WebSocketError>> {
        *self.source.0.lock() = frame;
        // Dropping a pending `read_frame` loses what it has read of a frame. Here it waits only at the end of a whole
        // frame, where it has read nothing of the next.
        self.reader.read_frame(&mut |_| async { Ok::<_, io::Error>(()) }).now_or_never()
    }
}

impl AsyncRead for Source {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut bytes = self.0.lock();
        if bytes.is_empty() {
            return Poll::Pending;
        }
        let count = bytes.len().min(into.remaining());
        into.put_slice(&bytes[..count]);
        bytes.advance(count);
        Poll::Ready(Ok(()))
    }
}

/// `expected_bytes`: what its frames carried. The fragment collector drops an incomplete character at the end of a
/// message, which shows as fewer bytes.
fn judge_message(frame: Frame<'static>, expected_bytes: usize) -> Result<Message, Violation> {
    let opcode = frame.opcode;
    let payload = Bytes::from(Vec::from(frame.payload));
    if payload.len() != expected_bytes {
        return Err(Violation::Utf8);
    }
    match opcode {
        OpCode::Text => Ok(Message::Text(payload)),
        OpCode::Binary => Ok(Message::Binary(payload)),
        OpCode::Ping => Ok(Message::Ping(payload)),
        OpCode::Pong => Ok(Message::Pong),
        OpCode::Close => judge_close(&payload),
        OpCode::Continuation => Err(Violation::Fragmentation),
    }
}

fn judge_close(payload: &[u8]) -> Result<Message, Violation> {
    match payload {
        [] => Ok(Message::Close(None)),
        [_] => Err(Violation::CloseCode),
        &[high, low, ref reason @ ..] => {
            let code = u16::from_be_bytes([high, low]);
            if !fastwebsockets::CloseCode::from(code).is_allowed() {
                return Err(Violation::CloseCode);
            }
            if std::str::from_utf8(reason).is_err() {
                return Err(Violation::Utf8);
            }
            Ok(Message::Close(Some(code)))
        }
    }
}

fn violation(error: &WebSocketError) -> Violation {
    match error {
        WebSocketError::InvalidUTF8 => Violation::Utf8,
        _ => Violation::Fragmentation,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// A client's frame, masked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 11, 13, 17];
        let mut out = vec![first];
        match payload.len() {
            len @ 0..=125 => out.push(0x80 | u8::try_from(len).unwrap()),
            len @ 126..=65_535 => {
                out.push(0xfe);
                out.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            len => {
                out.push(0xff);
                out.extend((len as u64).to_be_bytes());
            }
        }
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    fn all(bytes: &[u8]) -> Vec<Result<Message, Violation>> {
        let mut assembler = Assembler::new(1_024);
        assembler.feed(bytes);
        drain(&mut assembler)
    }

    fn drain(assembler: &mut Assembler) -> Vec<Result<Message, Violation>> {
        let mut messages = Vec::new();
        while let Some(message) = assembler.next_message() {
            let last = message.is_err();
            messages.push(message);
            if last {
                break;
            }
        }
        messages
    }

    fn text(text: &str) -> Result<Message, Violation> {
        Ok(Message::Text(Bytes::copy_from_slice(text.as_bytes())))
    }

    #[test]
    fn whole_messages_come_out_however_the_bytes_come_in() {
        let bytes =
            [frame(0x81, b"one"), frame(0x01, b"tw"), frame(0x89, b"hi"), frame(0x80, b"o"), frame(0x82, &[0; 300])];
        let bytes = bytes.concat();
        let expected =
            [text("one"), Ok(Message::Ping("hi".into())), text("two"), Ok(Message::Binary(vec![0; 300].into()))];
        assert_eq!(all(&bytes), expected);
        let mut assembler = Assembler::new(1_024);
        let mut messages = Vec::new();
        for byte in bytes {
            assembler.feed(&[byte]);
            messages.extend(drain(&mut assembler));
        }
        assert_eq!(messages, expected);
    }

    #[test]
    fn nothing_is_kept_between_messages() {
        let mut assembler = Assembler::new(1_024);
        assembler.feed(&frame(0x81, b"one"));
        drain(&mut assembler);
        assert!(assembler.parser.is_none());
        assert_eq!(assembler.tail.capacity(), 0);
    }

    #[test]
    fn every_violation_has_its_code() {
        let long_ping = frame(0x89, &[b'x'; 126]);
        let mut unmasked = frame(0x81, b"x");
        unmasked[1] &= 0x7f;
        let cases: Vec<(&str, Vec<u8>, Violation, u16)> = vec![
            ("unmasked", unmasked, Violation::Unmasked, 1002),
            ("reserved bit", frame(0xc1, b"x"), Violation::ReservedBit, 1002),
            ("reserved opcode", frame(0x83, b"x"), Violation::ReservedOpcode(3), 1002),
            ("long ping", long_ping, Violation::LongControl, 1002),
            ("fragmented ping", frame(0x09, b"x"), Violation::FragmentedControl, 1002),
            ("lone continuation", frame(0x80, b"x"), Violation::Fragmentation, 1002),
            ("message in a message", [frame(0x01, b"x"), frame(0x81, b"y")].concat(), Violation::Fragmentation, 1002),
            ("bad UTF-8", frame(0x81, &[0xff]), Violation::Utf8, 1007),
            ("bad UTF-8 in a fragment", frame(0x01, &[0xff]), Violation::Utf8, 1007),
            ("half a character", [frame(0x01, &[0xc3]), frame(0x80, b"")].concat(), Violation::Utf8, 1007),
            ("too large", frame(0x82, &[0; 1_025]), Violation::TooLarge(1_024), 1009),
            (
                "too large by fragments",
                [frame(0x02, &[0; 1_000]), frame(0x80, &[0; 25])].concat(),
                Violation::TooLarge(1_024),
                1009,
            ),
            (
                "endless empty fragments",
                [frame(0x02, b"x"), frame(0x00, b"").repeat(1_100)].concat(),
                Violation::TooManyFragments,
                1009,
            ),
            ("64 MiB announced", vec![0x82, 0xff, 0, 0, 0, 0, 4, 0, 0, 0], Violation::TooLarge(1_024), 1009),
            ("long form", vec![0x82, 0xfe, 0, 5], Violation::Length, 1002),
            ("top bit", vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], Violation::Length, 1002),
            ("close of one byte", frame(0x88, &[3]), Violation::CloseCode, 1002),
            ("close code 1005", frame(0x88, &[3, 237]), Violation::CloseCode, 1002),
            ("close code 999", frame(0x88, &[3, 231]), Violation::CloseCode, 1002),
            ("close reason", frame(0x88, &[3, 232, 0xff]), Violation::Utf8, 1007),
        ];
        for (name, bytes, expected, code) in cases {
            assert_eq!(all(&bytes).pop(), Some(Err(expected)), "{name}");
            assert_eq!(expected.close_code().as_u16(), code, "{name}");
        }
    }

    #[test]
    fn what_is_announced_is_not_allocated() {
        let mut assembler = Assembler::new(1 << 30);
        assembler.feed(&[0x82, 0xff, 0, 0, 0, 0, 0x3f, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(assembler.next_message(), None);
        assert!(assembler.tail.capacity() < 1_024);
    }

    #[test]
    fn a_message_of_exactly_the_limit_passes_and_a_character_may_be_split() {
        assert_eq!(all(&frame(0x82, &[1; 1_024])), [Ok(Message::Binary(vec![1; 1_024].into()))]);
        let split = [frame(0x01, &[0xc3]), frame(0x00, &[0xa9]), frame(0x80, b"!")].concat();
        assert_eq!(all(&split), [text("é!")]);
        assert_eq!(all(&frame(0x88, &[])), [Ok(Message::Close(None))]);
        assert_eq!(all(&frame(0x88, &[3, 232, b'b', b'y', b'e'])), [Ok(Message::Close(Some(1000)))]);
        assert_eq!(all(&frame(0x81, b"")), [text("")]);
    }
}
