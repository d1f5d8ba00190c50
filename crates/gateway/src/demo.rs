//! The page that a development node serves at `/`: who is connected, what arrives, and a form to publish.
//!
//! One file without outside requests, so that it works offline and under a strict content security policy. It is not part
//! of a production node, and it is not the client library.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

const PAGE: &str = include_str!("demo/page.html");

static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| policy(PAGE));

/// The page (`text/html; charset=utf-8`) and the `Content-Security-Policy` to serve with it.
///
/// The policy allows the page's own style and script by their SHA-256 (CSP level 3, section 8.4), connections to the
/// node that served it, and nothing else; text from events can't become markup (Trusted Types).
pub fn page() -> (&'static str, &'static str) {
    (PAGE, &CONTENT_SECURITY_POLICY)
}

/// Whether a `Host` header names this machine: `localhost`, `127.0.0.0/8` or `[::1]`, with any port or none.
///
/// A page of another site can make its own name resolve to 127.0.0.1 (DNS rebinding) and would then read what a
/// development node gives away. Its requests still carry that name as `Host`.
pub fn is_loopback_host(host: &str) -> bool {
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        if address.parse() != Ok(Ipv6Addr::LOCALHOST) {
            return false;
        }
        ("localhost", port)
    } else {
        host.split_at(host.find(':').unwrap_or(host.len()))
    };
    let port_fits = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    port_fits
        && (name.eq_ignore_ascii_case("localhost")
            || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()))
}

fn policy(page: &str) -> String {
    let script = hash_source(between(page, "<script>", "</script>"));
    let style = hash_source(between(page, "<style>", "</style>"));
    format!(
        "default-src 'none'; script-src {script}; style-src {style}; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    )
}

fn hash_source(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// The text between the first `open` and the next `close`; empty when there is none.
fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let after = text.split_once(open).map_or("", |(_, after)| after);
    after.split_once(close).map_or("", |(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_hashes_of_style_and_script() {
        // echo -n 'a{}' | openssl sha256 -binary | base64, and the same for '1'
        let policy = policy("<style>a{}</style><p><script>1</script>");
        assert!(policy.contains("style-src 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk='"), "{policy}");
        assert!(policy.contains("script-src 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s='"), "{policy}");
        assert!(policy.starts_with("default-src 'none'; "));
    }

    #[test]
    fn everything_in_the_page_is_covered_by_the_policy() {
        let (page, policy) = page();
        assert_eq!(policy.matches("'sha256-").count(), 2);
        assert!(!policy.contains("unsafe"));
        // One block of each kind: a second would not be allowed by the hashes. No markup brings in what they don't cover.
        assert_eq!((page.matches("<script").count(), page.matches("<style").count()), (1, 1));
        assert!(between(page, "<script>", "</script>").len() > 1000);
        assert!(between(page, "<style>", "</style>").len() > 1000);
        for forbidden in [
            " style=\"",
            " onclick=\"",
            "javascript:",
            "src=\"",
            "@import",
            "url(",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        // A Windows checkout must not turn the hashes into those of another text: browsers hash line feeds.
        assert!(!page.contains('\r'));
    }

    #[test]
    fn only_this_machine_is_a_loopback_host() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:8080",
            "[0:0:0:0:0:0:0:1]:80",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            ":8080",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:",
            "localhost:80:80",
            "localhost:99999",
            "localhost:+80",
            "localhost@evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::1",
            "[::1]x",
            "[::ffff:10.0.0.1]",
            "::1",
            "evil.example#localhost",
            " localhost",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
