//! Whatever a client sends: a frame means the same in both encodings, and a published event or a request's data is a part of
//! its message.
#![no_main]

use bytes::Bytes;
use fanfare_protocol::{ClientFrame, Codec, FrameError, json_to_msgpack, msgpack_to_json};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

fuzz_target!(|message: &[u8]| {
    for codec in [Codec::Json, Codec::Msgpack] {
        let message = Bytes::copy_from_slice(message);
        match ClientFrame::decode(codec, message.clone()) {
            Ok(frame) => check(codec, &message, frame),
            Err(FrameError::Invalid { message, .. }) => assert!(!message.is_empty()),
            Err(FrameError::Unparseable) => {}
        }
    }
});

fn check(codec: Codec, message: &Bytes, mut frame: ClientFrame) {
    if codec == Codec::Json {
        assert!(serde_json::from_slice::<IgnoredAny>(message).is_ok(), "a frame is JSON");
    }
    if let ClientFrame::Subscribe { topics, many, .. } = &frame {
        assert!(if *many { !topics.is_empty() } else { topics.len() == 1 });
    }
    if let ClientFrame::Publish { event, .. } | ClientFrame::Request { data: Some(event), .. } = &mut frame {
        let start = event.as_ptr().addr().checked_sub(message.as_ptr().addr()).expect("a part of the message");
        assert_eq!(message.slice(start..start + event.len()), *event);
        *event = Bytes::new();
    }
    // Not every message translates: a field that nobody reads may hold what the other encoding doesn't know.
    let (other, translated) = match codec {
        Codec::Json => (Codec::Msgpack, json_to_msgpack(message)),
        Codec::Msgpack => (Codec::Json, msgpack_to_json(message)),
    };
    if let Ok(translated) = translated {
        let mut same = ClientFrame::decode(other, translated.into()).expect("a frame in both encodings");
        if let ClientFrame::Publish { event, .. } | ClientFrame::Request { data: Some(event), .. } = &mut same {
            *event = Bytes::new();
        }
        assert_eq!(same, frame);
    }
}
