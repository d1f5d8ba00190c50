//! Answers of HTTP/1.1 on a connection that goes on (RFC 9112), as far as a publisher needs them: the status, and a body of a
//! given length or in chunks.

use std::borrow::Cow;

/// Longer heads and bodies are no answers to what is asked here.
const ANSWER_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HttpAnswer<'a> {
    pub(crate) status: u16,
    pub(crate) body: Cow<'a, [u8]>,
}

/// Reads one answer and its length; `None` while bytes are missing.
pub(crate) fn http_answer(bytes: &[u8]) -> Result<Option<(HttpAnswer<'_>, usize)>, String> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > ANSWER_BYTES_MAX { Err("an endless head".to_owned()) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "a head that is no text".to_owned())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| format!("no status in `{head}`"))?;
    let field = |name: &str| {
        let mut fields = lines.clone().filter_map(|line| line.split_once(':'));
        fields.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then(|| value.trim()))
    };
    let start = end + 4;
    let body = if field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        chunked(&bytes[start..])?.map(|(body, used)| (Cow::Owned(body), used))
    } else {
        let length = field("content-length").map_or(Ok(0), str::parse::<usize>);
        let length = length.ok().filter(|length| *length < ANSWER_BYTES_MAX).ok_or("a body of no length")?;
        bytes.get(start..start + length).map(|body| (Cow::Borrowed(body), length))
    };
    Ok(body.map(|(body, used)| (HttpAnswer { status, body }, start + used)))
}

/// The chunks up to the empty one, without trailers, and their length.
fn chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut used) = (Vec::new(), 0);
    loop {
        let Some(line) = memchr::memmem::find(&bytes[used..], b"\r\n") else { return Ok(None) };
        let digits = std::str::from_utf8(&bytes[used..used + line]).unwrap_or_default();
        let size = usize::from_str_radix(digits.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.ok().filter(|size| *size < ANSWER_BYTES_MAX).ok_or("a chunk of no size")?;
        used += line + 2;
        let Some(chunk) = bytes.get(used..used + size) else { return Ok(None) };
        if bytes.len() < used + size + 2 {
            return Ok(None);
        }
        body.extend_from_slice(chunk);
        used += size + 2;
        if size == 0 {
            return Ok(Some((body, used)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn an_answer_of_a_length_is_read_at_every_cut() {
        let answer = b"HTTP/1.1 201 Created\r\nServer: nginx/1.22.1\r\ncontent-length: 5\r\n\r\nhelloHTTP";
        let whole = answer.len() - 4;
        for cut in 0..whole {
            assert_eq!(http_answer(&answer[..cut]), Ok(None));
        }
        let (read, used) = http_answer(answer).unwrap().unwrap();
        assert_eq!((read.status, read.body.as_ref(), used), (201, b"hello".as_slice(), whole));
    }

    #[test]
    fn an_answer_in_chunks_is_put_together() {
        let answer =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nb;x=1\r\n, you there\r\n0\r\n\r\n";
        for cut in 0..answer.len() {
            assert_eq!(http_answer(&answer[..cut]), Ok(None));
        }
        let (read, used) = http_answer(answer).unwrap().unwrap();
        assert_eq!((read.body.as_ref(), used), (b"hello, you there".as_slice(), answer.len()));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bytes in ["x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"] {
            assert!(http_answer(bytes.as_bytes()).is_err(), "{bytes}");
        }
        assert!(http_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n").is_err());
    }
}
