//! One client's connection as the rest of the node sees it: an outbox, a pulse, and the token's end. Deliberately no
//! socket and no task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use fanfare_protocol::{CloseCode, Codec, ServerFrame};

use crate::batch::Batch;
use crate::frame;
use crate::outbox::{Flush, Outbox, Pushed};
use crate::time::{Millis, spread_ms};

/// Pings that may go unanswered; at the next one due the connection is dead.
const UNANSWERED_MAX: u8 = 2;

/// How far the return of slow clients is spread, in milliseconds.
const SLOW_AFTER_MS_MAX: u64 = 2_000;

/// A session's number on this node, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A connection after the upgrade: what shards deliver to and the heartbeat watches.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    outbox: Outbox,
    ping_ms: u64,
    last_in: AtomicU64,
    last_out: AtomicU64,
    /// 0 before the first.
    last_ping: AtomicU64,
    unanswered: AtomicU8,
    ends_at: AtomicU64,
    /// When the heartbeat looks at it next.
    check_at: AtomicU64,
    /// Whether a token has been accepted; before that, the session ends for want of one.
    authenticated: AtomicBool,
    /// Batches that are about to be delivered together. Only its shard counts.
    announced: AtomicU32,
}

/// Why a session ends: what the client is told before the close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// The close code, which also says whether the client should come back.
    pub code: CloseCode,
    /// For humans and logs; at most 123 bytes reach the close frame.
    pub reason: String,
    /// Milliseconds the client should wait before it comes back, already spread.
    pub after_ms: u64,
}

/// What a session needs at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Nothing before this time.
    Quiet(Millis),
    /// A ping is due now; look again at this time.
    Ping(Millis),
    /// Two pings went unanswered.
    Dead,
    /// Its time is over: the token's, or the time to bring one; the code it ends with.
    Ended(CloseCode),
}

impl Farewell {
    /// A farewell with `after_ms` 0.
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), after_ms: 0 }
    }

    /// Its wire bytes: a `disconnect` frame, then the close frame.
    pub fn encode(&self, codec: Codec) -> Bytes {
        let told = ServerFrame::Disconnect {
            code: self.code,
            reason: &self.reason,
            reconnect: self.code.reconnect(),
            after_ms: self.after_ms,
        };
        let mut out = Vec::new();
        frame::put_message(&mut out, codec, &told.encode(codec));
        out.extend_from_slice(&frame::close(self.code.as_u16(), &self.reason));
        out.into()
    }
}

impl Session {
    /// A session that starts now. `ping_ms`: the silence, in either direction, after which the client is pinged; the
    /// first ping comes up to a quarter of it earlier, so that clients that came together are not pinged together.
    pub fn new(id: SessionId, outbox: Outbox, ping_ms: u64, now: Millis) -> Self {
        Self {
            id,
            outbox,
            ping_ms,
            last_in: AtomicU64::new(now.0),
            last_out: AtomicU64::new(now.0),
            last_ping: AtomicU64::new(0),
            unanswered: AtomicU8::new(0),
            ends_at: AtomicU64::new(u64::MAX),
            check_at: AtomicU64::new(0),
            authenticated: AtomicBool::new(false),
            announced: AtomicU32::new(0),
        }
    }

    /// Its number.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Its outbox, for the connection's own task.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The codec that its client asked for.
    pub fn codec(&self) -> Codec {
        self.outbox.codec()
    }

    /// Sends `frame` to the client.
    pub fn send(&self, frame: &ServerFrame<'_>, now: Millis) -> Pushed {
        let codec = self.codec();
        self.send_bytes(frame::message(codec, &frame.encode(codec)), now)
    }

    /// Sends ready wire bytes: one frame or several.
    pub fn send_bytes(&self, bytes: Bytes, now: Millis) -> Pushed {
        self.sent(self.outbox.send(bytes), now)
    }

    /// Delivers events. Those of [`Session::announce`] are left for later, but for the last, with which all of them go out.
    pub fn deliver(&self, batch: &Arc<Batch>, now: Millis) -> Pushed {
        let flush = match self.announced.load(Ordering::Relaxed) {
            0 => Flush::Now,
            announced => {
                self.announced.store(announced - 1, Ordering::Relaxed);
                if announced == 1 { Flush::Now } else { Flush::Later }
            }
        };
        let pushed = if flush == Flush::Now && !batch.leaves_out(self.id) {
            self.outbox.deliver_whole(batch)
        } else {
            self.outbox.deliver(batch, self.id, flush)
        };
        self.sent(pushed, now)
    }

    /// One more batch is about to be delivered together with others.
    pub fn announce(&self) {
        self.announced.store(self.announced.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Ends the session with `farewell` after all that waits; says whether this was its first end.
    pub fn close(&self, farewell: &Farewell) -> bool {
        self.outbox.close(farewell.code, farewell.encode(self.codec()), false)
    }

    /// Ends the session as too slow: what waits is dropped.
    pub fn close_slow(&self, reason: &str) -> bool {
        let farewell = Farewell {
            code: CloseCode::Slow,
            reason: reason.to_owned(),
            after_ms: spread_ms(self.id.0, SLOW_AFTER_MS_MAX),
        };
        self.outbox.close(farewell.code, farewell.encode(self.codec()), true)
    }

    /// The client has been heard.
    pub fn heard(&self, now: Millis) {
        self.last_in.store(now.0, Ordering::Relaxed);
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// The session ends at `end` unless a token is accepted before.
    pub fn await_token(&self, end: Millis) {
        self.ends_at.store(end.0, Ordering::Relaxed);
    }

    /// A token was accepted, which is good until `end`, grace included.
    pub fn accept_token(&self, end: Millis) {
        self.authenticated.store(true, Ordering::Relaxed);
        self.ends_at.store(end.0, Ordering::Relaxed);
    }

    /// When the session ends, as things stand.
    pub fn ends_at(&self) -> Millis {
        Millis(self.ends_at.load(Ordering::Relaxed))
    }

    /// The heartbeat will look at it at `at` and not before, whatever was said earlier.
    pub fn check_at(&self, at: Millis) {
        self.check_at.store(at.0, Ordering::Relaxed);
    }

    /// Whether `at` is what was said last.
    pub fn is_checked_at(&self, at: Millis) -> bool {
        self.check_at.load(Ordering::Relaxed) == at.0
    }

    /// Called by the heartbeat: what is due. Counts the ping it asks for.
    pub fn pulse(&self, now: Millis) -> Pulse {
        let ends_at = self.ends_at();
        if now >= ends_at {
            let authenticated = self.authenticated.load(Ordering::Relaxed);
            return Pulse::Ended(if authenticated { CloseCode::TokenExpired } else { CloseCode::Unauthenticated });
        }
        let silent_since = self.last_in.load(Ordering::Relaxed).min(self.last_out.load(Ordering::Relaxed));
        let last_ping = self.last_ping.load(Ordering::Relaxed);
        let head_start = if last_ping == 0 { spread_ms(self.id.0, self.ping_ms / 4) } else { 0 };
        let due = Millis(silent_since.max(last_ping)) + (self.ping_ms - head_start);
        if now < due {
            return Pulse::Quiet(due.min(ends_at));
        }
        if self.unanswered.load(Ordering::Relaxed) >= UNANSWERED_MAX {
            return Pulse::Dead;
        }
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        self.last_ping.store(now.0, Ordering::Relaxed);
        Pulse::Ping((now + self.ping_ms).min(ends_at))
    }

    fn sent(&self, pushed: Pushed, now: Millis) -> Pushed {
        match pushed {
            Pushed::Written(1..) | Pushed::Waiting(_) => self.last_out.store(now.0, Ordering::Relaxed),
            Pushed::Overflowed => {
                self.close_slow("outbox full");
            }
            // Nothing was said: the client was left out of all events, or nobody listens.
            Pushed::Written(0) | Pushed::Closed => {}
        }
        pushed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::HashSet;
    use std::io::{self, IoSlice};

    use super::*;
    use crate::{Budget, Deferred, TopicId, Wire};
    use fanfare_protocol::{Event, TopicKey};

    const PING_MS: u64 = 20_000;

    /// Takes all, and counts how often it was asked.
    struct Counting(Arc<AtomicU32>);

    impl Wire for Counting {
        fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(slices.iter().map(|slice| slice.len()).sum())
        }
    }

    fn session(id: u64, now: u64) -> Session {
        let outbox = Outbox::new(Arc::new(Deferred), Codec::Json, 1_000, Arc::new(Budget::new(0)));
        Session::new(SessionId(id), outbox, PING_MS, Millis(now))
    }

    /// Its client's socket takes all.
    fn drain(session: &Session) -> Vec<u8> {
        let mut received = Vec::new();
        session.outbox().drain(|slices| {
            let before = received.len();
            received.extend(slices.iter().flat_map(|slice| slice.iter()));
            Ok(received.len() - before)
        });
        received
    }

    /// Looks at the session whenever it asks for it, until something is due.
    fn next_due(session: &Session, mut now: Millis) -> (Millis, Pulse) {
        loop {
            match session.pulse(now) {
                Pulse::Quiet(next) => {
                    assert!(next > now, "the heartbeat would spin");
                    now = next;
                }
                due => return (now, due),
            }
        }
    }

    /// Both sides speak at `now`, and the first ping is behind it.
    fn lively(id: u64) -> (Session, Millis) {
        let session = session(id, 0);
        let (now, due) = next_due(&session, Millis(0));
        assert_eq!(due, Pulse::Ping(now + PING_MS));
        session.heard(now);
        session.send(&ServerFrame::Ping, now);
        (session, now)
    }

    #[test]
    fn a_client_that_only_listens_is_pinged_and_one_that_only_talks_too() {
        for only_listens in [true, false] {
            let (session, start) = lively(1);
            for ms in (0..PING_MS).step_by(1_000) {
                let now = start + ms;
                assert_eq!(session.pulse(now), Pulse::Quiet(start + PING_MS));
                if only_listens {
                    session.send(&ServerFrame::Pong, now);
                } else {
                    session.heard(now);
                }
            }
            assert_eq!(session.pulse(start + PING_MS), Pulse::Ping(start + 2 * PING_MS));
        }
    }

    #[test]
    fn while_both_sides_speak_nobody_is_pinged() {
        let (session, start) = lively(1);
        for ms in (0..10 * PING_MS).step_by(1_000) {
            session.heard(start + ms);
            session.send(&ServerFrame::Pong, start + ms);
            drain(&session);
            assert_eq!(session.pulse(start + ms), Pulse::Quiet(start + ms + PING_MS));
        }
    }

    #[test]
    fn two_pings_unanswered_and_the_connection_is_dead() {
        let (session, start) = lively(1);
        assert_eq!(next_due(&session, start), (start + PING_MS, Pulse::Ping(start + 2 * PING_MS)));
        assert_eq!(session.pulse(start + 2 * PING_MS - 1), Pulse::Quiet(start + 2 * PING_MS));
        assert_eq!(session.pulse(start + 2 * PING_MS), Pulse::Ping(start + 3 * PING_MS));
        assert_eq!(next_due(&session, start + 2 * PING_MS), (start + 3 * PING_MS, Pulse::Dead));
    }

    #[test]
    fn a_client_heard_in_the_last_moment_lives_and_has_two_pings_again() {
        let (session, start) = lively(1);
        for round in [1, 2] {
            assert_eq!(session.pulse(start + round * PING_MS), Pulse::Ping(start + (round + 1) * PING_MS));
        }
        let heard = start + (3 * PING_MS - 1);
        session.heard(heard);
        session.send(&ServerFrame::Pong, heard);
        let (first, due) = next_due(&session, start + 3 * PING_MS);
        assert_eq!((first, due), (heard + PING_MS, Pulse::Ping(heard + 2 * PING_MS)));
        assert_eq!(next_due(&session, first), (heard + 2 * PING_MS, Pulse::Ping(heard + 3 * PING_MS)));
        assert_eq!(next_due(&session, heard + 2 * PING_MS), (heard + 3 * PING_MS, Pulse::Dead));
    }

    #[test]
    fn clients_that_came_together_are_not_pinged_together() {
        for start in [0, 1_000_000] {
            let first_ping = |id| {
                let session = session(id, start);
                // The client says who it is and is welcomed: that costs it nothing of its head start.
                let welcomed = Millis(start + 10);
                session.heard(welcomed);
                session.send(&ServerFrame::Pong, welcomed);
                let (at, due) = next_due(&session, welcomed);
                assert_eq!(due, Pulse::Ping(at + PING_MS));
                let silence = at.since(welcomed);
                assert!((PING_MS - PING_MS / 4..=PING_MS).contains(&silence), "{silence}");
                // It answers, and says nothing more: the spread stays.
                session.send(&ServerFrame::Ping, at);
                session.heard(at);
                assert_eq!(next_due(&session, at).0, at + PING_MS);
                at
            };
            let pinged: HashSet<_> = (0..1_000).map(first_ping).collect();
            assert!(pinged.len() > 800, "{}", pinged.len());
        }
    }

    #[test]
    fn a_client_that_brings_no_token_ends_and_one_that_does_lives_as_long_as_its_tokens() {
        let session = session(1, 0);
        session.await_token(Millis(5_000));
        assert_eq!(session.pulse(Millis(4_999)), Pulse::Quiet(Millis(5_000)));
        assert_eq!(session.pulse(Millis(5_000)), Pulse::Ended(CloseCode::Unauthenticated));

        session.accept_token(Millis(7_000));
        assert_eq!(session.pulse(Millis(5_000)), Pulse::Quiet(Millis(7_000)));
        assert_eq!(session.pulse(Millis(7_000)), Pulse::Ended(CloseCode::TokenExpired));

        session.accept_token(Millis(9_000));
        assert_eq!(session.ends_at(), Millis(9_000));
        assert_eq!(session.pulse(Millis(7_000)), Pulse::Quiet(Millis(9_000)));
        // A token may also be good for less long than the one before.
        session.accept_token(Millis(8_000));
        assert_eq!(session.pulse(Millis(8_000)), Pulse::Ended(CloseCode::TokenExpired));
    }

    #[test]
    fn the_end_comes_before_the_next_ping() {
        let (session, start) = lively(1);
        session.accept_token(start + PING_MS + 7);
        assert_eq!(session.pulse(start + PING_MS), Pulse::Ping(start + PING_MS + 7));
        assert_eq!(session.pulse(start + PING_MS + 7), Pulse::Ended(CloseCode::TokenExpired));
    }

    #[test]
    fn what_was_said_last_about_the_next_look_counts() {
        let session = session(1, 0);
        session.check_at(Millis(10));
        session.check_at(Millis(5));
        assert!(session.is_checked_at(Millis(5)) && !session.is_checked_at(Millis(10)));
    }

    fn batch(except: Option<SessionId>) -> Arc<Batch> {
        let event = Event::decode(Bytes::from_static(br#"{"type":"t"}"#), 1_000).unwrap();
        Arc::new(Batch::new(TopicId(0), TopicKey::parse("acme:channel:x").unwrap(), [(event, except)]))
    }

    #[test]
    fn an_event_that_leaves_the_client_out_breaks_no_silence() {
        let (session, start) = lively(1);
        drain(&session);
        let now = start + 1_000;
        session.heard(now);
        assert_eq!(session.deliver(&batch(Some(SessionId(1))), now), Pushed::Written(0));
        assert_eq!(session.pulse(now), Pulse::Quiet(start + PING_MS));
        assert_eq!(session.deliver(&batch(Some(SessionId(2))), now), Pushed::Waiting(0));
        assert_eq!(session.pulse(now), Pulse::Quiet(now + PING_MS));
    }

    #[test]
    fn batches_that_are_delivered_together_go_out_with_the_last() {
        let offered = Arc::new(AtomicU32::new(0));
        let outbox =
            Outbox::new(Arc::new(Counting(Arc::clone(&offered))), Codec::Json, 1_000, Arc::new(Budget::new(0)));
        let session = Session::new(SessionId(1), outbox, PING_MS, Millis(0));
        (0..3).for_each(|_| session.announce());
        let offers = [None, Some(SessionId(1)), None, None].map(|except| {
            session.deliver(&batch(except), Millis(0));
            offered.load(Ordering::Relaxed)
        });
        assert_eq!(offers, [0, 0, 1, 2], "three together, and one alone");
    }

    #[test]
    fn who_is_too_slow_is_told_so_instead_of_what_waits() {
        let session = session(1, 0);
        let pushed = std::iter::repeat_with(|| session.send_bytes(Bytes::from_static(&[0; 300]), Millis(0)));
        assert_eq!(pushed.take(4).last(), Some(Pushed::Overflowed));
        assert_eq!(session.send(&ServerFrame::Pong, Millis(0)), Pushed::Closed);
        assert_eq!(session.outbox().close_code(), Some(CloseCode::Slow));
        assert!(!session.close(&Farewell::new(CloseCode::Draining, "later")));
        let reason = "outbox full";
        let after_ms = spread_ms(1, SLOW_AFTER_MS_MAX);
        let farewell = Farewell { code: CloseCode::Slow, reason: reason.to_owned(), after_ms };
        assert_eq!(drain(&session), farewell.encode(Codec::Json));
    }

    #[test]
    fn a_farewell_is_a_disconnect_frame_and_a_close_frame() {
        let farewell = Farewell { code: CloseCode::Draining, reason: "bye".to_owned(), after_ms: 250 };
        let wire = farewell.encode(Codec::Json);
        let told = r#"{"op":"disconnect","code":1012,"reason":"bye","reconnect":true,"after_ms":250}"#;
        let expected = [&frame::message(Codec::Json, told.as_bytes())[..], &[0x88, 5, 0x03, 0xf4], b"bye"].concat();
        assert_eq!(wire, expected);
    }
}
