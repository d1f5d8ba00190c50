//! How many commands a user may send over HTTP: as many as frames over one connection, counted by user, since a command
//! brings no connection that could count. Deliberately each node for itself.

use std::num::NonZeroU32;
use std::time::Duration;

use fanfare_core::rate::FrameRate;
use fanfare_protocol::Tenant;
use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

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
    tidying: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
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
    pub(super) fn check(&self, tenant: &Tenant, user: &str) -> Result<(), Duration> {
        if self.buckets.len() >= self.users_max {
            if self.tidying.check().is_ok() {
                self.buckets.retain_recent();
            }
            if self.buckets.len() >= self.users_max {
                return Err(FULL_WAIT);
            }
        }
        self.buckets.check_key(&(tenant.clone(), user.into())).map_err(|early| early.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn rates(per_minute: u32, users_max: usize) -> UserRates {
        let count = |count| NonZeroU32::new(count).unwrap();
        UserRates::with_users_max(FrameRate { per_minute: count(per_minute), burst: count(2) }, users_max)
    }

    fn check(rates: &UserRates, tenant: &str, user: &str) -> Result<(), Duration> {
        rates.check(&Tenant::parse(tenant).unwrap(), user)
    }

    #[test]
    fn every_user_of_every_tenant_has_a_burst_of_its_own() {
        let rates = rates(1, 10);
        for (tenant, user) in [("acme", "ann"), ("acme", "bob"), ("globex", "ann")] {
            assert_eq!(check(&rates, tenant, user), Ok(()));
            assert_eq!(check(&rates, tenant, user), Ok(()));
            let wait = check(&rates, tenant, user).unwrap_err();
            assert!(wait > Duration::from_secs(30) && wait <= Duration::from_mins(1), "{wait:?}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_who_may_send_a_burst_again_is_forgotten() {
        let slow = rates(1, 2);
        assert_eq!(check(&slow, "acme", "ann"), Ok(()));
        assert_eq!(check(&slow, "acme", "bob"), Ok(()));
        assert_eq!(check(&slow, "acme", "cy"), Err(FULL_WAIT));
        assert_eq!(slow.buckets.len(), 2);

        let quick = rates(60_000_000, 2);
        for user in 0..3 {
            assert_eq!(check(&quick, "acme", &user.to_string()), Ok(()));
            // A frame each microsecond.
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(quick.buckets.len(), 1);
    }
}
