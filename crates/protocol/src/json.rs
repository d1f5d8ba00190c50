//! Small tools over JSON text. Deliberately no parser: that is `serde_json`.

use serde::Serialize;

/// Whether objects and arrays are nested in more than `levels` levels. Of text that is no JSON the answer may be wrong,
/// but it is never "no" for what is JSON and too deep.
pub(crate) fn is_deeper_than(levels: usize, text: &[u8]) -> bool {
    // Each level needs two bytes; and counting brackets, within strings too, is many times faster than looking where
    // strings are. Almost every text is done with here.
    let brackets = || text.iter().filter(|&&byte| byte == b'{' || byte == b'[').count();
    text.len() > 2 * levels && brackets() > levels && nesting(text) > levels
}

/// The text without the white space that JSON allows around it.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let start = text.iter().position(is_text).unwrap_or(text.len());
    let end = text.iter().rposition(is_text).map_or(start, |last| last + 1);
    &text[start..end]
}

/// Appends a string, a number or a boolean, which can't fail to become JSON. A float that is not finite becomes null.
pub(crate) fn push(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "a Vec takes all that is written to it");
}

fn nesting(text: &[u8]) -> usize {
    let (mut level, mut deepest): (usize, usize) = (0, 0);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b'}' | b']' => level = level.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_white_space_of_json_is_trimmed() {
        assert_eq!(trim(b" \t\r\n{ }\n "), b"{ }");
        assert_eq!(trim(b" \n"), b"");
        assert_eq!(trim(b""), b"");
        assert_eq!(trim(b"\x0c{}\x0b"), b"\x0c{}\x0b");
    }

    #[test]
    fn levels_are_counted_outside_of_strings_only() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(!is_deeper_than(64, nested(64).as_bytes()));
        assert!(is_deeper_than(64, nested(65).as_bytes()));
        assert!(!is_deeper_than(64, format!("[\"{}\\\"{}\"]", nested(99), "{".repeat(99)).as_bytes()));
        assert!(is_deeper_than(64, format!("[\"\\\\\",{}]", nested(64)).as_bytes()));
        assert!(!is_deeper_than(64, "[],".repeat(1000).as_bytes()));
        assert!(is_deeper_than(64, format!("{{\"a\":{}}}", nested(64)).as_bytes()));
    }
}
