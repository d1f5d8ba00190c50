//! What a backend answers to a request: `{"request","data"}` or `{"request","error":{"code","message"}}`, always JSON; and
//! the frame in which the client gets the data. Deliberately blind to which requests are open.

use std::borrow::Cow;

use bytes::Bytes;

use crate::assemble;
use crate::codec::Codec;
use crate::envelope::ENVELOPE_DEPTH_MAX;
use crate::error_code::ErrorCode;
use crate::json::is_deeper_than;
use crate::raw::{Entries, Raw};
use crate::request::RequestId;
use crate::server_frame::ServerFrame;
use crate::transcode;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// To which request.
    pub request: RequestId,
    /// Its data, the backend's bytes; or why there is none.
    pub outcome: Result<Bytes, BackendError>,
}

/// What a backend says instead of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendError {
    /// Why, for programs; none if it isn't one of the contract's codes.
    pub code: Option<ErrorCode>,
    /// Why, for people.
    pub message: String,
}

/// Why a payload is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not one JSON object.
    #[error("the answer is not one JSON object")]
    NotAnObject,
    /// A field twice: which one would the backend mean?
    #[error("the answer has a field twice")]
    Twice,
    /// No `request`, or none that a node gives.
    #[error("`request` must be the request's id: 32 lower-case hexadecimal digits")]
    Request,
    /// Neither `data` nor `error`, or both.
    #[error("an answer has either `data` or `error`")]
    NeitherOrBoth,
    /// An `error` of another shape.
    #[error("`error` must be an object with a string `code`, and `message`, if there is one, a string")]
    Error,
    /// Nested deeper than an envelope may be.
    #[error("`data` is nested deeper than {ENVELOPE_DEPTH_MAX} levels")]
    TooDeep,
}

impl Answer {
    /// Takes what came over a channel for answers. Fields that are not known are ignored.
    #[expect(clippy::needless_pass_by_value, reason = "the data shares the memory of the payload")]
    pub fn decode(payload: Bytes) -> Result<Answer, AnswerError> {
        let fields = Raw::parse_map(Codec::Json, &payload).ok_or(AnswerError::NotAnObject)?;
        let request = field(&fields, "request")?.and_then(Raw::text);
        let request = request.and_then(|text| RequestId::parse(&text)).ok_or(AnswerError::Request)?;
        let (data, error) = (field(&fields, "data")?, field(&fields, "error")?);
        // A backend's library may write the field that it has no value for as null.
        let outcome = match (data, error.filter(|error| !error.is_null())) {
            (Some(data), None) if is_deeper_than(ENVELOPE_DEPTH_MAX, data.bytes()) => return Err(AnswerError::TooDeep),
            (Some(data), None) => Ok(payload.slice_ref(data.bytes())),
            (data, Some(error)) if data.is_none_or(Raw::is_null) => Err(backend_error(error)?),
            _ => return Err(AnswerError::NeitherOrBoth),
        };
        Ok(Answer { request, outcome })
    }
}

fn field<'a>(fields: &Entries<'a>, name: &str) -> Result<Option<Raw<'a>>, AnswerError> {
    let mut found = fields.iter().filter(|(field, _)| field == name);
    let value = found.next().map(|(_, value)| *value);
    if found.next().is_some() { Err(AnswerError::Twice) } else { Ok(value) }
}

fn backend_error(error: Raw<'_>) -> Result<BackendError, AnswerError> {
    let fields = error.entries().ok_or(AnswerError::Error)?;
    let code = field(&fields, "code")?.and_then(Raw::text).ok_or(AnswerError::Error)?;
    let message = match field(&fields, "message")?.filter(|message| !message.is_null()) {
        None => String::new(),
        Some(message) => message.text().map(Cow::into_owned).ok_or(AnswerError::Error)?,
    };
    Ok(BackendError { code: ErrorCode::named(&code), message })
}

/// `{"op":"reply","id":…,"data":…}` with the data of an [`Answer`]: a JSON client has the backend's own bytes.
pub fn reply_frame(codec: Codec, id: Option<i64>, data: &[u8]) -> Vec<u8> {
    let mut frame = ServerFrame::Reply { id }.encode(codec);
    match codec {
        Codec::Json => assemble::add_field(codec, &mut frame, "data", data),
        Codec::Msgpack => assemble::add_field(codec, &mut frame, "data", &transcode::checked_json_to_msgpack(data)),
    }
    frame
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const ID: &str = "000102030405060708090a0b0c0d0e0f";

    fn decode(rest: &str) -> Result<Answer, AnswerError> {
        Answer::decode(Bytes::from(format!(r#"{{"request":"{ID}",{rest}}}"#)))
    }

    fn error(rest: &str) -> (Option<ErrorCode>, String) {
        let error = decode(rest).unwrap().outcome.unwrap_err();
        (error.code, error.message)
    }

    #[test]
    fn data_is_the_backends_bytes() {
        for data in ["null", "1.10", r#"{"b": [1e2, "\u00e4"],"a":1}"#, r#""x""#] {
            let answer = decode(&format!(r#""more":1,"data": {data} "#)).unwrap();
            assert_eq!(answer.request.to_string(), ID);
            assert_eq!(answer.outcome, Ok(Bytes::from(data.to_owned())));
        }
        assert_eq!(decode(r#""data":1,"error":null"#).unwrap().outcome, Ok(Bytes::from_static(b"1")));
        let deep = |levels: usize| format!(r#""data":{}{}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(decode(&deep(64)).is_ok());
        assert_eq!(decode(&deep(65)), Err(AnswerError::TooDeep));
    }

    #[test]
    fn an_error_has_a_code_that_clients_know_or_none() {
        let forbidden = (Some(ErrorCode::Forbidden), "not yours".to_owned());
        assert_eq!(error(r#""error":{"code":"forbidden","message":"not yours","x":1}"#), forbidden);
        assert_eq!(error(r#""data":null,"error":{"code":"forbidden","message":"not yours"}"#), forbidden);
        assert_eq!(error(r#""error":{"code":"sold_out","message":null}"#), (None, String::new()));
        assert_eq!(error(r#""error":{"code":"internal"}"#), (Some(ErrorCode::Internal), String::new()));
    }

    #[test]
    fn anything_else_is_no_answer() {
        for payload in ["", "{", "[]", "1", "@17-1 {}", "{}{}", "\u{80}"] {
            assert_eq!(Answer::decode(Bytes::from(payload.to_owned())), Err(AnswerError::NotAnObject), "{payload}");
        }
        for payload in [r#"{"data":1}"#, r#"{"request":7,"data":1}"#, r#"{"request":"7","data":1}"#] {
            assert_eq!(Answer::decode(Bytes::from_static(payload.as_bytes())), Err(AnswerError::Request), "{payload}");
        }
        for (rest, expected) in [
            (r#""x":1"#, AnswerError::NeitherOrBoth),
            (r#""error":null"#, AnswerError::NeitherOrBoth),
            (r#""data":1,"error":{"code":"internal"}"#, AnswerError::NeitherOrBoth),
            (r#""data":1,"data":1"#, AnswerError::Twice),
            (r#""error":"internal""#, AnswerError::Error),
            (r#""error":{"message":"x"}"#, AnswerError::Error),
            (r#""error":{"code":7}"#, AnswerError::Error),
            (r#""error":{"code":"internal","message":7}"#, AnswerError::Error),
            (r#""error":{"code":"internal","code":"internal"}"#, AnswerError::Twice),
        ] {
            assert_eq!(decode(rest), Err(expected), "{rest}");
        }
    }

    #[test]
    fn a_reply_has_the_data_untouched_or_translated() {
        let data = br#"{"b": 1.10,"a":[null]}"#;
        let expected = br#"{"op":"reply","id":-4,"data":{"b": 1.10,"a":[null]}}"#;
        assert_eq!(reply_frame(Codec::Json, Some(-4), data), expected);
        let packed = reply_frame(Codec::Msgpack, Some(4), br#"{"a":[1]}"#);
        assert_eq!(packed, b"\x83\xa2op\xa5reply\xa2id\x04\xa4data\x81\xa1a\x91\x01");
    }
}
