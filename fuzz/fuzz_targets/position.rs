//! Whatever claims to be a position: one text for each, and the same before an event as alone.
#![no_main]

use fanfare_protocol::{Payload, Position};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let parsed = text.parse::<Position>();
    assert_eq!(parsed.ok(), model(text));
    let payload = format!("@{text} {{}}");
    let split = Payload::split(payload.as_bytes());
    match parsed {
        // The first event of an epoch has 1.
        Ok(position) if position.seq > 0 => {
            assert_eq!(split.map(|split| split.position), Ok(Some(position)));
        }
        // What is no position alone may be one with names after it, but then there is a space.
        _ => assert!(split.is_err() || text.contains(' ')),
    }
});

/// Two numbers that print as they were written.
fn model(text: &str) -> Option<Position> {
    let (epoch, seq) = text.split_once('-')?;
    let position = Position { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? };
    (format!("{}-{}", position.epoch, position.seq) == text).then_some(position)
}
