//! All that is told, for people and as JSON: what was tried, in the node's order, and what it came to. Which pattern
//! decided is taken from the node's verdict; nothing is matched again here.

use fanfare_protocol::{Pattern, Topic};
use serde::Serialize;

use super::Action;
use super::reasons::{failed_check, reason, remedy, token_remedy};
use crate::access::{Access, Reason, Verdict, automatic_topics};
use crate::auth::{AuthError, Principal};
use crate::config::{AuthConfig, ClaimNames, Config, Rule, Rules, Words as _};

/// The explanation.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The topic.
    pub(super) topic: String,
    /// What was asked about.
    pub(super) action: Action,
    /// Whether that is allowed.
    pub(super) allowed: bool,
    /// What a node makes of the token.
    pub(super) token: Token,
    /// The rules of the configuration, in their order.
    pub(super) rules: Vec<Tried>,
    /// What holds for the topic, whichever rule says so.
    pub(super) rule: Holds,
    /// The claims, when the token is good.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) claims: Vec<Claim>,
    /// Whether a node subscribes the user by itself.
    pub(super) automatic: bool,
    /// What it comes to.
    pub(super) verdicts: Verdicts,
}

/// What a node makes of a token.
#[derive(Debug, Serialize)]
pub(super) struct Token {
    /// Whether it is accepted.
    pub(super) valid: bool,
    /// Who it is.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) who: Option<Who>,
    /// Why it is refused.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<TokenRefusal>,
}

/// Who a token is.
#[derive(Debug, Serialize)]
pub(super) struct Who {
    pub(super) tenant: String,
    pub(super) user: String,
    /// Unix ms.
    pub(super) expires_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
}

/// Why a token is refused.
#[derive(Debug, Serialize)]
pub(super) struct TokenRefusal {
    /// form, key, signature, time, issuer, audience or claims.
    pub(super) failed: &'static str,
    /// What clients are told.
    pub(super) error: String,
    pub(super) fix: String,
}

/// A pattern, or a topic of a list, and what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Tried {
    pub(super) pattern: String,
    pub(super) result: Outcome,
}

/// What came of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It was tried, and doesn't match.
    NoMatch,
    /// It decides.
    Decides,
    /// It was not looked at, since something before it decided.
    NotTried,
}

/// What holds for the topic.
#[derive(Debug, Serialize)]
pub(super) struct Holds {
    /// The rule that says so; none where it is the default.
    pub(super) number: Option<usize>,
    pub(super) durable: &'static str,
    pub(super) maxlen: u64,
    pub(super) ttl_ms: u128,
    pub(super) presence: &'static str,
    pub(super) subscribe: &'static str,
    pub(super) event_bytes_max: usize,
}

/// A claim with what it allows.
#[derive(Debug, Serialize)]
pub(super) struct Claim {
    /// As it is called in tokens.
    pub(super) name: String,
    /// What its entries are for.
    pub(super) about: &'static str,
    pub(super) entries: Vec<Tried>,
}

/// What it comes to.
#[derive(Debug, Serialize)]
pub(super) struct Verdicts {
    pub(super) subscribe: Judged,
    pub(super) publish: Judged,
    pub(super) history: Judged,
    pub(super) presence: Judged,
}

/// A verdict in words.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    pub(super) allowed: bool,
    pub(super) reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Report {
    pub(super) fn new(
        config: &Config,
        verified: Result<&Principal, &AuthError>,
        topic: &Topic,
        action: Action,
    ) -> Self {
        let rule = config.rules.of(topic.as_str());
        let access = verified.ok().map(|principal| Access::new(principal, &config.rules, topic));
        let names = &config.auth.claims;
        let judged = |verdict: Option<Verdict<'_>>| match verdict {
            None => Judged { allowed: false, reason: "the token is refused".to_owned(), fix: None },
            Some(verdict) => Judged {
                allowed: verdict.is_allowed(),
                reason: reason(verdict, rule, topic, names),
                fix: remedy(verdict, rule, topic, names),
            },
        };
        let is_automatic = |principal: &Principal| {
            automatic_topics(principal, &config.rules, config.auth.own_user_topic).contains(topic)
        };
        let verdicts = Verdicts {
            subscribe: judged(access.map(|access| access.subscribe())),
            publish: judged(access.map(|access| access.publish())),
            history: judged(access.map(|access| access.history())),
            presence: judged(access.map(|access| access.presence())),
        };
        Self {
            topic: topic.as_str().to_owned(),
            action,
            allowed: verdicts.of(action).allowed,
            token: Token::new(verified, &config.auth),
            rules: tried_rules(&config.rules, rule),
            rule: Holds::new(rule),
            claims: verified.ok().zip(access).map_or_else(Vec::new, |(who, access)| claims(who, access, topic, names)),
            automatic: verified.is_ok_and(is_automatic),
            verdicts,
        }
    }
}

impl Verdicts {
    fn of(&self, action: Action) -> &Judged {
        match action {
            Action::Subscribe => &self.subscribe,
            Action::Publish => &self.publish,
            Action::History => &self.history,
            Action::Presence => &self.presence,
        }
    }
}

impl Token {
    fn new(verified: Result<&Principal, &AuthError>, config: &AuthConfig) -> Self {
        let who = verified.ok().map(|principal| Who {
            tenant: principal.tenant.as_str().to_owned(),
            user: principal.user.to_string(),
            expires_at: principal.expires_at_ms,
            id: principal.token_id.as_deref().map(ToOwned::to_owned),
        });
        let refusal = verified.err().map(|error| TokenRefusal {
            failed: failed_check(error),
            error: error.message().into_owned(),
            fix: token_remedy(error, config),
        });
        Self { valid: who.is_some(), who, refusal }
    }
}

impl Holds {
    fn new(rule: &Rule) -> Self {
        Self {
            number: rule.number,
            durable: rule.durable.as_str(),
            maxlen: rule.maxlen,
            ttl_ms: rule.ttl.as_millis(),
            presence: rule.presence.as_str(),
            subscribe: rule.subscribe.as_str(),
            event_bytes_max: rule.event_bytes_max,
        }
    }
}

fn tried_rules(rules: &Rules, deciding: &Rule) -> Vec<Tried> {
    let patterns = rules.configured().iter().map(|rule| (rule.pattern.as_str(), rule.number == deciding.number));
    tried(patterns, true)
}

/// The claims that a permission can come from, in the order in which they are looked at.
fn claims(principal: &Principal, access: Access<'_>, topic: &Topic, names: &ClaimNames) -> Vec<Claim> {
    let (subscribe, publish) = (access.subscribe().reason, access.publish().reason);
    // For other topics than channels, and where the rule says it all, no claim is looked at.
    let is_by_claims = matches!(subscribe, Reason::Channels(_) | Reason::Subscribed | Reason::NoChannel);
    let is_this = |pattern: &Pattern, reason: Reason<'_>| match reason {
        Reason::Channels(decided) | Reason::Publish(decided) => std::ptr::eq(decided, pattern),
        _ => false,
    };
    let channels = principal.channels.iter().map(|pattern| (pattern.as_str(), is_this(pattern, subscribe)));
    let topics =
        principal.subscribe.iter().map(|given| (given.as_str(), subscribe == Reason::Subscribed && given == topic));
    let topics_are_tried = is_by_claims && !matches!(subscribe, Reason::Channels(_));
    let publishes = principal.publish.iter().map(|pattern| (pattern.as_str(), is_this(pattern, publish)));
    let claim = |name: &str, about, entries| Claim { name: name.to_owned(), about, entries };
    vec![
        claim(&names.channels, "channels to subscribe to", tried(channels, is_by_claims)),
        claim(&names.subscribe, "topics that the node subscribes", tried(topics, topics_are_tried)),
        claim(&names.publish, "topics to publish to", tried(publishes, true)),
    ]
}

/// What came of each of some patterns, of which the first that matches decides. `is_looked_at`: whether they were tried at
/// all.
fn tried<'a>(patterns: impl Iterator<Item = (&'a str, bool)>, mut is_looked_at: bool) -> Vec<Tried> {
    let tried = patterns.map(|(pattern, decides)| {
        let result = match (is_looked_at, decides) {
            (false, _) => Outcome::NotTried,
            (true, false) => Outcome::NoMatch,
            (true, true) => Outcome::Decides,
        };
        is_looked_at &= !decides;
        Tried { pattern: pattern.to_owned(), result }
    });
    tried.collect()
}
