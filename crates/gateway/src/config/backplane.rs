//! The backplane's settings, in the backplane's own words.

use std::path::PathBuf;

use fanfare_backplane::{Prefix, RedisConfig, RedisServer};

use super::checker::Checker;
use crate::settings::{Settings, without_password};

/// What connects the nodes.
#[derive(Clone, Debug)]
pub enum BackplaneConfig {
    /// Nothing: one node by itself.
    Memory,
    /// A Redis server.
    Redis(Box<RedisConfig>),
}

pub(super) fn check(settings: &Settings, check: &mut Checker) -> BackplaneConfig {
    let prefix = Prefix::parse(&settings.redis_prefix).unwrap_or_else(|error| {
        check.problem("redis_prefix", &settings.redis_prefix, "not a prefix", &error.to_string());
        Prefix::default()
    });
    let connect_timeout = check.ms("redis_connect_timeout_ms", settings.redis_connect_timeout_ms, 10..=600_000);
    let response_timeout = check.ms("redis_response_timeout_ms", settings.redis_response_timeout_ms, 10..=600_000);
    let ping_interval = check.ms("redis_ping_interval_ms", settings.redis_ping_interval_ms, 10..=600_000);
    let retry_min = check.ms("redis_retry_min_ms", settings.redis_retry_min_ms, 1..=600_000);
    let retry_max = check.ms("redis_retry_max_ms", settings.redis_retry_max_ms, 1..=600_000);
    let inbox_bytes_max = check.bytes("redis_inbox_bytes_max", settings.redis_inbox_bytes_max, 1 << 20..=1 << 36);
    if retry_min > retry_max {
        let fix = "make it redis_retry_max_ms at most";
        check.problem("redis_retry_min_ms", settings.redis_retry_min_ms, "longer than the longest wait", fix);
    }
    let url = settings.backplane.expose();
    if url == "memory://" {
        return BackplaneConfig::Memory;
    }
    match RedisServer::parse(url) {
        Ok(server) => BackplaneConfig::Redis(Box::new(RedisConfig {
            prefix,
            password_file: settings.redis_password_file.as_ref().map(PathBuf::from),
            ca_file: settings.redis_ca_file.as_ref().map(PathBuf::from),
            connect_timeout,
            response_timeout,
            ping_interval,
            retry_min,
            retry_max,
            inbox_bytes_max,
            ..RedisConfig::new(server)
        })),
        Err(error) => {
            let wrong = "neither memory:// nor a Redis that can be used";
            check.problem("backplane", without_password(url), wrong, &error.to_string());
            BackplaneConfig::Memory
        }
    }
}
