//! Stories about checking a configuration.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::ffi::OsString;

use clap::{Args as _, Command};
use fanfare_backplane::{ClientCertificate, RedisFunctions, RedisScripting};

use super::*;
use crate::origin::OriginPolicy;
use crate::secret::Secret;
use crate::settings::load;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn machine() -> Machine {
    Machine { memory_bytes: 8 << 30, cores: 4, host_name: "web-1".to_owned() }
}

fn check(mode: Mode, settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let matches = Settings::augment_args(Command::new("fanfare")).try_get_matches_from(["fanfare"]).unwrap();
    let variables = settings
        .iter()
        .map(|(key, value)| (OsString::from(format!("FANFARE_{}", key.to_uppercase())), OsString::from(value)));
    Config::from_loaded(&load(&matches, None, variables), mode, &machine())
}

fn node(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut all = vec![("jwt_hs256_secret", SECRET)];
    all.extend(settings);
    check(Mode::Node, &all)
}

/// The one problem that `settings` have.
fn problem(settings: &[(&str, &str)]) -> String {
    let error = node(settings).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    error.problems[0].to_string()
}

#[test]
fn with_a_secret_the_defaults_make_a_node() {
    let config = node(&[]).unwrap();
    assert_eq!(config.network.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.network.admin_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(config.network.api_listen, None);
    assert_eq!(config.network.allowed_origins, OriginPolicy::Any);
    assert!(matches!(config.backplane, BackplaneConfig::Memory));
    assert_eq!(config.workers, 4);
    assert_eq!(config.outbox, OutboxConfig { bytes_max: 1 << 20, node_bytes_max: 2 << 30 });
    assert_eq!(config.limits.connections_per_user_max, None);
    assert_eq!(config.limits.unauthenticated_per_address_max, Some(256));
    assert_eq!(config.drain, DrainConfig { delay: Duration::from_secs(5), within: Duration::from_secs(30) });
    assert_eq!((config.limits.accept_budget_per_s, config.shed.is_on, config.shed.above_percent), (500, false, 110));
    assert_eq!(config.ping_interval, Duration::from_secs(25));
    assert_eq!(config.log.summary_interval, Some(Duration::from_secs(10)));
    assert!(config.node_id.starts_with("web-1-"), "{}", config.node_id);
    assert_ne!(config.node_id, node(&[]).unwrap().node_id);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(!config.dev);
}

#[test]
fn a_node_without_keys_says_how_to_give_some() {
    let error = check(Mode::Node, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the configuration can't be used: jwt_hs256_secret = \"\": no way to check tokens; set it, or \
         jwt_hs256_secret_file, jwt_public_key_file or jwt_jwks_url; or try `fanfare serve --dev`"
    );
    for other in ["jwt_hs256_secret_file", "jwt_public_key_file"] {
        assert!(check(Mode::Node, &[(other, "/keys")]).is_ok(), "{other}");
    }
    assert!(check(Mode::Node, &[("jwt_jwks_url", "https://issuer.example/jwks.json")]).is_ok());
}

#[test]
fn dev_makes_up_a_secret_and_an_api_key() {
    let config = check(Mode::Dev, &[]).unwrap();
    assert!(config.dev);
    assert_eq!(config.auth.hs256_secrets[0].secret.expose().len(), 43);
    assert_eq!((config.api_keys.keys.len(), config.api_keys.keys[0].name.as_ref()), (1, "dev"));
    assert_ne!(config.auth.hs256_secrets[0].secret, check(Mode::Dev, &[]).unwrap().auth.hs256_secrets[0].secret);
    let given = check(Mode::Dev, &[("jwt_hs256_secret", SECRET), ("api_keys", "app:key")]).unwrap();
    assert_eq!(given.auth.hs256_secrets[0].secret, Secret::new(SECRET));
    assert_eq!(given.api_keys.keys[0].name.as_ref(), "app");
}

#[test]
fn dev_listens_on_loopback_only() {
    let settings = [("listen", "0.0.0.0:8080"), ("admin_listen", "192.168.1.2:9090"), ("api_listen", "[::1]:9091")];
    let error = check(Mode::Dev, &settings).unwrap_err();
    assert_eq!(error.problems.len(), 2, "{error}");
    assert_eq!(
        error.problems[0].to_string(),
        "listen = \"0.0.0.0:8080\" (environment variable FANFARE_LISTEN): --dev is open to everybody and listens on \
         loopback only; listen on 127.0.0.1, or serve without --dev and configure tokens"
    );
    assert!(node(&settings).is_ok());
}

#[test]
fn a_node_that_takes_few_clients_a_second_promises_no_more() {
    let budget = |settings: &[(&str, &str)]| node(settings).unwrap().limits.accept_budget_per_s;
    assert_eq!(budget(&[("accept_per_s", "100")]), 100);
    assert_eq!(budget(&[("accept_per_s", "100"), ("accept_budget_per_s", "100")]), 100);
    assert_eq!(budget(&[("accept_budget_per_s", "5000")]), 5_000);
}

#[test]
fn all_bad_values_are_reported_at_once() {
    let settings = [
        ("listen", "here"),
        ("trusted_proxies", "10.0.0.0/8,nonsense"),
        ("backplane", "postgres://me:hunter2@db"),
        ("redis_prefix", "{x}"),
        ("message_bytes_max", "10"),
        ("drain_s", "soon"),
        ("log_format", "xml"),
        ("log_level", "loud"),
        ("node_id", "a b"),
        ("tls_key_file", "/key"),
        ("api_keys", "nocolon"),
        ("allowed_origins", "https://a.example/"),
        ("jwt_claim_tenant", "aud"),
        ("workers", "5000"),
    ];
    let error = node(&settings).unwrap_err();
    for (key, _) in settings {
        assert!(error.problems.iter().any(|problem| problem.key() == Some(key)), "{key} is missing in {error}");
    }
    assert_eq!(error.problems.len(), settings.len(), "{error}");
    assert!(error.to_string().starts_with("the configuration can't be used, 14 problems:\n  drain_s = \"soon\" ("));
    assert!(!error.to_string().contains("hunter2") && !error.to_string().contains("nocolon"), "{error}");
}

#[test]
fn each_problem_says_what_to_do() {
    let cases = [
        ("request_timeout_ms", "60001", "longer than the longest allowed; make it request_timeout_max_ms at most"),
        ("listen", ":8080", "not an address; give an address too, such as 0.0.0.0:8080"),
        ("listen", "localhost:80", "not an address; give a number, such as 127.0.0.1:80"),
        ("api_listen", "127.0.0.1:8080", "the clients' address; give it a port of its own"),
        ("trusted_proxies", "10.0.0.0/40", "not a network; give CIDR, such as 10.0.0.0/8"),
        ("connections_max", "0", "too small; give a number from 1 to 4294967295"),
        ("ping_ms", "1", "too small; give a number from 10 to 3600000"),
        (
            "accept_budget_per_s",
            "5001",
            "more than this node takes in a second; make it at most 5000, which is accept_per_s, or raise that",
        ),
        ("shed_above_percent", "100", "too small; give a number from 101 to 1000"),
        ("event_bytes_max", "1000000000", "too large; give a number from 1024 to 16777216"),
        (
            "outbox_bytes_max",
            "65536",
            "too small for the largest event; make it at least 131072, twice event_bytes_max",
        ),
        ("outbox_node_bytes_max", "65536", "less than one client may have; make it at least outbox_bytes_max"),
        ("redis_retry_min_ms", "6000", "longer than the longest wait; make it redis_retry_max_ms at most"),
        (
            "allowed_origins",
            "app.example.com",
            "not an origin; `app.example.com` is not an origin: write scheme://host or scheme://host:port, without a path",
        ),
        ("tls_certificate_file", "/c", "a certificate without a key; give tls_key_file too"),
        (
            "jwt_jwks_url",
            "http://issuer.example/jwks",
            "http to another machine; use https: who can change the answer can forge every token",
        ),
        ("jwt_jwks_url", "file:///jwks", "not a URL; give https://issuer.example/.well-known/jwks.json"),
        ("jwt_jwks_url", "ftp://issuer.example/jwks", "neither https nor http; give an https URL"),
        ("jwt_jwks_min_interval_s", "400", "longer than the refresh interval; make it jwt_jwks_refresh_s at most"),
        (
            "log_level",
            "fanfare=loud",
            "not a log level; give error, warn, info, debug or trace, or a filter such as info,fanfare_gateway=debug",
        ),
    ];
    for (key, value, expected) in cases {
        let variable = format!("FANFARE_{}", key.to_uppercase());
        let found = problem(&[(key, value)]);
        let shown = value.split(',').next_back().unwrap();
        assert_eq!(found, format!("{key} = {shown:?} (environment variable {variable}): {expected}"));
    }
}

#[test]
fn a_jwks_url_with_a_login_is_refused_and_its_password_hidden() {
    let found = problem(&[("jwt_jwks_url", "https://me:hunter2@issuer.example/jwks")]);
    assert!(found.starts_with("jwt_jwks_url = \"https://me:[hidden]@issuer.example/jwks\""), "{found}");
    for url in ["http://127.0.0.1:9/jwks", "http://localhost/jwks", "http://[::1]:9/jwks", "https://issuer.example/"] {
        assert!(node(&[("jwt_jwks_url", url)]).is_ok(), "{url}");
    }
}

#[test]
fn secrets_may_have_a_key_id_and_any_character() {
    let cases = [
        ("plain", None, "plain"),
        ("YWJj==", None, "YWJj=="),
        ("kid=secret", None, "kid=secret"),
        ("a:b", None, "a:b"),
        ("kid:2026-a:s3cret", Some("2026-a"), "s3cret"),
        ("kid:a:b:c=", Some("a"), "b:c="),
        ("kid::kid:x", None, "kid:x"),
    ];
    for (text, kid, secret) in cases {
        let parsed = parse_hs256_secret(text).unwrap();
        assert_eq!((parsed.kid.as_deref(), parsed.secret.expose()), (kid, secret), "{text}");
    }
    assert_eq!(parse_hs256_secret("kid:a"), Err("a key id without a secret"));
    assert_eq!(parse_hs256_secret("kid:a:"), Err("an empty secret"));
    assert_eq!(parse_hs256_secret(""), Err("an empty secret"));
}

#[test]
fn several_secrets_are_separated_by_commas_and_short_ones_warned_of() {
    let config = check(Mode::Node, &[("jwt_hs256_secret", &format!("kid:new:{SECRET}, hunter2"))]).unwrap();
    let secrets = &config.auth.hs256_secrets;
    assert_eq!((secrets.len(), secrets[0].kid.as_deref(), secrets[1].secret.expose()), (2, Some("new"), "hunter2"));
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("fewer than 32 bytes") && !config.warnings[0].contains("hunter2"));
    let error = check(Mode::Node, &[("jwt_hs256_secret", "kid:broken")]).unwrap_err();
    assert_eq!(
        error.problems[0].to_string(),
        "jwt_hs256_secret = [hidden] (environment variable FANFARE_JWT_HS256_SECRET): a key id without a secret; give \
         SECRET or kid:ID:SECRET"
    );
    assert_eq!(error.problems.len(), 1);
}

#[test]
fn an_api_key_is_a_name_and_a_key() {
    let keys = node(&[("api_keys", "app:one, app:two:with:colons")]).unwrap().api_keys.keys;
    assert_eq!(keys.iter().map(|key| key.key.expose()).collect::<Vec<_>>(), ["one", "two:with:colons"]);
    for bad in ["app", "app:", ":key", "a b:key", "app:ké"] {
        assert!(problem(&[("api_keys", bad)]).starts_with("api_keys = [hidden] ("), "{bad}");
    }
}

#[test]
fn a_backplane_is_memory_or_a_redis_server() {
    let redis = |settings: &[(&str, &str)]| match node(settings).unwrap().backplane {
        BackplaneConfig::Redis(redis) => redis,
        BackplaneConfig::Memory => panic!("not Redis"),
    };
    let config =
        redis(&[("backplane", "redis://u:hunter2@h/3"), ("redis_prefix", "prod:ff"), ("redis_ping_interval_ms", "70")]);
    assert_eq!((config.server.to_string().as_str(), config.prefix.as_str()), ("redis://h:6379/3", "prod:ff"));
    assert_eq!(config.ping_interval, Duration::from_millis(70));
    let files = redis(&[("backplane", "rediss://h"), ("redis_password_file", "/p"), ("redis_ca_file", "/ca")]);
    assert_eq!((files.password_file, files.ca_file), (Some("/p".into()), Some("/ca".into())));
    assert_eq!((files.client_certificate, files.sentinel_password_file), (None, None));
    let files = redis(&[
        ("backplane", "rediss+sentinel://a,b/main"),
        ("redis_sentinel_password_file", "/s"),
        ("redis_cert_file", "/cert"),
        ("redis_key_file", "/key"),
        ("node_id", "n-1"),
    ]);
    assert_eq!(files.server.to_string(), "rediss+sentinel://a:26379,b:26379/main");
    let certificate = ClientCertificate { cert_file: "/cert".into(), key_file: "/key".into() };
    assert_eq!(files.client_certificate, Some(certificate));
    assert_eq!((files.sentinel_password_file, files.node_id.as_deref()), (Some("/s".into()), Some("n-1")));
    assert_eq!(files.probe_interval, Some(Duration::from_secs(1)));
    let cluster = redis(&[("backplane", "redis+cluster://u:hunter2@a:1,b"), ("redis_slots_interval_ms", "700")]);
    assert_eq!(cluster.server.to_string(), "redis+cluster://a:1,b:6379");
    assert_eq!(cluster.slots_interval, Duration::from_millis(700));
    let unproved = redis(&[("backplane", "redis://h"), ("redis_probe_interval_ms", "0")]);
    assert_eq!(unproved.probe_interval, None);
    let half = problem(&[("backplane", "rediss://h"), ("redis_cert_file", "/cert")]);
    assert!(half.contains("a certificate without its key; give redis_key_file as well"), "{half}");
    let half = problem(&[("backplane", "rediss://h"), ("redis_key_file", "/key")]);
    assert!(half.contains("a key without its certificate; give redis_cert_file as well"), "{half}");
    let defaults = redis(&[("backplane", "redis://h")]);
    assert_eq!((defaults.functions, defaults.scripting), (RedisFunctions::Load, RedisScripting::Functions));
    let changed = redis(&[("backplane", "redis://h"), ("redis_functions", "check"), ("redis_scripting", "eval")]);
    assert_eq!((changed.functions, changed.scripting), (RedisFunctions::Check, RedisScripting::Eval));
    assert!(problem(&[("redis_functions", "Load")]).ends_with("neither load nor check; give load or check"));
    assert!(problem(&[("redis_scripting", "lua")]).ends_with("neither functions nor eval; give functions or eval"));
    for url in ["redis://", "memory", "http://h", "redis+cluster://a:1,b:2/3", "redis+sentinel://a:1"] {
        assert!(problem(&[("backplane", url)]).contains("neither memory:// nor a Redis that can be used; "), "{url}");
    }
}

#[test]
fn no_secret_is_in_the_debug_output_of_a_configuration() {
    let settings = [("backplane", "redis://u:hunter2@h"), ("api_keys", "app:hunter2"), ("jwt_hs256_secret", "hunter2")];
    let config = check(Mode::Node, &settings).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}

#[test]
fn bad_origins_are_reported_one_by_one_and_a_star_allows_all() {
    let config = node(&[("allowed_origins", "https://App.example.com,https://*.example.org")]).unwrap();
    let origins = config.network.allowed_origins;
    assert!(origins.allows(Some("https://app.example.com")) && origins.allows(Some("https://a.example.org")));
    assert!(!origins.allows(Some("https://app.example.com.evil.example")));
    let config = node(&[("allowed_origins", "https://a.example,*")]).unwrap();
    assert_eq!(config.network.allowed_origins, OriginPolicy::Any);
    let error = node(&[("allowed_origins", "a.example,https://b.example,https://c.example/x")]).unwrap_err();
    assert_eq!(error.problems.len(), 2, "{error}");
}

#[test]
fn the_api_shares_the_admin_address_unless_it_differs() {
    let shared = node(&[("api_listen", "127.0.0.1:9090")]).unwrap();
    assert_eq!(shared.network.api_listen, None);
    let own = node(&[("api_listen", "127.0.0.1:9091")]).unwrap();
    assert_eq!(own.network.api_listen.unwrap().port(), 9091);
    assert!(node(&[("listen", "127.0.0.1:0"), ("admin_listen", "127.0.0.1:0")]).is_ok());
}

#[test]
fn unknown_variables_are_only_warnings() {
    let config = node(&[("drian_s", "1")]).unwrap();
    assert_eq!(
        config.warnings,
        ["the environment variable FANFARE_DRIAN_S is not known: did you mean FANFARE_DRAIN_S?"]
    );
}
