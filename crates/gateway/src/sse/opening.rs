//! What the client of a new stream asks for: topics, and where it stood when an earlier stream ended.

use fanfare_protocol::SubscribeItem;
use hyper::HeaderMap;
use percent_encoding::percent_decode_str;

use super::cursor::Cursor;

/// Topics of one stream, beside its client's own.
pub(super) const TOPICS_MAX: usize = 32;

const LAST_EVENT_ID: &str = "last-event-id";

/// A request for a stream, read. Whether the client may have the topics is judged later.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opening {
    /// As they were written, each once.
    pub(super) topics: Vec<String>,
    /// Where an earlier stream stood; empty for a new client.
    pub(super) cursor: Cursor,
}

/// Why a request can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("a stream has {TOPICS_MAX} topics at most: open another one")]
    TooManyTopics,
    #[error("the topics are not UTF-8 when percent-decoded")]
    Topics,
    #[error("Last-Event-ID is not the id of a message of an earlier stream")]
    Cursor,
}

impl Opening {
    /// From `topics` (comma separated), `topic` (for a name that has a comma) and `last_event_id`; the header
    /// `Last-Event-ID` is newer than a parameter of an address that stays. Parameters that are not known are ignored.
    pub(super) fn read(query: &str, headers: &HeaderMap) -> Result<Self, Unreadable> {
        let mut topics: Vec<String> = Vec::new();
        let mut last_event_id = None;
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let mut add = |topic: &str| {
                // One more than it may be is enough to know that.
                if topics.len() <= TOPICS_MAX && !topics.iter().any(|known| known == topic) {
                    topics.push(topic.to_owned());
                }
            };
            // A plus is a plus: a space can't stand in a topic, nor in a cursor.
            let decoded = percent_decode_str(value).decode_utf8();
            match (name, decoded) {
                ("topics", Ok(list)) => list.split(',').filter(|topic| !topic.is_empty()).for_each(&mut add),
                ("topic", Ok(topic)) => add(&topic),
                ("topics" | "topic", Err(_)) => return Err(Unreadable::Topics),
                ("last_event_id", decoded) => {
                    last_event_id = Some(decoded.map_err(|_| Unreadable::Cursor)?.into_owned());
                }
                _ => {}
            }
            if topics.len() > TOPICS_MAX {
                return Err(Unreadable::TooManyTopics);
            }
        }
        if let Some(header) = headers.get(LAST_EVENT_ID) {
            last_event_id = Some(header.to_str().map_err(|_| Unreadable::Cursor)?.to_owned());
        }
        let cursor = match last_event_id.filter(|id| !id.is_empty()) {
            Some(id) => Cursor::parse(&id).ok_or(Unreadable::Cursor)?,
            None => Cursor::default(),
        };
        Ok(Self { topics, cursor })
    }

    /// The topics, each with what the client has of it.
    pub(super) fn items(&self) -> Vec<SubscribeItem> {
        let item = |topic: &String| SubscribeItem {
            topic: topic.clone(),
            since: self.cursor.position(topic).map(|position| position.to_string()),
            presence: false,
        };
        self.topics.iter().map(item).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use fanfare_protocol::Position;

    use super::*;

    fn topics(query: &str) -> Result<Vec<String>, Unreadable> {
        Opening::read(query, &HeaderMap::new()).map(|opening| opening.topics)
    }

    #[test]
    fn topics_are_listed_repeated_and_percent_encoded() {
        assert_eq!(topics("").unwrap(), [""; 0]);
        assert_eq!(topics("topics=&token=x").unwrap(), [""; 0]);
        assert_eq!(topics("topics=channel:a,channel:b").unwrap(), ["channel:a", "channel:b"]);
        let encoded = topics("topics=channel%3Aa%2Cchannel%3Ab%C3%A9&other=1&topics=tenant,&mytopics=x").unwrap();
        assert_eq!(encoded, ["channel:a", "channel:bé", "tenant"]);
        assert_eq!(topics("topic=channel:a,b&topic=channel:c%2Cd").unwrap(), ["channel:a,b", "channel:c,d"]);
        assert_eq!(topics("topics=channel:1+1,channel:2%2B2").unwrap(), ["channel:1+1", "channel:2+2"]);
        assert_eq!(topics("topics=%ff"), Err(Unreadable::Topics));
        assert_eq!(topics("topics=tenant,tenant&topic=tenant").unwrap(), ["tenant"]);
        let many = |count| (0..count).map(|number| format!("channel:{number}")).collect::<Vec<_>>().join(",");
        assert_eq!(topics(&format!("topics={}", many(32))).unwrap().len(), 32);
        assert_eq!(topics(&format!("topics={}", many(33))), Err(Unreadable::TooManyTopics));
        assert_eq!(topics(&format!("topics={}&topic=tenant", many(32))), Err(Unreadable::TooManyTopics));
    }

    #[test]
    fn the_header_is_newer_than_the_address() {
        let cursor = |seq| {
            let mut cursor = Cursor::default();
            cursor.advance("tenant", Position { epoch: 1, seq });
            cursor
        };
        let read = |query: &str, header: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(LAST_EVENT_ID, header.parse().unwrap());
            }
            Opening::read(query, &headers).map(|opening| opening.cursor)
        };
        let (one, two) = (cursor(1), cursor(2));
        let query = format!("last_event_id={one}");
        assert_eq!(read(&query, None).as_ref(), Ok(&one));
        assert_eq!(read(&query, Some(&two.to_string())).as_ref(), Ok(&two));
        assert_eq!(read("last_event_id=", Some("")), Ok(Cursor::default()));
        for (query, header) in [("last_event_id=7", None), ("last_event_id=%ff", None), (&query, Some("7"))] {
            assert_eq!(read(query, header), Err(Unreadable::Cursor));
        }
    }
}
