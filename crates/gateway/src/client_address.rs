//! Whose connection it is: the client's address behind trusted reverse proxies.
//!
//! Reads `Forwarded` (RFC 7239) and `X-Forwarded-For`, and only from a peer that is trusted. It is not about the PROXY
//! protocol (`proxy_protocol`): that one replaces the peer before anything here is asked.
//!
//! Trust an address only when it is a proxy that writes one of the two headers itself. If your proxies write one of
//! them, let them also remove the other: a client can send both.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client at the far end of `peer`'s connection.
///
/// An untrusted `peer` is the client, whatever it sends. Behind a trusted one the hops that the header names are
/// walked from the right, the side that our own proxies wrote: trusted ones are skipped and the first untrusted one is
/// the client. A hop that can't be read (bad syntax, `unknown`, an obfuscated name) ends the walk at the last
/// good hop, since everything to its left is hearsay.
///
/// `Forwarded` goes before `X-Forwarded-For`. When both name hops and they lead to different clients, one of them was
/// passed on as the client sent it and nobody can tell which: the answer is then `peer`.
///
/// An IPv4 address mapped into IPv6 (`::ffff:192.0.2.1`) is answered, and compared, as IPv4.
pub fn client_address(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let forwarded = forwarded_hops(headers).map(|hops| walk(peer, trusted, &hops));
    let x_forwarded_for = x_forwarded_for_hops(headers).map(|hops| walk(peer, trusted, &hops));
    match (forwarded, x_forwarded_for) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(client), _) | (None, Some(client)) => client,
        (None, None) => peer,
    }
}

/// Whether `address` lies in one of the trusted networks.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// One hop as a header names it; `None` when it names no address.
type Hop = Option<IpAddr>;

fn walk(peer: IpAddr, trusted: &[IpNet], hops: &[Hop]) -> IpAddr {
    let mut last_good = peer;
    for hop in hops.iter().rev() {
        let Some(address) = *hop else { break };
        last_good = address;
        if !is_trusted(address, trusted) {
            break;
        }
    }
    last_good
}

/// The hops of all `X-Forwarded-For` lines, in order; `None` when there are none.
fn x_forwarded_for_hops(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    for line in headers.get_all(X_FORWARDED_FOR) {
        match line.to_str() {
            Ok(line) => hops.extend(line.split(',').map(trim).filter(|element| !element.is_empty()).map(parse_node)),
            Err(_) => hops.push(None),
        }
    }
    (!hops.is_empty()).then_some(hops)
}

/// The hops of all `Forwarded` lines, in order. `None` when no element has a `for` and none is broken: then the
/// header is about something else (`proto`, `host`).
fn forwarded_hops(headers: &HeaderMap) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    let mut names_hops = false;
    for line in headers.get_all(FORWARDED) {
        // Each line for itself, so that a quote that a client left open can't swallow a line of our proxies.
        let Ok(line) = line.to_str() else {
            hops.push(None);
            names_hops = true;
            continue;
        };
        for element in split_outside_quotes(line, b',').map(trim) {
            if element.is_empty() {
                continue; // RFC 9110, 5.6.1: empty list elements are ignored
            }
            match parse_element(element) {
                Ok(None) => hops.push(None),
                Ok(Some(node)) => {
                    names_hops = true;
                    hops.push(parse_node(&node));
                }
                Err(BadElement) => {
                    names_hops = true;
                    hops.push(None);
                }
            }
        }
    }
    names_hops.then_some(hops)
}

struct BadElement;

/// The value of `for` in one `forwarded-element` (RFC 7239, section 4), unquoted.
fn parse_element(element: &str) -> Result<Option<String>, BadElement> {
    let mut node = None;
    for pair in split_outside_quotes(element, b';').map(trim) {
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=').ok_or(BadElement)?;
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(BadElement);
        }
        let value = unquote(value)?;
        if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
            return Err(BadElement); // "MUST NOT occur more than once"
        }
    }
    Ok(node)
}

/// A token or a quoted string (RFC 9110, 5.6.2 and 5.6.4). Tokens may also have `:`, `[` and `]`, which strictly need
/// quotes: proxies write `for=192.0.2.1:4711` all the same.
fn unquote(value: &str) -> Result<String, BadElement> {
    let Some(rest) = value.strip_prefix('"') else {
        let plain = |byte| is_token_byte(byte) || matches!(byte, b':' | b'[' | b']');
        return if !value.is_empty() && value.bytes().all(plain) { Ok(value.to_owned()) } else { Err(BadElement) };
    };
    let mut text = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next().ok_or(BadElement)? {
            '"' => break,
            '\\' => text.push(chars.next().ok_or(BadElement)?),
            other => text.push(other),
        }
    }
    if chars.next().is_some() {
        return Err(BadElement);
    }
    Ok(text)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A node with an optional port: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:4711`; the port may be obfuscated (`:_p1`). Anything else names no address.
fn parse_node(node: &str) -> Hop {
    let address = if let Some(rest) = node.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
            return None;
        }
        IpAddr::V6(address.parse().ok()?)
    } else if let Ok(address) = node.parse::<IpAddr>() {
        address
    } else if let Ok(address) = node.parse::<SocketAddr>() {
        address.ip()
    } else {
        let (address, port) = node.split_once(':')?;
        if !is_port(port) {
            return None;
        }
        IpAddr::V4(address.parse().ok()?)
    };
    Some(address.to_canonical())
}

/// RFC 7239, section 6: one to five digits, or an obfuscated port that starts with `_`.
fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Optional whitespace of HTTP: space and tab, nothing else.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The parts of `text` between separators that stand outside quoted strings. A quote left open takes the rest.
fn split_outside_quotes(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |found: char| {
        if escaped {
            escaped = false;
        } else if quoted && found == '\\' {
            escaped = true;
        } else if found == '"' {
            quoted = !quoted;
        } else {
            return !quoted && found == char::from(separator);
        }
        false
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn headers(lines: &[(&HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn trusted() -> Vec<IpNet> {
        vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]
    }

    fn client(peer: &str, lines: &[(&HeaderName, &str)]) -> String {
        client_address(peer.parse().unwrap(), &trusted(), &headers(lines)).to_string()
    }

    fn by_x_forwarded_for(value: &str) -> String {
        client(PROXY, &[(&X_FORWARDED_FOR, value)])
    }

    fn by_forwarded(value: &str) -> String {
        client(PROXY, &[(&FORWARDED, value)])
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_sends() {
        let lies = [(&FORWARDED, "for=198.51.100.1"), (&X_FORWARDED_FOR, "198.51.100.1")];
        assert_eq!(client("203.0.113.9", &lies), "203.0.113.9");
    }

    #[test]
    fn without_headers_the_proxy_is_the_client() {
        assert_eq!(client(PROXY, &[]), PROXY);
        assert_eq!(by_x_forwarded_for(""), PROXY);
        assert_eq!(by_x_forwarded_for(" , ,"), PROXY);
    }

    #[test]
    fn the_first_untrusted_hop_from_the_right_is_the_client() {
        assert_eq!(by_x_forwarded_for("198.51.100.1"), "198.51.100.1");
        assert_eq!(by_x_forwarded_for("6.6.6.6, 198.51.100.1"), "198.51.100.1");
        assert_eq!(by_x_forwarded_for("6.6.6.6,198.51.100.1\t, 10.2.3.4,fd00::7"), "198.51.100.1");
        assert_eq!(by_forwarded("for=6.6.6.6, for=198.51.100.1, for=10.2.3.4"), "198.51.100.1");
    }

    #[test]
    fn when_all_hops_are_trusted_the_leftmost_is_the_client() {
        assert_eq!(by_x_forwarded_for("10.9.9.9, 10.2.3.4"), "10.9.9.9");
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [(&X_FORWARDED_FOR, "6.6.6.6, 198.51.100.1"), (&X_FORWARDED_FOR, "10.2.3.4")];
        assert_eq!(client(PROXY, &lines), "198.51.100.1");
        let lines = [(&FORWARDED, "for=6.6.6.6"), (&FORWARDED, "for=198.51.100.1, for=10.2.3.4")];
        assert_eq!(client(PROXY, &lines), "198.51.100.1");
    }

    #[test]
    fn a_hop_that_names_no_address_ends_the_walk() {
        for bad in ["unknown", "_hidden", "198.51.100", "198.51.100.1:", "host.example", "::1::", "[::1"] {
            assert_eq!(by_x_forwarded_for(&format!("6.6.6.6, {bad}")), PROXY, "{bad}");
            assert_eq!(by_x_forwarded_for(&format!("6.6.6.6, {bad}, 10.2.3.4")), "10.2.3.4", "{bad}");
            assert_eq!(by_forwarded(&format!("for=6.6.6.6, for=\"{bad}\"")), PROXY, "{bad}");
        }
        assert_eq!(by_x_forwarded_for("198.51.100.1, é"), PROXY);
    }

    #[test]
    fn every_spelling_of_an_address_is_understood() {
        for (spelling, address) in [
            ("198.51.100.1", "198.51.100.1"),
            ("198.51.100.1:4711", "198.51.100.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
        ] {
            assert_eq!(by_x_forwarded_for(spelling), address);
            assert_eq!(by_forwarded(&format!("for=\"{spelling}\"")), address);
        }
        assert_eq!(by_forwarded("for=\"198.51.100.1:_port\""), "198.51.100.1");
        assert_eq!(by_forwarded("for=\"[2001:db8::1]:_port\""), "2001:db8::1");
        assert_eq!(by_forwarded("for=\"[2001:db8::1]:\""), PROXY);
        assert_eq!(by_forwarded("for=\"[2001:db8::1]x\""), PROXY);
    }

    #[test]
    fn the_examples_of_rfc_7239_are_understood() {
        assert_eq!(by_forwarded("for=\"_gazonk\""), PROXY);
        assert_eq!(by_forwarded("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
        assert_eq!(by_forwarded("for=192.0.2.60;proto=http;by=203.0.113.43"), "192.0.2.60");
        assert_eq!(by_forwarded("for=192.0.2.43, for=198.51.100.17"), "198.51.100.17");
    }

    #[test]
    fn quoted_strings_hide_separators_and_escapes_are_resolved() {
        assert_eq!(by_forwarded(r#"host="a,b;c\"d";for=198.51.100.1"#), "198.51.100.1");
        assert_eq!(by_forwarded(r#"for="198.51\.100.1" ; proto=https"#), "198.51.100.1");
    }

    #[test]
    fn broken_elements_end_the_walk() {
        for bad in [
            "for",
            "for=",
            "for =198.51.100.1",
            "=198.51.100.1",
            "for=198.51.100.1;for=198.51.100.2",
            "for=\"198.51.100.1",
            "for=\"198.51.100.1\"x",
            "for=\"198.51.100.1\\",
            "for=198.51.100.1 x",
        ] {
            assert_eq!(by_forwarded(bad), PROXY, "{bad}");
            assert_eq!(by_forwarded(&format!("for=6.6.6.6, {bad}")), PROXY, "{bad}");
        }
    }

    #[test]
    fn a_quote_left_open_by_the_client_forges_nothing() {
        // The proxy appends to the client's line …
        assert_eq!(by_forwarded("for=6.6.6.6, x=\", for=198.51.100.1"), PROXY);
        assert_eq!(by_forwarded("for=6.6.6.6, x=\", for=\"[2001:db8::1]\""), PROXY);
        // … or adds a line of its own, and then the client's line doesn't matter.
        let lines = [(&FORWARDED, "for=6.6.6.6;x=\""), (&FORWARDED, "for=198.51.100.1")];
        assert_eq!(client(PROXY, &lines), "198.51.100.1");
    }

    #[test]
    fn both_headers_are_believed_only_when_they_agree() {
        let agree = [(&FORWARDED, "for=198.51.100.1"), (&X_FORWARDED_FOR, "198.51.100.1")];
        assert_eq!(client(PROXY, &agree), "198.51.100.1");
        let forged = [(&FORWARDED, "for=6.6.6.6"), (&X_FORWARDED_FOR, "198.51.100.1")];
        assert_eq!(client(PROXY, &forged), PROXY);
        let hidden = [(&FORWARDED, "for=_hidden"), (&X_FORWARDED_FOR, "6.6.6.6")];
        assert_eq!(client(PROXY, &hidden), PROXY);
        let about_something_else = [(&FORWARDED, "proto=https;host=a.example"), (&X_FORWARDED_FOR, "198.51.100.1")];
        assert_eq!(client(PROXY, &about_something_else), "198.51.100.1");
    }

    #[test]
    fn mapped_addresses_are_the_ipv4_they_stand_for() {
        assert_eq!(client("::ffff:10.0.0.1", &[(&X_FORWARDED_FOR, "198.51.100.1")]), "198.51.100.1");
        assert_eq!(client("::ffff:203.0.113.9", &[]), "203.0.113.9");
    }

    fn any_header() -> impl Strategy<Value = HeaderValue> {
        let bytes = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            "(for=|\"|\\\\|,|;|=|\\[|\\]|:|_|10\\.0\\.0\\.2|6\\.6\\.6\\.6|::1| |x){0,30}".prop_map(String::into_bytes),
        ];
        bytes.prop_filter_map("not a header value", |bytes| HeaderValue::from_bytes(&bytes).ok())
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_can_not_forge(
            peer in any::<IpAddr>(),
            forwarded in any_header(),
            x_forwarded_for in any_header(),
        ) {
            prop_assume!(!is_trusted(peer, &trusted()));
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED, forwarded);
            headers.append(X_FORWARDED_FOR, x_forwarded_for);
            prop_assert_eq!(client_address(peer, &trusted(), &headers), peer.to_canonical());
        }

        #[test]
        fn what_a_client_sends_through_an_appending_proxy_never_becomes_its_address(
            sent in any_header(),
            both in any_header(),
        ) {
            let peer: IpAddr = PROXY.parse().unwrap();
            let real: IpAddr = "198.51.100.1".parse().unwrap();
            for (name, appended) in [(FORWARDED, ", for=198.51.100.1"), (X_FORWARDED_FOR, ", 198.51.100.1")] {
                let mut line = sent.as_bytes().to_vec();
                line.extend_from_slice(appended.as_bytes());
                let mut headers = HeaderMap::new();
                headers.append(&name, HeaderValue::from_bytes(&line).unwrap());
                let found = client_address(peer, &trusted(), &headers);
                prop_assert!(found == real || found == peer, "{found}");

                // The header that this proxy doesn't know passes through untouched.
                let other = if name == FORWARDED { X_FORWARDED_FOR } else { FORWARDED };
                headers.append(other, both.clone());
                let found = client_address(peer, &trusted(), &headers);
                prop_assert!(found == real || found == peer, "{found}");
            }
        }
    }
}
