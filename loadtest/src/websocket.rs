//! WebSocket frames (RFC 6455, section 5) as far as a load generator and a floor server need them: whole messages in
//! one frame. A fragmented or compressed message is an error here, not a feature.

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

/// No frame that belongs to a load test is longer; one that claims to be is refused before a byte is kept.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// A frame's header, read from the first 2 to 14 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) opcode: u8,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) head_bytes: usize,
    pub(crate) payload_bytes: usize,
}

impl Header {
    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.head_bytes + self.payload_bytes
    }

    /// Reads the header of a frame that is to be read whole; `None` while bytes are missing.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
        match Self::read_any(bytes)? {
            Some(header) if header.payload_bytes > PAYLOAD_BYTES_MAX => Err("a frame over 1 MiB"),
            header => Ok(header),
        }
    }

    /// Reads the header of a frame of any length, whose payload is read as it comes.
    #[inline]
    pub(crate) fn read_any(bytes: &[u8]) -> Result<Option<Header>, &'static str> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0xf0 != 0x80 {
            return Err("a fragmented frame or one with reserved bits");
        }
        let (payload_bytes, length_bytes) = match (second & 0x7f, rest) {
            (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 2),
            (126, _) => return Ok(None),
            (127, rest) => {
                let Some(length) = rest.first_chunk::<8>() else { return Ok(None) };
                (usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX), 8)
            }
            (short, _) => (usize::from(short), 0),
        };
        let mut head_bytes = 2 + length_bytes;
        let mut mask = None;
        if second & 0x80 != 0 {
            let Some(key) = bytes.get(head_bytes..head_bytes + 4) else { return Ok(None) };
            mask = key.try_into().ok();
            head_bytes += 4;
        }
        Ok(Some(Header { opcode: first & 0x0f, mask, head_bytes, payload_bytes }))
    }
}

/// A frame from a client: masked, as section 5.3 demands.
pub(crate) fn client_frame(opcode: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    put_header(&mut frame, opcode, payload.len());
    frame[1] |= 0x80;
    frame.extend_from_slice(&key);
    let start = frame.len();
    frame.extend_from_slice(payload);
    unmask(&mut frame[start..], key);
    frame
}

/// Appends a frame from a server, its payload given in parts.
pub(crate) fn put_server_frame(out: &mut Vec<u8>, opcode: u8, payload: &[&[u8]]) {
    put_header(out, opcode, payload.iter().map(|part| part.len()).sum());
    for part in payload {
        out.extend_from_slice(part);
    }
}

/// Masks or unmasks in place.
pub(crate) fn unmask(payload: &mut [u8], key: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

fn put_header(out: &mut Vec<u8>, opcode: u8, payload_bytes: usize) {
    out.push(0x80 | opcode);
    let length = (payload_bytes as u64).to_be_bytes();
    match payload_bytes {
        0..=125 => out.push(length[7]),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&length[6..]);
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&length);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn frames_of_all_three_lengths_are_read_back() {
        for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000] {
            let payload = vec![b'a'; length];
            let mut frame = Vec::new();
            put_server_frame(&mut frame, TEXT, &[&payload[..length / 2], &payload[length / 2..]]);
            let header = Header::read(&frame).unwrap().unwrap();
            assert_eq!((header.opcode, header.mask, header.payload_bytes), (TEXT, None, length));
            assert_eq!(header.frame_bytes(), frame.len());
            assert_eq!(frame[header.head_bytes..], payload);
            for cut in 0..header.head_bytes {
                assert_eq!(Header::read(&frame[..cut]), Ok(None));
            }
        }
    }

    #[test]
    fn the_masked_example_of_the_rfc() {
        // RFC 6455, section 5.7: a single-frame masked text message "Hello".
        let frame = client_frame(TEXT, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(frame, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        let header = Header::read(&frame).unwrap().unwrap();
        assert_eq!(header.mask, Some([0x37, 0xfa, 0x21, 0x3d]));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(Header::read(&[0x01, 0]).is_err(), "not final");
        assert!(Header::read(&[0xc1, 0]).is_err(), "compressed");
        assert!(Header::read(&[0x81, 127, 0, 0, 0, 0, 0, 0x20, 0, 0]).is_err(), "2 MiB");
    }
}
