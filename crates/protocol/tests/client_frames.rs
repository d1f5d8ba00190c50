//! What a client sends, in both encodings: read alike, forgiving where the contract says so, exact in what is wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use fanfare_protocol::{ClientFrame, Codec, EnvelopeError, Event, FrameError, SubscribeItem, json_to_msgpack};
use proptest::prelude::*;

/// Decodes the same frame as JSON and as `MessagePack`, and expects the same answer.
fn decode(json: &str) -> Result<ClientFrame, FrameError> {
    let from_json = ClientFrame::decode(Codec::Json, Bytes::copy_from_slice(json.as_bytes()));
    let packed = json_to_msgpack(json.as_bytes()).unwrap();
    let from_msgpack = ClientFrame::decode(Codec::Msgpack, packed.into());
    assert_eq!(without_event(&from_json), without_event(&from_msgpack), "{json}");
    from_json
}

/// A publish carries its event, and a request its data, in the frame's own encoding, the one difference there may be.
fn without_event(frame: &Result<ClientFrame, FrameError>) -> Result<ClientFrame, FrameError> {
    let mut frame = frame.clone();
    if let Ok(ClientFrame::Publish { event, .. } | ClientFrame::Request { data: Some(event), .. }) = &mut frame {
        *event = Bytes::new();
    }
    frame
}

fn invalid(id: Option<i64>, topic: Option<&str>, message: &str) -> Result<ClientFrame, FrameError> {
    Err(FrameError::Invalid { id, topic: topic.map(Into::into), message: message.into() })
}

fn item(topic: &str, since: Option<&str>, presence: bool) -> SubscribeItem {
    SubscribeItem { topic: topic.into(), since: since.map(Into::into), presence }
}

#[test]
fn a_history_has_a_limit_and_may_have_an_end() {
    let history = |limit, before: Option<&str>| ClientFrame::History {
        id: Some(6),
        topic: "channel:a".into(),
        limit,
        before: before.map(Into::into),
    };
    assert_eq!(decode(r#"{"op":"history","id":6,"topic":"channel:a","limit":1}"#), Ok(history(1, None)));
    assert_eq!(
        decode(r#"{"op":"history","id":6,"topic":"channel:a","limit":50,"before":"17-4"}"#),
        Ok(history(50, Some("17-4")))
    );
    let wrong = "`limit` must be an integer from 1 on";
    for limit in ["0", "-1", "1.5", "\"1\""] {
        let frame = format!(r#"{{"op":"history","id":6,"topic":"channel:a","limit":{limit}}}"#);
        assert_eq!(decode(&frame), invalid(Some(6), Some("channel:a"), wrong), "{limit}");
    }
    let missing = invalid(Some(6), Some("channel:a"), "`limit` is missing");
    assert_eq!(decode(r#"{"op":"history","id":6,"topic":"channel:a"}"#), missing);
}

#[test]
fn a_request_has_an_id_and_a_method() {
    let request = |data: Option<&'static str>, timeout_ms, traceparent: Option<&str>| ClientFrame::Request {
        id: Some(4),
        method: "dashboard.refresh".into(),
        data: data.map(|data| Bytes::from_static(data.as_bytes())),
        timeout_ms,
        traceparent: traceparent.map(Into::into),
    };
    let decode = |rest: &str| decode(&format!(r#"{{"op":"request","id":4,"method":"dashboard.refresh"{rest}}}"#));
    assert_eq!(decode(""), Ok(request(None, None, None)));
    assert_eq!(decode(r#","data":null,"timeout_ms":null,"traceparent":null"#), Ok(request(None, None, None)));
    let data = r#"{"b": 1.10,"a":1}"#;
    let all = format!(r#","data": {data} ,"timeout_ms":1,"traceparent":"00-x","later":[]"#);
    assert_eq!(decode(&all), Ok(request(Some(data), Some(1), Some("00-x"))));
    let max = i64::MAX.unsigned_abs();
    assert_eq!(decode(&format!(r#","timeout_ms":{max}"#)), Ok(request(None, Some(max), None)));
    for timeout in ["0", "-1", "1.5", "\"1\"", "true", "18446744073709551615"] {
        let wrong = "`timeout_ms` must be an integer from 1 on";
        assert_eq!(decode(&format!(r#","timeout_ms":{timeout}"#)), invalid(Some(4), None, wrong), "{timeout}");
    }
    assert_eq!(decode(r#","traceparent":1"#), invalid(Some(4), None, "`traceparent` must be a string"));
    assert_eq!(decode(r#","data":1,"data":2"#), invalid(Some(4), None, "`data` stands twice"));
}

#[test]
fn a_request_without_an_id_or_a_method_is_refused() {
    for (frame, id, message) in [
        (r#"{"op":"request","method":"m"}"#, None, "`id` is missing"),
        (r#"{"op":"request","id":null,"method":"m"}"#, None, "`id` is missing"),
        (r#"{"op":"request","id":"4","method":"m"}"#, None, "`id` must be an integer of 64 bits"),
        (r#"{"op":"request","id":4}"#, Some(4), "`method` is missing"),
        (r#"{"op":"request","id":4,"method":{}}"#, Some(4), "`method` must be a string"),
    ] {
        assert_eq!(decode(frame), invalid(id, None, message), "{frame}");
    }
}

#[test]
fn presence_may_have_a_limit_and_a_cursor() {
    let presence = |limit, cursor: Option<&str>| ClientFrame::Presence {
        id: Some(6),
        topic: "channel:a".into(),
        limit,
        cursor: cursor.map(Into::into),
    };
    assert_eq!(decode(r#"{"op":"presence","id":6,"topic":"channel:a"}"#), Ok(presence(None, None)));
    let frame = r#"{"op":"presence","id":6,"topic":"channel:a","limit":50,"cursor":"0-0:x"}"#;
    assert_eq!(decode(frame), Ok(presence(Some(50), Some("0-0:x"))));
    for (field, wrong) in [
        (r#""limit":0"#, "`limit` must be an integer from 1 on"),
        (r#""limit":"9""#, "`limit` must be an integer from 1 on"),
        (r#""limit":1,"limit":2"#, "`limit` stands twice"),
        (r#""cursor":9"#, "`cursor` must be a string"),
    ] {
        let frame = format!(r#"{{"op":"presence","id":6,"topic":"channel:a",{field}}}"#);
        assert_eq!(decode(&frame), invalid(Some(6), Some("channel:a"), wrong), "{field}");
    }
}

#[test]
fn every_frame_of_the_contract() {
    use ClientFrame::{Auth, Ping, Pong, Publish, Subscribe, Unsubscribe};
    assert_eq!(decode(r#"{"op":"ping"}"#), Ok(Ping));
    assert_eq!(decode(r#"{"op":"pong"}"#), Ok(Pong));
    assert_eq!(decode(r#"{"op":"auth","token":"a.b.c"}"#), Ok(Auth { token: "a.b.c".into(), since: vec![] }));
    assert_eq!(
        decode(r#"{"op":"auth","token":"a.b.c","since":{"user:42":"17-4","channel:b":"0-0"}}"#),
        Ok(Auth {
            token: "a.b.c".into(),
            since: vec![("user:42".into(), "17-4".into()), ("channel:b".into(), "0-0".into())]
        })
    );
    assert_eq!(
        decode(r#"{"op":"subscribe","id":1,"topic":"channel:orders"}"#),
        Ok(Subscribe { id: Some(1), topics: vec![item("channel:orders", None, false)], many: false })
    );
    assert_eq!(
        decode(r#"{"op":"subscribe","id":1,"topic":"channel:orders","since":"17-4","presence":true}"#),
        Ok(Subscribe { id: Some(1), topics: vec![item("channel:orders", Some("17-4"), true)], many: false })
    );
    assert_eq!(
        decode(r#"{"op":"subscribe","id":1,"topics":[{"topic":"a"},{"topic":"b","since":"1-1","presence":true}]}"#),
        Ok(Subscribe { id: Some(1), topics: vec![item("a", None, false), item("b", Some("1-1"), true)], many: true })
    );
    assert_eq!(
        decode(r#"{"op":"unsubscribe","id":2,"topic":"channel:orders"}"#),
        Ok(Unsubscribe { id: Some(2), topic: "channel:orders".into() })
    );
    assert_eq!(
        decode(r#"{"op":"publish","id":3,"topic":"channel:cursors:7","event":{"type":"moved"},"durable":true}"#),
        Ok(Publish {
            id: Some(3),
            topic: "channel:cursors:7".into(),
            event: r#"{"type":"moved"}"#.into(),
            durable: true
        })
    );
}

#[test]
fn a_published_event_is_the_bytes_that_were_sent() {
    let event = r#"{ "type":"t", "data":{"n":9223372036854775808,"m":1.10,"z":1,"a":"\u00e9\/","a":2} }"#;
    let message = Bytes::from(format!(r#"{{"event" : {event} ,"topic":"channel:a","op":"publish"}}"#));
    let Ok(ClientFrame::Publish { event: sent, .. }) = ClientFrame::decode(Codec::Json, message.clone()) else {
        panic!("a publish")
    };
    assert_eq!(sent, event);
    assert_eq!(sent.as_ptr(), message[11..].as_ptr(), "no copy");
    assert!(Event::from_envelope(Codec::Json, sent, 1024).is_ok());

    let message = b"\x83\xa2op\xa7publish\xa5topic\xa1a\xa5event\x81\xa4type\xd9\x01t";
    let decoded = ClientFrame::decode(Codec::Msgpack, Bytes::from_static(message));
    let Ok(ClientFrame::Publish { event: sent, .. }) = decoded else { panic!("a publish") };
    assert_eq!(sent, &b"\x81\xa4type\xd9\x01t"[..]);
    assert!(Event::from_envelope(Codec::Msgpack, sent, 1024).is_ok());
}

#[test]
fn what_is_published_is_judged_by_the_event_not_by_the_frame() {
    for event in ["1", "[]", "\"x\"", "{}", &("[".repeat(20_000) + &"]".repeat(20_000))] {
        let message = format!(r#"{{"op":"publish","id":1,"topic":"channel:a","event":{event}}}"#);
        let decoded = ClientFrame::decode(Codec::Json, message.into());
        assert!(matches!(decoded, Ok(ClientFrame::Publish { event: sent, .. }) if sent == event));
    }
    let deep =
        [&b"\x83\xa2op\xa7publish\xa5topic\xa1a\xa5event\x81\xa4data"[..], &vec![0x91; 30_000], &[0xc0]].concat();
    let Ok(ClientFrame::Publish { event, .. }) = ClientFrame::decode(Codec::Msgpack, deep.into()) else {
        panic!("a publish")
    };
    assert_eq!(Event::from_envelope(Codec::Msgpack, event, 1 << 20), Err(EnvelopeError::TooDeep));
}

#[test]
fn ids_are_integers_of_64_bits() {
    let with_id = |id: &str| decode(&format!(r#"{{"op":"unsubscribe","id":{id},"topic":"a"}}"#));
    for id in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
        let expected = ClientFrame::Unsubscribe { id: id.parse().ok(), topic: "a".into() };
        assert_eq!(with_id(id), Ok(expected));
    }
    assert_eq!(with_id("null"), Ok(ClientFrame::Unsubscribe { id: None, topic: "a".into() }));
    for id in ["1.5", "1.0", "1e3", "9223372036854775808", "\"1\"", "[1]", "{}", "true"] {
        assert_eq!(with_id(id), invalid(None, Some("a"), "`id` must be an integer of 64 bits"));
    }
}

#[test]
fn an_unknown_op_and_unknown_fields_are_no_mistake() {
    let unknown = |op: &str, id| Ok(ClientFrame::Unknown { op: op.into(), id });
    assert_eq!(decode(r#"{"op":"rename","id":6,"topic":"channel:a","limit":10}"#), unknown("rename", Some(6)));
    assert_eq!(decode(r#"{"op":"","new":[{"a":null}]}"#), unknown("", None));
    assert_eq!(decode(r#"{"op":"Ping"}"#), unknown("Ping", None));
    assert_eq!(decode(r#"{"op":"ping","id":{},"x":1,"x":2,"topic":7}"#), Ok(ClientFrame::Ping));
    assert_eq!(decode(r#"{"op":"unsubscribe","topic":"a","limit":[]}"#).unwrap(), {
        ClientFrame::Unsubscribe { id: None, topic: "a".into() }
    });
    // A name that is no text is one nobody knows.
    let odd_names = b"\x84\xa2op\xa4ping\x01\x02\x91\xc0\x80\xc4\x02id\xc3";
    assert_eq!(ClientFrame::decode(Codec::Msgpack, Bytes::from_static(odd_names)), Ok(ClientFrame::Ping));
}

#[test]
fn null_is_as_good_as_absent() {
    assert_eq!(
        decode(r#"{"op":"subscribe","id":null,"topic":"a","topics":null,"since":null,"presence":null}"#),
        Ok(ClientFrame::Subscribe { id: None, topics: vec![item("a", None, false)], many: false })
    );
    assert_eq!(
        decode(r#"{"op":"auth","token":"t","since":null}"#),
        Ok(ClientFrame::Auth { token: "t".into(), since: vec![] })
    );
    assert_eq!(
        decode(r#"{"op":"auth","token":"t","since":{"a":null,"b":"1-1"}}"#),
        Ok(ClientFrame::Auth { token: "t".into(), since: vec![("b".into(), "1-1".into())] })
    );
    assert_eq!(decode(r#"{"op":"publish","topic":"a","event":null}"#), invalid(None, Some("a"), "`event` is missing"));
}

#[test]
fn a_wrong_field_is_answered_with_the_frame_s_id_and_topic() {
    let told = |json: &str, id, topic, message: &str| assert_eq!(decode(json), invalid(id, topic, message), "{json}");
    told(r#"{"op":"auth"}"#, None, None, "`token` is missing");
    told(r#"{"op":"auth","token":7}"#, None, None, "`token` must be a string");
    let since = "`since` must be a map of topics to positions";
    told(r#"{"op":"auth","token":"t","since":"1-1"}"#, None, None, since);
    told(r#"{"op":"auth","token":"t","since":[]}"#, None, None, since);
    told(r#"{"op":"auth","token":"t","since":{"a":1}}"#, None, None, since);
    told(r#"{"op":"subscribe","id":1}"#, Some(1), None, "`topic` is missing");
    told(r#"{"op":"subscribe","id":1,"topic":["a"]}"#, Some(1), None, "`topic` must be a string");
    told(r#"{"op":"subscribe","id":1,"topic":"a","since":17}"#, Some(1), Some("a"), "`since` must be a string");
    told(r#"{"op":"subscribe","topic":"a","presence":"yes"}"#, None, Some("a"), "`presence` must be true or false");
    told(
        r#"{"op":"subscribe","topic":"a","topics":[{"topic":"b"}]}"#,
        None,
        Some("a"),
        "`topic` and `topics` exclude each other",
    );
    let topics = "`topics` must be an array with one topic at least";
    told(r#"{"op":"subscribe","id":1,"topics":[]}"#, Some(1), None, topics);
    told(r#"{"op":"subscribe","id":1,"topics":{"topic":"a"}}"#, Some(1), None, topics);
    let each = "every one of `topics` must be a map with a `topic`";
    told(r#"{"op":"subscribe","id":1,"topics":["a"]}"#, Some(1), None, each);
    told(r#"{"op":"subscribe","id":1,"topics":[{"topic":"a"},null]}"#, Some(1), None, each);
    told(r#"{"op":"subscribe","id":1,"topics":[{"topic":"a"},{}]}"#, Some(1), None, "`topic` is missing");
    told(r#"{"op":"unsubscribe","id":-5}"#, Some(-5), None, "`topic` is missing");
    told(r#"{"op":"publish","id":3,"topic":"a"}"#, Some(3), Some("a"), "`event` is missing");
    told(r#"{"op":"publish","id":3,"event":{}}"#, Some(3), None, "`topic` is missing");
    told(r#"{"op":"publish","topic":"a","event":{},"durable":1}"#, None, Some("a"), "`durable` must be true or false");
    told(r#"{"op":"history","id":"x"}"#, None, None, "`id` must be an integer of 64 bits");
}

#[test]
fn a_field_twice_is_refused_however_it_is_spelled() {
    assert_eq!(
        decode(r#"{"op":"unsubscribe","topic":"a","t\u006fpic":"b"}"#),
        invalid(None, None, "`topic` stands twice")
    );
    assert_eq!(
        decode(r#"{"op":"unsubscribe","id":1,"id":2,"topic":"a"}"#),
        invalid(None, Some("a"), "`id` stands twice")
    );
    assert_eq!(decode(r#"{"op":"auth","token":"t","token":null}"#), invalid(None, None, "`token` stands twice"));
    assert_eq!(decode(r#"{"op":"ping","op":"pong"}"#), Err(FrameError::Unparseable));
}

#[test]
fn strings_with_escapes_are_read_as_they_are_meant() {
    assert_eq!(
        decode(r#"{"\u006fp":"unsu\u0062scribe","topic":"channel:\"\u00e9\ud83c\udfba"}"#),
        Ok(ClientFrame::Unsubscribe { id: None, topic: "channel:\"é🎺".into() })
    );
    let half = ClientFrame::decode(Codec::Json, r#"{"op":"unsubscribe","topic":"\ud83c"}"#.into());
    assert_eq!(half, invalid(None, None, "`topic` must be a string"));
}

#[test]
fn what_is_no_frame_is_told_apart() {
    for json in [
        "",
        " ",
        "ping",
        "null",
        "[]",
        "\"ping\"",
        "{",
        "{}",
        r#"{"op":"ping"}x"#,
        r#"{"op":"ping"}{"op":"ping"}"#,
        r#"[{"op":"ping"}]"#,
        r#"{"op":1}"#,
        r#"{"op":null}"#,
        r#"{"op":["ping"]}"#,
        r#"{"Op":"ping"}"#,
        r#"{"op":"ping",}"#,
        r#"{"op":"ping","x":tru}"#,
        "\u{feff}{\"op\":\"ping\"}",
        r#"{"op":"\ud800"}"#,
    ] {
        let decoded = ClientFrame::decode(Codec::Json, Bytes::copy_from_slice(json.as_bytes()));
        assert_eq!(decoded, Err(FrameError::Unparseable), "{json:?}");
    }
    for message in [
        &b""[..],
        b"\x80",
        b"\x90",
        b"\xc0",
        b"\xc1",
        b"\x81\xa2op",
        b"\x81\xa2op\x01",
        b"\x81\xa2op\xa4pin",
        b"{\"op\":\"ping\"}",
        b"\x81\xa2op\xa4ping\xc0",
        b"\x82\xa2op\xa4ping",
        b"\x82\xa2op\xa4ping\xa1x\xa1\xff",
        b"\xdf\xff\xff\xff\xff\xa2op\xa4ping",
        b"\x82\xa2op\xa4ping\xa1x\xdd\xff\xff\xff\xff",
        b"\x82\xa2op\xa4ping\xa1x\xdf\xff\xff\xff\xff\x01",
    ] {
        let decoded = ClientFrame::decode(Codec::Msgpack, Bytes::from_static(message));
        assert_eq!(decoded, Err(FrameError::Unparseable), "{message:x?}");
    }
    let not_utf_8 = Bytes::from_static(b"{\"op\":\"ping\",\"x\":\"\xff\"}");
    assert_eq!(ClientFrame::decode(Codec::Json, not_utf_8), Err(FrameError::Unparseable));
}

#[test]
fn no_depth_is_a_danger() {
    let deep = "[".repeat(30_000) + &"]".repeat(30_000);
    let decoded = ClientFrame::decode(Codec::Json, format!(r#"{{"op":"ping","x":{deep}}}"#).into());
    assert_eq!(decoded, Ok(ClientFrame::Ping));
    let decoded = ClientFrame::decode(Codec::Json, format!(r#"{{"op":"subscribe","topics":{deep}}}"#).into());
    assert_eq!(decoded, invalid(None, None, "every one of `topics` must be a map with a `topic`"));
    assert_eq!(ClientFrame::decode(Codec::Json, deep.into()), Err(FrameError::Unparseable));
    let deep = [&b"\x82\xa2op\xa4ping\xa1x"[..], &vec![0x91; 60_000], &[0xc0]].concat();
    assert_eq!(ClientFrame::decode(Codec::Msgpack, deep.into()), Ok(ClientFrame::Ping));
}

#[test]
fn a_token_is_never_printed() {
    let shown = format!("{:?}", decode(r#"{"op":"auth","token":"secret.jwt","since":{"a":"1-1"}}"#));
    assert_eq!(shown, r#"Ok(Auth { token: "[hidden]", since: [("a", "1-1")] })"#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_bytes_are_judged_without_a_panic(message: Vec<u8>) {
        let _ = ClientFrame::decode(Codec::Json, message.clone().into());
        let _ = ClientFrame::decode(Codec::Msgpack, message.into());
    }

    #[test]
    fn almost_a_frame_is_judged_without_a_panic(at: usize, byte: u8) {
        let text = r#"{"op":"subscribe","id":12,"topics":[{"topic":"channel:a","since":"1-1"},{"topic":"b","presence":true}]}"#;
        for (codec, mut message) in [
            (Codec::Json, text.as_bytes().to_vec()),
            (Codec::Msgpack, json_to_msgpack(text.as_bytes()).unwrap()),
        ] {
            let at = at % message.len();
            message[at] = byte;
            if let Ok(ClientFrame::Subscribe { topics, .. }) = ClientFrame::decode(codec, message.into()) {
                prop_assert!(!topics.is_empty());
            }
        }
    }

    #[test]
    fn topics_and_positions_arrive_as_they_were_written(id: i64, topic: String, since: Option<String>, presence: bool) {
        let json = serde_json::json!({ "op": "subscribe", "id": id, "topic": topic, "since": since, "presence": presence });
        let topics = vec![SubscribeItem { topic, since, presence }];
        prop_assert_eq!(decode(&json.to_string()), Ok(ClientFrame::Subscribe { id: Some(id), topics, many: false }));
    }
}

#[test]
fn a_command_is_a_frame_whose_op_stands_elsewhere() {
    let fields = r#"{"op":"auth","id":"no number","topic":"channel:a","limit":2}"#;
    let expected = ClientFrame::History { id: None, topic: "channel:a".into(), limit: 2, before: None };
    let packed = json_to_msgpack(fields.as_bytes()).unwrap();
    for (codec, fields) in [(Codec::Json, Bytes::from_static(fields.as_bytes())), (Codec::Msgpack, packed.into())] {
        assert_eq!(ClientFrame::decode_fields(codec, "history", fields), Ok(expected.clone()));
    }
    let decode =
        |op: &str, text: &'static str| ClientFrame::decode_fields(Codec::Json, op, Bytes::from_static(text.as_bytes()));
    assert_eq!(decode("history", r#"{"topic":"channel:a"}"#), invalid(None, Some("channel:a"), "`limit` is missing"));
    assert_eq!(decode("unheard", "{}"), Ok(ClientFrame::Unknown { op: "unheard".into(), id: None }));
    assert_eq!(decode("history", "[]"), Err(FrameError::Unparseable));
}
