//! Positions in what a node says. An epoch is a moment in time, so a test compares the form of a position, or positions with
//! each other.

use fanfare_protocol::Position;
use serde_json::Value;

/// The position of a topic that has no durable event yet, as [`shaped`] shows it.
pub(crate) const EMPTY: &str = "<epoch>-0";

/// The `position` of a frame or a topic, which must be a real one.
pub(crate) fn position(value: &Value) -> Position {
    let text = value["position"].as_str().unwrap_or_else(|| panic!("no position: {value}"));
    let position: Position = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_ne!(position.epoch, 0, "nobody knows where it stands: {value}");
    position
}

/// The same with `<epoch>` for the epoch of every position in it. The unknown position, `0-0`, stays.
pub(crate) fn shaped(mut value: Value) -> Value {
    shape(&mut value);
    value
}

fn shape(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(shape),
        Value::Object(map) => {
            for (name, value) in map {
                match value.as_str().and_then(|text| text.parse::<Position>().ok()) {
                    Some(position) if name == "position" && position.epoch > 0 => {
                        *value = format!("<epoch>-{}", position.seq).into();
                    }
                    _ => shape(value),
                }
            }
        }
        _ => {}
    }
}
