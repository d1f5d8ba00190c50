//! Who is there: what stands on a topic's presence channel when a user comes or goes, and what clients are told of it. The
//! user's info is JSON from the token, carried as it is. Deliberately without who keeps the list: the backplane does.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::assemble;
use crate::codec::Codec;
use crate::envelope::ENVELOPE_DEPTH_MAX;
use crate::json::is_deeper_than;
use crate::server_frame::ServerFrame;
use crate::topic::Topic;
use crate::transcode::checked_json_to_msgpack;
use crate::{json, msgpack};

/// The longest info, in bytes of JSON.
pub const INFO_BYTES_MAX: usize = 1_024;

/// What is known of a user beside the id: one JSON value, at most [`INFO_BYTES_MAX`] long and 64 levels deep.
#[derive(Clone, PartialEq, Eq)]
pub struct Info(Arc<str>);

/// Why a text is no info.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    /// It is too long.
    #[error("has {bytes} bytes of JSON; at most {INFO_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is nested too deep.
    #[error("is nested in more than {ENVELOPE_DEPTH_MAX} levels")]
    TooDeep,
    /// It is no JSON.
    #[error("is no JSON")]
    NoJson,
}

/// A user who is there, as the list in a `presence` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present<'a> {
    /// The user's id.
    pub user: &'a str,
    /// What is known of the user.
    pub info: Option<&'a Info>,
}

/// A user comes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Comes, or goes.
    pub is_joined: bool,
    /// The user's id.
    pub user: Box<str>,
    /// What is known of the user.
    pub info: Option<Info>,
    /// How many users there are from now on.
    pub count: u64,
}

/// `{"op":"joined","user","info"?,"count"}`.
#[derive(Deserialize)]
struct Message<'a> {
    op: &'a str,
    user: Box<str>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    count: u64,
}

impl Info {
    /// Takes JSON text. White space around it doesn't count.
    pub fn parse(text: &str) -> Result<Info, InfoError> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        if text.len() > INFO_BYTES_MAX {
            return Err(InfoError::TooLong { bytes: text.len() });
        }
        if is_deeper_than(ENVELOPE_DEPTH_MAX, text.as_bytes()) {
            return Err(InfoError::TooDeep);
        }
        serde_json::from_str::<&RawValue>(text).map_err(|_| InfoError::NoJson)?;
        Ok(Info(text.into()))
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The JSON text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    fn encode(&self, codec: Codec) -> Vec<u8> {
        match codec {
            Codec::Json => self.0.as_bytes().to_vec(),
            Codec::Msgpack => checked_json_to_msgpack(self.0.as_bytes()),
        }
    }
}

impl fmt::Debug for Info {
    /// Only that there is one: it is about a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Info({} bytes)", self.0.len())
    }
}

impl Present<'_> {
    /// `{"user":…,"info"?:…}`.
    pub fn encode(&self, codec: Codec) -> Vec<u8> {
        let mut out = Vec::new();
        match codec {
            Codec::Json => {
                out.extend_from_slice(br#"{"user":"#);
                json::push(&mut out, self.user);
                out.push(b'}');
            }
            Codec::Msgpack => {
                msgpack::push_map(&mut out, 1);
                msgpack::push(&mut out, "user");
                msgpack::push(&mut out, self.user);
            }
        }
        add_info(codec, &mut out, self.info);
        out
    }
}

impl Change {
    /// Takes a message of a presence channel. None for what no node has written.
    pub fn decode(message: &[u8]) -> Option<Change> {
        let message: Message<'_> = serde_json::from_slice(message).ok()?;
        let is_joined = match message.op {
            "joined" => true,
            "left" => false,
            _ => return None,
        };
        Topic::user(&message.user).ok()?;
        let info = message.info.map(|info| Info::parse(info.get())).transpose().ok()?;
        Some(Change { is_joined, user: message.user, info, count: message.count })
    }

    /// What its frame has of it, in bytes.
    pub fn bytes(&self) -> usize {
        self.user.len() + self.info.as_ref().map_or(0, |info| info.0.len())
    }

    /// What clients are told, without a WebSocket header.
    pub fn frame(&self, topic: &str, codec: Codec) -> Vec<u8> {
        let user = &self.user;
        let frame =
            if self.is_joined { ServerFrame::Joined { topic, user } } else { ServerFrame::Left { topic, user } };
        let mut frame = frame.encode(codec);
        add_info(codec, &mut frame, self.info.as_ref());
        frame
    }
}

fn add_info(codec: Codec, map: &mut Vec<u8>, info: Option<&Info>) {
    if let Some(info) = info {
        assemble::add_field(codec, map, "info", &info.encode(codec));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::{Value, json};

    use super::*;

    fn both(encode: impl Fn(Codec) -> Vec<u8>) -> (String, Value) {
        let packed = encode(Codec::Msgpack);
        (String::from_utf8(encode(Codec::Json)).unwrap(), rmp_serde::from_slice(&packed).unwrap())
    }

    #[test]
    fn info_is_one_short_json_value() {
        for text in ["1", "null", "\"x\"", r#"{"b":1,"a":1.10}"#, &format!("\"{}\"", "x".repeat(1_022))] {
            assert_eq!(Info::parse(&format!(" {text}\n")).unwrap().as_str(), text);
        }
        assert_eq!(Info::parse(&format!("\"{}\"", "x".repeat(1_023))), Err(InfoError::TooLong { bytes: 1_025 }));
        assert_eq!(Info::parse(&("[".repeat(65) + &"]".repeat(65))), Err(InfoError::TooDeep));
        for text in ["", "x", "{", "1 2", "{} {}"] {
            assert_eq!(Info::parse(text), Err(InfoError::NoJson), "{text:?}");
        }
    }

    #[test]
    fn a_change_is_told_with_the_info_as_it_was_written() {
        let message = br#"{"op":"joined","user":"a\"b","info":{"z":1.10,"a":[]},"count":3}"#;
        let change = Change::decode(message).unwrap();
        assert_eq!((&*change.user, change.count, change.is_joined), ("a\"b", 3, true));
        let (json, packed) = both(|codec| change.frame("channel:x", codec));
        assert_eq!(json, r#"{"op":"joined","topic":"channel:x","user":"a\"b","info":{"z":1.10,"a":[]}}"#);
        assert_eq!(packed, serde_json::from_str::<Value>(&json).unwrap());
        let left = Change::decode(br#"{"op":"left","user":"7","count":0}"#).unwrap();
        let (json, packed) = both(|codec| left.frame("tenant", codec));
        assert_eq!(json, r#"{"op":"left","topic":"tenant","user":"7"}"#);
        assert_eq!(packed, json!({"op": "left", "topic": "tenant", "user": "7"}));
    }

    #[test]
    fn what_no_node_has_written_is_no_change() {
        for message in [
            "",
            "{}",
            "[]",
            r#"{"op":"joined","count":1}"#,
            r#"{"op":"came","user":"a","count":1}"#,
            r#"{"op":"joined","user":"a b","count":1}"#,
            r#"{"op":"joined","user":"","count":1}"#,
            r#"{"op":"joined","user":"a","count":-1}"#,
            &format!(r#"{{"op":"joined","user":"a","count":1,"info":"{}"}}"#, "x".repeat(1_023)),
        ] {
            assert_eq!(Change::decode(message.as_bytes()), None, "{message}");
        }
        assert_eq!(Change::decode(b"{\"op\":\"joined\",\"user\":\"\xff\",\"count\":1}"), None);
    }

    #[test]
    fn an_entry_of_the_list_has_its_info_or_none() {
        let info = Info::parse("[1.0,\"x\"]").unwrap();
        let (json, packed) = both(|codec| Present { user: "ana", info: Some(&info) }.encode(codec));
        assert_eq!(json, r#"{"user":"ana","info":[1.0,"x"]}"#);
        assert_eq!(packed, json!({"user": "ana", "info": [1.0, "x"]}));
        let (json, _) = both(|codec| Present { user: "ana", info: None }.encode(codec));
        assert_eq!(json, r#"{"user":"ana"}"#);
    }
}
