//! What a node says to a client, except events: those are put together from the publisher's bytes, live ones by
//! [`crate::event_frame`], those in answers by [`crate::kept`] and [`crate::assemble`].
//! Who is there is put together by [`crate::presence`].

use serde::Serialize;

use crate::close_code::CloseCode;
use crate::codec::Codec;
use crate::error_code::ErrorCode;
use crate::position::Position;

/// The version of the contract, as `welcome` tells it.
pub const PROTOCOL_VERSION: u32 = 1;

/// A frame. Fields that are absent are left out, never sent as null.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// The first frame after authentication. To this is added `topics`, a list of [`TopicState`].
    Welcome {
        /// [`PROTOCOL_VERSION`].
        version: u32,
        /// What this node can do beyond the minimum.
        features: &'a [&'a str],
        /// The connection's id, which an envelope's `except` may name.
        connection: &'a str,
        /// The node's id.
        node: &'a str,
        /// The token's tenant.
        tenant: &'a str,
        /// The token's user.
        user: &'a str,
        /// When the token expires, Unix ms.
        expires_at: u64,
        /// The node's clock, Unix ms.
        server_time: u64,
        /// A connection that was silent for so long, in ms, is pinged.
        ping_ms: u64,
        /// What the client must keep to.
        limits: Limits,
    },
    /// A topic is subscribed; its events follow. To this is added `events`, a list of [`crate::Kept`].
    Subscribed {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// Where the topic stands.
        #[serde(flatten)]
        state: TopicState<'a>,
    },
    /// A page of a topic's history. To this is added `events`, a list of [`crate::Kept`], oldest first.
    History {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The topic.
        topic: &'a str,
        /// Whether there are older ones.
        more: bool,
    },
    /// Who is there. To the answer of a request is added `users`, a list of [`crate::presence::Present`]; without one, only
    /// how many users there are is told.
    Presence {
        /// The request's id; none when the client didn't ask.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The topic.
        topic: &'a str,
        /// How many users there are in all.
        count: u64,
        /// Where the list goes on, if it does.
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    },
    /// A user has come. To this is added `info`, if there is any.
    Joined {
        /// The topic.
        topic: &'a str,
        /// The user.
        user: &'a str,
    },
    /// A user has left. To this is added `info`, if there is any.
    Left {
        /// The topic.
        topic: &'a str,
        /// The user.
        user: &'a str,
    },
    /// A topic is no longer subscribed.
    Unsubscribed {
        /// The request's id; none when the client didn't ask.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The topic.
        topic: &'a str,
        /// Why, when the client didn't ask.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<ErrorCode>,
    },
    /// An event is published.
    Published {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// Where it stands, if it is durable.
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
    },
    /// A backend has answered. To this is added `data`: see [`crate::reply_frame`].
    Reply {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
    },
    /// A new token is in force.
    Renewed {
        /// When it expires, Unix ms.
        expires_at: u64,
    },
    /// A frame was refused; the connection lives on.
    Error {
        /// The request's id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The topic, as the client wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<&'a str>,
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        message: &'a str,
    },
    /// Events of a topic may be missing.
    Gap {
        /// The topic.
        topic: &'a str,
        /// Which kind of events.
        lost: Lost,
        /// Why.
        reason: GapReason,
        /// The last position before the gap.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<Position>,
        /// The position after which all is complete again.
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
    },
    /// The node is about to close the connection.
    Disconnect {
        /// The code that the close frame will have.
        code: CloseCode,
        /// Why.
        reason: &'a str,
        /// Whether the client should connect again by itself: [`CloseCode::reconnect`].
        reconnect: bool,
        /// How long it should wait before, in ms. Already spread over the clients.
        after_ms: u64,
    },
    /// Whether the client is still there.
    Ping,
    /// The answer to a client's ping.
    Pong,
}

/// What a client must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// The longest message to the node, in bytes.
    pub message_bytes: u64,
    /// The most subscriptions of a connection.
    pub subscriptions: u64,
    /// The most frames to the node in a minute.
    pub frames_per_minute: u64,
    /// The most events that it may publish in a minute.
    pub publishes_per_minute: u64,
    /// How many bytes may wait for a slow client.
    pub outbox_bytes: u64,
}

/// A topic that is subscribed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicState<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Where it stands: no event at or before it will come. [`Position::NONE`] when that is not known.
    pub position: Position,
    /// True when only durable events are published here, so that recovered is all there was.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub durable: bool,
    /// Whether all that came after `since` was recovered; only when there was a `since`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<GapReason>,
    /// True when there is more than fits: ask on from the last of the events.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// Which events may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// Those that are only ever sent to who is connected.
    Ephemeral,
    /// Any.
    All,
}

/// Why a stretch can't be proven complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The node's connection to Redis was replaced.
    Backplane,
    /// History doesn't go back so far.
    Expired,
    /// The topic's history was broken.
    Epoch,
    /// A stored event is not valid.
    Invalid,
}

impl TopicState<'_> {
    /// The map, as it stands in the `topics` of `welcome`, without `events`.
    pub fn encode(&self, codec: Codec) -> Vec<u8> {
        encode(self, codec)
    }
}

impl ServerFrame<'_> {
    /// A `disconnect` with the code's own reason.
    pub fn disconnect(code: CloseCode, after_ms: u64) -> ServerFrame<'static> {
        ServerFrame::Disconnect { code, reason: code.reason(), reconnect: code.reconnect(), after_ms }
    }

    /// The frame's bytes, without a WebSocket header.
    pub fn encode(&self, codec: Codec) -> Vec<u8> {
        encode(self, codec)
    }
}

fn encode(value: &impl Serialize, codec: Codec) -> Vec<u8> {
    let encoded = match codec {
        Codec::Json => serde_json::to_vec(value).ok(),
        Codec::Msgpack => rmp_serde::to_vec_named(value).ok(),
    };
    debug_assert!(encoded.is_some(), "frames have no value that an encoding doesn't know");
    encoded.unwrap_or_default()
}
