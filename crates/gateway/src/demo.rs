//! The page that a development node serves at `/`: who is connected, what arrives, and a form to publish.
//!
//! One document without outside requests, so that it works offline and under a strict content security policy. It is not
//! part of a production node. `demo/fanfare.js` is the TypeScript client for pages without a bundler, as
//! `clients/typescript/scripts/build-browser.js` makes it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Names the style and the scripts, which are put in place of their names.
const TEMPLATE: &str = include_str!("demo/page.html");
const STYLE: &str = include_str!("demo/page.css");
const CLIENT: &str = include_str!("demo/fanfare.js");
const SCRIPT: &str = include_str!("demo/page.js");

static PAGE: LazyLock<String> = LazyLock::new(|| {
    TEMPLATE
        .replace(r#"<link rel="stylesheet" href="page.css">"#, &format!("<style>{STYLE}</style>"))
        .replace(r#"<script src="fanfare.js"></script>"#, &format!("<script>{CLIENT}</script>"))
        .replace(r#"<script src="page.js"></script>"#, &format!("<script>{SCRIPT}</script>"))
});

static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| policy(STYLE, &[CLIENT, SCRIPT]));

/// The page (`text/html; charset=utf-8`) and the `Content-Security-Policy` to serve with it.
///
/// The policy allows the page's own style and scripts by their SHA-256 (CSP level 3, section 8.4), connections to the
/// node that served it, and nothing else; text from events can't become markup (Trusted Types).
pub fn page() -> (&'static str, &'static str) {
    (&PAGE, &CONTENT_SECURITY_POLICY)
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

fn policy(style: &str, scripts: &[&str]) -> String {
    let style = hash_source(style);
    let scripts = scripts.iter().map(|script| hash_source(script)).collect::<Vec<_>>().join(" ");
    format!(
        "default-src 'none'; script-src {scripts}; style-src {style}; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    )
}

fn hash_source(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_hashes_of_style_and_scripts() {
        // echo -n 'a{}' | openssl sha256 -binary | base64, and the same for '1' and '2'
        let policy = policy("a{}", &["1", "2"]);
        assert!(policy.contains("style-src 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk=';"), "{policy}");
        let scripts = "script-src 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s=' \
                       'sha256-1HNeOiZeFu7gP1lxi5tdAwGcB9i2xR+Q2jpmbuwTqzU=';";
        assert!(policy.contains(scripts), "{policy}");
        assert!(policy.starts_with("default-src 'none'; "));
    }

    #[test]
    fn everything_in_the_page_is_covered_by_the_policy() {
        let (page, policy) = page();
        assert_eq!(policy.matches("'sha256-").count(), 3);
        assert!(!policy.contains("unsafe"));
        // What the hashes are of, to the byte, and no further block, which they would not allow.
        for block in [
            format!("<style>{STYLE}</style>"),
            format!("<script>{CLIENT}</script>"),
            format!("<script>{SCRIPT}</script>"),
        ] {
            assert_eq!(page.matches(&block).count(), 1, "{block}");
        }
        assert_eq!((page.matches("<script").count(), page.matches("<style").count()), (2, 1));
        assert_eq!((page.matches("</script").count(), page.matches("</style").count()), (2, 1));
        // No markup brings in what they don't cover, and no script makes markup or code of text.
        for forbidden in [
            " style=\"",
            " onclick=\"",
            "javascript:",
            "src=\"",
            "stylesheet",
            "@import",
            "<!--",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "import(",
        ] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(!STYLE.contains("url("));
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
