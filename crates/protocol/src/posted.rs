//! What a backend posts to be published: one envelope, or many at once. Deliberately without judgement of topics and
//! envelopes: each item is judged by itself, so one mistake doesn't hold up the others.

use std::borrow::Cow;

use bytes::Bytes;

use crate::client_frame::{Fields, Wrong};
use crate::codec::Codec;
use crate::raw::{Entries, Raw};

/// A request's body that publishes to the topic in its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// An envelope, or what is no envelope either: [`crate::Event::from_envelope`] says why.
    One(Bytes),
    /// `{"events":[envelope,…]}`.
    Many(Vec<Bytes>),
}

/// One of `{"events":[{"topic","event","durable"?,"id"?},…]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedItem {
    /// The topic, as it was written.
    pub topic: String,
    /// The envelope's own bytes.
    pub event: Bytes,
    /// Whether it shall be kept, if the item says so.
    pub durable: Option<bool>,
    /// The idempotency id.
    pub id: Option<String>,
}

/// Why one item can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ItemError {
    /// Its topic, as it was written, when that much could be read.
    pub topic: Option<String>,
    /// What is wrong, for people.
    pub message: String,
}

/// Why a body is no list of events that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostedError {
    /// `{"events":[…]}` was expected.
    #[error("the body must be {{\"events\":[…]}} with one item at least")]
    NoEvents,
    /// There are more than are taken at once.
    #[error("the body has {0} events")]
    TooMany(usize),
}

impl Posted {
    /// Takes a body. One with a `type` is an envelope, whatever else it has.
    ///
    /// # Errors
    /// When `events` stands where no envelope is, and is no list of 1 to `events_max` items.
    pub fn read(codec: Codec, body: Bytes, events_max: usize) -> Result<Posted, PostedError> {
        let entries = Raw::parse_map(codec, &body).unwrap_or_default();
        let has = |name: &str| entries.iter().any(|(field, _)| field == name);
        if has("type") || !has("events") {
            return Ok(Posted::One(body));
        }
        let items = events(entries, events_max)?;
        Ok(Posted::Many(items.into_iter().map(|item| body.slice_ref(item.bytes())).collect()))
    }
}

impl PostedItem {
    /// Takes a body with items of many topics.
    ///
    /// # Errors
    /// When it has no list of 1 to `events_max` items.
    pub fn read_all(
        codec: Codec,
        body: &Bytes,
        events_max: usize,
    ) -> Result<Vec<Result<PostedItem, ItemError>>, PostedError> {
        let entries = Raw::parse_map(codec, body).ok_or(PostedError::NoEvents)?;
        Ok(events(entries, events_max)?.into_iter().map(|item| PostedItem::read(item, body)).collect())
    }

    fn read(item: Raw<'_>, body: &Bytes) -> Result<PostedItem, ItemError> {
        let expected = || ItemError { topic: None, message: "an item must be {\"topic\",\"event\"}".to_owned() };
        let fields = Fields(item.entries().ok_or_else(expected)?);
        let read = || -> Result<PostedItem, Wrong> {
            Ok(PostedItem {
                topic: fields.topic()?,
                event: body.slice_ref(fields.required("event")?.bytes()),
                durable: fields.optional("durable")?.map(|_| fields.flag("durable")).transpose()?,
                id: fields.optional_text("id")?.map(Cow::into_owned),
            })
        };
        let topic = || fields.optional_text("topic").ok().flatten().map(Cow::into_owned);
        read().map_err(|message| ItemError { topic: topic(), message })
    }
}

fn events(entries: Entries<'_>, events_max: usize) -> Result<Vec<Raw<'_>>, PostedError> {
    // Lists that stand twice are none.
    let events = Fields(entries).optional("events").ok().flatten();
    let items = events.and_then(Raw::items).filter(|items| !items.is_empty()).ok_or(PostedError::NoEvents)?;
    if items.len() > events_max { Err(PostedError::TooMany(items.len())) } else { Ok(items) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::{Value, json};

    use super::*;

    fn both(value: &Value) -> [(Codec, Bytes); 2] {
        [
            (Codec::Json, serde_json::to_vec(value).unwrap().into()),
            (Codec::Msgpack, rmp_serde::to_vec(value).unwrap().into()),
        ]
    }

    fn encoded(codec: Codec, value: &Value) -> Bytes {
        both(value).into_iter().find(|(of, _)| *of == codec).unwrap().1
    }

    #[test]
    fn an_envelope_is_one_and_a_list_of_them_many() {
        for envelope in [json!({"type": "t"}), json!({"type": "t", "events": [1]}), json!({"data": 1}), json!([1])] {
            for (codec, body) in both(&envelope) {
                assert_eq!(Posted::read(codec, body.clone(), 9), Ok(Posted::One(body)));
            }
        }
        for (codec, body) in both(&json!({"events": [{"type": "a"}, 7]})) {
            let expected = vec![encoded(codec, &json!({"type": "a"})), encoded(codec, &json!(7))];
            assert_eq!(Posted::read(codec, body.clone(), 2), Ok(Posted::Many(expected)));
            assert_eq!(Posted::read(codec, body.clone(), 1), Err(PostedError::TooMany(2)));
            assert_eq!(PostedItem::read_all(codec, &body, 1), Err(PostedError::TooMany(2)));
        }
        for nothing in [json!({"events": []}), json!({"events": {}}), json!({"events": null})] {
            for (codec, body) in both(&nothing) {
                assert_eq!(Posted::read(codec, body, 9), Err(PostedError::NoEvents), "{nothing}");
            }
        }
        let twice = Bytes::from_static(br#"{"events":[1],"events":[2]}"#);
        assert_eq!(Posted::read(Codec::Json, twice, 9), Err(PostedError::NoEvents));
    }

    #[test]
    fn one_bad_item_is_told_by_itself() {
        let body = json!({"events": [
            {"topic": "tenant", "event": {"type": "a"}, "durable": true, "id": "7"},
            {"topic": "channel:a", "event": {"type": "b"}},
            {"topic": "channel:a"},
            {"topic": "channel:a", "event": {}, "durable": 1},
            {"topic": 7, "event": {}},
            "nothing",
        ]});
        for (codec, body) in both(&body) {
            let items = PostedItem::read_all(codec, &body, 9).unwrap();
            let expected = PostedItem {
                topic: "tenant".to_owned(),
                event: encoded(codec, &json!({"type": "a"})),
                durable: Some(true),
                id: Some("7".to_owned()),
            };
            assert_eq!(items[0], Ok(expected));
            assert_eq!(items[1].as_ref().unwrap().durable, None);
            let errors = items[2..].iter().map(|item| item.clone().unwrap_err());
            let errors: Vec<_> = errors.map(|error| (error.topic, error.message)).collect();
            let of_a = Some("channel:a".to_owned());
            assert_eq!(errors[0], (of_a.clone(), "`event` is missing".to_owned()));
            assert_eq!(errors[1], (of_a, "`durable` must be true or false".to_owned()));
            assert_eq!(errors[2], (None, "`topic` must be a string".to_owned()));
            assert_eq!(errors[3].1, "an item must be {\"topic\",\"event\"}");
        }
        for (codec, body) in both(&json!({"type": "a"})) {
            assert_eq!(PostedItem::read_all(codec, &body, 9), Err(PostedError::NoEvents));
        }
    }
}
