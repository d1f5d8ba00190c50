//! Whatever stands on a channel for answers: its data is a part of it, and its client gets that in a sound frame.
#![no_main]

use bytes::Bytes;
use fanfare_protocol::{Answer, Codec, RequestId, reply_frame};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply<'a> {
    op: &'a str,
    id: i64,
    #[serde(borrow)]
    data: &'a RawValue,
}

fuzz_target!(|payload: &[u8]| {
    let payload = Bytes::copy_from_slice(payload);
    match Answer::decode(payload.clone()) {
        Ok(answer) => check(&payload, &answer),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn check(payload: &Bytes, answer: &Answer) {
    assert_eq!(RequestId::parse(&answer.request.to_string()), Some(answer.request));
    let Ok(data) = &answer.outcome else { return };
    let start = data.as_ptr().addr().checked_sub(payload.as_ptr().addr()).expect("a part of the payload");
    assert_eq!(payload.slice(start..start + data.len()), *data);

    let frame = reply_frame(Codec::Json, Some(-1), data);
    let reply: Reply<'_> = serde_json::from_slice(&frame).expect("a frame is JSON");
    assert_eq!((reply.op, reply.id, reply.data.get().as_bytes()), ("reply", -1, &data[..]));

    let frame = reply_frame(Codec::Msgpack, Some(-1), data);
    let mut rest = &frame[..];
    let value = rmpv::decode::read_value(&mut rest).expect("a frame is MessagePack");
    assert!(rest.is_empty() && value["op"].as_str() == Some("reply") && value["id"].as_i64() == Some(-1));
}
