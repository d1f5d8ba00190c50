//! The patterns of a token's permissions. `*` matches any run of bytes, also an empty one, within a segment; `**`
//! matches any run at all; segments end at `:`, `.` and `/`. Everything else stands for itself.
//! Deliberately neither a regular expression nor a shell glob: `?`, `[…]` and `{…}` are refused, so that who writes
//! them finds out.

use std::fmt;

use crate::topic::is_forbidden_in_topic;

/// The longest pattern, in bytes. With topics of at most 208 bytes, a match takes at most some 50,000 steps.
pub const PATTERN_BYTES_MAX: usize = 256;

/// A pattern that has been checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    /// The bytes before the first star: almost always enough to say no.
    prefix_bytes: usize,
    /// What follows the prefix.
    tokens: Box<[Token]>,
}

/// A list of patterns, matched when one of them matches; an empty list matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patterns(Vec<Pattern>);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is empty.
    #[error("the pattern is empty")]
    Empty,
    /// More than [`PATTERN_BYTES_MAX`] bytes.
    #[error("the pattern has {bytes} bytes; at most {PATTERN_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A character that no topic has, so that the pattern could never match what its author meant.
    #[error("the character {character:?} is not allowed in a pattern: only `*` and `**` are special")]
    ForbiddenCharacter {
        /// The first such character.
        character: char,
    },
    /// Three stars or more in a row.
    #[error("more than two stars in a row mean nothing")]
    TooManyStars,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    WithinSegment,
    Across,
}

impl Pattern {
    /// Takes a pattern.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong { bytes: text.len() });
        }
        let is_forbidden = |&character: &char| character != '*' && is_forbidden_in_topic(character);
        if let Some(character) = text.chars().find(is_forbidden) {
            return Err(PatternError::ForbiddenCharacter { character });
        }
        if text.contains("***") {
            return Err(PatternError::TooManyStars);
        }
        let prefix_bytes = text.find('*').unwrap_or(text.len());
        Ok(Pattern { text: text.into(), prefix_bytes, tokens: tokens(&text.as_bytes()[prefix_bytes..]) })
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        match text.as_bytes().strip_prefix(&self.text.as_bytes()[..self.prefix_bytes]) {
            Some(rest) => follow(&self.tokens, rest.iter().copied().map(Token::Byte)),
            None => false,
        }
    }

    /// Whether all that `other` matches is matched by this one too. `false` where that can't be seen at a glance: a star
    /// of `other` must meet a star here that takes as much.
    pub fn covers(&self, other: &Pattern) -> bool {
        let (before_star, _) = other.text.as_bytes().split_at(other.prefix_bytes);
        match before_star.strip_prefix(&self.text.as_bytes()[..self.prefix_bytes]) {
            Some(rest) => {
                follow(&self.tokens, rest.iter().copied().map(Token::Byte).chain(other.tokens.iter().copied()))
            }
            None => false,
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Patterns {
    /// Takes a list of patterns; the first that is none is the error.
    pub fn parse<I, S>(texts: I) -> Result<Patterns, PatternError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        texts.into_iter().map(|text| Pattern::parse(text.as_ref())).collect::<Result<_, _>>().map(Patterns)
    }

    /// Whether one of them matches.
    pub fn matches(&self, text: &str) -> bool {
        self.find(text).is_some()
    }

    /// The first one that matches.
    pub fn find(&self, text: &str) -> Option<&Pattern> {
        self.0.iter().find(|pattern| pattern.matches(text))
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }

    /// Whether there is none, so that nothing matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Token {
    /// Whether all that it may stand for stays within a segment.
    fn is_within_segment(self) -> bool {
        !matches!(self, Token::Byte(b':' | b'.' | b'/') | Token::Across)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

fn tokens(pattern: &[u8]) -> Box<[Token]> {
    let mut tokens = Vec::with_capacity(pattern.len());
    for &byte in pattern {
        match (byte, tokens.last_mut()) {
            (b'*', Some(last @ Token::WithinSegment)) => *last = Token::Across,
            (b'*', _) => tokens.push(Token::WithinSegment),
            _ => tokens.push(Token::Byte(byte)),
        }
    }
    tokens.into()
}

/// Follows all ways through the pattern at once, so the time is bounded by the product of both lengths whatever the
/// pattern; going back after a wrong guess would have no such bound with two kinds of stars. Where the text is a pattern
/// itself, a star of it is taken by a star that matches whatever it may stand for.
fn follow(tokens: &[Token], text: impl Iterator<Item = Token>) -> bool {
    // `reached[n]`: what was read so far matches the first n tokens.
    let mut reached = [false; PATTERN_BYTES_MAX + 1];
    let reached = &mut reached[..=tokens.len()];
    reached[0] = true;
    for (n, token) in tokens.iter().enumerate() {
        reached[n + 1] = reached[n] && !matches!(token, Token::Byte(_));
    }
    for read in text {
        let mut reached_before = reached[0];
        reached[0] = false;
        let mut alive = false;
        for (n, token) in tokens.iter().enumerate() {
            let now = match token {
                Token::Byte(_) => reached_before && *token == read,
                Token::WithinSegment => reached[n] || (reached[n + 1] && read.is_within_segment()),
                Token::Across => reached[n] || reached[n + 1],
            };
            reached_before = std::mem::replace(&mut reached[n + 1], now);
            alive |= now;
        }
        if !alive {
            return false;
        }
    }
    reached[tokens.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn matches_text(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(text)
    }

    #[test]
    fn without_a_star_only_the_same_text_matches() {
        assert!(matches_text("orders", "orders"));
        for text in ["", "order", "orders2", "Orders", "my:orders"] {
            assert!(!matches_text("orders", text), "{text}");
        }
    }

    #[test]
    fn one_star_stays_within_its_segment() {
        assert!(matches_text("team:*", "team:42"));
        assert!(matches_text("*", "orders"));
        assert!(matches_text("*.updated", "order.updated"));
        assert!(matches_text("ord*s", "orders"));
        assert!(matches_text("orders*", "orders"), "a run may be empty");
        assert!(matches_text("team:*", "team:日本"));
        for text in ["team:42:x", "team:42.x", "team:42/x", "team", "a:team:42"] {
            assert!(!matches_text("team:*", text), "{text}");
        }
        assert!(!matches_text("*", "a:b"));
    }

    #[test]
    fn two_stars_cross_segments() {
        for text in ["x", "a:b", "a.b/c:d", "日:本"] {
            assert!(matches_text("**", text), "{text}");
        }
        assert!(matches_text("team:**", "team:42:doc/7"));
        assert!(matches_text("**:doc", "team:42:doc"));
        assert!(matches_text("a:**:z", "a::z"), "a run may be empty");
        assert!(!matches_text("team:**", "team"));
        assert!(!matches_text("a:**:z", "a:z"));
    }

    #[test]
    fn a_pattern_covers_another_whose_every_text_it_matches() {
        let covers = |one: &str, other: &str| Pattern::parse(one).unwrap().covers(&Pattern::parse(other).unwrap());
        for (one, other) in [
            ("**", "channel:*"),
            ("channel:**", "channel:orders:*"),
            ("channel:**", "channel:**"),
            ("channel:*", "channel:orders"),
            ("channel:*", "channel:o*s"),
            ("channel:orders:*", "channel:orders:*"),
            ("a**", "a*"),
            ("*", "b*"),
        ] {
            assert!(covers(one, other), "{one} covers {other}");
        }
        for (one, other) in [
            ("channel:*", "channel:**"),
            ("channel:*", "channel:orders:*"),
            ("channel:orders", "channel:*"),
            ("channel:orders*", "channel:*"),
            ("channel:*:a", "channel:*"),
            ("user:*", "channel:*"),
        ] {
            assert!(!covers(one, other), "{one} does not cover {other}");
        }
    }

    #[test]
    fn the_first_pattern_that_matches_is_found() {
        let patterns = Patterns::parse(["user:*", "channel:*", "channel:a"]).unwrap();
        assert_eq!(patterns.find("channel:a").map(Pattern::as_str), Some("channel:*"));
        assert_eq!(patterns.find("tenant"), None);
        assert_eq!(patterns.iter().map(Pattern::as_str).collect::<Vec<_>>(), ["user:*", "channel:*", "channel:a"]);
    }

    #[test]
    fn permissions_to_publish_name_the_kind() {
        let patterns = Patterns::parse(["channel:cursors:*", "user:*"]).unwrap();
        assert!(patterns.matches("channel:cursors:42"));
        assert!(patterns.matches("user:7"));
        assert!(!patterns.matches("channel:orders"));
        assert!(!patterns.matches("channel:cursors:42:x"));
        assert!(!patterns.matches("tenant"));
    }

    #[test]
    fn no_pattern_matches_nothing() {
        let none = Patterns::parse::<_, &str>([]).unwrap();
        assert!(none.is_empty());
        assert!(!none.matches("orders"));
        assert!(!none.matches(""));
    }

    #[test]
    fn what_the_author_can_not_have_meant_is_refused() {
        assert_eq!(Pattern::parse(""), Err(PatternError::Empty));
        assert!(Pattern::parse(&"a".repeat(256)).is_ok());
        assert_eq!(Pattern::parse(&"a".repeat(257)), Err(PatternError::TooLong { bytes: 257 }));
        for character in ['?', '[', ']', '{', '}', ' ', '\n', '\u{85}'] {
            let refused = Pattern::parse(&format!("a*{character}"));
            assert_eq!(refused, Err(PatternError::ForbiddenCharacter { character }));
        }
        assert_eq!(Pattern::parse("a***"), Err(PatternError::TooManyStars));
        assert_eq!(Patterns::parse(["ok", "a***"]), Err(PatternError::TooManyStars));
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_its_length() {
        let pattern = Pattern::parse(&"*a**a".repeat(51)).unwrap();
        let text = "a".repeat(200) + "b";
        let start = Instant::now();
        assert!(!pattern.matches(&text));
        // Some 50,000 steps; a matcher that tries one way after the other would not come back today.
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    /// The definition, word by word: exponential, and so for short texts only.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        let run_matches = |rest: &[u8], may_take: fn(u8) -> bool| {
            let longest = text.iter().take_while(|&&byte| may_take(byte)).count();
            (0..=longest).any(|taken| model(rest, &text[taken..]))
        };
        match pattern {
            [] => text.is_empty(),
            [b'*', b'*', rest @ ..] => run_matches(rest, |_| true),
            [b'*', rest @ ..] => run_matches(rest, |byte| !b":./".contains(&byte)),
            [byte, rest @ ..] => text.first() == Some(byte) && model(rest, &text[1..]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_matcher_agrees_with_the_definition(pattern in "[ab:.*]{1,10}", text in "[ab:./]{0,10}") {
            if let Ok(checked) = Pattern::parse(&pattern) {
                prop_assert_eq!(checked.matches(&text), model(pattern.as_bytes(), text.as_bytes()));
            }
        }

        #[test]
        fn what_is_covered_is_matched(one in "[ab:*]{1,8}", other in "[ab:*]{1,8}", text in "[ab:]{0,8}") {
            if let (Ok(one), Ok(other)) = (Pattern::parse(&one), Pattern::parse(&other))
                && one.covers(&other)
                && other.matches(&text)
            {
                prop_assert!(one.matches(&text), "{:?} {:?}", one, other);
            }
        }

        #[test]
        fn any_texts_are_judged_without_a_panic(pattern in "\\PC{0,60}", text in "\\PC{0,60}") {
            if let Ok(checked) = Pattern::parse(&pattern) {
                let _ = checked.matches(&text);
                prop_assert!(pattern.contains('*') || checked.matches(&pattern));
            }
        }
    }
}
