//! The frames of the contract as far as a client that comes back looks into them. What is unknown is ignored, as the
//! contract asks.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(crate) struct Frame<'a> {
    pub(crate) op: Cow<'a, str>,
    #[serde(default)]
    pub(crate) id: Option<u64>,
    #[serde(default)]
    pub(crate) topic: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) position: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) recovered: Option<bool>,
    #[serde(default)]
    pub(crate) lost: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) reason: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) more: bool,
    #[serde(borrow, default)]
    pub(crate) events: Vec<Kept<'a>>,
    #[serde(borrow, default)]
    pub(crate) event: Option<&'a RawValue>,
    /// A word in `error`, a number in `disconnect`.
    #[serde(default)]
    pub(crate) code: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) message: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) after_ms: Option<u64>,
}

/// An event of the history.
#[derive(Deserialize)]
pub(crate) struct Kept<'a> {
    pub(crate) position: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) event: &'a RawValue,
}

/// `<epoch>-<seq>`, as much of it as a client may know: the contract lets it compare positions of one epoch by itself only
/// to leave out what it has had.
pub(crate) fn split(position: &str) -> Option<(&str, u64)> {
    let (epoch, seq) = position.split_once('-')?;
    Some((epoch, seq.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn frames_are_read_with_what_they_have() {
        let frame: Frame<'_> = serde_json::from_str(
            r#"{"op":"subscribed","id":3,"topic":"channel:a","position":"7-2","recovered":true,"new":[1],
                "events":[{"position":"7-2","event":{"type":"x","data":{"a":1}}}]}"#,
        )
        .unwrap();
        assert_eq!(
            (frame.op.as_ref(), frame.id, frame.recovered, frame.more),
            ("subscribed", Some(3), Some(true), false)
        );
        assert_eq!(frame.events[0].event.get(), r#"{"type":"x","data":{"a":1}}"#);
        let frame: Frame<'_> = serde_json::from_str(r#"{"op":"welcome","topics":[{"topic":"tenant"}]}"#).unwrap();
        assert!(frame.topic.is_none() && frame.events.is_empty());
        assert_eq!(split("1763688000000000-12"), Some(("1763688000000000", 12)));
        assert_eq!(split("x"), None);
    }
}
