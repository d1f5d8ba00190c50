//! Frames become messages of an event stream (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), and what a
//! careful WebSocket client would do with them is done here: where the stream stands is kept, and what didn't fit into one
//! answer is asked for. Deliberately no judgement of what is sent.

use std::borrow::Cow;
use std::collections::HashSet;

use fanfare_core::frame;
use fanfare_protocol::{Position, SubscribeItem};
use serde::Deserialize;

use super::cursor::Cursor;

/// A frame that becomes a comment: a stream's client has no way to answer it, and it tells an application nothing.
const PING: &[u8] = br#"{"op":"ping"}"#;

/// The comment.
const HEARTBEAT: &[u8] = b": ping\n\n";

/// The messages of one stream.
#[derive(Debug)]
pub(super) struct Messages {
    cursor: Cursor,
    /// Topics of which more has to be asked for. Their live events come with the answer.
    behind: HashSet<Box<str>>,
}

/// What follows from a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// There is more than fitted into an answer: to be asked for.
    AskOn(SubscribeItem),
    /// The rest of a topic can't be had now. The client would miss it if the stream went on.
    Stuck,
}

/// What matters here of a frame, and of a topic in the `topics` of `welcome`.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow, default)]
    op: Cow<'a, str>,
    #[serde(borrow, default)]
    topic: Cow<'a, str>,
    position: Option<String>,
    #[serde(default)]
    events: Vec<Kept>,
    #[serde(default)]
    more: bool,
    #[serde(borrow, default)]
    topics: Vec<Told<'a>>,
}

#[derive(Deserialize)]
struct Kept {
    position: String,
}

impl Messages {
    /// Of a stream that goes on from `cursor`.
    pub(super) fn new(cursor: Cursor) -> Self {
        Self { cursor, behind: HashSet::new() }
    }

    /// Appends to `out` what `frames`, some whole ones, become. Returns what follows from them.
    pub(super) fn put(&mut self, mut frames: &[u8], out: &mut Vec<u8>) -> Vec<Reaction> {
        let mut reactions = Vec::new();
        while let Some(frame) = frame::parse(frames) {
            frames = &frames[frame.len..];
            // A close frame says what `disconnect` has said.
            if frame.is_data {
                self.put_message(frame.payload, out, &mut reactions);
            }
        }
        reactions
    }

    fn put_message(&mut self, payload: &[u8], out: &mut Vec<u8>, reactions: &mut Vec<Reaction>) {
        if payload == PING {
            out.extend_from_slice(HEARTBEAT);
            return;
        }
        let mut is_changed = false;
        if let Ok(told) = serde_json::from_slice::<Told<'_>>(payload) {
            let is_behind = self.behind.contains(&*told.topic);
            match &*told.op {
                "event" if is_behind && told.position.is_some() => return,
                "event" | "gap" if !is_behind => is_changed = self.advance(&told),
                "error" if is_behind => reactions.push(Reaction::Stuck),
                "subscribed" => is_changed = self.stand(&told, reactions),
                "welcome" => {
                    for topic in &told.topics {
                        is_changed |= self.stand(topic, reactions);
                    }
                }
                _ => {}
            }
        }
        // White space between the values of an event may have line breaks, which a message has not.
        for line in payload.split(|byte| matches!(byte, b'\n' | b'\r')) {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        if is_changed {
            out.extend_from_slice(format!("id: {}\n", self.cursor).as_bytes());
        }
        out.push(b'\n');
    }

    fn advance(&mut self, told: &Told<'_>) -> bool {
        position(told.position.as_deref()).is_some_and(|position| self.cursor.advance(&told.topic, position))
    }

    /// The answer to a `since`: all is told up to its position, or up to its last event when there is more.
    fn stand(&mut self, told: &Told<'_>, reactions: &mut Vec<Reaction>) -> bool {
        if !told.more {
            self.behind.remove(&*told.topic);
            return self.advance(told);
        }
        let last = position(told.events.last().map(|event| event.position.as_str()));
        let Some(seen) = last.or_else(|| self.cursor.position(&told.topic)) else {
            reactions.push(Reaction::Stuck);
            return false;
        };
        self.behind.insert(Box::from(&*told.topic));
        let (topic, since) = (told.topic.clone().into_owned(), Some(seen.to_string()));
        reactions.push(Reaction::AskOn(SubscribeItem { topic, since, presence: false }));
        self.cursor.advance(&told.topic, seen)
    }
}

fn position(text: Option<&str>) -> Option<Position> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use fanfare_protocol::Codec;

    use super::*;

    fn put(messages: &mut Messages, frames: &[&str]) -> (String, Vec<Reaction>) {
        let mut wire = Vec::new();
        for text in frames {
            frame::put_message(&mut wire, Codec::Json, text.as_bytes());
        }
        let mut out = Vec::new();
        let reactions = messages.put(&wire, &mut out);
        (String::from_utf8(out).unwrap(), reactions)
    }

    fn id(places: &[(&str, &str)]) -> String {
        let mut cursor = Cursor::default();
        for (topic, position) in places {
            cursor.advance(topic, position.parse().unwrap());
        }
        format!("id: {cursor}\n")
    }

    fn ask_on(topic: &str, since: &str) -> Reaction {
        Reaction::AskOn(SubscribeItem { topic: topic.to_owned(), since: Some(since.to_owned()), presence: false })
    }

    #[test]
    fn an_id_stands_where_something_changed() {
        let mut messages = Messages::new(Cursor::default());
        let welcome = r#"{"op":"welcome","topics":[{"topic":"tenant","position":"1-0"}]}"#;
        let subscribed = r#"{"op":"subscribed","topic":"channel:a","position":"2-0"}"#;
        let (text, reactions) = put(&mut messages, &[welcome, subscribed]);
        let (one, two) = (id(&[("tenant", "1-0")]), id(&[("tenant", "1-0"), ("channel:a", "2-0")]));
        assert_eq!(text, format!("data: {welcome}\n{one}\ndata: {subscribed}\n{two}\n"));
        assert_eq!(reactions, []);
        // An ephemeral event changes nothing, whatever its envelope claims.
        let ephemeral = r#"{"op":"event","topic":"channel:a","event":{"type":"t","position":"2-9"}}"#;
        assert_eq!(put(&mut messages, &[ephemeral]).0, format!("data: {ephemeral}\n\n"));
        let three = id(&[("tenant", "1-0"), ("channel:a", "2-1")]);
        let durable = r#"{"op":"event","topic":"channel:a","position":"2-1","event":{"type":"t"}}"#;
        assert_eq!(put(&mut messages, &[durable]).0, format!("data: {durable}\n{three}\n"));
        let gap = r#"{"op":"gap","topic":"channel:a","lost":"all","reason":"expired","position":"3-4"}"#;
        let four = id(&[("tenant", "1-0"), ("channel:a", "3-4")]);
        assert_eq!(put(&mut messages, &[gap]).0, format!("data: {gap}\n{four}\n"));
    }

    #[test]
    fn line_breaks_in_an_event_stay_within_its_message() {
        let mut messages = Messages::new(Cursor::default());
        let event = "{\"op\":\"event\",\"topic\":\"channel:a\",\"event\":{\n\"type\":\r\n\"t\"}}";
        let lines =
            "data: {\"op\":\"event\",\"topic\":\"channel:a\",\"event\":{\ndata: \"type\":\ndata: \ndata: \"t\"}}\n\n";
        assert_eq!(put(&mut messages, &[event]).0, lines);
    }

    #[test]
    fn a_ping_is_a_comment_and_a_close_frame_is_nothing() {
        let mut messages = Messages::new(Cursor::default());
        assert_eq!(put(&mut messages, &[r#"{"op":"ping"}"#]).0, ": ping\n\n");
        let mut out = Vec::new();
        messages.put(&frame::close(4409, "token expired"), &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn what_did_not_fit_is_asked_for_and_live_events_come_with_the_answer() {
        let mut messages = Messages::new(Cursor::default());
        let page = r#"{"op":"subscribed","topic":"channel:a","position":"2-9","recovered":true,"more":true,
            "events":[{"position":"2-3","event":{"type":"t"}},{"position":"2-4","event":{"type":"t"}}]}"#;
        let (text, reactions) = put(&mut messages, &[page]);
        assert_eq!(reactions, [ask_on("channel:a", "2-4")]);
        assert!(text.ends_with(&format!("{}\n", id(&[("channel:a", "2-4")]))), "{text}");

        let event = |topic: &str, position: &str| {
            format!(r#"{{"op":"event","topic":"{topic}","position":"{position}","event":{{"type":"t"}}}}"#)
        };
        assert_eq!(put(&mut messages, &[&event("channel:a", "2-10")]).0, "");
        let ephemeral = r#"{"op":"event","topic":"channel:a","event":{"type":"t"}}"#;
        assert_eq!(put(&mut messages, &[ephemeral]).0, format!("data: {ephemeral}\n\n"));
        let other = id(&[("channel:a", "2-4"), ("channel:b", "5-1")]);
        assert!(put(&mut messages, &[&event("channel:b", "5-1")]).0.ends_with(&format!("{other}\n")));

        let rest = r#"{"op":"subscribed","topic":"channel:a","position":"2-10","recovered":true,"events":[]}"#;
        let (text, reactions) = put(&mut messages, &[rest]);
        assert!(text.ends_with(&format!("{}\n", id(&[("channel:a", "2-10"), ("channel:b", "5-1")]))), "{text}");
        assert_eq!(reactions, []);
        assert!(put(&mut messages, &[&event("channel:a", "2-11")]).0.starts_with("data: "));
    }

    #[test]
    fn own_topics_are_asked_on_too_and_a_rest_that_can_not_be_had_ends_the_stream() {
        let mut messages = Messages::new(Cursor::default());
        let welcome = r#"{"op":"welcome","topics":[{"topic":"tenant","position":"1-9","recovered":true,"more":true,
            "events":[{"position":"1-3","event":{"type":"t"}}]}]}"#;
        assert_eq!(put(&mut messages, &[welcome]).1, [ask_on("tenant", "1-3")]);
        let refused = r#"{"op":"error","topic":"channel:a","code":"unavailable","message":"later"}"#;
        assert_eq!(put(&mut messages, &[refused]).1, []);
        assert_eq!(put(&mut messages, &[&refused.replace("channel:a", "tenant")]).1, [Reaction::Stuck]);
    }
}
