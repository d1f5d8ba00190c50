//! The contract of Fanfare as types: what stands on a Redis channel, what clients and nodes say to each other, and
//! the words both are made of. Bytes in, checked values out, and back.
//!
//! It deliberately has no I/O, no clock and no task: whoever holds the bytes calls it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`topic`] | tenants, topics, and the key that joins them |
//! | [`pattern`] | the patterns of a token's permissions |
//! | [`position`] | where a durable event stands in its topic |
//! | [`posted`] | what a backend posts: one envelope or many |
//! | [`payload`] | the outer shape of a message on a Redis channel |
//! | [`envelope`] | the rules an envelope must keep, and why one was refused |
//! | [`event`] | a checked envelope, its bytes untouched |
//! | [`transcode`] | JSON to `MessagePack` and back |
//! | [`presence`] | who is there, and who comes and goes |
//! | [`client_frame`] | what a client says |
//! | [`server_frame`] | what a node says, except events |
//! | [`event_frame`] | the frame an event travels in |
//! | [`request`] | what a client asks a backend |
//! | [`answer`] | what a backend answers |
//! | [`traceparent`] | the trace that an event or a request belongs to |
//! | [`close_code`] | why a connection ended |
//! | [`error_code`] | why a frame was refused |
//!
//! ```
//! use bytes::Bytes;
//! use fanfare_protocol::{Event, TopicKey, event_frame_json};
//!
//! let key = TopicKey::parse("acme:channel:orders")?;
//! let event = Event::decode(Bytes::from_static(br#"@17-4 {"type":"order.updated","data":{"total":1.10}}"#), 65_536)?;
//! let mut frame = Vec::new();
//! event_frame_json(&mut frame, key.topic(), &event, None);
//! assert_eq!(
//!     frame,
//!     br#"{"op":"event","topic":"channel:orders","position":"17-4","event":{"type":"order.updated","data":{"total":1.10}}}"#
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod answer;
pub mod assemble;
pub mod client_frame;
pub mod close_code;
pub mod codec;
pub mod envelope;
mod envelope_json;
mod envelope_msgpack;
pub mod error_code;
pub mod event;
pub mod event_frame;
mod json;
pub mod kept;
mod msgpack;
pub mod pattern;
pub mod payload;
pub mod position;
pub mod posted;
pub mod presence;
mod raw;
pub mod request;
pub mod server_frame;
pub mod topic;
pub mod traceparent;
pub mod transcode;

pub use answer::{Answer, AnswerError, BackendError, reply_frame};
pub use client_frame::{ClientFrame, FrameError, SubscribeItem};
pub use close_code::CloseCode;
pub use codec::Codec;
pub use envelope::EnvelopeError;
pub use error_code::ErrorCode;
pub use event::Event;
pub use event_frame::{event_frame_json, event_frame_msgpack};
pub use kept::Kept;
pub use pattern::{Pattern, PatternError, Patterns};
pub use payload::Payload;
pub use position::{Position, PositionError};
pub use posted::{ItemError, Posted, PostedError, PostedItem};
pub use presence::{Change, Info, InfoError, Present};
pub use request::{DataError, Method, MethodError, RequestId};
pub use server_frame::{GapReason, Limits, Lost, PROTOCOL_VERSION, ServerFrame, TopicState};
pub use topic::{ChannelKind, Tenant, TenantError, Topic, TopicError, TopicKey, TopicKind};
pub use traceparent::Traceparent;
pub use transcode::{json_to_msgpack, msgpack_to_json};
