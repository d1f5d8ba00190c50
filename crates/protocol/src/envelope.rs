//! The rules that an envelope keeps in either encoding, and why one was refused. Deliberately without a parser: the
//! two that walk the bytes hand each known field to `Fields`.

use crate::event::Event;
use crate::traceparent::Traceparent;

/// The deepest nesting of an envelope. The envelope's own map is the first level.
pub const ENVELOPE_DEPTH_MAX: usize = 64;
/// The longest `type`, in bytes.
pub const TYPE_BYTES_MAX: usize = 200;

/// Why bytes are no valid envelope. Such an event reaches nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// There is nothing.
    #[error("the event is empty")]
    Empty,
    /// It begins like none of the forms of a payload, or it is not a map.
    #[error("the event is neither a JSON object nor a MessagePack map")]
    NotAnEnvelope,
    /// Over the size limit.
    #[error("the event has {bytes} bytes; at most {max} are allowed")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// Text that is not UTF-8.
    #[error("the event is not valid UTF-8")]
    InvalidUtf8,
    /// Not JSON, or with something after it; or half a surrogate pair in a field's name or in a known field. (Within
    /// `data` and fields that are not known it is JSON like any other.)
    #[error("the event is not valid JSON: {message}")]
    InvalidJson {
        /// What is wrong, with its line and column.
        message: String,
    },
    /// Not `MessagePack`, with something after it, or with a key that has no counterpart in JSON.
    #[error("the event is not valid MessagePack, or has a key that is no string, integer, boolean or nil")]
    InvalidMsgpack,
    /// No `type`.
    #[error("the event has no `type`")]
    MissingType,
    /// A `type` of another length than 1 to [`TYPE_BYTES_MAX`] bytes.
    #[error("the event's `type` has {0} bytes; 1 to {TYPE_BYTES_MAX} are allowed")]
    InvalidType(usize),
    /// A known field with a value of another type.
    #[error("the event's `{field}` must be {expected}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A known field twice.
    #[error("the event has `{field}` twice")]
    DuplicateField {
        /// The field.
        field: &'static str,
    },
    /// Nested deeper than [`ENVELOPE_DEPTH_MAX`].
    #[error("the event is nested deeper than {ENVELOPE_DEPTH_MAX} levels")]
    TooDeep,
    /// Ephemeral, on a topic that carries durable events alone.
    #[error("the topic takes durable events alone: publish it as one (fanfare_publish, durable=true)")]
    NotDurable,
    /// What follows the `@` of a durable event is no position.
    #[error("the event's position is not valid")]
    InvalidPosition,
}

impl EnvelopeError {
    /// The reason in `snake_case`, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            EnvelopeError::Empty => "empty",
            EnvelopeError::NotAnEnvelope => "not_an_envelope",
            EnvelopeError::TooLarge { .. } => "too_large",
            EnvelopeError::InvalidUtf8 => "invalid_utf8",
            EnvelopeError::InvalidJson { .. } => "invalid_json",
            EnvelopeError::InvalidMsgpack => "invalid_msgpack",
            EnvelopeError::MissingType => "missing_type",
            EnvelopeError::InvalidType(_) => "invalid_type",
            EnvelopeError::WrongType { .. } => "wrong_type",
            EnvelopeError::DuplicateField { .. } => "duplicate_field",
            EnvelopeError::TooDeep => "too_deep",
            EnvelopeError::NotDurable => "not_durable",
            EnvelopeError::InvalidPosition => "invalid_position",
        }
    }
}

/// A field of an envelope. Those that are not known are carried on unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Type,
    Data,
    Id,
    At,
    Traceparent,
    Tracestate,
    Key,
    Except,
    Other,
}

/// What a field must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Anything,
}

impl Field {
    pub(crate) fn named(name: &str) -> Field {
        match name {
            "type" => Field::Type,
            "data" => Field::Data,
            "id" => Field::Id,
            "at" => Field::At,
            "traceparent" => Field::Traceparent,
            "tracestate" => Field::Tracestate,
            "key" => Field::Key,
            "except" => Field::Except,
            _ => Field::Other,
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Field::Data | Field::Other => Kind::Anything,
            Field::At => Kind::Integer,
            Field::Type | Field::Id | Field::Traceparent | Field::Tracestate | Field::Key | Field::Except => Kind::Text,
        }
    }

    pub(crate) fn wrong_type(self) -> EnvelopeError {
        let expected = match self.kind() {
            Kind::Integer => "an integer",
            Kind::Text | Kind::Anything => "a string",
        };
        EnvelopeError::WrongType { field: self.name(), expected }
    }

    fn name(self) -> &'static str {
        match self {
            Field::Type => "type",
            Field::Data => "data",
            Field::Id => "id",
            Field::At => "at",
            Field::Traceparent => "traceparent",
            Field::Tracestate => "tracestate",
            Field::Key => "key",
            Field::Except => "except",
            Field::Other => "other",
        }
    }
}

/// What is kept of the fields while an envelope is walked.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// A bit for each known field that has been met.
    met: u16,
    event_type: Option<Box<str>>,
    key: Option<Box<str>>,
    except: Option<Box<str>>,
    at: Option<u64>,
    pub(crate) traceparent: Option<Traceparent>,
    /// `id`, when it is asked for.
    pub(crate) id: Option<Box<str>>,
    wants_id: bool,
}

impl Fields {
    /// To be walked for the sake of the `id`.
    pub(crate) fn with_id() -> Self {
        Self { wants_id: true, ..Self::default() }
    }

    /// To be called for every field, before its value.
    pub(crate) fn meet(&mut self, field: Field) -> Result<(), EnvelopeError> {
        let bit = 1 << field as u16;
        if self.met & bit != 0 && field != Field::Other {
            return Err(EnvelopeError::DuplicateField { field: field.name() });
        }
        self.met |= bit;
        Ok(())
    }

    /// To be called with the value of a field of [`Kind::Text`]; `None` for null.
    pub(crate) fn text(&mut self, field: Field, text: Option<&str>) -> Result<(), EnvelopeError> {
        match (field, text) {
            (Field::Type, None) => return Err(Field::Type.wrong_type()),
            (Field::Type, Some(text)) if text.is_empty() || text.len() > TYPE_BYTES_MAX => {
                return Err(EnvelopeError::InvalidType(text.len()));
            }
            (Field::Type, Some(text)) => self.event_type = Some(text.into()),
            (Field::Key, text) => self.key = text.map(Into::into),
            (Field::Except, text) => self.except = text.map(Into::into),
            (Field::Traceparent, text) => self.traceparent = text.and_then(Traceparent::parse),
            (Field::Id, text) if self.wants_id => self.id = text.map(Into::into),
            // Nothing on a node reads the others.
            _ => {}
        }
        Ok(())
    }

    /// To be called with the value of a field of [`Kind::Integer`]; `None` for null and for what is negative.
    pub(crate) fn integer(&mut self, field: Field, value: Option<u64>) {
        if field == Field::At {
            self.at = value;
        }
    }

    /// The event, once every field has been met.
    pub(crate) fn finish(self, codec: crate::Codec, envelope: bytes::Bytes) -> Result<Event, EnvelopeError> {
        Ok(Event {
            codec,
            envelope,
            event_type: self.event_type.ok_or(EnvelopeError::MissingType)?,
            key: self.key,
            except: self.except,
            at: self.at,
            traceparent: self.traceparent,
            position: None,
        })
    }
}
