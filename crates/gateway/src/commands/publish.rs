//! `fanfare publish`: one event, through Redis or through a node. The envelope is checked here first, since what is
//! published straight to Redis and is wrong reaches nobody, silently.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use fanfare_backplane::{Backplane, Keep, PublishError, RedisConfig, State};
use fanfare_protocol::{Codec, Event, Position, Tenant, Topic, TopicKey};
use tokio::time::{Instant, sleep, timeout_at};

use super::block_on;
use super::node_api::{NodeApi, api_key, node_of_environment, node_url};
use crate::config::{BackplaneConfig, Config, Rule};
use crate::secret::Secret;
use crate::settings::Settings;

#[derive(Args)]
#[expect(clippy::doc_markdown, reason = "the comments are the text of --help, which is not Markdown")]
pub(crate) struct PublishArgs {
    /// Tenant of the topic
    tenant: String,
    /// tenant, user:ID or channel:NAME
    topic: String,
    /// The event: a JSON object with a type, or - for standard input
    event: String,
    /// Keep it for those who are away, and print its position
    #[arg(long)]
    durable: bool,
    /// With --durable: within 5 minutes an event with the same id is not published again
    #[arg(long, value_name = "TEXT", requires = "durable")]
    id: Option<String>,
    /// With --durable, through Redis: how many events the topic keeps [default: what its rule says, or 1000]
    #[arg(long, value_name = "N", requires = "durable")]
    maxlen: Option<u64>,
    /// With --durable, through Redis: how long the topic's history outlives this event [default: what its rule says, or 86400]
    #[arg(long, value_name = "SECONDS", requires = "durable")]
    ttl_s: Option<u64>,
    /// Publish through the HTTP API of this node, not through Redis; also FANFARE_NODE_URL
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// Key for the HTTP API; also FANFARE_API_KEY, else the first of FANFARE_API_KEYS
    #[arg(long, value_name = "KEY")]
    api_key: Option<Secret>,
    #[command(flatten)]
    _settings: Settings,
}

pub(crate) fn run(args: &PublishArgs, config: &Config) -> anyhow::Result<()> {
    let tenant = Tenant::parse(&args.tenant).with_context(|| format!("{:?} is no tenant", args.tenant))?;
    let topic = Topic::parse(&args.topic).with_context(|| format!("{:?} is no topic", args.topic))?;
    let envelope = if args.event == "-" { read_stdin()? } else { args.event.clone().into_bytes() };
    let rule = config.rules.of(topic.as_str());
    let event = Event::from_envelope(Codec::Json, envelope.into(), rule.event_bytes_max)
        .context("the event can't be published")?;

    let node = args.node.clone().or_else(node_of_environment);
    let position = match (&config.backplane, node) {
        (BackplaneConfig::Redis(redis), None) => {
            let topic = TopicKey::new(&tenant, &topic);
            let keep = rule.keeps(args.durable)?.then(|| keep(args, rule));
            block_on(through_redis((**redis).clone(), &topic, event.envelope, keep))?
                .map(|position| position.to_string())
        }
        (_, node) => {
            if args.maxlen.is_some() || args.ttl_s.is_some() {
                bail!("a node's HTTP API has no --maxlen and no --ttl-s: leave them out, or publish through Redis");
            }
            let url = node_url(node.as_deref(), config);
            let api = NodeApi::new(&url, api_key(args.api_key.as_ref(), config)?)?;
            if args.durable {
                Some(block_on(api.publish_durable(&tenant, &topic, event.envelope, args.id.as_deref()))?)
            } else {
                block_on(api.publish(&tenant, &topic, event.envelope))?;
                None
            }
        }
    };
    let at = position.map(|position| format!(" at {position}")).unwrap_or_default();
    println!("published {} to {} of {}{at}", event.event_type, topic.as_str(), tenant.as_str());
    Ok(())
}

/// As the topic's rule has it, but for what is given.
fn keep(args: &PublishArgs, rule: &Rule) -> Keep {
    let keep = rule.keep(args.id.as_deref().map(Into::into));
    Keep { maxlen: args.maxlen.unwrap_or(keep.maxlen), ttl: args.ttl_s.map_or(keep.ttl, Duration::from_secs), ..keep }
}

fn read_stdin() -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("can't read the event from standard input")?;
    Ok(bytes)
}

/// How long a connection to Redis may take before it is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes, durably when it is said how to keep it; then its position is returned.
async fn through_redis(
    config: RedisConfig,
    topic: &TopicKey,
    envelope: Bytes,
    keep: Option<Keep>,
) -> anyhow::Result<Option<Position>> {
    // Whoever publishes needs no right to subscribe.
    let (backplane, _inbox) = Backplane::redis(RedisConfig { probe_interval: None, ..config });
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut state = backplane.state();
    if timeout_at(deadline, state.wait_for(State::is_up)).await.is_err() {
        let error = match &*state.borrow() {
            State::Connecting { error: Some(error) }
            | State::Down { error }
            | State::Unproven { error }
            | State::Undelivered { error } => error.clone(),
            State::Connecting { error: None } | State::Up => format!("no answer for {CONNECT_TIMEOUT:?}"),
        };
        bail!("can't reach Redis: {error}");
    }
    loop {
        let published = match &keep {
            Some(keep) => backplane.publish_durable(topic, envelope.clone(), keep).await.map(Some),
            None => backplane.publish(topic, envelope.clone()).await.map(|()| None),
        };
        match published {
            // The connection that publishes is another one and may come up a moment later.
            Err(PublishError::Unavailable) if Instant::now() < deadline => sleep(Duration::from_millis(10)).await,
            result => return result.context("not published"),
        }
    }
}
