//! What a Fanfare node does with an event, without sockets, Redis or a clock of its own.
//!
//! - [`outbox`]: what a connection has yet to send, bounded; `queue` inside it, [`wire`] below it, [`Budget`] beside it
//! - [`session`]: a connection as the rest of the node sees it
//! - [`batch`]: the events of a topic that arrived together, framed once; [`frame`] is the framing
//! - [`topics`]: the node's table of topics; [`joins`]: who waits for a confirmation
//! - [`sequence`]: a topic's events in order, holes filled from its history
//! - [`recent`]: the newest durable events, for who comes back
//! - [`registry`]: who is subscribed in one shard; [`gaps`]: who has to be told of a loss
//! - [`admission`], [`rate`]: how many connections, how many frames
//! - [`wheel`], [`time`]: when

pub mod admission;
pub mod batch;
mod budget;
pub mod frame;
pub mod gaps;
pub mod joins;
pub mod outbox;
mod queue;
pub mod rate;
pub mod recent;
pub mod registry;
pub mod sequence;
pub mod session;
mod sync;
pub mod time;
pub mod topics;
pub mod wheel;
pub mod wire;

pub use batch::{Batch, Except, Member, Said, TopicId};
pub use budget::Budget;
pub use outbox::{Flush, Need, Outbox, Pushed};
pub use recent::Recent;
pub use registry::Registry;
pub use session::{Farewell, Session, SessionId};
pub use time::Millis;
pub use wire::{Deferred, Wire};
