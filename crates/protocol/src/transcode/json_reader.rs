//! Walks JSON that has been checked, and writes it as `MessagePack`. Deliberately not a parser: it relies on the check,
//! and gives up rather than explain. The parser of `serde_json` gives neither half surrogate pairs nor the text of a
//! number that has no double.

use rmp::Marker;

use crate::envelope::ENVELOPE_DEPTH_MAX;
use crate::msgpack;

/// Appends the value to `out`; `None` for what can't be JSON.
pub(super) fn translate(json: &str, out: &mut Vec<u8>) -> Option<()> {
    JsonReader { rest: json, out }.value(1)
}

struct JsonReader<'a> {
    rest: &'a str,
    out: &'a mut Vec<u8>,
}

impl JsonReader<'_> {
    fn value(&mut self, level: usize) -> Option<()> {
        match self.peek()? {
            b'{' | b'[' if level > ENVELOPE_DEPTH_MAX => None,
            b'{' => self.container(Marker::FixMap(0), level),
            b'[' => self.container(Marker::FixArray(0), level),
            b'"' => self.string(),
            _ => self.word(),
        }
    }

    fn container(&mut self, kind: Marker, level: usize) -> Option<()> {
        let start = self.out.len();
        self.out.push(0);
        self.skip(1);
        let mut length: u32 = 0;
        loop {
            match self.peek()? {
                b'}' | b']' => break self.skip(1),
                b',' => self.skip(1),
                _ => {
                    if matches!(kind, Marker::FixMap(_)) {
                        self.string()?;
                        self.peek().filter(|&byte| byte == b':')?;
                        self.skip(1);
                    }
                    self.value(level + 1)?;
                    length = length.checked_add(1)?;
                }
            }
        }
        msgpack::set_length(self.out, start, length, kind);
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let body = self.peek().filter(|&byte| byte == b'"').and_then(|_| self.rest.get(1..))?;
        let end = body.find(['"', '\\'])?;
        if body.as_bytes()[end] == b'"' {
            msgpack::push(self.out, &body[..end]);
            self.rest = &body[end + 1..];
            return Some(());
        }
        let mut text = String::with_capacity(body.len().min(256));
        self.rest = unescape(body, &mut text)?;
        msgpack::push(self.out, &text);
        Some(())
    }

    /// Reads `true`, `false`, `null` or a number.
    fn word(&mut self) -> Option<()> {
        let is_end = |character| matches!(character, ',' | ']' | '}' | ' ' | '\t' | '\n' | '\r');
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.skip(end);
        match word {
            "true" => msgpack::push(self.out, &true),
            "false" => msgpack::push(self.out, &false),
            "null" => msgpack::push(self.out, &()),
            _ => self.number(word)?,
        }
        Some(())
    }

    fn number(&mut self, word: &str) -> Option<()> {
        // No integer of MessagePack is minus zero.
        if let Some(number) = word.parse::<i64>().ok().filter(|_| word != "-0") {
            msgpack::push(self.out, &number);
        } else if let Ok(number) = word.parse::<u64>() {
            msgpack::push(self.out, &number);
        } else {
            let number: f64 = word.parse().ok()?;
            if number.is_finite() { msgpack::push(self.out, &number) } else { msgpack::push(self.out, &()) }
        }
        Some(())
    }

    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.bytes().next()
    }

    /// Passes over bytes that are known to be whole characters.
    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }
}

/// Appends what a string's `body` means, and gives what follows its closing quote.
fn unescape<'a>(mut body: &'a str, text: &mut String) -> Option<&'a str> {
    loop {
        let plain = body.find(['"', '\\'])?;
        text.push_str(&body[..plain]);
        let is_end = body.as_bytes()[plain] == b'"';
        body = &body[plain + 1..];
        if is_end {
            return Some(body);
        }
        let escape = body.bytes().next()?;
        body = body.get(1..)?;
        text.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (character, rest) = unicode_escape(body)?;
                body = rest;
                character
            }
            b'"' | b'\\' | b'/' => char::from(escape),
            _ => return None,
        });
    }
}

/// Reads what follows `\u`; two escapes when they are a surrogate pair.
fn unicode_escape(body: &str) -> Option<(char, &str)> {
    let (unit, rest) = hex_4(body)?;
    if (0xd800..0xdc00).contains(&unit)
        && let Some((low, after)) = rest.strip_prefix("\\u").and_then(hex_4)
        && (0xdc00..0xe000).contains(&low)
    {
        let code_point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        return Some((char::from_u32(code_point)?, after));
    }
    Some((char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), rest))
}

fn hex_4(body: &str) -> Option<(u32, &str)> {
    let (digits, rest) = body.split_at_checked(4)?;
    let unit = u32::from_str_radix(digits, 16).ok()?;
    Some((unit, rest))
}
