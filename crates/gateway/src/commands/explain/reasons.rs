//! The node's reasons in words, and what to do where something is refused.

use fanfare_protocol::{Topic, TopicKind};

use crate::access::{Reason, Verdict};
use crate::auth::AuthError;
use crate::config::{AuthConfig, ClaimNames, Rule, Words as _};

/// What decided, in one sentence without its full stop.
pub(super) fn reason(verdict: Verdict<'_>, rule: &Rule, topic: &Topic, names: &ClaimNames) -> String {
    let (channels, subscribe, publish) = (&names.channels, &names.subscribe, &names.publish);
    match verdict.reason {
        Reason::TenantTopic => "everybody is on the topic of their tenant".to_owned(),
        Reason::OwnTopic => "it is the user's own topic".to_owned(),
        Reason::OthersTopic => "it is another user's topic".to_owned(),
        Reason::RuleTenant | Reason::RuleNobody => {
            format!("{} has subscribe = {:?}", rule_name(rule), rule.subscribe.as_str())
        }
        Reason::RulePresenceOff => format!("{} has presence = {:?}", rule_name(rule), rule.presence.as_str()),
        Reason::Channels(pattern) => format!("claim {channels} has {:?}", pattern.as_str()),
        Reason::Subscribed => format!("claim {subscribe} has {:?}", topic.as_str()),
        Reason::NoChannel => format!(
            "no pattern of claim {channels} matches {:?}, and claim {subscribe} doesn't have {:?}",
            channel_name(topic),
            topic.as_str()
        ),
        Reason::Publish(pattern) => format!("claim {publish} has {:?}", pattern.as_str()),
        Reason::NoPublish => format!("no pattern of claim {publish} matches {:?}", topic.as_str()),
    }
}

/// What to do about a refusal; none where nothing can be done, and where it is none.
pub(super) fn remedy(verdict: Verdict<'_>, rule: &Rule, topic: &Topic, names: &ClaimNames) -> Option<String> {
    match verdict.reason {
        _ if verdict.is_allowed() => None,
        Reason::NoChannel => Some(format!(
            "issue a token with {:?}, or a pattern that matches it, in claim {}",
            channel_name(topic),
            names.channels
        )),
        Reason::NoPublish => Some(format!(
            "issue a token with {:?}, or a pattern that matches it, in claim {}",
            topic.as_str(),
            names.publish
        )),
        Reason::RuleNobody | Reason::RulePresenceOff => Some(format!("change {}", rule_name(rule))),
        _ => None,
    }
}

/// A rule as people call it.
pub(super) fn rule_name(rule: &Rule) -> String {
    match rule.number {
        Some(number) => format!("rule {number}"),
        None => "the default".to_owned(),
    }
}

/// Which check a token has failed.
pub(super) fn failed_check(error: &AuthError) -> &'static str {
    match error {
        AuthError::TooLong { .. } | AuthError::Malformed | AuthError::UnsupportedExtension => "form",
        AuthError::AlgorithmNotAllowed | AuthError::UnknownKey | AuthError::KeysUnavailable => "key",
        AuthError::BadSignature => "signature",
        AuthError::Expired | AuthError::NotYetValid => "time",
        AuthError::WrongIssuer => "issuer",
        AuthError::WrongAudience | AuthError::AudienceNotConfigured => "audience",
        AuthError::MissingClaim(_) | AuthError::InvalidClaim { .. } => "claims",
        AuthError::Revoked => "revocation",
    }
}

/// What to do about a token that is refused.
pub(super) fn token_remedy(error: &AuthError, config: &AuthConfig) -> String {
    let fix = match error {
        AuthError::TooLong { .. } => "issue one with fewer or shorter claims: patterns say much in little",
        AuthError::Malformed => "give the whole JWT: three parts with dots between",
        AuthError::AlgorithmNotAllowed => {
            "sign it with HS256, RS256, ES256 or EdDSA, and configure a key of that kind (jwt_…)"
        }
        AuthError::UnsupportedExtension => "issue one without crit in its header",
        AuthError::UnknownKey => "configure the key that its kid names, or publish it in the issuer's key set",
        AuthError::KeysUnavailable => "see that the issuer's keys can be fetched (jwt_jwks_url)",
        AuthError::BadSignature => "sign it with a key that is configured: this one was signed with another",
        AuthError::Expired | AuthError::Revoked => "issue a new one",
        AuthError::NotYetValid => "compare the clocks of issuer and node, or allow a difference (jwt_leeway_s)",
        AuthError::WrongIssuer => return format!("iss must be one of jwt_issuer: {}", config.issuers.join(", ")),
        AuthError::WrongAudience => {
            return format!("aud must have one of jwt_audience: {}", config.audiences.join(", "));
        }
        AuthError::AudienceNotConfigured => "set jwt_audience to its aud, if it was made for this service",
        AuthError::MissingClaim(_) => "issue one with it, or say how it is called there (jwt_claim_…)",
        AuthError::InvalidClaim { .. } => {
            "correct it where tokens are issued, or say how it is called there (jwt_claim_…)"
        }
    };
    fix.to_owned()
}

/// What patterns of channel names are matched with.
fn channel_name(topic: &Topic) -> &str {
    match topic.kind() {
        TopicKind::Channel(name) => name,
        TopicKind::Tenant | TopicKind::User(_) => topic.as_str(),
    }
}
