//! How tokens are checked, and who may use the HTTP API.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rand::Rng as _;
use rand::distr::Alphanumeric;
use reqwest::Url;

use super::Mode;
use super::checker::Checker;
use crate::secret::Secret;
use crate::settings::{List, Settings, without_password};

/// How tokens are checked.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Secrets of HS256 tokens. With `--dev` and no keys configured: one made up.
    pub hs256_secrets: Vec<Hs256Secret>,
    /// More of them, one a line.
    pub hs256_secret_file: Option<PathBuf>,
    /// PEM public keys.
    pub public_key_files: Vec<PathBuf>,
    /// The issuer's key set.
    pub jwks: Option<JwksConfig>,
    /// When not empty, `iss` must be one of them.
    pub issuers: Vec<String>,
    /// When not empty, `aud` must have one of them; when empty, a token with `aud` is refused.
    pub audiences: Vec<String>,
    /// Allowed difference between clocks.
    pub leeway: Duration,
    /// Names of the claims.
    pub claims: ClaimNames,
    /// How long a connection may outlive its token.
    pub expiry_grace: Duration,
    /// Whether a connection is subscribed to its own `user:` topic by itself.
    pub own_user_topic: bool,
}

/// One secret of HS256 tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hs256Secret {
    /// The key id it belongs to.
    pub kid: Option<Box<str>>,
    /// The secret itself.
    pub secret: Secret,
}

/// Where an issuer publishes its keys (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksConfig {
    /// `https`, or `http` on loopback.
    pub url: Url,
    /// How often it is fetched.
    pub refresh_interval: Duration,
    /// Least time between two fetches.
    pub min_interval: Duration,
}

/// Names of the claims; one that starts with `/` is a JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// The user: `sub`.
    pub user: Box<str>,
    /// The tenant.
    pub tenant: Box<str>,
    /// Patterns of channel names.
    pub channels: Box<str>,
    /// Patterns of topics.
    pub publish: Box<str>,
    /// Patterns of methods.
    pub methods: Box<str>,
    /// Topics.
    pub subscribe: Box<str>,
    /// What others see of the user.
    pub info: Box<str>,
}

/// Who may use the HTTP API.
#[derive(Clone, Debug)]
pub struct ApiKeysConfig {
    /// Keys with every scope. With `--dev` and none configured: one made up.
    pub keys: Vec<NamedKey>,
    /// More keys, with their scopes.
    pub file: Option<PathBuf>,
}

/// A key and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    /// For logs and metrics.
    pub name: Box<str>,
    /// What is presented as `Authorization: Bearer`.
    pub key: Secret,
}

/// Reads one secret of `jwt_hs256_secret`, or one line of its file.
///
/// `kid:<id>:<secret>` binds the secret to a key id; anything else is a secret, taken whole, `=` included. A secret that
/// itself starts with `kid:` is written with an empty id: `kid::kid:…`.
pub fn parse_hs256_secret(text: &str) -> Result<Hs256Secret, &'static str> {
    let (kid, secret) = match text.strip_prefix("kid:") {
        None => (None, text),
        Some(rest) => match rest.split_once(':') {
            None => return Err("a key id without a secret"),
            Some(("", secret)) => (None, secret),
            Some((kid, secret)) => (Some(kid.into()), secret),
        },
    };
    if secret.is_empty() { Err("an empty secret") } else { Ok(Hs256Secret { kid, secret: Secret::new(secret) }) }
}

/// RFC 7518 section 3.2: a key of at least the size of the hash.
const HS256_SECRET_BYTES_MIN: usize = 32;

pub(super) fn check_tokens(settings: &Settings, mode: Mode, check: &mut Checker) -> AuthConfig {
    let mut config = AuthConfig {
        hs256_secrets: secrets(settings, check),
        hs256_secret_file: settings.jwt_hs256_secret_file.as_ref().map(PathBuf::from),
        public_key_files: texts(settings.jwt_public_key_file.as_ref()).iter().map(PathBuf::from).collect(),
        jwks: jwks(settings, check),
        issuers: texts(settings.jwt_issuer.as_ref()).to_vec(),
        audiences: texts(settings.jwt_audience.as_ref()).to_vec(),
        leeway: check.seconds("jwt_leeway_s", settings.jwt_leeway_s, 0..=600),
        claims: ClaimNames {
            user: claim("jwt_claim_user", &settings.jwt_claim_user, check),
            tenant: claim("jwt_claim_tenant", &settings.jwt_claim_tenant, check),
            channels: claim("jwt_claim_channels", &settings.jwt_claim_channels, check),
            publish: claim("jwt_claim_publish", &settings.jwt_claim_publish, check),
            methods: claim("jwt_claim_methods", &settings.jwt_claim_methods, check),
            subscribe: claim("jwt_claim_subscribe", &settings.jwt_claim_subscribe, check),
            info: claim("jwt_claim_info", &settings.jwt_claim_info, check),
        },
        expiry_grace: check.seconds("token_expiry_grace_s", settings.token_expiry_grace_s, 0..=86_400),
        own_user_topic: settings.own_user_topic,
    };
    if !config.has_keys() {
        match mode {
            Mode::Dev => config.hs256_secrets.push(Hs256Secret { kid: None, secret: random_secret() }),
            Mode::Tool => {}
            // What is wrong with it has been said.
            Mode::Node if settings.jwt_hs256_secret.is_some() => {}
            Mode::Node => check.problem(
                "jwt_hs256_secret",
                "",
                "no way to check tokens",
                "set it, or jwt_hs256_secret_file, jwt_public_key_file or jwt_jwks_url; or try `fanfare serve --dev`",
            ),
        }
    }
    config
}

impl AuthConfig {
    /// Whether any source of keys is configured.
    pub fn has_keys(&self) -> bool {
        !self.hs256_secrets.is_empty()
            || self.hs256_secret_file.is_some()
            || !self.public_key_files.is_empty()
            || self.jwks.is_some()
    }
}

pub(super) fn check_api_keys(settings: &Settings, mode: Mode, check: &mut Checker) -> ApiKeysConfig {
    let mut keys = Vec::new();
    for item in settings.api_keys.as_ref().map_or(&[][..], List::as_slice) {
        match item.expose().split_once(':') {
            Some((name, key)) if is_name(name) && is_bearer(key) => {
                keys.push(NamedKey { name: name.into(), key: Secret::new(key) });
            }
            _ => check.problem(
                "api_keys",
                "[hidden]",
                "not name:key",
                "give a name of letters, digits, '.', '_', '-', a colon, and a key of visible ASCII characters",
            ),
        }
    }
    let file = settings.api_keys_file.as_ref().map(PathBuf::from);
    if mode == Mode::Dev && keys.is_empty() && file.is_none() {
        keys.push(NamedKey { name: "dev".into(), key: random_secret() });
    }
    ApiKeysConfig { keys, file }
}

/// Whether `name` can name an API key: 1 to 64 letters, digits, `.`, `_`, `-`.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Whether `key` can stand in an `Authorization` header.
pub(crate) fn is_bearer(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic())
}

fn texts(list: Option<&List<String>>) -> &[String] {
    list.map_or(&[], List::as_slice)
}

fn secrets(settings: &Settings, check: &mut Checker) -> Vec<Hs256Secret> {
    let mut secrets = Vec::new();
    for item in settings.jwt_hs256_secret.as_ref().map_or(&[][..], List::as_slice) {
        match parse_hs256_secret(item.expose()) {
            Ok(secret) => secrets.push(secret),
            Err(wrong) => check.problem("jwt_hs256_secret", "[hidden]", wrong, "give SECRET or kid:ID:SECRET"),
        }
    }
    if settings.jwt_hs256_secret.as_ref().is_some_and(|list| list.as_slice().is_empty()) {
        check.problem("jwt_hs256_secret", "", "no secret in it", "give one, or leave the setting out");
    }
    if secrets.iter().any(|secret| secret.secret.expose().len() < HS256_SECRET_BYTES_MIN) {
        check.warnings.push(format!(
            "jwt_hs256_secret has a secret of fewer than {HS256_SECRET_BYTES_MIN} bytes, which can be guessed: \
             `openssl rand -base64 48` makes a good one"
        ));
    }
    secrets
}

fn jwks(settings: &Settings, check: &mut Checker) -> Option<JwksConfig> {
    let refresh_interval = check.seconds("jwt_jwks_refresh_s", settings.jwt_jwks_refresh_s, 1..=86_400);
    let min_interval = check.seconds("jwt_jwks_min_interval_s", settings.jwt_jwks_min_interval_s, 1..=3600);
    if min_interval > refresh_interval {
        let fix = "make it jwt_jwks_refresh_s at most";
        check.problem("jwt_jwks_min_interval_s", min_interval.as_secs(), "longer than the refresh interval", fix);
    }
    let text = settings.jwt_jwks_url.as_deref()?;
    let shown = without_password(text);
    let url = match Url::parse(text) {
        Ok(url) if url.has_host() => url,
        _ => {
            check.problem("jwt_jwks_url", shown, "not a URL", "give https://issuer.example/.well-known/jwks.json");
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        check.problem("jwt_jwks_url", &shown, "a URL with a login", "key sets are public: leave the login out");
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            let fix = "use https: who can change the answer can forge every token";
            check.problem("jwt_jwks_url", &shown, "http to another machine", fix);
        }
        _ => check.problem("jwt_jwks_url", &shown, "neither https nor http", "give an https URL"),
    }
    Some(JwksConfig { url, refresh_interval, min_interval })
}

/// Whether a URL's host is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn claim(key: &str, name: &str, check: &mut Checker) -> Box<str> {
    let reserved = BTreeSet::from(["exp", "nbf", "iat", "iss", "aud", "jti"]);
    if name.is_empty() || reserved.contains(name) {
        check.problem(key, name, "not the name of a claim we can use", "give the name your issuer uses");
    }
    name.into()
}

fn random_secret() -> Secret {
    let text: String = rand::rng().sample_iter(Alphanumeric).take(43).map(char::from).collect();
    Secret::new(text)
}
