//! Which probes came back on one pub/sub connection. Deliberately not when they are sent, nor what it means when one is
//! missing.

use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::keyspace::Prefix;

/// What comes back on one connection.
#[derive(Debug)]
pub(super) struct Echo {
    /// The channel's name after the prefix.
    path: Box<str>,
    /// Tells this connection's probes from those of the one before, and of a node that was given the same id.
    connection: u64,
    /// The newest probe that came back, and when.
    newest: Mutex<Option<(u64, Instant)>>,
    came: Notify,
}

impl Echo {
    /// For a new connection; `channel` is where its probes come.
    pub(super) fn new(prefix: &Prefix, channel: &str) -> Echo {
        let prefix_len = prefix.len_in(channel.as_bytes()).unwrap_or_default();
        Echo {
            path: channel[prefix_len..].into(),
            connection: rand::random(),
            newest: Mutex::default(),
            came: Notify::new(),
        }
    }

    /// What follows the prefix in the name of the probes' channel.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Is this it?
    pub(super) fn is_its(&self, path: &[u8]) -> bool {
        path == self.path.as_bytes()
    }

    /// Something came on the channel. What is not this connection's probe is nobody's.
    pub(super) fn take(&self, payload: &[u8], at: Instant) {
        let Some(number) = self.number(payload) else { return };
        let mut newest = self.newest.lock();
        if newest.is_none_or(|(newest, _)| newest < number) {
            *newest = Some((number, at));
        }
        drop(newest);
        self.came.notify_one();
    }

    /// What a probe carries.
    pub(super) fn payload(&self, number: u64) -> String {
        format!("{:016x}-{number}", self.connection)
    }

    fn number(&self, payload: &[u8]) -> Option<u64> {
        let (connection, number) = std::str::from_utf8(payload).ok()?.split_once('-')?;
        let is_mine = u64::from_str_radix(connection, 16).is_ok_and(|connection| connection == self.connection);
        is_mine.then(|| number.parse().ok()).flatten()
    }

    /// When this probe, or a later one, came back.
    pub(super) fn came(&self, number: u64) -> Option<Instant> {
        self.newest.lock().and_then(|(newest, at)| (newest >= number).then_some(at))
    }

    /// The same, as soon as it does.
    pub(super) async fn wait_for(&self, number: u64) -> Instant {
        loop {
            if let Some(at) = self.came(number) {
                return at;
            }
            self.came.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn echo() -> Echo {
        Echo::new(&Prefix::default(), "fanfare:node:a:probe")
    }

    #[test]
    fn knows_its_own_probes_only() {
        let (echo, now) = (echo(), Instant::now());
        assert!(echo.is_its(b"node:a:probe") && !echo.is_its(b"node:b:probe") && !echo.is_its(b"acme:tenant"));
        let other = super::tests::echo().payload(1);
        let own = format!("{:016x}-", echo.connection);
        for payload in [other.as_bytes(), b"", b"-", b"7", own.as_bytes(), b"\xff-1"] {
            echo.take(payload, now);
            assert_eq!(echo.came(1), None, "{payload:?}");
        }
        echo.take(echo.payload(1).as_bytes(), now);
        assert_eq!((echo.came(1), echo.came(2)), (Some(now), None));
    }

    #[test]
    fn a_later_probe_proves_as_much_as_an_earlier_one() {
        let (echo, now) = (echo(), Instant::now());
        echo.take(echo.payload(3).as_bytes(), now);
        echo.take(echo.payload(2).as_bytes(), now + Duration::from_secs(1));
        assert_eq!((echo.came(2), echo.came(3), echo.came(4)), (Some(now), Some(now), None));
    }
}
