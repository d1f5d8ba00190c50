//! Time as the node tells it: milliseconds since it started, passed in. Deliberately no clock here.

use std::ops::{Add, Sub};

/// Milliseconds since the node's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// How long after `earlier` this is; 0 if it is not after it.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Millis {
    type Output = Self;
    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl Sub<u64> for Millis {
    type Output = Self;
    fn sub(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
}

/// A delay below `within_ms` that differs from session to session, so that what concerns thousands of clients (a gap
/// notice, a reconnect) does not bring them all back in the same instant.
pub fn spread_ms(seed: u64, within_ms: u64) -> u64 {
    // splitmix64's finaliser: neighbouring seeds end far apart.
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    if within_ms == 0 { 0 } else { mixed % within_ms }
}
