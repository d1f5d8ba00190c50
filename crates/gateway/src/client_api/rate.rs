//! How many commands a user may send over HTTP: as many as frames over one connection, counted by user, since a command
//! brings no connection that could count. Deliberately each node for itself.

use std::num::NonZeroU32;
use std::time::Duration;

use fanfare_core::rate::FrameRate;
use fanfare_protocol::Tenant;
use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::auth::Principal;

/// Users that are remembered. One is forgotten as soon as it might send a whole burst again, so it takes more users than
/// that at the same time to fill the table; then commands are refused until some are forgotten.
const USERS_MAX: usize = 100_000;

/// What is said when the table is full.
const FULL_WAIT: Duration = Duration::from_secs(1);

type User = (Tenant, Box<str>);

/// Every user's bucket.
pub(super) struct UserRates {
    buckets: RateLimiter<User, DefaultKeyedStateStore<User>, DefaultClock>,
    clock: DefaultClock,
    /// At most one tidying a second, however many ask.
    tidying: RateLimiter<governor::state::NotKeyed, governor::state::InMemoryState, DefaultClock>,
    users_max: usize,
}

impl UserRates {
    /// Full buckets for everybody.
    pub(super) fn new(rate: FrameRate) -> Self {
        Self::with_users_max(rate, USERS_MAX)
    }

    fn with_users_max(rate: FrameRate, users_max: usize) -> Self {
        Self {
            buckets: RateLimiter::keyed(Quota::per_minute(rate.per_minute).allow_burst(rate.burst)),
            clock: DefaultClock::default(),
            tidying: RateLimiter::direct(Quota::per_second(NonZeroU32::MIN)),
            users_max,
        }
    }

    /// Counts one more command of a user; refused, it tells how long to wait.
    pub(super) fn check(&self, principal: &Principal) -> Result<(), Duration> {
        if self.buckets.len() >= self.users_max {
            if self.tidying.check().is_ok() {
                self.buckets.retain_recent();
            }
            if self.buckets.len() >= self.users_max {
                return Err(FULL_WAIT);
            }
        }
        let user = (principal.tenant.clone(), principal.user.clone());
        self.buckets.check_key(&user).map_err(|early| early.wait_time_from(self.clock.now()))
    }
}
