//! Clients' requests on their way to backends, as the backplane takes them: an entry of the tenant's stream, which backends
//! read with consumer groups. Deliberately without answers: those come over a channel like any other message.

use std::str::FromStr;

use fanfare_protocol::{Method, RequestId, Tenant, TopicKey};

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Whose stream it goes to.
    pub tenant: &'a Tenant,
    /// Under which its answer is known.
    pub id: RequestId,
    /// What it is for.
    pub method: &'a Method,
    /// JSON.
    pub data: &'a [u8],
    /// Who asks.
    pub user: &'a str,
    /// Over which connection; empty without one.
    pub connection: &'a str,
    /// The channel for the answer, which must be confirmed.
    pub reply_to: &'a TopicKey,
    /// When nobody waits for the answer any more, in Unix ms.
    pub deadline_ms: u64,
    /// The caller's trace.
    pub traceparent: Option<&'a str>,
    /// How many entries the stream keeps, at least about; the oldest go first, taken or not.
    pub maxlen: u64,
}

/// Where an entry stands in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    ms: u64,
    seq: u64,
}

impl FromStr for EntryId {
    type Err = ();

    fn from_str(text: &str) -> Result<EntryId, ()> {
        let (ms, seq) = text.split_once('-').ok_or(())?;
        Ok(EntryId { ms: ms.parse().map_err(drop)?, seq: seq.parse().map_err(drop)? })
    }
}
