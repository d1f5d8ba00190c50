//! The backplane's settings, in the backplane's own words.

use std::path::PathBuf;

use fanfare_backplane::{ClientCertificate, Prefix, RedisConfig, RedisFunctions, RedisScripting, RedisServer};

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

pub(super) fn check(settings: &Settings, node_id: &str, check: &mut Checker) -> BackplaneConfig {
    let prefix = Prefix::parse(&settings.redis_prefix).unwrap_or_else(|error| {
        check.problem("redis_prefix", &settings.redis_prefix, "not a prefix", &error.to_string());
        Prefix::default()
    });
    let functions = match settings.redis_functions.as_str() {
        "load" => RedisFunctions::Load,
        "check" => RedisFunctions::Check,
        other => {
            check.problem("redis_functions", other, "neither load nor check", "give load or check");
            RedisFunctions::Load
        }
    };
    let scripting = match settings.redis_scripting.as_str() {
        "functions" => RedisScripting::Functions,
        "eval" => RedisScripting::Eval,
        other => {
            check.problem("redis_scripting", other, "neither functions nor eval", "give functions or eval");
            RedisScripting::Functions
        }
    };
    let connect_timeout = check.ms("redis_connect_timeout_ms", settings.redis_connect_timeout_ms, 10..=600_000);
    let response_timeout = check.ms("redis_response_timeout_ms", settings.redis_response_timeout_ms, 10..=600_000);
    let ping_interval = check.ms("redis_ping_interval_ms", settings.redis_ping_interval_ms, 10..=600_000);
    let slots_interval = check.ms("redis_slots_interval_ms", settings.redis_slots_interval_ms, 100..=600_000);
    let probe_interval = check.ms("redis_probe_interval_ms", settings.redis_probe_interval_ms, 0..=600_000);
    let client_certificate = client_certificate(settings, check);
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
            client_certificate,
            sentinel_password_file: settings.redis_sentinel_password_file.as_ref().map(PathBuf::from),
            node_id: Some(node_id.to_owned()),
            connect_timeout,
            response_timeout,
            slots_interval,
            ping_interval,
            probe_interval: Some(probe_interval).filter(|interval| !interval.is_zero()),
            retry_min,
            retry_max,
            functions,
            scripting,
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

/// Both files or none.
fn client_certificate(settings: &Settings, check: &mut Checker) -> Option<ClientCertificate> {
    match (&settings.redis_cert_file, &settings.redis_key_file) {
        (Some(cert), Some(key)) => Some(ClientCertificate { cert_file: cert.into(), key_file: key.into() }),
        (None, None) => None,
        (Some(cert), None) => {
            check.problem("redis_cert_file", cert, "a certificate without its key", "give redis_key_file as well");
            None
        }
        (None, Some(key)) => {
            check.problem("redis_key_file", key, "a key without its certificate", "give redis_cert_file as well");
            None
        }
    }
}
