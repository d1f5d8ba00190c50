//! The header of W3C Trace Context that ties what happens here to what others were doing
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>). Deliberately without a span or a decision about one: whoever
//! makes spans says what they are called.

use std::fmt;

/// More than any version of the header so far.
const BYTES_MAX: usize = 128;

/// The header's length in the version that is written here.
const BYTES: usize = 55;

/// The bit of the flags that says that the trace is recorded.
const SAMPLED: u8 = 1;

/// Where something stands in a trace: the trace, the span that caused it, and whether that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    trace: [u8; 16],
    span: [u8; 8],
    is_sampled: bool,
}

impl Traceparent {
    /// What it adds to an object as a field, in JSON; less in `MessagePack`.
    pub const FIELD_BYTES: usize = r#","traceparent":"""#.len() + BYTES;

    /// A span of a trace; neither id may be 0.
    pub fn new(trace: u128, span: u64, is_sampled: bool) -> Self {
        Self { trace: trace.to_be_bytes(), span: span.to_be_bytes(), is_sampled }
    }

    /// None for a text that must be treated as if it were not there.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let mut parts = text.splitn(5, '-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let has_form = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
        // A later version may have more; the first has not.
        let has_more = parts.next().is_some();
        if text.len() > BYTES_MAX || !has_form || version == "ff" || (has_more && version == "00") {
            return None;
        }
        let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (trace != 0 && span != 0).then(|| Self::new(trace, span, flags & SAMPLED != 0))
    }

    /// The first one that a payload carries in a field of that name, whatever else the payload is: for what is said of one
    /// that can't be decoded.
    pub fn find(payload: &[u8]) -> Option<Self> {
        const NAME: &[u8] = b"traceparent";
        // Between name and value stand quotes, a colon and white space, or a length in MessagePack.
        const BETWEEN_MAX: usize = 8;
        let after = payload.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
        let text = |start| Self::parse(str::from_utf8(payload.get(start..start + BYTES)?).ok()?);
        (after..=after + BETWEEN_MAX).find_map(text)
    }

    /// The trace.
    pub fn trace_id(&self) -> u128 {
        u128::from_be_bytes(self.trace)
    }

    /// The span.
    pub fn span_id(&self) -> u64 {
        u64::from_be_bytes(self.span)
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id(), self.span_id(), u8::from(self.is_sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_examples_of_the_standard_are_judged_as_it_says() {
        let parse = Traceparent::parse;
        assert!(parse(GOOD).is_some());
        assert_eq!(parse(&GOOD.replacen("00", "cc", 1)), parse(GOOD));
        assert_eq!(parse(&format!("cc{}-what-comes", &GOOD[2..])), parse(GOOD));
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD}-x"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.to_uppercase(),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace('-', "_"),
            &format!("cc{}-{}", &GOOD[2..], "x".repeat(100)),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_was_parsed_is_written_again() {
        assert_eq!(Traceparent::parse(GOOD).map(|parsed| parsed.to_string()), Some(GOOD.to_owned()));
        let of_flags = |flags| Traceparent::parse(&GOOD.replace("-01", flags)).map(|parsed| parsed.is_sampled());
        // Flags that nobody knows yet are not passed on.
        assert_eq!([of_flags("-00"), of_flags("-02"), of_flags("-03")], [Some(false), Some(false), Some(true)]);
        assert_eq!(Traceparent::new(1, 2, false).to_string(), format!("00-{:032}-{:016}-00", 1, 2));
    }

    #[test]
    fn it_is_found_in_what_can_t_be_decoded() {
        let found = Traceparent::parse(GOOD);
        for payload in [
            format!(r#"{{"type":1,"traceparent": "{GOOD}"}}"#),
            format!("@1-1 {{\"traceparent\":\"{GOOD}\""),
            format!("\u{1}traceparent\u{2}7{GOOD}"),
        ] {
            assert_eq!(Traceparent::find(payload.as_bytes()), found, "{payload}");
        }
        for payload in ["", "traceparent", r#"{"traceparent":"00-1"}"#, &format!("traceparent         {GOOD}")] {
            assert_eq!(Traceparent::find(payload.as_bytes()), None, "{payload}");
        }
    }
}
