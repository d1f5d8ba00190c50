//! Whatever claims to be a tenant, a topic, a key or a pattern. Input: a text, and after a line break a pattern.
#![no_main]

use fanfare_protocol::{Pattern, Tenant, Topic, TopicKey, TopicKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (text, pattern) = input.split_once('\n').unwrap_or((input, ""));
    check_topic(text);
    check_key(text);
    if let Ok(pattern) = Pattern::parse(pattern) {
        let matches = pattern.matches(text);
        // The definition tries every way, so only short ones end in time.
        if pattern.as_str().len() <= 10 && text.len() <= 24 {
            assert_eq!(matches, matches_by_definition(pattern.as_str().as_bytes(), text.as_bytes()));
        }
    }
});

fn check_topic(text: &str) {
    let is_allowed = |character: char| {
        !(character <= ' ' || ('\u{7f}'..='\u{9f}').contains(&character) || "{}*?[]".contains(character))
    };
    let is_name = |name: &str| (1..=200).contains(&name.len()) && name.chars().all(is_allowed);
    let named = text.strip_prefix("channel:").or(text.strip_prefix("user:"));
    let parsed = Topic::parse(text);
    assert_eq!(parsed.is_ok(), text == "tenant" || named.is_some_and(is_name));
    match parsed {
        Ok(topic) => {
            assert_eq!(topic.as_str(), text);
            let again = match topic.kind() {
                TopicKind::Tenant => Ok(Topic::tenant()),
                TopicKind::User(id) => Topic::user(id),
                TopicKind::Channel(name) => Topic::channel(name),
            };
            assert_eq!(again, Ok(topic));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_key(text: &str) {
    let parts =
        text.split_once(':').and_then(|(tenant, topic)| Some((Tenant::parse(tenant).ok()?, Topic::parse(topic).ok()?)));
    let key = TopicKey::parse(text).ok();
    assert_eq!(key, parts.as_ref().map(|(tenant, topic)| TopicKey::new(tenant, topic)));
    if let (Some(key), Some((tenant, topic))) = (key, parts) {
        assert_eq!((key.as_str(), key.tenant(), key.topic()), (text, tenant.as_str(), topic.as_str()));
        assert!(tenant.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'));
        assert!(!["node", "nodes", "control", "revoked"].contains(&tenant.as_str()));
    }
}

fn matches_by_definition(pattern: &[u8], text: &[u8]) -> bool {
    let run = |rest: &[u8], may_take: fn(u8) -> bool| {
        let longest = text.iter().take_while(|&&byte| may_take(byte)).count();
        (0..=longest).any(|taken| matches_by_definition(rest, &text[taken..]))
    };
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => run(rest, |_| true),
        [b'*', rest @ ..] => run(rest, |byte| !b":./".contains(&byte)),
        [byte, rest @ ..] => text.first() == Some(byte) && matches_by_definition(rest, &text[1..]),
    }
}
