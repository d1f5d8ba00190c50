//! The PROXY protocol, version 2: how a proxy that doesn't speak HTTP tells whose connection it relays.
//!
//! Source: `doc/proxy-protocol.txt` of `HAProxy`, sections 2 and 2.2. Version 1 (the text form, section 2.1) is not
//! supported and passes as "no header"; TLVs are skipped, the checksum among them.
//!
//! The specification forbids guessing whether a header is there, because then anybody could send one. So ask only for
//! peers that are trusted proxies. A trusted proxy that relays TCP must send the header itself; one that
//! relays TCP without it would pass on a header that a client made up.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ppp::v2::{Addresses, Header, PROTOCOL_PREFIX as SIGNATURE, ParseError, Protocol};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The longest header that is read, in bytes. Section 2: both formats are designed to fit the smallest TCP segment that
/// every host supports, 536 bytes. The 16-bit length would allow 64 KiB.
pub const HEADER_BYTES_MAX: usize = 536;

/// Signature, version and command, family and protocol, length (section 2.2).
const FIXED_BYTES: usize = 16;
const VERSION_2_LOCAL: u8 = 0x20;

/// Why a connection that began like a header is unusable. The caller closes it.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// Nothing, or less than a whole header, came in time.
    #[error("no complete PROXY header within the time allowed")]
    Timeout,
    /// The peer closed inside the header.
    #[error("the connection ended inside the PROXY header")]
    Truncated,
    /// The header announces more than [`HEADER_BYTES_MAX`].
    #[error("the PROXY header is {bytes} bytes long, the most is {HEADER_BYTES_MAX}")]
    TooLong {
        /// The length it announces, with the fixed part.
        bytes: usize,
    },
    /// A version, command, family or address that section 2.2 doesn't know.
    #[error("the PROXY header is invalid: {0}")]
    Invalid(ParseError),
    /// The socket failed.
    #[error("reading the PROXY header failed: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header at the start of a fresh connection and answers with the client's address.
///
/// `None`: there is no header and nothing was consumed, or the header has no IP address to tell (command `LOCAL`, Unix
/// sockets, unknown families). The peer's own address stands then.
///
/// Waits at most `timeout` for the first bytes and the whole header together. After an error, and when the future is
/// dropped, a part of the header may be consumed: only closing the connection is left.
pub async fn read_header(stream: &TcpStream, timeout: Duration) -> Result<Option<IpAddr>, ProxyHeaderError> {
    match tokio::time::timeout(timeout, read(stream)).await {
        Ok(result) => result,
        Err(_) => Err(ProxyHeaderError::Timeout),
    }
}

async fn read(stream: &TcpStream) -> Result<Option<IpAddr>, ProxyHeaderError> {
    if !starts_with_signature(stream).await? {
        return Ok(None);
    }
    let mut header = [0; HEADER_BYTES_MAX];
    read_exact(stream, &mut header[..FIXED_BYTES]).await?;
    let bytes = FIXED_BYTES + usize::from(u16::from_be_bytes([header[14], header[15]]));
    let Some(rest) = header.get_mut(FIXED_BYTES..bytes) else {
        return Err(ProxyHeaderError::TooLong { bytes });
    };
    read_exact(stream, rest).await?;
    parse(&header[..bytes])
}

fn parse(header: &[u8]) -> Result<Option<IpAddr>, ProxyHeaderError> {
    // LOCAL, the proxy's own health check: "discard the protocol block including the family which is ignored".
    // `ppp` would refuse a family whose addresses are missing.
    if header[12] == VERSION_2_LOCAL {
        return Ok(None);
    }
    let header = Header::try_from(header).map_err(ProxyHeaderError::Invalid)?;
    Ok(match header.addresses {
        _ if header.protocol == Protocol::Unspecified => None,
        Addresses::IPv4(addresses) => Some(IpAddr::V4(addresses.source_address)),
        Addresses::IPv6(addresses) => Some(IpAddr::V6(addresses.source_address).to_canonical()),
        Addresses::Unix(_) | Addresses::Unspecified => None,
    })
}

/// Looks at the first bytes without taking them, waiting only while they could still become the signature.
async fn starts_with_signature(stream: &TcpStream) -> io::Result<bool> {
    let mut seen = 0;
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let look = stream.try_io(Interest::READABLE, || {
            let mut start = [0; SIGNATURE.len()];
            let (_, count) = recv(stream, &mut start, RecvFlags::PEEK)?;
            if !SIGNATURE.starts_with(&start[..count]) || count == 0 {
                return Ok(Some(false));
            }
            if count == SIGNATURE.len() {
                return Ok(Some(true));
            }
            if ready.is_read_closed() {
                return Ok(Some(false)); // the rest will never come
            }
            // A peek leaves the socket readable. Reporting "would block" makes tokio wait for the next arrival
            // instead of spinning on the bytes that are already known.
            if count == seen {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            seen = count;
            Ok(None)
        });
        match look {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes exactly `into.len()` bytes and none that follow: those belong to TLS or HTTP.
async fn read_exact(stream: &TcpStream, into: &mut [u8]) -> Result<(), ProxyHeaderError> {
    let mut filled = 0;
    while filled < into.len() {
        stream.readable().await?;
        match stream.try_read(&mut into[filled..]) {
            Ok(0) => return Err(ProxyHeaderError::Truncated),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use std::pin::pin;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(100);
    const PROXY_TCP4: [u8; 2] = [0x21, 0x11];

    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    fn header(command_and_family: [u8; 2], block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE, &command_and_family, &length, block].concat()
    }

    fn ipv4_block() -> Vec<u8> {
        [&[198, 51, 100, 7][..], &[10, 0, 0, 1], &[0x12, 0x34], &[0x1f, 0x90]].concat()
    }

    fn ipv6_block() -> Vec<u8> {
        let source: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0x12, 0x34], &[0x1f, 0x90]].concat()
    }

    const REQUEST: &[u8] = b"GET /ws HTTP/1.1\r\n\r\n";

    /// What is read when `bytes` and then an HTTP request arrive, and what is left on the socket after it.
    async fn read_and_rest(bytes: &[u8]) -> (Result<Option<IpAddr>, ProxyHeaderError>, Vec<u8>) {
        let (mut client, mut server) = connection().await;
        client.write_all(&[bytes, REQUEST].concat()).await.unwrap();
        let result = read_header(&server, LONG).await;
        drop(client);
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        (result, rest)
    }

    /// As above, for what is a header: asserts that exactly the header was taken.
    async fn read_before_request(bytes: &[u8]) -> Result<Option<IpAddr>, ProxyHeaderError> {
        let (result, rest) = read_and_rest(bytes).await;
        if result.is_ok() {
            assert_eq!(rest, REQUEST);
        }
        result
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_header_tells_the_address_and_leaves_what_follows() {
        for (bytes, expected) in [
            (header(PROXY_TCP4, &ipv4_block()), Some(address("198.51.100.7"))),
            (header([0x21, 0x12], &ipv4_block()), Some(address("198.51.100.7"))),
            (header([0x21, 0x21], &ipv6_block()), Some(address("2001:db8::7"))),
            (header([0x21, 0x31], &[b'/'; 216]), None),
            (header([0x21, 0x00], &[]), None),
            (header([0x21, 0x00], b"whatever an unknown family has"), None),
            (header([0x21, 0x10], &ipv4_block()), None),
        ] {
            assert_eq!(read_before_request(&bytes).await.unwrap(), expected, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_mapped_ipv4_address_is_the_ipv4_address() {
        let mut block = ipv6_block();
        block[..16].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 7]);
        let bytes = header([0x21, 0x21], &block);
        assert_eq!(read_before_request(&bytes).await.unwrap(), Some(address("198.51.100.7")));
    }

    #[tokio::test]
    async fn local_means_the_proxy_itself_whatever_the_family_says() {
        for (family, block) in [(0x00, vec![]), (0x11, vec![]), (0x11, ipv4_block()), (0xff, vec![1, 2, 3])] {
            let bytes = header([0x20, family], &block);
            assert_eq!(read_before_request(&bytes).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn tlvs_are_skipped_up_to_the_longest_header() {
        for tlv_bytes in [3, 9, HEADER_BYTES_MAX - FIXED_BYTES - 12] {
            let value_bytes = u16::try_from(tlv_bytes - 3).unwrap().to_be_bytes();
            let noop = [&[0x04][..], &value_bytes, &vec![0xAA; tlv_bytes - 3]].concat();
            let bytes = header(PROXY_TCP4, &[ipv4_block(), noop].concat());
            assert_eq!(read_before_request(&bytes).await.unwrap(), Some(address("198.51.100.7")));
        }
    }

    #[tokio::test]
    async fn a_longer_header_is_refused_before_it_is_read() {
        let bytes = header(PROXY_TCP4, &[0; HEADER_BYTES_MAX - FIXED_BYTES + 1]);
        let result = read_before_request(&bytes).await;
        assert!(matches!(result, Err(ProxyHeaderError::TooLong { bytes: 537 })), "{result:?}");
        let result = read_before_request(&[SIGNATURE, &PROXY_TCP4, &[0xff, 0xff]].concat()).await;
        assert!(matches!(result, Err(ProxyHeaderError::TooLong { bytes: 65_551 })), "{result:?}");
    }

    #[tokio::test]
    async fn what_the_specification_does_not_know_is_invalid() {
        for bytes in [
            header([0x11, 0x11], &ipv4_block()),     // version 1 in the binary form
            header([0x22, 0x11], &ipv4_block()),     // command 2
            header([0x21, 0x41], &ipv4_block()),     // family 4
            header([0x21, 0x13], &ipv4_block()),     // protocol 3
            header(PROXY_TCP4, &ipv4_block()[..11]), // addresses cut off
        ] {
            let result = read_before_request(&bytes).await;
            assert!(matches!(result, Err(ProxyHeaderError::Invalid(_))), "{bytes:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn anything_else_passes_untouched() {
        let almost = [&SIGNATURE[..11], b"X"].concat();
        for bytes in [&b""[..], b"PROXY TCP4 198.51.100.7 10.0.0.1 4660 8080\r\n", b"\r\n", b"\x16\x03\x01", &almost] {
            let (result, rest) = read_and_rest(bytes).await;
            assert_eq!(result.unwrap(), None);
            assert_eq!(rest, [bytes, REQUEST].concat());
        }
    }

    #[tokio::test]
    async fn a_header_may_arrive_byte_by_byte() {
        let (mut client, mut server) = connection().await;
        let bytes = [header(PROXY_TCP4, &ipv4_block()), b"GET".to_vec()].concat();
        let slow_sender = async {
            for byte in bytes {
                client.write_all(&[byte]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await; // the pace of the sender; nothing waits for it
            }
        };
        let (found, ()) = tokio::join!(read_header(&server, LONG), slow_sender);
        assert_eq!(found.unwrap(), Some(address("198.51.100.7")));
        let mut rest = [0; 3];
        server.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"GET");
    }

    #[tokio::test]
    async fn a_header_cut_off_by_a_close_is_truncated() {
        let whole = header(PROXY_TCP4, &ipv4_block());
        for count in SIGNATURE.len()..whole.len() {
            let (mut client, server) = connection().await;
            client.write_all(&whole[..count]).await.unwrap();
            drop(client);
            let result = read_header(&server, LONG).await;
            assert!(matches!(result, Err(ProxyHeaderError::Truncated)), "{count}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_close_before_the_whole_signature_is_no_header() {
        for count in 0..SIGNATURE.len() {
            let (mut client, mut server) = connection().await;
            client.write_all(&SIGNATURE[..count]).await.unwrap();
            let (found, ()) = tokio::join!(read_header(&server, LONG), async { drop(client) });
            assert_eq!(found.unwrap(), None);
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, SIGNATURE[..count]);
        }
    }

    #[tokio::test]
    async fn who_sends_too_little_runs_into_the_timeout() {
        let whole = header(PROXY_TCP4, &ipv4_block());
        for count in [0, 1, 11, 12, 16, whole.len() - 1] {
            let (mut client, server) = connection().await;
            client.write_all(&whole[..count]).await.unwrap();
            let result = read_header(&server, SHORT).await;
            assert!(matches!(result, Err(ProxyHeaderError::Timeout)), "{count}: {result:?}");
        }
    }

    #[tokio::test]
    async fn waiting_for_the_rest_of_the_signature_does_not_spin() {
        let (mut client, server) = connection().await;
        client.write_all(&SIGNATURE[..5]).await.unwrap();
        let mut reading = pin!(read_header(&server, SHORT));
        let mut polls = 0;
        let result = std::future::poll_fn(|context| {
            polls += 1;
            reading.as_mut().poll(context)
        })
        .await;
        assert!(matches!(result, Err(ProxyHeaderError::Timeout)), "{result:?}");
        assert!(polls < 10, "polled {polls} times");
    }
}
