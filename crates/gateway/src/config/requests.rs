//! Clients' requests to backends.

use super::checker::Checker;
use crate::requests::RequestsConfig;
use crate::settings::Settings;

const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 1..=3_600_000;

pub(super) fn check(settings: &Settings, check: &mut Checker) -> RequestsConfig {
    let timeout = check.ms("request_timeout_ms", settings.request_timeout_ms, TIMEOUT_MS);
    let timeout_max = check.ms("request_timeout_max_ms", settings.request_timeout_max_ms, TIMEOUT_MS);
    if timeout > timeout_max {
        let fix = "make it request_timeout_max_ms at most";
        check.problem("request_timeout_ms", timeout.as_millis(), "longer than the longest allowed", fix);
    }
    let mut count = |key, value| check.count(key, value, 1..=10_000_000) as usize;
    RequestsConfig {
        timeout,
        timeout_max,
        per_connection_max: count("requests_per_connection_max", settings.requests_per_connection_max),
        per_tenant_max: count("requests_per_tenant_max", settings.requests_per_tenant_max),
        maxlen: u64::from(check.count("requests_maxlen", settings.requests_maxlen, 1..=100_000_000)),
    }
}
