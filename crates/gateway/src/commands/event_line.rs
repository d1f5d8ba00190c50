//! One event as one line of JSON, the same whether it came from Redis or from a node.

use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct EventLine<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<&'a str>,
    event: &'a RawValue,
}

/// `{"topic":…,"position"?:…,"event":<envelope>}` without a line break. The envelope stays as its publisher wrote it, but
/// for line breaks between its tokens.
pub(super) fn event_line(topic: &str, position: Option<&str>, envelope: &RawValue) -> serde_json::Result<String> {
    let line = serde_json::to_string(&EventLine { topic, position, event: envelope })?;
    // Inside a string a line break can only be escaped (RFC 8259 section 7), so these are white space.
    Ok(line.replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn an_event_is_one_line_and_its_data_untouched() {
        let envelope = "{\n  \"type\": \"a\\nb\",\r\n  \"data\": 1.10}";
        let line = event_line("channel:x", Some("1-2"), serde_json::from_str(envelope).unwrap()).unwrap();
        let expected = r#"{"topic":"channel:x","position":"1-2","event":{   "type": "a\nb",    "data": 1.10}}"#;
        assert_eq!(line, expected);
        assert!(!line.contains('\n'));
    }
}
