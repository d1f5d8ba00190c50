//! Who is there, as the backplane keeps it: users of a topic, each vouched for by one node or several, for a time. Who comes
//! and goes is told on the topic's own channel ([`TopicKey::presence`]). Deliberately without connections: a node counts its
//! own, and names a user once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fanfare_protocol::TopicKey;

use crate::backplane::{Backplane, Kind, PublishError};
use crate::history::ReadError;

/// The most users of one topic that a node may name at once.
pub const PRESENCE_USERS_MAX: usize = 1_000;

/// The longest user, in bytes, as a cursor may have it.
const USER_BYTES_MAX: usize = 200;

/// Calls that take out whose time is over before a list is read: 1,000 users each.
const PURGES_MAX: usize = 16;

/// Whose word it is, and how long it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voucher {
    /// The node's id.
    pub node: Arc<str>,
    /// Unless it is refreshed, it holds for so long.
    pub ttl: Duration,
}

/// A user who is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceUser {
    /// The user's id.
    pub user: Arc<str>,
    /// JSON, for who looks at the list.
    pub info: Option<Arc<str>>,
}

/// Users of one topic, at most [`PRESENCE_USERS_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceUsers {
    /// Which topic.
    pub topic: TopicKey,
    /// Each once.
    pub users: Vec<PresenceUser>,
}

/// What came of a refresh.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refreshed {
    /// Which of the users were not there: indexes. They have to join again.
    pub missing: Vec<usize>,
    /// There are more users whose time is over: refresh again to take them out.
    pub more: bool,
}

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PresenceCursor {
    pub(crate) scan: u64,
    /// Within a step, which ends here, behind this user.
    pub(crate) within: Option<(u64, Box<str>)>,
}

/// Why a text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no cursor that a list has given")]
pub struct PresenceCursorError;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresencePage {
    /// In no particular order. Who was there all the time is on one of the pages.
    pub users: Vec<PresenceUser>,
    /// How many users there are in all.
    pub count: u64,
    /// Where the next page begins; none after the last one.
    pub cursor: Option<PresenceCursor>,
}

/// How much one page may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceLimits {
    /// Users, 1 to [`PRESENCE_USERS_MAX`].
    pub users_max: usize,
    /// Bytes of names and infos, about; one user always fits.
    pub bytes_max: usize,
}

/// What of several topics is answered for each, in order.
pub(crate) type Each<T> = Vec<Result<T, PublishError>>;

impl Backplane {
    /// These users are there, says a node. A user comes with the first node that says so, and that is told.
    pub async fn presence_join(&self, voucher: &Voucher, topics: &[PresenceUsers]) -> Each<()> {
        match &self.kind {
            Kind::Memory(node) => node.presence_join(voucher, topics).await,
            Kind::Redis(node) => Box::pin(node.presence_join(voucher, topics)).await,
        }
    }

    /// A node lets go of these users. A user has left when the last node has, and that is told.
    pub async fn presence_leave(&self, voucher: &Voucher, topics: &[PresenceUsers]) -> Each<()> {
        match &self.kind {
            Kind::Memory(node) => node.presence_leave(voucher, topics).await,
            Kind::Redis(node) => Box::pin(node.presence_leave(voucher, topics)).await,
        }
    }

    /// These users are there for another while. `purge`: users whose time is over, of whatever node, are taken out and told.
    pub async fn presence_refresh(&self, voucher: &Voucher, topics: &[PresenceUsers], purge: bool) -> Each<Refreshed> {
        match &self.kind {
            Kind::Memory(node) => node.presence_refresh(voucher, topics, purge).await,
            Kind::Redis(node) => Box::pin(node.presence_refresh(voucher, topics, purge)).await,
        }
    }

    /// Who is there, from the cursor on, or from the beginning. Users whose time is over are taken out first.
    pub async fn presence_list(
        &self,
        voucher: &Voucher,
        topic: &TopicKey,
        limits: PresenceLimits,
        cursor: &PresenceCursor,
    ) -> Result<PresencePage, ReadError> {
        for _ in 0..PURGES_MAX {
            let (page, is_stale) = self.presence_page(topic, limits, cursor).await?;
            if !is_stale {
                return Ok(page);
            }
            let nobody = PresenceUsers { topic: topic.clone(), users: Vec::new() };
            self.presence_refresh(voucher, std::slice::from_ref(&nobody), true).await.remove(0)?;
        }
        Ok(self.presence_page(topic, limits, cursor).await?.0)
    }

    /// A page, and whether users were left out whose time is over.
    async fn presence_page(
        &self,
        topic: &TopicKey,
        limits: PresenceLimits,
        cursor: &PresenceCursor,
    ) -> Result<(PresencePage, bool), PublishError> {
        match &self.kind {
            Kind::Memory(node) => Ok(node.presence_page(topic, limits, cursor)),
            Kind::Redis(node) => Box::pin(node.presence_page(topic, limits, cursor)).await,
        }
    }
}

impl fmt::Display for PresenceCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.within {
            None => write!(f, "{}", self.scan),
            Some((end, after)) => write!(f, "{}-{end}:{after}", self.scan),
        }
    }
}

impl FromStr for PresenceCursor {
    type Err = PresenceCursorError;

    fn from_str(text: &str) -> Result<PresenceCursor, PresenceCursorError> {
        let number = |text: &str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_plain).ok_or(PresenceCursorError)
        };
        let Some((steps, after)) = text.split_once(':') else {
            return Ok(PresenceCursor { scan: number(text)?, within: None });
        };
        let (scan, end) = steps.split_once('-').ok_or(PresenceCursorError)?;
        let is_user = !after.is_empty() && after.len() <= USER_BYTES_MAX;
        let within = Some((number(end)?, after.into())).filter(|_| is_user);
        Ok(PresenceCursor { scan: number(scan)?, within: Some(within.ok_or(PresenceCursorError)?) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_given_and_nothing_else_is_one() {
        for text in ["0", "7", "18446744073709551615", "0-0:ana", "12-3:a:b", &format!("0-1:{}", "x".repeat(200))] {
            assert_eq!(text.parse::<PresenceCursor>().unwrap().to_string(), text);
        }
        let too_long = format!("0-0:{}", "x".repeat(201));
        for text in [
            "",
            ":",
            "a",
            "-1",
            "+1",
            "1:",
            "1:a",
            "1-1",
            "1-1:",
            "1-:a",
            "18446744073709551616",
            " 1",
            "0x1",
            &too_long,
        ] {
            assert_eq!(text.parse::<PresenceCursor>(), Err(PresenceCursorError), "{text:?}");
        }
    }
}
