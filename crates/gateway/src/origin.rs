//! Which web pages may open connections: the `Origin` allow-list.
//!
//! Browsers send `Origin` with every WebSocket handshake and scripts can't change it (RFC 6455, section 10.2). Other
//! programs can send anything, so this protects a browser's user, never the server: tokens do that.

/// Which origins are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Every origin.
    Any,
    /// Only these, and who sends none.
    Only(Vec<AllowedOrigin>),
}

/// One entry of the list. Its parts are compared exactly; scheme and host are kept in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin {
    scheme: String,
    host: AllowedHost,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AllowedHost {
    Exactly(String),
    /// `*.example.com`, kept as `.example.com`.
    EndingWith(String),
}

/// Why an entry is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It has no `scheme://host[:port]` form, or more than that (a path, a user).
    #[error("`{0}` is not an origin: write scheme://host or scheme://host:port, without a path")]
    NotAnOrigin(String),
    /// A `*` stands elsewhere than as the first label of the host.
    #[error("`{0}` has a `*` where none is understood: only `*` alone or `https://*.example.com`")]
    Wildcard(String),
}

impl OriginPolicy {
    /// Parses a list of `https://app.example.com`, `http://localhost:3000`, `https://*.example.com`. The wildcard stands
    /// for one or more labels, so not for `https://example.com` itself. An empty list, or `*` in it, allows any.
    ///
    /// A port that is the scheme's own (443 for https, 80 for http) is the same as none: browsers leave it out.
    pub fn parse<I, S>(list: I) -> Result<Self, OriginError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let mut any = false;
        let mut allowed = Vec::new();
        for entry in list {
            match entry.as_ref().trim() {
                "*" => any = true,
                entry => allowed.push(AllowedOrigin::parse(entry)?),
            }
        }
        Ok(if any || allowed.is_empty() { Self::Any } else { Self::Only(allowed) })
    }

    /// Whether a handshake with this `Origin` header may go on. `None`, no header, is not a browser: allowed.
    ///
    /// The opaque origin `null` (a sandboxed frame, a local file) is allowed only where every origin is.
    pub fn allows(&self, origin: Option<&str>) -> bool {
        match (self, origin) {
            (Self::Any, _) | (_, None) => true,
            (Self::Only(allowed), Some(origin)) => {
                Origin::parse(origin).is_some_and(|origin| allowed.iter().any(|entry| entry.allows(&origin)))
            }
        }
    }
}

impl AllowedOrigin {
    fn parse(entry: &str) -> Result<Self, OriginError> {
        let not_an_origin = || OriginError::NotAnOrigin(entry.to_owned());
        let origin = Origin::parse(entry).ok_or_else(not_an_origin)?;
        let host = match origin.host.strip_prefix('*') {
            Some(rest) if !rest.contains('*') && rest.len() > 1 && rest.starts_with('.') => {
                AllowedHost::EndingWith(rest.to_owned())
            }
            None if !origin.host.contains('*') => AllowedHost::Exactly(origin.host),
            _ => return Err(OriginError::Wildcard(entry.to_owned())),
        };
        Ok(Self { scheme: origin.scheme, host, port: origin.port })
    }

    fn allows(&self, origin: &Origin) -> bool {
        let host_allowed = match &self.host {
            AllowedHost::Exactly(host) => *host == origin.host,
            AllowedHost::EndingWith(suffix) => {
                origin.host.strip_suffix(suffix).is_some_and(|labels| !labels.is_empty())
            }
        };
        host_allowed && self.scheme == origin.scheme && self.port == origin.port
    }
}

/// `scheme://host[:port]` (RFC 6454, section 7.1), in lower case, the scheme's own port left out.
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(scheme_byte) {
            return None;
        }
        // An IPv6 address keeps its brackets: its colons are not the port's.
        let host_bytes = if authority.starts_with('[') {
            authority.find(']')? + 1
        } else {
            authority.find(':').unwrap_or(authority.len())
        };
        let (host, port) = authority.split_at(host_bytes);
        let forbidden =
            |found: char| !found.is_ascii_graphic() || matches!(found, '/' | '\\' | '?' | '#' | '@' | ',' | '"');
        if host.is_empty() || host.starts_with('.') || host.contains(forbidden) {
            return None;
        }
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            None if port.is_empty() => None,
            _ => return None,
        };
        let scheme = scheme.to_ascii_lowercase();
        let port = match (scheme.as_str(), port) {
            ("https" | "wss", Some(443)) | ("http" | "ws", Some(80)) => None,
            (_, port) => port,
        };
        Some(Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn allows(list: &[&str], origin: &str) -> bool {
        OriginPolicy::parse(list).unwrap().allows(Some(origin))
    }

    #[test]
    fn an_empty_list_or_a_star_allows_any() {
        for list in [&[][..], &["*"], &["https://a.example", "*"]] {
            assert_eq!(OriginPolicy::parse(list).unwrap(), OriginPolicy::Any);
            assert!(allows(list, "https://anywhere.example"));
            assert!(allows(list, "null"));
        }
    }

    #[test]
    fn no_origin_is_not_a_browser() {
        assert!(OriginPolicy::parse(["https://a.example"]).unwrap().allows(None));
    }

    #[test]
    fn scheme_host_and_port_must_be_equal() {
        let list = ["https://app.example.com", "http://localhost:3000", "http://[::1]:8080"];
        for allowed in [
            "https://app.example.com",
            "https://APP.Example.COM",
            "HTTPS://app.example.com",
            "https://app.example.com:443",
            "http://localhost:3000",
            "http://[::1]:8080",
        ] {
            assert!(allows(&list, allowed), "{allowed}");
        }
        for refused in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://evil.example/https://app.example.com",
            "https://app.example.com/",
            "https://app.example.com@evil.example",
            "https://user@app.example.com",
            "https://www.app.example.com",
            "https://example.com",
            "http://localhost",
            "http://localhost:3001",
            "http://[::1]",
            "http://[::1]8080",
            "http://[::1:8080",
            "https://app.example.com:",
            "https://app.example.com:+443",
            "https://app.example.com:99999",
            "https://",
            "app.example.com",
            "null",
            "",
        ] {
            assert!(!allows(&list, refused), "{refused}");
        }
    }

    #[test]
    fn a_wildcard_is_one_or_more_labels() {
        let list = ["https://*.example.com"];
        assert!(allows(&list, "https://app.example.com"));
        assert!(allows(&list, "https://a.b.EXAMPLE.com"));
        assert!(!allows(&list, "https://example.com"));
        assert!(!allows(&list, "https://.example.com"));
        assert!(!allows(&list, "https://evilexample.com"));
        assert!(!allows(&list, "http://app.example.com"));
        assert!(!allows(&list, "https://app.example.com:8443"));
        assert!(!allows(&list, "https://evil.example/.example.com"));
        assert!(allows(&["http://*.localhost:3000"], "http://app.localhost:3000"));
    }

    #[test]
    fn bad_entries_are_refused_with_what_is_wrong() {
        for entry in
            ["example.com", "https://", "https://a.example/", "https://a.example/x", "://a", "", "null", "https://a b"]
        {
            assert_eq!(OriginPolicy::parse([entry]), Err(OriginError::NotAnOrigin(entry.to_owned())));
        }
        for entry in ["https://*", "https://*.", "https://a.*.example", "https://*a.example", "https://*.*.example"] {
            assert_eq!(OriginPolicy::parse([entry]), Err(OriginError::Wildcard(entry.to_owned())));
        }
        assert_eq!(
            OriginPolicy::parse(["example.com"]).unwrap_err().to_string(),
            "`example.com` is not an origin: write scheme://host or scheme://host:port, without a path"
        );
    }

    proptest! {
        #[test]
        fn nothing_panics_and_only_the_listed_host_passes(origin in "\\PC{0,60}") {
            let policy = OriginPolicy::parse(["https://a.example", "https://*.b.example"]).unwrap();
            if policy.allows(Some(&origin)) {
                let lower = origin.to_ascii_lowercase();
                let bare = lower.strip_suffix(":443").unwrap_or(&lower);
                prop_assert!(bare == "https://a.example" || bare.ends_with(".b.example"));
            }
            let _ = OriginPolicy::parse([origin]);
        }

        #[test]
        fn a_listed_origin_is_allowed(
            host in "[a-z0-9]{1,9}(\\.[a-z0-9-]{1,9}){0,3}",
            port in proptest::option::of(any::<u16>()),
        ) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let origin = format!("https://{host}{port}");
            prop_assert!(OriginPolicy::parse([&origin]).unwrap().allows(Some(&origin)));
        }
    }
}
