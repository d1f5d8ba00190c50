#![doc = include_str!("../README.md")]
//!
//! | item | what it is for |
//! |---|---|
//! | [`Publisher`], [`Event`], [`Keep`] | publish one event, ephemeral or durable |
//! | [`Publication`], [`Publisher::publish_all`] | publish many, with a result for each |
//! | [`Worker`], [`Request`], [`RequestError`] | answer clients' requests |
//! | `token` (feature `tokens`) | mint the tokens that clients connect with |
//! | [`Tenant`], [`Topic`], [`Position`] | the words of the contract, checked once |

mod address;
mod backoff;
mod batch;
mod connection;
mod event;
mod keyspace;
mod link;
mod publish_error;
mod publisher;
#[cfg(feature = "tokens")]
pub mod token;
mod trace;
mod worker;

pub use fanfare_protocol::{EnvelopeError, Position, Tenant, TenantError, Topic, TopicError};

pub use address::AddressError;
pub use batch::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Publication, Published};
pub use connection::Connection;
pub use event::Event;
pub use keyspace::{PREFIX_BYTES_MAX, PrefixError};
pub use publish_error::PublishError;
pub use publisher::{ConnectError, EVENT_BYTES_MAX_DEFAULT, Keep, Publisher, TIMEOUT_DEFAULT};
pub use worker::{
    CLAIM_AFTER_MIN, CONCURRENCY_DEFAULT, GROUP_DEFAULT, Request, RequestError, Stopped, Worker, WorkerBuilder,
    WorkerError,
};
