//! `fanfare token`: a token for trying things out, and for scripts. In a product the backend makes them.

use anyhow::{Context as _, anyhow, bail};
use clap::Args;

use crate::config::{AuthConfig, Config, Hs256Secret, parse_hs256_secret};
use crate::mint::{Grant, mint};
use crate::secret::Secret;
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct TokenArgs {
    /// Tenant of the user
    #[arg(long, value_name = "TENANT")]
    tenant: String,
    /// The user's id
    #[arg(long, value_name = "ID")]
    user: String,
    /// Patterns of channel names the user may subscribe to, comma separated: 'team:*', '**'
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    channels: Vec<String>,
    /// Patterns of topics the user may publish to, comma separated: 'channel:cursors:*', 'user:*'
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    publish: Vec<String>,
    /// Patterns of methods the user may ask backends for, comma separated: 'dashboard.*'
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    methods: Vec<String>,
    /// Topics that the node subscribes for the user, comma separated
    #[arg(long, value_name = "TOPICS", value_delimiter = ',')]
    subscribe: Vec<String>,
    /// How long the token is good
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    expires_s: u64,
    /// Id of the token (jti), by which it can be revoked
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Sign with this secret instead of the configured one; kid:ID:SECRET names its key id
    #[arg(long, value_name = "SECRET")]
    secret: Option<Secret>,
    #[command(flatten)]
    _settings: Settings,
}

pub(crate) fn run(args: &TokenArgs, config: &Config) -> anyhow::Result<()> {
    let secret = match &args.secret {
        Some(secret) => parse_hs256_secret(secret.expose()).map_err(|wrong| anyhow!("--secret: {wrong}"))?,
        None => configured_secret(&config.auth)?,
    };
    let grant = Grant {
        tenant: &args.tenant,
        user: &args.user,
        channels: &args.channels,
        publish: &args.publish,
        methods: &args.methods,
        subscribe: &args.subscribe,
        expires_s: args.expires_s,
        id: args.id.as_deref(),
    };
    println!("{}", mint(&grant, &secret, &config.auth)?);
    Ok(())
}

/// The first configured secret, which nodes with the same configuration know.
pub(super) fn configured_secret(config: &AuthConfig) -> anyhow::Result<Hs256Secret> {
    if let Some(secret) = config.hs256_secrets.first() {
        return Ok(secret.clone());
    }
    let Some(path) = &config.hs256_secret_file else {
        bail!("no HS256 secret to sign with: set FANFARE_JWT_HS256_SECRET, or give one with the command");
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    parse_hs256_secret(line).map_err(|wrong| anyhow!("{}: {wrong}", path.display()))
}
