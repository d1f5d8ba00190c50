//! How often a client may do something: a token bucket (governor's GCRA) over the node's own time. For frames also what
//! happens to who goes on: first each frame over the rate is refused, then the connection.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::Quota;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};

use crate::time::Millis;

/// The rate of frames a connection may send, or of what it may do with some of them.
#[derive(Clone, Copy, Debug)]
pub struct FrameRate {
    /// So many a minute in the long run.
    pub per_minute: NonZeroU32,
    /// So many at once.
    pub burst: NonZeroU32,
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Handle it.
    Pass,
    /// Answer `rate_limited`.
    Refuse,
    /// As many were refused as may be in a burst, and still it goes on: close with 4429.
    Close,
}

/// One connection's bucket, and a second one of the same size for the refusals.
#[derive(Debug)]
pub struct FrameLimiter {
    frames: Bucket,
    refusals: Bucket,
    now: SharedTime,
}

/// One bucket, for whatever else has a rate.
#[derive(Debug)]
pub struct RateLimiter {
    bucket: Bucket,
    now: SharedTime,
}

type Bucket = governor::RateLimiter<NotKeyed, InMemoryState, SharedTime, NoOpMiddleware<Nanos>>;

/// Governor asks a clock for the time; ours is told it.
#[derive(Clone, Debug, Default)]
struct SharedTime(Arc<AtomicU64>);

impl Clock for SharedTime {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

impl SharedTime {
    fn set(&self, now: Millis) {
        self.0.store(now.0.saturating_mul(1_000_000), Ordering::Relaxed);
    }
}

fn bucket(rate: FrameRate, now: &SharedTime) -> Bucket {
    governor::RateLimiter::direct_with_clock(Quota::per_minute(rate.per_minute).allow_burst(rate.burst), now.clone())
}

impl RateLimiter {
    /// A full bucket.
    pub fn new(rate: FrameRate) -> Self {
        let now = SharedTime::default();
        Self { bucket: bucket(rate, &now), now }
    }

    /// Takes one out, if there is one.
    pub fn passes(&self, now: Millis) -> bool {
        self.now.set(now);
        self.bucket.check().is_ok()
    }
}

impl FrameLimiter {
    /// Two full buckets.
    pub fn new(rate: FrameRate) -> Self {
        let now = SharedTime::default();
        Self { frames: bucket(rate, &now), refusals: bucket(rate, &now), now }
    }

    /// Judges one more frame.
    pub fn judge(&self, now: Millis) -> Verdict {
        self.now.set(now);
        if self.frames.check().is_ok() {
            Verdict::Pass
        } else if self.refusals.check().is_ok() {
            Verdict::Refuse
        } else {
            Verdict::Close
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_burst_passes_then_frames_are_refused_then_the_client_is_closed() {
        let rate = FrameRate { per_minute: NonZeroU32::new(60).unwrap(), burst: NonZeroU32::new(3).unwrap() };
        let limiter = FrameLimiter::new(rate);
        let verdicts: Vec<_> = (0..7).map(|_| limiter.judge(Millis(1_000))).collect();
        let expected = [[Verdict::Pass; 3], [Verdict::Refuse; 3]].concat();
        assert_eq!(verdicts[..6], expected);
        assert_eq!(verdicts[6], Verdict::Close);
        assert_eq!(limiter.judge(Millis(2_000)), Verdict::Pass);
        assert_eq!(limiter.judge(Millis(2_000)), Verdict::Refuse);
    }

    #[test]
    fn who_waits_may_go_on() {
        let rate = FrameRate { per_minute: NonZeroU32::new(60).unwrap(), burst: NonZeroU32::new(2).unwrap() };
        let limiter = RateLimiter::new(rate);
        assert_eq!([1_000, 1_000, 1_000, 1_999].map(|now| limiter.passes(Millis(now))), [true, true, false, false]);
        assert!(limiter.passes(Millis(2_000)) && !limiter.passes(Millis(2_000)));
    }
}
