//! From rule tables as they were written to [`Rules`]. Each mistake is told with the rule's number, the key, the value and
//! what to do.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use fanfare_backplane::TTL_MIN;
use fanfare_protocol::{Pattern, Topic};
use serde_json::{Map, Value};

use super::Problem;
use super::checker::Checker;
use super::rules::{Durable, Rule, Rules, Subscribe, Words};
use crate::settings::{RuleTables, Settings, nearest};

const KEYS: [&str; 7] = ["pattern", "durable", "maxlen", "ttl_ms", "presence", "subscribe", "event_bytes_max"];

/// More would make the first look at a topic expensive.
const RULES_MAX: usize = 256;

/// The least that a rule may allow an event, in bytes: any less and nothing could be said.
const EVENT_BYTES_MIN: u64 = 64;

/// What the function library on Redis takes as a number: 15 digits.
const NUMBER_MAX: u64 = 999_999_999_999_999;

const PATTERN_FIX: &str =
    "write topics with their kind, such as channel:orders:** or user:*; * is anything within a segment, ** anything";

/// Checks the rules. `event_bytes_max` is the upper bound of each.
pub(super) fn check(settings: &Settings, event_bytes_max: usize, check: &mut Checker) -> Rules {
    let tables = settings.topics.as_ref().map_or(&[][..], RuleTables::as_slice);
    if tables.len() > RULES_MAX {
        let fix = format!("{RULES_MAX} at most: put topics together with * and **");
        check.problem("topics", format!("{} rules", tables.len()), "too many rules", &fix);
    }
    let mut rules: Vec<Rule> = Vec::new();
    for (index, table) in tables.iter().enumerate().take(RULES_MAX) {
        let mut reader = Reader { number: index + 1, check };
        let Some(rule) = reader.rule(table, event_bytes_max) else { continue };
        reader.check_reach(&rule, &rules);
        rules.push(rule);
    }
    Rules::new(rules, event_bytes_max)
}

/// Reads one rule.
struct Reader<'a> {
    number: usize,
    check: &'a mut Checker,
}

impl Reader<'_> {
    /// The rule, as far as it has a pattern; every other mistake is noted and its default stands in.
    fn rule(&mut self, table: &Value, event_bytes_max: usize) -> Option<Rule> {
        let Value::Object(table) = table else {
            let fix = "write { pattern = \"channel:orders:**\", durable = \"always\" }";
            let problem = Problem::setting("topics", &shown(table), "not a table", fix);
            self.check.problems.push(problem.of_part(format!("rule {}", self.number)));
            return None;
        };
        for (key, value) in table.iter().filter(|(key, _)| !KEYS.contains(&key.as_str())) {
            let fix = match nearest(key, KEYS.into_iter()) {
                Some(nearest) => format!("did you mean {nearest:?}?"),
                None => format!("the keys are {}", KEYS.join(", ")),
            };
            self.problem(key, shown(value), "not a key of a rule", &fix);
        }
        let pattern = self.pattern(table);
        let defaults = Rule::defaults(event_bytes_max);
        let ttl_min = u64::try_from(TTL_MIN.as_millis()).unwrap_or(u64::MAX);
        let rule = Rule {
            number: Some(self.number),
            durable: self.word(table, "durable").unwrap_or(defaults.durable),
            maxlen: self.count(table, "maxlen", 1..=NUMBER_MAX).unwrap_or(defaults.maxlen),
            ttl: self.count(table, "ttl_ms", ttl_min..=NUMBER_MAX).map_or(defaults.ttl, Duration::from_millis),
            presence: self.word(table, "presence").unwrap_or(defaults.presence),
            subscribe: self.word(table, "subscribe").unwrap_or(defaults.subscribe),
            event_bytes_max: self.event_bytes_max(table, event_bytes_max),
            pattern: pattern?,
        };
        for key in ["maxlen", "ttl_ms"] {
            if rule.durable == Durable::Never && table.contains_key(key) {
                let warning = format!("topics, rule {}: {key} has no effect beside durable = \"never\"", self.number);
                self.check.warnings.push(warning);
            }
        }
        Some(rule)
    }

    fn pattern(&mut self, table: &Map<String, Value>) -> Option<Pattern> {
        let text = match table.get("pattern") {
            Some(Value::String(text)) => text,
            Some(other) => {
                self.problem("pattern", shown(other), "not a text", PATTERN_FIX);
                return None;
            }
            None => {
                self.problem("pattern", "", "missing", PATTERN_FIX);
                return None;
            }
        };
        match Pattern::parse(text) {
            Ok(pattern) if may_match_a_topic(text) => Some(pattern),
            Ok(_) => {
                self.problem("pattern", text, "there can be no such topic", PATTERN_FIX);
                None
            }
            Err(error) => {
                self.problem("pattern", text, &error.to_string(), PATTERN_FIX);
                None
            }
        }
    }

    fn word<W: Words>(&mut self, table: &Map<String, Value>, key: &str) -> Option<W> {
        let value = table.get(key)?;
        let word = value.as_str().and_then(|text| W::WORDS.iter().find(|(word, _)| *word == text));
        if word.is_none() {
            let words: Vec<&str> = W::WORDS.iter().map(|(word, _)| *word).collect();
            self.problem(key, shown(value), "not one of its words", &format!("give one of {}", words.join(", ")));
        }
        word.map(|(_, value)| *value)
    }

    fn count(&mut self, table: &Map<String, Value>, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = table.get(key)?;
        let (least, most) = (*range.start(), *range.end());
        let wrong = match value.as_i64() {
            Some(count) if count < 0 || count.unsigned_abs() < least => "too small",
            Some(count) if count.unsigned_abs() > most => "too large",
            Some(count) => return Some(count.unsigned_abs()),
            None => "not a whole number",
        };
        self.problem(key, shown(value), wrong, &format!("give a number from {least} to {most}"));
        None
    }

    fn event_bytes_max(&mut self, table: &Map<String, Value>, max: usize) -> usize {
        let key = "event_bytes_max";
        let value = table.get(key);
        if value.and_then(Value::as_u64).is_some_and(|given| given > max as u64) {
            let fix = format!("give {max} at most, or raise the setting event_bytes_max, which bounds all topics");
            self.problem(key, shown(value.unwrap_or(&Value::Null)), "more than any event may have", &fix);
            return max;
        }
        let given = self.count(table, key, EVENT_BYTES_MIN..=max as u64);
        given.and_then(|given| usize::try_from(given).ok()).unwrap_or(max)
    }

    /// Whether the rule can decide anything, and each of its keys.
    fn check_reach(&mut self, rule: &Rule, earlier: &[Rule]) {
        let pattern = rule.pattern.as_str();
        if let Some(earlier) = earlier.iter().find(|earlier| earlier.pattern.covers(&rule.pattern)) {
            let number = earlier.number.unwrap_or_default();
            let wrong = format!("rule {number}, {:?}, takes all its topics", earlier.pattern.as_str());
            self.problem("pattern", pattern, &wrong, &format!("put it before rule {number}, or leave it out"));
        }
        let is_for_no_channel = pattern.starts_with("user:") || pattern == "tenant";
        if rule.subscribe != Subscribe::Claims && is_for_no_channel {
            let wrong =
                "everybody is on tenant and on their own user topic, and on nobody else's, whatever a rule says";
            self.problem("subscribe", rule.subscribe.as_str(), wrong, "leave it out: it is for channels");
        }
    }

    fn problem(&mut self, key: &str, value: impl Display, wrong: &str, fix: &str) {
        let problem = Problem::setting("topics", &value.to_string(), wrong, fix);
        self.check.problems.push(problem.of_part(format!("rule {}, {key}", self.number)));
    }
}

/// Whether there can be a topic that begins as the pattern does up to its first star.
fn may_match_a_topic(pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => Topic::parse(pattern).is_ok(),
        Some((prefix, _)) => ["tenant", "user:", "channel:"]
            .iter()
            .any(|kind| kind.starts_with(prefix) || (*kind != "tenant" && prefix.starts_with(kind))),
    }
}

/// A value as a person would write it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use clap::{Args as _, Command};
    use serde_json::json;

    use super::*;
    use crate::config::rules::Presence;
    use crate::settings::load;

    fn read(rules: &Value) -> (Rules, Checker) {
        let flags = Settings::augment_args(Command::new("fanfare")).get_matches_from(["fanfare"]);
        let mut settings = load(&flags, None, []).settings;
        settings.topics = Some(rules.to_string().parse().unwrap());
        let mut checker = Checker::default();
        let rules = check(&settings, 65_536, &mut checker);
        (rules, checker)
    }

    fn problems(rules: &Value) -> Vec<String> {
        read(rules).1.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_rule_that_matches_decides_all_and_the_rest_is_default() {
        let (rules, checker) = read(&json!([
            { "pattern": "channel:orders:*", "durable": "always", "maxlen": 5, "ttl_ms": 60_000 },
            { "pattern": "channel:**", "presence": "all", "subscribe": "tenant", "event_bytes_max": 64 },
        ]));
        assert!(checker.problems.is_empty() && checker.warnings.is_empty(), "{:?}", checker.problems);
        let orders = rules.of("channel:orders:7");
        assert_eq!((orders.number, orders.durable, orders.presence), (Some(1), Durable::Always, Presence::Asked));
        assert_eq!((orders.maxlen, orders.ttl), (5, Duration::from_mins(1)));
        assert_eq!((orders.subscribe, orders.event_bytes_max), (Subscribe::Claims, 65_536));
        let other = rules.of("channel:orders");
        assert_eq!((other.number, other.durable, other.presence), (Some(2), Durable::Allowed, Presence::All));
        assert_eq!((other.maxlen, other.event_bytes_max), (1_000, 64));
        assert_eq!(**rules.of("user:7"), Rule::defaults(65_536));
        assert_eq!(rules.configured().len(), 2);
    }

    #[test]
    fn every_mistake_names_the_rule_the_key_the_value_and_the_fix() {
        let rules = json!([
            { "pattern": "channel:a", "maxlne": 5, "colour": true },
            { "pattern": "channel:b?" },
            { "pattern": "orders:*" },
            { "durable": "always" },
            "channel:c",
            { "pattern": "channel:d", "maxlen": 0, "ttl_ms": 59_999, "event_bytes_max": 65_537 },
            { "pattern": "channel:e", "maxlen": -1, "ttl_ms": 1.5, "event_bytes_max": "many" },
            { "pattern": "channel:f", "durable": true, "presence": "yes", "subscribe": ["tenant"] },
            { "pattern": 7, "maxlen": 1_000_000_000_000_000_u64 },
            { "pattern": "channel:g", "event_bytes_max": 63 },
        ]);
        let keys = "the keys are pattern, durable, maxlen, ttl_ms, presence, subscribe, event_bytes_max";
        let pattern = PATTERN_FIX;
        let expected = [
            format!(r#"topics, rule 1, colour = "true": not a key of a rule; {keys}"#),
            r#"topics, rule 1, maxlne = "5": not a key of a rule; did you mean "maxlen"?"#.to_owned(),
            format!(r#"topics, rule 2, pattern = "channel:b?": the character '?' is not allowed in a pattern: only `*` and `**` are special; {pattern}"#),
            format!(r#"topics, rule 3, pattern = "orders:*": there can be no such topic; {pattern}"#),
            format!(r#"topics, rule 4, pattern = "": missing; {pattern}"#),
            r#"topics, rule 5 = "channel:c": not a table; write { pattern = "channel:orders:**", durable = "always" }"#.to_owned(),
            r#"topics, rule 6, maxlen = "0": too small; give a number from 1 to 999999999999999"#.to_owned(),
            r#"topics, rule 6, ttl_ms = "59999": too small; give a number from 60000 to 999999999999999"#.to_owned(),
            r#"topics, rule 6, event_bytes_max = "65537": more than any event may have; give 65536 at most, or raise the setting event_bytes_max, which bounds all topics"#.to_owned(),
            r#"topics, rule 7, maxlen = "-1": too small; give a number from 1 to 999999999999999"#.to_owned(),
            r#"topics, rule 7, ttl_ms = "1.5": not a whole number; give a number from 60000 to 999999999999999"#.to_owned(),
            r#"topics, rule 7, event_bytes_max = "many": not a whole number; give a number from 64 to 65536"#.to_owned(),
            r#"topics, rule 8, durable = "true": not one of its words; give one of allowed, always, never"#.to_owned(),
            r#"topics, rule 8, presence = "yes": not one of its words; give one of asked, all, off"#.to_owned(),
            r#"topics, rule 8, subscribe = "[\"tenant\"]": not one of its words; give one of claims, tenant, nobody"#.to_owned(),
            format!(r#"topics, rule 9, pattern = "7": not a text; {pattern}"#),
            r#"topics, rule 9, maxlen = "1000000000000000": too large; give a number from 1 to 999999999999999"#.to_owned(),
            r#"topics, rule 10, event_bytes_max = "63": too small; give a number from 64 to 65536"#.to_owned(),
        ];
        assert_eq!(problems(&rules), expected);
    }

    #[test]
    fn a_rule_that_can_never_decide_is_told() {
        let rules = json!([
            { "pattern": "channel:*" },
            { "pattern": "channel:orders:*" },
            { "pattern": "channel:orders" },
            { "pattern": "**" },
            { "pattern": "user:42" },
        ]);
        let expected = [
            r#"topics, rule 3, pattern = "channel:orders": rule 1, "channel:*", takes all its topics; put it before rule 1, or leave it out"#,
            r#"topics, rule 5, pattern = "user:42": rule 4, "**", takes all its topics; put it before rule 4, or leave it out"#,
        ];
        assert_eq!(problems(&rules), expected);
    }

    #[test]
    fn who_is_on_tenant_and_user_topics_is_no_matter_of_rules() {
        for pattern in ["user:*", "tenant"] {
            let told = problems(&json!([{ "pattern": pattern, "subscribe": "nobody" }]));
            let expected =
                r#"topics, rule 1, subscribe = "nobody": everybody is on tenant and on their own user topic"#;
            assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
        }
        for pattern in ["**", "t*", "u**", "channel:**", "*:42", "tenant"] {
            assert!(problems(&json!([{ "pattern": pattern, "presence": "off" }])).is_empty(), "{pattern}");
        }
        for pattern in ["tenant2", "tenants*", "tenant:*", "channels:*", "42:*", "user:"] {
            assert_eq!(problems(&json!([{ "pattern": pattern }])).len(), 1, "{pattern}");
        }
    }

    #[test]
    fn what_has_no_effect_is_a_warning_and_too_many_rules_a_problem() {
        let (_, checker) = read(&json!([{ "pattern": "channel:a", "durable": "never", "maxlen": 5 }]));
        assert!(checker.problems.is_empty());
        assert_eq!(checker.warnings, ["topics, rule 1: maxlen has no effect beside durable = \"never\""]);
        let many: Vec<_> = (0..=RULES_MAX).map(|n| json!({ "pattern": format!("channel:{n}") })).collect();
        let told = problems(&Value::from(many));
        assert_eq!(told, [r#"topics = "257 rules": too many rules; 256 at most: put topics together with * and **"#]);
    }
}
