//! An event from the bytes of a Redis channel: what is taken stays byte for byte, what is refused says why.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use fanfare_protocol::{Codec, EnvelopeError, Event, Position, Traceparent};
use proptest::prelude::*;
use rmpv::Value;

const MAX: usize = 64 * 1024;

fn decode(payload: impl AsRef<[u8]>) -> Result<Event, EnvelopeError> {
    Event::decode(Bytes::copy_from_slice(payload.as_ref()), MAX)
}

fn refusal(payload: impl AsRef<[u8]>) -> EnvelopeError {
    decode(payload).unwrap_err()
}

fn msgpack(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

fn map(fields: &[(&str, Value)]) -> Value {
    Value::Map(fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
}

/// An envelope whose innermost `data` stands at the given level; the envelope is the first.
fn nested_json(levels: usize) -> String {
    format!(r#"{{"type":"t","data":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
}

fn nested_msgpack(levels: usize, innermost: Value) -> Vec<u8> {
    let data = (1..levels)
        .fold(innermost, |value, level| if level % 2 == 0 { Value::Array(vec![value]) } else { map(&[("a", value)]) });
    msgpack(&map(&[("type", "t".into()), ("data", data)]))
}

#[test]
fn an_ephemeral_event_is_its_envelope() {
    let json = r#"{"type":"order.updated","data":{"id":7}}"#;
    let event = decode(json).unwrap();
    assert_eq!(event.codec, Codec::Json);
    assert_eq!(event.envelope, json);
    assert_eq!(&*event.event_type, "order.updated");
    assert_eq!((event.key, event.except, event.traceparent, event.position), (None, None, None, None));
}

#[test]
fn the_fields_that_a_node_reads_are_kept() {
    let json = r#"{"v":2,"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","except":"c-1","key":"k\u00e9y","at":-1,"id":"e1","tracestate":"a=b","type":"a\"b"}"#;
    let event = decode(json).unwrap();
    assert_eq!(&*event.event_type, "a\"b");
    assert_eq!(event.key.as_deref(), Some("kéy"));
    assert_eq!(event.except.as_deref(), Some("c-1"));
    assert_eq!(event.traceparent, Traceparent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    assert_eq!((event.at, event.id().as_deref()), (None, Some("e1")), "a time before 1970 is none");
    // The same in MessagePack.
    let packed = decode(fanfare_protocol::json_to_msgpack(json.as_bytes()).unwrap()).unwrap();
    assert_eq!(packed.codec, Codec::Msgpack);
    assert_eq!((&packed.event_type, &packed.key, &packed.except), (&event.event_type, &event.key, &event.except));
    assert_eq!((packed.traceparent, packed.at, packed.id()), (event.traceparent, event.at, event.id()));
    for json in [r#"{"type":"t","at":17,"traceparent":"00-0af7-b7ad-01"}"#] {
        for event in [decode(json), decode(fanfare_protocol::json_to_msgpack(json.as_bytes()).unwrap())] {
            let event = event.unwrap();
            assert_eq!((event.at, event.traceparent, event.id()), (Some(17), None, None));
        }
    }
}

#[test]
fn an_event_without_a_trace_can_be_put_into_one() {
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traceparent = Traceparent::parse(text).unwrap();
    let json = r#"{ "type":"t", "data":{"a":1.10,"a":"\u00e9"}}"#;
    let event = decode(json).unwrap().in_trace(traceparent, 1000);
    assert_eq!(event.envelope, format!(r#"{{"traceparent":"{text}", "type":"t", "data":{{"a":1.10,"a":"\u00e9"}}}}"#));
    assert_eq!(event.traceparent, Some(traceparent));
    // A map of 15 pairs has a longer beginning with one more.
    let fields: Vec<_> = (0..14).map(|field| (format!("f{field}"), Value::from(field))).collect();
    let mut fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    fields.push(("type", "t".into()));
    let event = decode(msgpack(&map(&fields))).unwrap().in_trace(traceparent, 1000);
    assert_eq!(event.traceparent, Some(traceparent));
    fields.insert(0, ("traceparent", text.into()));
    assert_eq!(event.envelope, msgpack(&map(&fields)));
    // One that has the field stays as it is, and so does one that would be too large.
    for (json, max) in [(r#"{"type":"t","traceparent":null}"#, 1000), (r#"{"type":"t"}"#, 80)] {
        assert_eq!(decode(json).unwrap().in_trace(traceparent, max), decode(json).unwrap());
    }
}

#[test]
fn a_durable_event_has_a_position() {
    let event = decode(r#"@1752000000000000-42 trace=x {"type":"t"}"#).unwrap();
    assert_eq!(event.position, Some(Position { epoch: 1_752_000_000_000_000, seq: 42 }));
    assert_eq!(event.envelope, r#"{"type":"t"}"#);
    let event = decode(b"@7-1 \x81\xa4type\xa1t").unwrap();
    assert_eq!((event.codec, event.position), (Codec::Msgpack, Some(Position { epoch: 7, seq: 1 })));
    assert_eq!(refusal(r#"@17 {"type":"t"}"#), EnvelopeError::InvalidPosition);
    assert_eq!(refusal("@17-1 "), EnvelopeError::Empty);
}

#[test]
fn only_what_comes_from_redis_can_have_a_position() {
    let refused = Event::from_envelope(Codec::Json, r#"@7-1 {"type":"t"}"#.into(), MAX);
    assert_eq!(refused, Err(EnvelopeError::NotAnEnvelope));
    // Nor does a field of the envelope make one.
    let event = decode(r#"{"type":"t","position":"7-1","topic":"user:1","op":"gap"}"#).unwrap();
    assert_eq!(event.position, None);
}

#[test]
fn an_envelope_of_a_known_encoding_is_checked_alike() {
    let json = |text: &'static str| Event::from_envelope(Codec::Json, text.into(), MAX);
    assert_eq!(json(" {\"type\":\"t\"}\r\n").unwrap().envelope, r#"{"type":"t"}"#);
    assert_eq!(json(""), Err(EnvelopeError::Empty));
    assert_eq!(json("  \n"), Err(EnvelopeError::Empty));
    assert_eq!(json("[]"), Err(EnvelopeError::NotAnEnvelope));
    assert_eq!(json("null"), Err(EnvelopeError::NotAnEnvelope));
    assert_eq!(json("{}"), Err(EnvelopeError::MissingType));
    let packed = |bytes: &'static [u8]| Event::from_envelope(Codec::Msgpack, Bytes::from_static(bytes), MAX);
    assert_eq!(&*packed(b"\x81\xa4type\xa1t").unwrap().event_type, "t");
    assert_eq!(packed(b""), Err(EnvelopeError::Empty));
    assert_eq!(packed(b"\x80"), Err(EnvelopeError::MissingType));
    assert_eq!(packed(b"{\"type\":\"t\"}"), Err(EnvelopeError::NotAnEnvelope));
}

#[test]
fn bytes_that_are_no_event_are_told_apart() {
    assert_eq!(refusal(""), EnvelopeError::Empty);
    assert_eq!(refusal(" \n"), EnvelopeError::Empty);
    for payload in ["hello", "[]", "null", "1", "\"{}\"", "\u{feff}{}", "\0"] {
        assert_eq!(refusal(payload), EnvelopeError::NotAnEnvelope, "{payload:?}");
    }
    assert_eq!(refusal([0x90]), EnvelopeError::NotAnEnvelope);
    assert_eq!(refusal([0xff, 0xfe]), EnvelopeError::NotAnEnvelope);
}

#[test]
fn the_size_is_checked_first_and_without_the_header() {
    let text = "x".repeat(10 * 1024 * 1024);
    assert_eq!(refusal(&text), EnvelopeError::TooLarge { bytes: text.len(), max: MAX });
    let json = r#"{"type":"t"}"#;
    let with_limit = |payload: &str, max| Event::decode(Bytes::copy_from_slice(payload.as_bytes()), max);
    assert!(with_limit(json, 12).is_ok());
    assert_eq!(with_limit(json, 11), Err(EnvelopeError::TooLarge { bytes: 12, max: 11 }));
    let durable = format!("@18446744073709551615-18446744073709551615 x=y {json}");
    assert!(with_limit(&durable, 12).is_ok());
    assert_eq!(with_limit(&durable, 11), Err(EnvelopeError::TooLarge { bytes: 12, max: 11 }));
    assert_eq!(with_limit("not json", 3), Err(EnvelopeError::TooLarge { bytes: 8, max: 3 }));
    let enveloped = Event::from_envelope(Codec::Json, json.into(), 11);
    assert_eq!(enveloped, Err(EnvelopeError::TooLarge { bytes: 12, max: 11 }));
    assert!(with_limit(json, usize::MAX).is_ok() && with_limit(&durable, usize::MAX).is_ok());
}

#[test]
fn what_is_not_wholly_json_is_refused() {
    for json in [
        r#"{"type":"t""#,
        r#"{"type":"t"}}"#,
        r#"{"type":"t"} {"type":"u"}"#,
        r#"{"type":"t",}"#,
        r#"{"type":"t" "data":1}"#,
        r#"{"type":'t'}"#,
        r#"{type:"t"}"#,
        r#"{"type":"t","data":01}"#,
        r#"{"type":"t","data":1.}"#,
        r#"{"type":"t","data":+1}"#,
        r#"{"type":"t","data":NaN}"#,
        r#"{"type":"t","data":tru}"#,
        r#"{"type":"t","data":[1,]}"#,
        r#"{"type":"t","data":"\x"}"#,
        r#"{"type":"t","data":"\u12"}"#,
        "{\"type\":\"t\",\"data\":\"\n\"}",
        "{\"type\":\"t\",\"data\":{\"\u{1}\":1}}",
        "{\"type\":\"t\"}\0",
        "{\"type\":\"t\",\u{a0}\"data\":1}",
    ] {
        assert!(matches!(refusal(json), EnvelopeError::InvalidJson { .. }), "{json:?} gave {:?}", refusal(json));
    }
    let message = refusal(r#"{"type":"t","data":tru}"#).to_string();
    assert_eq!(message, "the event is not valid JSON: expected ident at line 1 column 23");
}

#[test]
fn text_that_is_not_utf_8_is_refused_wherever_it_stands() {
    assert_eq!(refusal(b"{\"type\":\"t\",\"data\":\"\xff\"}"), EnvelopeError::InvalidUtf8);
    assert_eq!(refusal(b"{\"type\":\"t\",\"\xc0\x80\":1}"), EnvelopeError::InvalidUtf8);
    // A surrogate, encoded as if it were a character.
    assert_eq!(refusal(b"{\"type\":\"t\",\"data\":\"\xed\xa0\x80\"}"), EnvelopeError::InvalidUtf8);
    assert_eq!(refusal(b"\x82\xa4type\xa1t\xa4data\xa1\xff"), EnvelopeError::InvalidUtf8);
    assert_eq!(refusal(b"\x82\xa4type\xa1t\xa1\xff\x01"), EnvelopeError::InvalidUtf8);
}

#[test]
fn what_is_not_wholly_messagepack_is_refused() {
    for payload in [
        &b"\x81"[..],
        b"\x81\xa4type",
        b"\x81\xa4type\xa5t",
        b"\x81\xa4type\xa1t\xc0",
        b"\x82\xa4type\xa1t\xa4data\xc1",
        b"\x82\xa4type\xa1t\xa4data\xcf\x00",
        b"\x82\xa4type\xa1t\xa4data\xc6\xff\xff\xff\xff",
        b"\x82\xa4type\xa1t\xa4data\xdd\xff\xff\xff\xff",
        b"\x82\xa4type\xa1t\xa4data\xc9\xff\xff\xff\xff\x01",
        b"\xdf\xff\xff\xff\xff\xa4type\xa1t",
        b"\xde\x00",
    ] {
        assert_eq!(refusal(payload), EnvelopeError::InvalidMsgpack, "{payload:x?}");
    }
}

#[test]
fn keys_without_a_counterpart_in_json_are_refused_at_every_level() {
    for key in
        [Value::F64(1.5), Value::Binary(vec![1]), Value::Array(vec![]), Value::Map(vec![]), Value::Ext(1, vec![])]
    {
        let odd = Value::Map(vec![(key.clone(), 1.into())]);
        let Value::Map(mut fields) = odd.clone() else { unreachable!() };
        fields.insert(0, ("type".into(), "t".into()));
        assert_eq!(refusal(msgpack(&Value::Map(fields))), EnvelopeError::InvalidMsgpack, "{key}");
        let below = map(&[("type", "t".into()), ("data", Value::Array(vec![odd]))]);
        assert_eq!(refusal(msgpack(&below)), EnvelopeError::InvalidMsgpack, "{key}");
    }
    let plain = Value::Map(vec![(1.into(), 1.into()), (Value::Nil, 2.into()), (true.into(), 3.into())]);
    assert!(decode(msgpack(&map(&[("type", "t".into()), ("data", plain)]))).is_ok());
}

#[test]
fn a_type_is_required_and_short() {
    let typed = |text: &str| decode(format!(r#"{{"type":"{text}"}}"#));
    assert_eq!(refusal(r#"{"data":1}"#), EnvelopeError::MissingType);
    assert_eq!(refusal(r#"{"Type":"t"}"#), EnvelopeError::MissingType);
    assert_eq!(typed(""), Err(EnvelopeError::InvalidType(0)));
    assert!(typed(&"t".repeat(200)).is_ok());
    assert_eq!(typed(&"t".repeat(201)), Err(EnvelopeError::InvalidType(201)));
    // Its own bytes count, not those of its escapes.
    assert!(typed(&"\\u0074".repeat(200)).is_ok());
    assert_eq!(typed(&"\\u65e5".repeat(67)), Err(EnvelopeError::InvalidType(201)));
    let packed = |text: &str| decode(msgpack(&map(&[("type", text.into())])));
    assert_eq!(packed(""), Err(EnvelopeError::InvalidType(0)));
    assert_eq!(packed(&"t".repeat(201)), Err(EnvelopeError::InvalidType(201)));
}

#[test]
fn a_known_field_of_another_type_is_named() {
    let wrong = |field, expected| EnvelopeError::WrongType { field, expected };
    for field in ["type", "id", "traceparent", "tracestate", "key", "except"] {
        for value in ["1", "true", "[\"a\"]", "{\"a\":[{}]}", "-1.5", "18446744073709551615"] {
            let json = format!(r#"{{"type_":"t","{field}":{value},"x":1}}"#);
            assert_eq!(refusal(&json), wrong(field, "a string"), "{json}");
            let packed = fanfare_protocol::json_to_msgpack(json.as_bytes()).unwrap();
            assert_eq!(refusal(packed), wrong(field, "a string"), "{json}");
        }
    }
    for value in ["\"1\"", "1.0", "1e3", "false", "[1]", "{}", "18446744073709551616"] {
        let json = format!(r#"{{"type":"t","at":{value}}}"#);
        assert_eq!(refusal(&json), wrong("at", "an integer"), "{json}");
        let packed = fanfare_protocol::json_to_msgpack(json.as_bytes()).unwrap();
        assert_eq!(refusal(packed), wrong("at", "an integer"), "{json}");
    }
    assert_eq!(refusal(r#"{"type":null}"#), wrong("type", "a string"));
    assert_eq!(refusal(b"\x81\xa4type\xc0"), wrong("type", "a string"));
}

#[test]
fn null_is_as_good_as_absent_where_a_field_is_optional() {
    let json =
        r#"{"type":"t","data":null,"id":null,"at":null,"traceparent":null,"tracestate":null,"key":null,"except":null}"#;
    for event in [decode(json), decode(fanfare_protocol::json_to_msgpack(json.as_bytes()).unwrap())] {
        let event = event.unwrap();
        assert_eq!((event.key, event.except, event.traceparent), (None, None, None));
    }
}

#[test]
fn a_known_field_twice_is_refused_however_it_is_spelled() {
    let twice = |field| EnvelopeError::DuplicateField { field };
    assert_eq!(refusal(r#"{"type":"t","type":"t"}"#), twice("type"));
    assert_eq!(refusal(r#"{"type":"t","\u0074ype":"u"}"#), twice("type"));
    assert_eq!(refusal(r#"{"type":"t","data":1,"d\u0061ta":2}"#), twice("data"));
    assert_eq!(refusal(r#"{"type":"t","key":null,"key":"k"}"#), twice("key"));
    for field in ["type", "data", "id", "at", "traceparent", "tracestate", "key", "except"] {
        let value = if field == "at" { 1.into() } else { Value::from("v") };
        let packed = msgpack(&map(&[(field, value.clone()), (field, value)]));
        assert_eq!(refusal(packed), twice(field));
    }
    // Elsewhere a duplicate is the publisher's own business.
    assert!(decode(r#"{"type":"t","x":1,"x":2,"data":{"type":1,"type":2}}"#).is_ok());
}

#[test]
fn nesting_ends_at_64_levels_in_either_encoding() {
    assert!(decode(nested_json(64)).is_ok());
    assert_eq!(refusal(nested_json(65)), EnvelopeError::TooDeep);
    assert_eq!(refusal(nested_json(30_000)), EnvelopeError::TooDeep);
    assert!(
        decode(format!(r#"{{"type":"t","data":"{}"}}"#, "[{".repeat(9_000))).is_ok(),
        "brackets of a text don't nest"
    );
    assert!(decode(nested_msgpack(64, Value::Nil)).is_ok());
    assert_eq!(refusal(nested_msgpack(65, Value::Nil)), EnvelopeError::TooDeep);
    assert_eq!(
        refusal([&b"\x82\xa4type\xa1t\xa4data"[..], &vec![0x91; 30_000], &[0xc0]].concat()),
        EnvelopeError::TooDeep
    );
    // An extension becomes an object, so it counts.
    assert!(decode(nested_msgpack(63, Value::Ext(5, vec![1]))).is_ok());
    assert_eq!(refusal(nested_msgpack(64, Value::Ext(5, vec![1]))), EnvelopeError::TooDeep);
    // As a field's value, where another type is asked for.
    let deep_id = format!(r#"{{"type":"t","id":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    assert_eq!(refusal(deep_id), EnvelopeError::TooDeep);
}

#[test]
fn nothing_of_the_envelope_changes() {
    let json = "{ \"type\" : \"t\" , \"data\":{\"z\":9223372036854775808,\"a\":1.10,\"a\":\"\\u00e9\\/\\ud800\",\"n\":1e999,\"b\":-0},\r\n\"x\":[ ]}";
    assert_eq!(decode(json).unwrap().envelope, json);
    assert_eq!(decode(json).unwrap().envelope_json(), json);
    let packed = b"\x82\xa4type\xa1t\xa4data\xcd\x00\x01";
    assert_eq!(decode(packed).unwrap().envelope_msgpack(), &packed[..], "not even a number longer than it need be");
}

#[test]
fn a_decoded_event_shares_the_memory_of_its_payload() {
    let payload = Bytes::from(r#"@7-1 {"type":"t"}"#.to_owned().into_bytes());
    let start = payload.as_ptr();
    let event = Event::decode(payload, MAX).unwrap();
    assert_eq!(event.envelope.as_ptr(), start.wrapping_add(5));
    assert_eq!(event.envelope_json().as_ptr(), event.envelope.as_ptr());
}

#[test]
fn every_refusal_has_a_name_for_metrics() {
    let named = [
        (refusal(""), "empty"),
        (refusal("x"), "not_an_envelope"),
        (refusal("x".repeat(MAX + 1)), "too_large"),
        (refusal(b"{\"\xff"), "invalid_utf8"),
        (refusal("{"), "invalid_json"),
        (refusal(b"\x81"), "invalid_msgpack"),
        (refusal("{}"), "missing_type"),
        (refusal(r#"{"type":""}"#), "invalid_type"),
        (refusal(r#"{"type":1}"#), "wrong_type"),
        (refusal(r#"{"type":"t","type":"t"}"#), "duplicate_field"),
        (refusal(nested_json(65)), "too_deep"),
        (refusal("@ {}"), "invalid_position"),
    ];
    for (error, name) in named {
        assert_eq!(error.reason(), name);
    }
}

#[test]
fn a_refusal_tells_a_person_what_to_change() {
    let told = |payload: &str| refusal(payload).to_string();
    assert_eq!(told(r#"{"data":1}"#), "the event has no `type`");
    assert_eq!(told(r#"{"type":"t","at":"now"}"#), "the event's `at` must be an integer");
    assert_eq!(told(r#"{"type":"t","key":"a","key":"b"}"#), "the event has `key` twice");
    assert_eq!(told("hello"), "the event is neither a JSON object nor a MessagePack map");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_bytes_are_judged_without_a_panic(payload: Vec<u8>) {
        let _ = decode(payload);
    }

    #[test]
    fn almost_an_event_is_judged_like_an_event_or_not(
        at in 0_usize..200, byte: u8, json in prop::bool::ANY, durable in prop::bool::ANY
    ) {
        let text = r#"{"type":"order.updated","id":"1","at":5,"key":"k","except":"c","data":{"a":[1,-2.5e3,"\u00e9"],"b":{}}}"#;
        let mut payload = if durable { b"@7-1 ".to_vec() } else { Vec::new() };
        payload.extend(if json { text.as_bytes().to_vec() } else { fanfare_protocol::json_to_msgpack(text.as_bytes()).unwrap() });
        let at = at % payload.len();
        payload[at] = byte;
        if let Ok(event) = decode(&payload) {
            prop_assert!(payload.ends_with(&event.envelope) || payload.trim_ascii_end().ends_with(&event.envelope));
            prop_assert!((1..=200).contains(&event.event_type.len()));
            // What was taken once is taken again, and its translation too.
            let again = |codec, bytes| Event::from_envelope(codec, bytes, usize::MAX).map(|event| event.event_type);
            prop_assert_eq!(again(Codec::Json, event.envelope_json()), Ok(event.event_type.clone()));
            prop_assert_eq!(again(Codec::Msgpack, event.envelope_msgpack()), Ok(event.event_type.clone()));
        }
    }
}
