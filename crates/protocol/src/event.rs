//! A checked envelope. The publisher's bytes stay as they came; beside them stands the little that a node reads.
//! Deliberately without a way to build an envelope, or to change more of one than to name its trace.

use std::ops::Range;

use bytes::{Buf, Bytes};

use crate::codec::Codec;
use crate::envelope::{EnvelopeError, Fields};
use crate::payload::{HEADER_BYTES_MAX, Payload, begins_msgpack_map};
use crate::position::Position;
use crate::traceparent::Traceparent;
use crate::{envelope_json, envelope_msgpack, json, msgpack, transcode};

/// How far a trace is searched for in what can't be decoded: whatever it is, it may be long.
const SEARCHED_BYTES_MAX: usize = 4_096;

/// An event whose envelope keeps the rules. A clone shares the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// How [`Event::envelope`] is encoded.
    pub codec: Codec,
    /// The publisher's bytes, without white space around JSON.
    pub envelope: Bytes,
    /// `type`: 1 to 200 bytes.
    pub event_type: Box<str>,
    /// `key`: to a slow client a newer event of the same topic and key replaces a waiting older one.
    pub key: Option<Box<str>>,
    /// `except`: the id of a connection that is left out.
    pub except: Option<Box<str>>,
    /// `at`: the publisher's time, Unix ms; none before 1970.
    pub at: Option<u64>,
    /// `traceparent`; none when what the publisher wrote doesn't follow W3C Trace Context.
    pub traceparent: Option<Traceparent>,
    /// Where a durable event stands; none for an ephemeral one.
    pub position: Option<Position>,
}

impl Event {
    /// Takes whatever stands on a Redis channel. The size is checked first, and of an envelope only: what a durable
    /// event has before it doesn't count.
    pub fn decode(payload: Bytes, envelope_bytes_max: usize) -> Result<Event, EnvelopeError> {
        Event::decode_traced(payload, envelope_bytes_max).map_err(|(error, _)| error)
    }

    /// The same. What can't be decoded is told with the trace that it seems to belong to.
    pub fn decode_traced(
        mut payload: Bytes,
        envelope_bytes_max: usize,
    ) -> Result<Event, (EnvelopeError, Option<Traceparent>)> {
        match looked_through(&payload, envelope_bytes_max) {
            Ok((position, codec, within, fields)) => {
                narrow(&mut payload, within);
                let traceparent = fields.traceparent;
                let event = fields.finish(codec, payload).map_err(|error| (error, traceparent))?;
                Ok(Event { position, ..event })
            }
            Err(error) => {
                let beginning = &payload[..payload.len().min(SEARCHED_BYTES_MAX)];
                Err((error, Traceparent::find(beginning)))
            }
        }
    }

    /// Takes an envelope whose encoding is known and that can't have a position: from the HTTP API or from a client.
    pub fn from_envelope(codec: Codec, mut envelope: Bytes, max: usize) -> Result<Event, EnvelopeError> {
        check_size(envelope.len(), max)?;
        if codec == Codec::Json {
            let within = range_within(&envelope, json::trim(&envelope));
            narrow(&mut envelope, within);
        }
        match (codec, envelope.first()) {
            (_, None) => Err(EnvelopeError::Empty),
            (Codec::Json, Some(b'{')) => check(codec, envelope),
            (Codec::Msgpack, Some(&byte)) if begins_msgpack_map(byte) => check(codec, envelope),
            _ => Err(EnvelopeError::NotAnEnvelope),
        }
    }

    /// The envelope in JSON: the publisher's own bytes, or a translation of them (see [`crate::transcode`]). A
    /// translation is made at every call, so callers keep what they get.
    pub fn envelope_json(&self) -> Bytes {
        match self.codec {
            Codec::Json => self.envelope.clone(),
            Codec::Msgpack => transcode::checked_msgpack_to_json(&self.envelope).into(),
        }
    }

    /// The envelope in `MessagePack`, likewise.
    pub fn envelope_msgpack(&self) -> Bytes {
        match self.codec {
            Codec::Json => transcode::checked_json_to_msgpack(&self.envelope).into(),
            Codec::Msgpack => self.envelope.clone(),
        }
    }

    /// `id`. It is read anew at every call, since next to nobody asks.
    pub fn id(&self) -> Option<Box<str>> {
        walk(self.codec, &self.envelope, Fields::with_id()).ok()?.id
    }

    /// The event with a trace of its own, if it has no `traceparent` yet and the envelope has room for one within `max`
    /// bytes. All other bytes of the envelope stay.
    #[must_use]
    pub fn in_trace(self, traceparent: Traceparent, max: usize) -> Event {
        let value = traceparent.to_string();
        let mut envelope = Vec::with_capacity(self.envelope.len() + Traceparent::FIELD_BYTES);
        match self.codec {
            Codec::Json => {
                envelope.extend_from_slice(br#"{"traceparent":""#);
                envelope.extend_from_slice(value.as_bytes());
                envelope.extend_from_slice(br#"","#);
                envelope.extend_from_slice(&self.envelope[1..]);
            }
            Codec::Msgpack => {
                let Some((pairs, rest)) = msgpack::split_map(&self.envelope) else { return self };
                msgpack::push_map(&mut envelope, pairs + 1);
                msgpack::push(&mut envelope, "traceparent");
                msgpack::push(&mut envelope, &value);
                envelope.extend_from_slice(rest);
            }
        }
        // It is refused when it is too large now, or had the field, be it null.
        match Event::from_envelope(self.codec, envelope.into(), max) {
            Ok(event) => Event { position: self.position, ..event },
            Err(_) => self,
        }
    }
}

/// A payload's position, its encoding, where its envelope is, and what that says.
type Seen = (Option<Position>, Codec, Range<usize>, Fields);

fn looked_through(payload: &Bytes, envelope_bytes_max: usize) -> Result<Seen, EnvelopeError> {
    let header_bytes_max = if payload.first() == Some(&b'@') { HEADER_BYTES_MAX } else { 0 };
    check_size(payload.len(), envelope_bytes_max.saturating_add(header_bytes_max))?;
    let Payload { position, codec, envelope } = Payload::split(payload)?;
    check_size(envelope.len(), envelope_bytes_max)?;
    Ok((position, codec, range_within(payload, envelope), walk(codec, envelope, Fields::default())?))
}

fn check_size(bytes: usize, max: usize) -> Result<(), EnvelopeError> {
    if bytes > max { Err(EnvelopeError::TooLarge { bytes, max }) } else { Ok(()) }
}

/// Where `part` lies in `whole`, of which it is a part.
fn range_within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// `slice` would count a second reference, which costs an allocation for bytes that come from a `Vec`.
fn narrow(bytes: &mut Bytes, to: Range<usize>) {
    bytes.truncate(to.end);
    bytes.advance(to.start);
}

fn check(codec: Codec, envelope: Bytes) -> Result<Event, EnvelopeError> {
    walk(codec, &envelope, Fields::default())?.finish(codec, envelope)
}

fn walk(codec: Codec, envelope: &[u8], fields: Fields) -> Result<Fields, EnvelopeError> {
    match codec {
        Codec::Json => envelope_json::check(envelope, fields),
        Codec::Msgpack => envelope_msgpack::check(envelope, fields),
    }
}
