//! The little of Redis's protocol (RESP2, <https://redis.io/docs/latest/develop/reference/protocol-spec/>) that a
//! publisher and a subscriber need, on bytes alone.

/// Longer replies than this are no replies to what is asked here.
const LINE_BYTES_MAX: usize = 64 << 10;

/// An answer to a simple command, or one text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Integer(i64),
    Status(&'a str),
    Error(&'a str),
    Text(&'a [u8]),
}

/// What comes on a connection that has subscribed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Push<'a> {
    Message {
        channel: &'a [u8],
        payload: &'a [u8],
    },
    Subscribed {
        channel: &'a [u8],
    },
    Unsubscribed,
    /// An error, or an answer to something else than a subscription.
    Other(Reply<'a>),
}

/// Appends a command.
pub(crate) fn put_command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads one reply and its length; `None` while bytes are missing.
pub(crate) fn reply(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, String> {
    if bytes.first() == Some(&b'$') {
        return Ok(bulk(bytes)?.map(|(text, used)| (Reply::Text(text), used)));
    }
    let Some((line, used)) = line(bytes)? else { return Ok(None) };
    let text = |rest: &'static str, bytes| std::str::from_utf8(bytes).unwrap_or(rest);
    let reply = match line {
        [b':', digits @ ..] => Reply::Integer(number(digits)?),
        [b'+', status @ ..] => Reply::Status(text("not UTF-8", status)),
        [b'-', error @ ..] => Reply::Error(text("not UTF-8", error)),
        other => return Err(format!("Redis says `{}`, which is no simple reply", String::from_utf8_lossy(other))),
    };
    Ok(Some((reply, used)))
}

/// Reads one push and its length; `None` while bytes are missing.
#[inline]
pub(crate) fn push(bytes: &[u8]) -> Result<Option<(Push<'_>, usize)>, String> {
    if bytes.first() != Some(&b'*') {
        return Ok(reply(bytes)?.map(|(reply, used)| (Push::Other(reply), used)));
    }
    let Some((count, mut used)) = line(bytes)? else { return Ok(None) };
    if count != b"*3" {
        return Err(format!("Redis sent a push of {} parts", String::from_utf8_lossy(&count[1..])));
    }
    let Some((kind, kind_bytes)) = bulk(&bytes[used..])? else { return Ok(None) };
    used += kind_bytes;
    let Some((channel, channel_bytes)) = bulk(&bytes[used..])? else { return Ok(None) };
    used += channel_bytes;
    let push = if kind == b"message" {
        let Some((payload, payload_bytes)) = bulk(&bytes[used..])? else { return Ok(None) };
        used += payload_bytes;
        Push::Message { channel, payload }
    } else {
        let Some((_, count_bytes)) = line(&bytes[used..])? else { return Ok(None) };
        used += count_bytes;
        if kind == b"subscribe" { Push::Subscribed { channel } } else { Push::Unsubscribed }
    };
    Ok(Some((push, used)))
}

fn bulk(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, String> {
    let Some((line, start)) = line(bytes)? else { return Ok(None) };
    let [b'$', digits @ ..] = line else { return Err("Redis sent no bulk string where one belongs".to_owned()) };
    let length = usize::try_from(number(digits)?).map_err(|_| "Redis sent a null where a string belongs".to_owned())?;
    let end = start + length;
    Ok(bytes.get(start..end).zip(bytes.get(end..end + 2)).map(|(payload, _)| (payload, end + 2)))
}

fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, String> {
    match memchr::memchr(b'\n', &bytes[..bytes.len().min(LINE_BYTES_MAX)]) {
        Some(0) => Err("Redis sent an empty line".to_owned()),
        Some(end) => Ok(Some((&bytes[..end - 1], end + 1))),
        None if bytes.len() >= LINE_BYTES_MAX => Err("Redis sent a line over 64 KiB".to_owned()),
        None => Ok(None),
    }
}

fn number(digits: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("Redis sent `{}` for a number", String::from_utf8_lossy(digits)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn a_command_is_an_array_of_strings() {
        let mut out = Vec::new();
        put_command(&mut out, &[b"PUBLISH", b"c", b""]);
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$0\r\n\r\n");
    }

    #[test]
    fn replies_are_read_and_waited_for() {
        assert_eq!(reply(b":12\r\n:1").unwrap(), Some((Reply::Integer(12), 5)));
        assert_eq!(reply(b"+PONG\r\n").unwrap(), Some((Reply::Status("PONG"), 7)));
        assert_eq!(reply(b"-NOAUTH x\r\n").unwrap(), Some((Reply::Error("NOAUTH x"), 11)));
        assert_eq!(reply(b":1").unwrap(), None);
        assert_eq!(reply(b"$3\r\nabc\r\n:1").unwrap(), Some((Reply::Text(b"abc"), 9)));
        assert_eq!(reply(b"$3\r\nab").unwrap(), None);
        assert!(reply(b"$-1\r\n").is_err(), "nothing here asks for what may not be there");
        assert!(reply(b":x\r\n").is_err());
        assert!(reply(b"\n").is_err());
    }

    #[test]
    fn pushes_are_read_at_every_cut() {
        let message = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\na\r\nbc\r\n";
        assert_eq!(push(message).unwrap(), Some((Push::Message { channel: b"c", payload: b"a\r\nbc" }, message.len())));
        let subscribed = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
        assert_eq!(push(subscribed).unwrap(), Some((Push::Subscribed { channel: b"c" }, subscribed.len())));
        for cut in 0..message.len() {
            assert_eq!(push(&message[..cut]).unwrap(), None);
        }
        assert!(push(b"*2\r\n").is_err());
        assert_eq!(push(b"-ERR no\r\n").unwrap(), Some((Push::Other(Reply::Error("ERR no")), 9)));
    }
}
