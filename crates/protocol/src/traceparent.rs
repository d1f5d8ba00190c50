//! The header of W3C Trace Context that ties what happens here to what a client was doing
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>). Deliberately only a check: nobody here makes one.

/// More than any version of the header so far.
const BYTES_MAX: usize = 128;

/// Whether a text is a `traceparent`. One that isn't must be treated as if it were not there.
pub fn is_traceparent(text: &str) -> bool {
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, digits: usize| is_hex(part, digits) && part.bytes().any(|byte| byte != b'0');
    let mut parts = text.splitn(5, '-');
    let mut next = || parts.next().unwrap_or_default();
    let (version, trace, parent, flags) = (next(), next(), next(), next());
    // A later version may have more; the first has not.
    let has_more = parts.next().is_some();
    text.len() <= BYTES_MAX
        && is_hex(version, 2)
        && version != "ff"
        && !(has_more && version == "00")
        && is_id(trace, 32)
        && is_id(parent, 16)
        && is_hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_are_judged_as_it_says() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        assert!(is_traceparent(&good.replacen("00", "cc", 1)));
        assert!(is_traceparent(&format!("cc{}-what-comes", &good[2..])));
        for bad in [
            "",
            "00",
            &good[..54],
            &format!("{good}-"),
            &format!("{good}-x"),
            &good.replacen("00", "ff", 1),
            &good.to_uppercase(),
            &good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &good.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &good.replace('-', "_"),
            &format!("cc{}-{}", &good[2..], "x".repeat(100)),
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
