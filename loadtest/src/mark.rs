//! The mark inside every event: which run, which channel, which number, and when it was meant to be sent. It has a
//! fixed width, so a reader finds it by a byte search and never parses the JSON around it.
//!
//! `{"type":"load","data":{"mark":"<run 8><channel 8><seq 16><intended ns 16>","pad":"…"}}`, all in hexadecimal. In
//! `MessagePack` the same map.

use anyhow::{Context as _, ensure};
use memchr::memmem;

/// What stands before a mark in JSON.
const LABEL_JSON: [u8; LABEL_BYTES] = *br#""mark":""#;
/// And in `MessagePack`: a map of two, the key of four bytes, a string of a length in one byte, 48 bytes long.
const LABEL_MSGPACK: [u8; LABEL_BYTES] = *b"\x82\xa4mark\xd9\x30";
const LABEL_BYTES: usize = 8;
const MARK_BYTES: usize = 48;
const HEAD: &str = r#"{"type":"load","data":{"mark":""#;
const MIDDLE: &str = r#"","pad":""#;
const TAIL: &str = r#""}}"#;

/// The smallest envelope that holds a mark.
pub(crate) const ENVELOPE_BYTES_MIN: usize = HEAD.len() + MARK_BYTES + MIDDLE.len() + TAIL.len();

/// What an event says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// A random number: events of another run on the same channel are told apart.
    pub(crate) run: u32,
    pub(crate) channel: u32,
    /// 0, 1, 2, … within its channel.
    pub(crate) seq: u64,
    /// When the event was due, on the machine's monotonic clock. Not when it was written: a publisher that falls
    /// behind must not hide its own delay.
    pub(crate) intended_ns: u64,
}

/// An envelope of a fixed size whose mark is overwritten for each event.
pub(crate) struct Envelope {
    bytes: Vec<u8>,
    mark_at: usize,
}

impl Envelope {
    pub(crate) fn new(envelope_bytes: usize) -> anyhow::Result<Self> {
        ensure!(
            envelope_bytes >= ENVELOPE_BYTES_MIN,
            "--bytes {envelope_bytes} is too small: an event needs at least {ENVELOPE_BYTES_MIN} bytes for its mark"
        );
        let padding = "x".repeat(envelope_bytes - ENVELOPE_BYTES_MIN);
        let mark = "0".repeat(MARK_BYTES);
        Ok(Self { bytes: [HEAD, &mark, MIDDLE, &padding, TAIL].concat().into_bytes(), mark_at: HEAD.len() })
    }

    /// The same event in `MessagePack`; its size is that of the JSON.
    pub(crate) fn msgpack(envelope_bytes: usize) -> anyhow::Result<Self> {
        let event: serde_json::Value = serde_json::from_slice(&Self::new(envelope_bytes)?.bytes)?;
        let bytes = rmp_serde::to_vec_named(&event)?;
        let label = memmem::find(&bytes, &LABEL_MSGPACK).context("no mark in MessagePack")?;
        Ok(Self { bytes, mark_at: label + LABEL_BYTES })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The envelope of this event, ready to publish.
    pub(crate) fn stamped(&mut self, mark: Mark) -> &[u8] {
        let at = self.mark_at;
        put_hex(&mut self.bytes[at..at + 8], u64::from(mark.run));
        put_hex(&mut self.bytes[at + 8..at + 16], u64::from(mark.channel));
        put_hex(&mut self.bytes[at + 16..at + 32], mark.seq);
        put_hex(&mut self.bytes[at + 32..at + 48], mark.intended_ns);
        &self.bytes
    }
}

/// Finds marks in one encoding. It remembers where the last one stood: on one topic they all stand at the same place.
pub(crate) struct MarkFinder {
    label: [u8; LABEL_BYTES],
    search: memmem::Finder<'static>,
    guess: usize,
}

impl MarkFinder {
    /// In JSON.
    pub(crate) fn new() -> Self {
        Self::of(LABEL_JSON)
    }

    pub(crate) fn msgpack() -> Self {
        Self::of(LABEL_MSGPACK)
    }

    fn of(label: [u8; LABEL_BYTES]) -> Self {
        Self { label, search: memmem::Finder::new(&label).into_owned(), guess: 0 }
    }

    /// The mark in this frame, or `None` when it carries none.
    #[inline]
    pub(crate) fn find(&mut self, frame: &[u8]) -> Option<Mark> {
        let guessed = frame.get(self.guess..self.guess + LABEL_BYTES) == Some(&self.label);
        if !guessed {
            self.guess = self.search.find(frame)?;
        }
        let at = self.guess + LABEL_BYTES;
        let text: &[u8; MARK_BYTES] = frame.get(at..at + MARK_BYTES)?.try_into().ok()?;
        let (words, _) = text.as_chunks::<8>();
        let [run, channel, seq_high, seq_low, ns_high, ns_low] = words else { return None };
        Some(Mark {
            run: hex(*run),
            channel: hex(*channel),
            seq: u64::from(hex(*seq_high)) << 32 | u64::from(hex(*seq_low)),
            intended_ns: u64::from(hex(*ns_high)) << 32 | u64::from(hex(*ns_low)),
        })
    }
}

fn put_hex(out: &mut [u8], value: u64) {
    let mut rest = value;
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[usize::from(rest.to_le_bytes()[0] & 0xf)];
        rest >>= 4;
    }
}

/// Eight hexadecimal digits at once: each byte becomes its nibble, then neighbours are joined. A byte that is no digit
/// gives a wrong number, which the run number then exposes.
#[inline]
fn hex(digits: [u8; 8]) -> u32 {
    let text = u64::from_be_bytes(digits);
    let letters = (text >> 6) & 0x0101_0101_0101_0101;
    let nibbles = (text & 0x0f0f_0f0f_0f0f_0f0f) + letters * 9;
    let bytes = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let halves = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    let joined = (halves | halves >> 16).to_le_bytes();
    u32::from_le_bytes([joined[0], joined[1], joined[2], joined[3]])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    const MARK: Mark =
        Mark { run: 0xdead_beef, channel: 9_999, seq: 0x0123_4567_89ab_cdef, intended_ns: 987_654_321_012_345 };

    #[test]
    fn a_mark_survives_the_way_through_a_frame() {
        let mut envelope = Envelope::new(128).unwrap();
        let text = std::str::from_utf8(envelope.stamped(MARK)).unwrap().to_owned();
        assert_eq!(text.len(), 128);
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let frame = format!(r#"{{"op":"event","topic":"channel:load","event":{text}}}"#);
        let mut finder = MarkFinder::new();
        assert_eq!(finder.find(frame.as_bytes()), Some(MARK));
        assert_eq!(finder.find(frame.as_bytes()), Some(MARK), "by the remembered place");
    }

    #[test]
    fn a_mark_is_found_in_message_pack() {
        let mut envelope = Envelope::msgpack(128).unwrap();
        let event: serde_json::Value = rmp_serde::from_slice(envelope.stamped(MARK)).unwrap();
        assert_eq!(event.to_string().len(), 128, "as JSON");
        let frame = rmp_serde::to_vec_named(&serde_json::json!({"op": "event", "event": event})).unwrap();
        let mut finder = MarkFinder::msgpack();
        assert_eq!(finder.find(&frame), Some(MARK));
        assert_eq!(finder.find(&frame), Some(MARK), "by the remembered place");
        assert_eq!(MarkFinder::new().find(&frame), None);
    }

    #[test]
    fn a_mark_that_moved_is_found_again() {
        let mut envelope = Envelope::new(200).unwrap();
        let text = std::str::from_utf8(envelope.stamped(MARK)).unwrap().to_owned();
        let mut finder = MarkFinder::new();
        for topic in ["channel:load-9", "channel:load-10", "channel:load-9"] {
            let frame = format!(r#"{{"op":"event","topic":"{topic}","event":{text}}}"#);
            assert_eq!(finder.find(frame.as_bytes()), Some(MARK));
        }
    }

    #[test]
    fn a_frame_without_a_mark_has_none() {
        let mut finder = MarkFinder::new();
        assert_eq!(finder.find(b""), None);
        assert_eq!(finder.find(br#"{"op":"event","event":{"type":"other"}}"#), None);
        assert_eq!(finder.find(br#"{"mark":"0123"}"#), None, "cut short");
    }

    #[test]
    fn an_envelope_too_small_for_its_mark_is_refused() {
        assert!(Envelope::new(ENVELOPE_BYTES_MIN).is_ok());
        let error = Envelope::new(ENVELOPE_BYTES_MIN - 1).err().unwrap().to_string();
        assert!(error.contains("at least"), "{error}");
    }
}
