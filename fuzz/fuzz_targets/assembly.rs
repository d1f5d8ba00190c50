//! Message assembly: a client's bytes in two pieces give the same messages as in one, no message is over the limit, text
//! is UTF-8, and what is announced is not allocated.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

// The gateway's own file, without the gateway: its TLS library alone takes minutes to build with a sanitizer.
#[path = "../../crates/gateway/src/assembler.rs"]
#[allow(dead_code)]
mod assembler;

use assembler::{Assembler, Message, Violation};

const MESSAGE_BYTES_MAX: usize = 1_000;

fuzz_target!(|input: &[u8]| {
    let Some((&cut, bytes)) = input.split_first() else { return };
    let whole = assemble(&[bytes]);
    let (head, tail) = bytes.split_at(usize::from(cut).min(bytes.len()));
    assert_eq!(whole, assemble(&[head, tail]), "the messages depend on where the bytes were cut");
    for message in whole.iter().flatten() {
        match message {
            Message::Text(text) => assert!(is_allowed(text) && std::str::from_utf8(text).is_ok()),
            Message::Binary(bytes) => assert!(is_allowed(bytes)),
            Message::Ping(payload) => assert!(payload.len() <= 125),
            Message::Pong | Message::Close(_) => {}
        }
    }
});

fn is_allowed(message: &Bytes) -> bool {
    message.len() <= MESSAGE_BYTES_MAX
}

fn assemble(pieces: &[&[u8]]) -> Vec<Result<Message, Violation>> {
    let mut assembler = Assembler::new(MESSAGE_BYTES_MAX);
    let mut messages = Vec::new();
    for piece in pieces {
        assembler.feed(piece);
        while let Some(message) = assembler.next_message() {
            let is_last = message.is_err();
            messages.push(message);
            if is_last {
                return messages;
            }
        }
    }
    messages
}
