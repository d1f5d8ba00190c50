//! Where a stream stands in all of its topics, as one opaque text: the `id:` of its messages, and what a client gives back
//! to go on from there. It belongs to no node and vouches for nothing: what it claims is judged as any `since` is.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fanfare_protocol::Position;

/// The first byte: how the rest is to be read.
const VERSION: u8 = 1;

/// Stands for a topic, whose name could have 200 bytes: the beginning of its SHA-256. By accident no two of a stream's
/// topics are alike, and who makes two alike on purpose confuses only itself.
type Mark = [u8; 8];

/// Mark, epoch and seq.
const PLACE_BYTES: usize = 24;

/// Topics and the positions in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    places: Vec<(Mark, Position)>,
}

impl Cursor {
    /// Reads the text back; none when it is no cursor.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (&version, bytes) = bytes.split_first()?;
        let (places, rest) = bytes.as_chunks::<PLACE_BYTES>();
        if version != VERSION || !rest.is_empty() {
            return None;
        }
        let mut cursor = Self::default();
        for place in places {
            let (mark, numbers) = place.split_first_chunk::<8>()?;
            let (epoch, numbers) = numbers.split_first_chunk::<8>()?;
            let seq = numbers.first_chunk::<8>()?;
            if cursor.place(*mark).is_some() {
                return None;
            }
            let position = Position { epoch: u64::from_be_bytes(*epoch), seq: u64::from_be_bytes(*seq) };
            cursor.places.push((*mark, position));
        }
        Some(cursor)
    }

    /// Where it stands in `topic`.
    pub(super) fn position(&self, topic: &str) -> Option<Position> {
        self.place(mark(topic))
    }

    /// From now on it stands at `position` in `topic`; says whether that is news.
    pub(super) fn advance(&mut self, topic: &str, position: Position) -> bool {
        let mark = mark(topic);
        if let Some((_, known)) = self.places.iter_mut().find(|(known, _)| *known == mark) {
            return std::mem::replace(known, position) != position;
        }
        self.places.push((mark, position));
        true
    }

    /// What it knows of these topics, and no others: so it never grows beyond those of one stream.
    pub(super) fn of<'a>(&self, topics: impl IntoIterator<Item = &'a str>) -> Self {
        let mut kept = Self::default();
        for topic in topics {
            if let Some(position) = self.position(topic) {
                kept.advance(topic, position);
            }
        }
        kept
    }

    fn place(&self, mark: Mark) -> Option<Position> {
        self.places.iter().find(|(known, _)| *known == mark).map(|(_, position)| *position)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(1 + self.places.len() * PLACE_BYTES);
        bytes.push(VERSION);
        for (mark, position) in &self.places {
            bytes.extend_from_slice(mark);
            bytes.extend_from_slice(&position.epoch.to_be_bytes());
            bytes.extend_from_slice(&position.seq.to_be_bytes());
        }
        formatter.write_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

fn mark(topic: &str) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(&digest(&SHA256, topic.as_bytes()).as_ref()[..8]);
    mark
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic_and_what_is_taken_prints_the_same(text in "[A-Za-z0-9_-]{0,80}|\\PC{0,40}") {
            if let Some(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }

        #[test]
        fn whatever_stands_in_a_cursor_survives(places in proptest::collection::btree_map("[a-z]{1,9}", any::<(u64, u64)>(), 0..40)) {
            let mut cursor = Cursor::default();
            for (topic, (epoch, seq)) in &places {
                cursor.advance(topic, at(*epoch, *seq));
            }
            let read = Cursor::parse(&cursor.to_string());
            prop_assert_eq!(read.as_ref(), Some(&cursor));
        }
    }

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch, seq }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut cursor = Cursor::default();
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor.clone()));
        assert!(cursor.advance("tenant", Position::NONE));
        assert!(cursor.advance("channel:a", at(u64::MAX, 7)));
        assert!(cursor.advance("channel:a", at(u64::MAX, 8)));
        assert!(!cursor.advance("channel:a", at(u64::MAX, 8)));
        let read = Cursor::parse(&cursor.to_string());
        assert_eq!(read.as_ref(), Some(&cursor));
        let read = read.unwrap_or_default();
        assert_eq!(read.position("tenant"), Some(Position::NONE));
        assert_eq!(read.position("channel:a"), Some(at(u64::MAX, 8)));
        assert_eq!(read.position("channel:b"), None);
        let kept = read.of(["channel:b", "channel:a"]);
        assert_eq!((kept.position("tenant"), kept.position("channel:a")), (None, Some(at(u64::MAX, 8))));
    }

    #[test]
    fn whatever_else_comes_is_refused() {
        let mut cursor = Cursor::default();
        cursor.advance("tenant", at(1, 2));
        let good = cursor.to_string();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&good).unwrap_or_default();
        let twice = BASE64_URL_SAFE_NO_PAD.encode([&bytes[..], &bytes[1..]].concat());
        let other_version = BASE64_URL_SAFE_NO_PAD.encode([&[VERSION + 1], &bytes[1..]].concat());
        for bad in ["", "1-2", "é", &good[1..], &good[..good.len() - 2], &format!("{good}="), &twice, &other_version] {
            assert_eq!(Cursor::parse(bad), None, "{bad:?}");
        }
    }
}
