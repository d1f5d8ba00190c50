//! What stands between nodes: Redis for many, memory for one. It carries payloads by topic and tells what may have
//! been lost on the way.
//!
//! It deliberately doesn't look into a payload, and doesn't know clients, gaps or permissions.
//!
//! | module | what it holds |
//! |---|---|
//! | `backplane` | [`Backplane`]: want a topic, publish to it |
//! | `history` | [`Keep`], [`Read`], [`Tail`], [`Page`]: durable events |
//! | `request` | [`Request`]: clients' requests to backends |
//! | `inbox` | [`Inbox`]: the bounded queue of what arrives, in the backplane's order |
//! | `notice` | [`Notice`]: what stands in the inbox |
//! | `delivery` | [`Delivery`]: how far it lags behind |
//! | `state` | [`State`]: does the backplane work now? |
//! | `records` | what nodes share beside events: revoked tokens, [`NodeReport`] |
//! | `presence` | who is there: [`PresenceUsers`], [`PresencePage`] |
//! | `keyspace` | [`Prefix`] and the names of Redis channels |
//! | `memory` | the backplane inside one process |
//! | `redis` | the backplane over a Redis server |

mod backplane;
mod delivery;
mod history;
mod inbox;
mod keyspace;
mod memory;
mod notice;
mod presence;
mod records;
mod redis;
mod request;
mod state;

pub use backplane::{Backplane, PublishError};
pub use delivery::Delivery;
pub use history::{
    ENVELOPE_BYTES_MAX, ID_BYTES_MAX, Keep, MAXLEN_DEFAULT, Page, Read, ReadError, ReadLimits, Stored, TTL_DEFAULT,
    TTL_MIN, Tail,
};
pub use inbox::{INBOX_BYTES_MAX, Inbox, InboxLimits};
pub use keyspace::{PREFIX_BYTES_MAX, Prefix, PrefixError};
pub use notice::Notice;
pub use presence::{
    PRESENCE_USERS_MAX, PresenceCursor, PresenceCursorError, PresenceLimits, PresencePage, PresenceUser, PresenceUsers,
    Refreshed, Voucher,
};
pub use records::NodeReport;
pub use redis::{
    ClientCertificate, FunctionLibrary, FunctionLibraryError, RedisConfig, RedisFunctions, RedisScripting, RedisServer,
    RedisUrlError,
};
pub use request::{EntryId, Request};
pub use state::State;
