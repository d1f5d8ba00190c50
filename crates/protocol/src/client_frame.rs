//! What a client says. Unknown fields are ignored and an unknown `op` is told apart, so that older nodes and newer
//! clients get along. Deliberately without judgement of what is asked: a topic arrives as the client wrote it, since a
//! wrong one gets an `error` with a code of its own.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::codec::Codec;
use crate::raw::{Entries, Raw};

/// A frame. Optional fields may be absent or null.
#[derive(Clone, PartialEq, Eq)]
pub enum ClientFrame {
    /// `{"op":"auth","token","since"?}`: the first frame, or a renewal.
    Auth {
        /// The JWT.
        token: String,
        /// Topics and the positions to resume from, as they were written.
        since: Vec<(String, String)>,
    },
    /// `{"op":"subscribe","id"?,"topic","since"?,"presence"?}` or `{"op":"subscribe","id"?,"topics":[…]}`.
    Subscribe {
        /// To be returned in the answer.
        id: Option<i64>,
        /// At least one.
        topics: Vec<SubscribeItem>,
        /// Whether they came as `topics`.
        many: bool,
    },
    /// `{"op":"unsubscribe","id"?,"topic"}`.
    Unsubscribe {
        /// To be returned in the answer.
        id: Option<i64>,
        /// The topic, as it was written.
        topic: String,
    },
    /// `{"op":"publish","id"?,"topic","event":{envelope},"durable"?}`.
    Publish {
        /// To be returned in the answer.
        id: Option<i64>,
        /// The topic, as it was written.
        topic: String,
        /// The value's own bytes in the frame's encoding. Not checked: [`crate::Event::from_envelope`] does.
        event: Bytes,
        /// Whether it shall be kept.
        durable: bool,
    },
    /// `{"op":"history","id"?,"topic","limit","before"?}`.
    History {
        /// To be returned in the answer.
        id: Option<i64>,
        /// The topic, as it was written.
        topic: String,
        /// How many events at most, one at least.
        limit: u64,
        /// Only events before this position, as it was written.
        before: Option<String>,
    },
    /// `{"op":"request","id","method","data"?,"timeout_ms"?,"traceparent"?}`.
    Request {
        /// To be returned in the answer, which can't be told from others without it: a frame has one.
        id: Option<i64>,
        /// The method, as it was written.
        method: String,
        /// The value's own bytes in the frame's encoding; none when it is absent or null.
        data: Option<Bytes>,
        /// How long the client waits, one at least.
        timeout_ms: Option<u64>,
        /// The client's trace, as it was written.
        traceparent: Option<String>,
    },
    /// `{"op":"presence","id"?,"topic","limit"?,"cursor"?}`.
    Presence {
        /// To be returned in the answer.
        id: Option<i64>,
        /// The topic, as it was written.
        topic: String,
        /// How many users at most, one at least.
        limit: Option<u64>,
        /// Where the list goes on, as it was written.
        cursor: Option<String>,
    },
    /// `{"op":"ping"}`.
    Ping,
    /// `{"op":"pong"}`.
    Pong,
    /// An `op` that this node doesn't know.
    Unknown {
        /// The `op`.
        op: String,
        /// To be returned in the answer.
        id: Option<i64>,
    },
}

/// One topic of a `subscribe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeItem {
    /// The topic, as it was written.
    pub topic: String,
    /// The position to resume from, as it was written.
    pub since: Option<String>,
    /// Whether the client wants to be told who comes and goes.
    pub presence: bool,
}

/// Why a message is no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not one map with one `op`: there is no telling what the client meant, so the connection is closed (4400).
    #[error("the message is not one JSON object or MessagePack map with an `op`")]
    Unparseable,
    /// A field is missing or wrong: an `error` with `bad_frame`, and the connection lives on.
    #[error("{message}")]
    Invalid {
        /// The frame's id, when that much could be read.
        id: Option<i64>,
        /// The frame's topic, as it was written, when that much could be read.
        topic: Option<String>,
        /// What is wrong, for people.
        message: String,
    },
}

impl ClientFrame {
    /// Takes a whole message. Its size is the caller's to limit.
    #[expect(clippy::needless_pass_by_value, reason = "a published event shares the memory of its message")]
    pub fn decode(codec: Codec, message: Bytes) -> Result<ClientFrame, FrameError> {
        let fields = Fields(Raw::parse_map(codec, &message).ok_or(FrameError::Unparseable)?);
        let op = fields.required_text("op").map_err(|_| FrameError::Unparseable)?;
        if op == "request" && matches!(fields.id(), Ok(None)) {
            return Err(FrameError::Invalid { id: None, topic: None, message: "`id` is missing".to_owned() });
        }
        fields.checked_frame(&op, &message)
    }

    /// Takes the fields of the frame `op` without `op` and `id`, as a client sends them where the way says which command
    /// it is and an answer needs no number. Should the two be there, they are ignored.
    #[expect(clippy::needless_pass_by_value, reason = "a published event shares the memory of its message")]
    pub fn decode_fields(codec: Codec, op: &str, message: Bytes) -> Result<ClientFrame, FrameError> {
        let mut entries = Raw::parse_map(codec, &message).ok_or(FrameError::Unparseable)?;
        entries.retain(|(name, _)| name != "op" && name != "id");
        Fields(entries).checked_frame(op, &message)
    }
}

impl fmt::Debug for ClientFrame {
    /// Everything but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientFrame::Auth { token: _, since } => {
                f.debug_struct("Auth").field("token", &"[hidden]").field("since", since).finish()
            }
            ClientFrame::Subscribe { id, topics, many } => {
                f.debug_struct("Subscribe").field("id", id).field("topics", topics).field("many", many).finish()
            }
            ClientFrame::Unsubscribe { id, topic } => {
                f.debug_struct("Unsubscribe").field("id", id).field("topic", topic).finish()
            }
            ClientFrame::Publish { id, topic, event, durable } => f
                .debug_struct("Publish")
                .field("id", id)
                .field("topic", topic)
                .field("event", event)
                .field("durable", durable)
                .finish(),
            ClientFrame::History { id, topic, limit, before } => f
                .debug_struct("History")
                .field("id", id)
                .field("topic", topic)
                .field("limit", limit)
                .field("before", before)
                .finish(),
            ClientFrame::Request { id, method, data, timeout_ms, traceparent } => f
                .debug_struct("Request")
                .field("id", id)
                .field("method", method)
                .field("data", data)
                .field("timeout_ms", timeout_ms)
                .field("traceparent", traceparent)
                .finish(),
            ClientFrame::Presence { id, topic, limit, cursor } => f
                .debug_struct("Presence")
                .field("id", id)
                .field("topic", topic)
                .field("limit", limit)
                .field("cursor", cursor)
                .finish(),
            ClientFrame::Ping => f.write_str("Ping"),
            ClientFrame::Pong => f.write_str("Pong"),
            ClientFrame::Unknown { op, id } => f.debug_struct("Unknown").field("op", op).field("id", id).finish(),
        }
    }
}

/// What is wrong with a field, for people.
pub(crate) type Wrong = String;

/// The fields of a frame, or of one item of a list.
pub(crate) struct Fields<'a>(pub(crate) Entries<'a>);

impl<'a> Fields<'a> {
    fn checked_frame(&self, op: &str, message: &Bytes) -> Result<ClientFrame, FrameError> {
        self.frame(op, message).map_err(|message| FrameError::Invalid {
            id: self.id().unwrap_or_default(),
            topic: self.optional_text("topic").ok().flatten().map(Cow::into_owned),
            message,
        })
    }

    fn frame(&self, op: &str, message: &Bytes) -> Result<ClientFrame, Wrong> {
        match op {
            "auth" => {
                Ok(ClientFrame::Auth { token: self.required_text("token")?.into_owned(), since: self.since_map()? })
            }
            "subscribe" => self.subscribe(),
            "unsubscribe" => Ok(ClientFrame::Unsubscribe { id: self.id()?, topic: self.topic()? }),
            "publish" => Ok(ClientFrame::Publish {
                id: self.id()?,
                topic: self.topic()?,
                event: message.slice_ref(self.required("event")?.bytes()),
                durable: self.flag("durable")?,
            }),
            "history" => Ok(ClientFrame::History {
                id: self.id()?,
                topic: self.topic()?,
                limit: self.required("limit").and_then(|limit| from_1(limit, "limit"))?,
                before: self.optional_text("before")?.map(Cow::into_owned),
            }),
            "presence" => Ok(ClientFrame::Presence {
                id: self.id()?,
                topic: self.topic()?,
                limit: self.optional("limit")?.map(|limit| from_1(limit, "limit")).transpose()?,
                cursor: self.optional_text("cursor")?.map(Cow::into_owned),
            }),
            "request" => self.request(message),
            "ping" => Ok(ClientFrame::Ping),
            "pong" => Ok(ClientFrame::Pong),
            _ => Ok(ClientFrame::Unknown { op: op.to_owned(), id: self.id()? }),
        }
    }

    fn subscribe(&self) -> Result<ClientFrame, Wrong> {
        let id = self.id()?;
        let Some(topics) = self.optional("topics")? else {
            return Ok(ClientFrame::Subscribe { id, topics: vec![self.subscribe_item()?], many: false });
        };
        if self.optional("topic")?.is_some() {
            return Err("`topic` and `topics` exclude each other".to_owned());
        }
        let items = topics.items().filter(|items| !items.is_empty());
        let items = items.ok_or("`topics` must be an array with one topic at least")?;
        let topics = items.into_iter().map(|item| {
            let fields = item.entries().ok_or("every one of `topics` must be a map with a `topic`")?;
            Fields(fields).subscribe_item()
        });
        Ok(ClientFrame::Subscribe { id, topics: topics.collect::<Result<_, _>>()?, many: true })
    }

    fn subscribe_item(&self) -> Result<SubscribeItem, Wrong> {
        Ok(SubscribeItem {
            topic: self.topic()?,
            since: self.optional_text("since")?.map(Cow::into_owned),
            presence: self.flag("presence")?,
        })
    }

    fn request(&self, message: &Bytes) -> Result<ClientFrame, Wrong> {
        Ok(ClientFrame::Request {
            id: self.id()?,
            method: self.required_text("method")?.into_owned(),
            data: self.optional("data")?.map(|data| message.slice_ref(data.bytes())),
            timeout_ms: self.optional("timeout_ms")?.map(|timeout| from_1(timeout, "timeout_ms")).transpose()?,
            traceparent: self.optional_text("traceparent")?.map(Cow::into_owned),
        })
    }

    /// The `since` of `auth`: a map of positions by topic.
    fn since_map(&self) -> Result<Vec<(String, String)>, Wrong> {
        let Some(since) = self.optional("since")? else {
            return Ok(Vec::new());
        };
        let expected = "`since` must be a map of topics to positions";
        let entries = since.entries().ok_or(expected)?.into_iter().filter(|(_, position)| !position.is_null());
        let texts = entries.map(|(topic, position)| Some((topic.into_owned(), position.text()?.into_owned())));
        texts.collect::<Option<_>>().ok_or_else(|| expected.to_owned())
    }

    fn id(&self) -> Result<Option<i64>, Wrong> {
        let read = |value: Raw<'_>| value.integer().ok_or("`id` must be an integer of 64 bits");
        Ok(self.optional("id")?.map(read).transpose()?)
    }

    pub(crate) fn topic(&self) -> Result<String, Wrong> {
        self.required_text("topic").map(Cow::into_owned)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Wrong> {
        let read = |value: Raw<'_>| value.boolean().ok_or_else(|| format!("`{name}` must be true or false"));
        Ok(self.optional(name)?.map(read).transpose()?.unwrap_or_default())
    }

    fn required_text(&self, name: &str) -> Result<Cow<'a, str>, Wrong> {
        self.optional_text(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    pub(crate) fn optional_text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Wrong> {
        let read = |value: Raw<'a>| value.text().ok_or_else(|| format!("`{name}` must be a string"));
        self.optional(name)?.map(read).transpose()
    }

    pub(crate) fn required(&self, name: &str) -> Result<Raw<'a>, Wrong> {
        self.optional(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    /// A field that is there and not null. Twice is refused: which one would the client mean?
    pub(crate) fn optional(&self, name: &str) -> Result<Option<Raw<'a>>, Wrong> {
        let mut found = self.0.iter().filter(|(field, _)| field == name);
        let value = found.next().map(|(_, value)| *value).filter(|value| !value.is_null());
        if found.next().is_some() { Err(format!("`{name}` stands twice")) } else { Ok(value) }
    }
}

/// An integer that is 1 at least.
fn from_1(value: Raw<'_>, name: &str) -> Result<u64, Wrong> {
    let number = value.integer().and_then(|number| u64::try_from(number).ok());
    number.filter(|&number| number > 0).ok_or_else(|| format!("`{name}` must be an integer from 1 on"))
}
