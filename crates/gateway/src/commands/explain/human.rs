//! The explanation for people: from the token by way of the rules and the claims to what it comes to.

use std::fmt::Write as _;

use super::report::{Outcome, Report, Token, Tried};
use crate::clock::unix_ms;

/// The whole of it.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    token(&mut out, &report.token);
    heading(&mut out, &format!("rules for {}", report.topic));
    if report.rules.is_empty() {
        line(&mut out, "(none are configured)");
    }
    for (index, tried) in report.rules.iter().enumerate() {
        line(&mut out, &format!("{}. {}", index + 1, entry(tried, &report.rules)));
    }
    let rule = &report.rule;
    let from = rule.number.map_or("the defaults hold".to_owned(), |number| format!("rule {number} holds"));
    line(
        &mut out,
        &format!(
            "{from}: durable = {}, maxlen = {}, ttl_ms = {}, presence = {}, subscribe = {}, event_bytes_max = {}",
            rule.durable, rule.maxlen, rule.ttl_ms, rule.presence, rule.subscribe, rule.event_bytes_max
        ),
    );
    for claim in &report.claims {
        heading(&mut out, &format!("claim {}: {}", claim.name, claim.about));
        if claim.entries.is_empty() {
            line(&mut out, "(none)");
        }
        for tried in &claim.entries {
            line(&mut out, &entry(tried, &claim.entries));
        }
    }
    heading(&mut out, "so this user");
    if report.automatic {
        line(&mut out, "is subscribed by the node, without asking");
    }
    let verdicts = &report.verdicts;
    for (action, judged) in [
        ("subscribe", &verdicts.subscribe),
        ("publish", &verdicts.publish),
        ("history", &verdicts.history),
        ("presence", &verdicts.presence),
    ] {
        let may = if judged.allowed { "allowed" } else { "refused" };
        line(&mut out, &format!("{action:9}  {may}: {}", judged.reason));
        if let Some(fix) = &judged.fix {
            line(&mut out, &format!("{:9}  {fix}", ""));
        }
    }
    out
}

fn token(out: &mut String, token: &Token) {
    heading(out, "token");
    if let Some(who) = &token.who {
        let seconds = who.expires_at.saturating_sub(unix_ms()) / 1_000;
        line(out, &format!("accepted: user {} of tenant {}, for another {seconds} s", who.user, who.tenant));
        if let Some(id) = &who.id {
            line(out, &format!("its id is {id:?}; whether it was revoked isn't looked up"));
        }
    }
    if let Some(refusal) = &token.refusal {
        line(out, &format!("refused ({}): {}", refusal.failed, refusal.error));
        line(out, &refusal.fix);
    }
}

fn heading(out: &mut String, text: &str) {
    let gap = if out.is_empty() { "" } else { "\n" };
    // Writing to a string can't fail.
    let _ = writeln!(out, "{gap}{text}");
}

fn line(out: &mut String, text: &str) {
    let _ = writeln!(out, "  {text}");
}

/// A pattern and what came of it, as one column of many.
fn entry(tried: &Tried, all: &[Tried]) -> String {
    let width = all.iter().map(|tried| tried.pattern.chars().count()).max().unwrap_or_default();
    let result = match tried.result {
        Outcome::NoMatch => "doesn't match",
        Outcome::Decides => "matches",
        Outcome::NotTried => "not looked at",
    };
    format!("{:width$}  {result}", tried.pattern)
}
