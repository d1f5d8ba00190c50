//! `fanfare tail`: prints events as they come, from Redis or as a client of a node. Events go to standard output, one line
//! of JSON each; what happens to the subscription goes to standard error.

use std::borrow::Cow;
use std::io::{ErrorKind, Write as _};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use fanfare_backplane::{Backplane, Notice, RedisConfig, State};
use fanfare_protocol::{Event, Tenant, Topic, TopicKey, TopicKind};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::block_on;
use super::event_line::event_line;
use super::node_api::reachable;
use super::token::configured_secret;
use super::websocket::NodeSocket;
use crate::config::{BackplaneConfig, Config, Rules};
use crate::mint::{Grant, mint};
use crate::secret::Secret;
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct TailArgs {
    /// Tenant of the topics
    tenant: String,
    /// tenant, user:ID or channel:NAME, one or several
    #[arg(id = "of_topics", value_name = "TOPICS", required = true)]
    topics: Vec<String>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Listen as a client of this node, not to Redis
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// Token for the node; without it one is made with the configured secret
    #[arg(long, value_name = "TOKEN")]
    token: Option<Secret>,
    #[command(flatten)]
    _settings: Settings,
}

pub(crate) fn run(args: &TailArgs, config: &Config) -> anyhow::Result<()> {
    let tenant = Tenant::parse(&args.tenant).with_context(|| format!("{:?} is no tenant", args.tenant))?;
    let parse = |text: &String| Topic::parse(text).with_context(|| format!("{text:?} is no topic"));
    let topics = args.topics.iter().map(parse).collect::<anyhow::Result<Vec<Topic>>>()?;
    let printer = Printer { left: args.count };
    block_on(async {
        let listening = async {
            match (&config.backplane, &args.node) {
                (BackplaneConfig::Redis(redis), None) => {
                    let keys: Vec<TopicKey> = topics.iter().map(|topic| TopicKey::new(&tenant, topic)).collect();
                    from_redis((**redis).clone(), &keys, &config.rules, printer).await
                }
                (_, node) => {
                    let default = format!("ws://{}", reachable(config.network.listen));
                    let token = match &args.token {
                        Some(token) => token.clone(),
                        None => own_token(&tenant, &topics, config)?,
                    };
                    from_node(node.as_deref().unwrap_or(&default), &token, &topics, printer).await
                }
            }
        };
        tokio::select! {
            result = listening => result,
            interrupted = tokio::signal::ctrl_c() => interrupted.context("can't wait for Ctrl-C"),
        }
    })
}

/// Prints events until enough are printed or nobody reads.
struct Printer {
    left: Option<u64>,
}

impl Printer {
    /// Whether to go on.
    fn print(&mut self, topic: &str, position: Option<&str>, envelope: &RawValue) -> anyhow::Result<bool> {
        let line = event_line(topic, position, envelope)?;
        let mut out = std::io::stdout().lock();
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            result => result.context("can't write to standard output")?,
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(self.left != Some(0))
    }
}

const NOTICES_AT_ONCE: usize = 256;

async fn from_redis(
    config: RedisConfig,
    topics: &[TopicKey],
    rules: &Rules,
    mut printer: Printer,
) -> anyhow::Result<()> {
    // Whoever listens needs no right to publish.
    let (backplane, mut inbox) = Backplane::redis(RedisConfig { probe_interval: None, ..config });
    backplane.want(topics);
    let mut state = backplane.state();
    let mut notices = Vec::new();
    loop {
        tokio::select! {
            count = inbox.recv_many(&mut notices, NOTICES_AT_ONCE) => ensure!(count > 0, "the backplane has ended"),
            Ok(()) = state.changed() => {
                if let State::Connecting { error: Some(error) } = &*state.borrow_and_update() {
                    eprintln!("can't reach Redis: {error}; trying again");
                }
            }
        }
        for notice in notices.drain(..) {
            match notice {
                Notice::Message { topic, payload, .. } => {
                    let topic = String::from_utf8_lossy(&topic);
                    let topic = topic.split_once(':').map_or(&*topic, |(_, topic)| topic);
                    match Event::decode(payload, rules.of(topic).event_bytes_max) {
                        Err(error) => eprintln!("{topic}: {error}"),
                        Ok(event) => {
                            let json = event.envelope_json();
                            let envelope = serde_json::from_slice(&json).context("an event is no JSON")?;
                            let position = event.position.map(|position| position.to_string());
                            if !printer.print(topic, position.as_deref(), envelope)? {
                                return Ok(());
                            }
                        }
                    }
                }
                Notice::Confirmed(topics) => {
                    for topic in topics {
                        eprintln!("subscribed to {}", topic.topic());
                    }
                }
                Notice::Refused { topic, error } => bail!("Redis refused {}: {error}", topic.topic()),
                Notice::Lost(topics) => {
                    for topic in topics {
                        eprintln!("the subscription to {} is interrupted; events may be missing", topic.topic());
                    }
                }
                Notice::Down { error } => eprintln!("lost the connection to Redis: {error}; events may be missing"),
                Notice::Up { .. } | Notice::Fence(_) => {}
            }
        }
    }
}

/// A token for exactly these topics, good for a day.
fn own_token(tenant: &Tenant, topics: &[Topic], config: &Config) -> anyhow::Result<Secret> {
    let mut users = topics.iter().filter_map(|topic| match topic.kind() {
        TopicKind::User(id) => Some(id),
        TopicKind::Tenant | TopicKind::Channel(_) => None,
    });
    let user = users.next().unwrap_or("fanfare-tail");
    if users.any(|other| other != user) {
        bail!("a node's client has the events of one user only: give one user: topic");
    }
    let channels = topics.iter().filter_map(|topic| match topic.kind() {
        TopicKind::Channel(name) => Some(name.to_owned()),
        TopicKind::Tenant | TopicKind::User(_) => None,
    });
    let grant = Grant {
        tenant: tenant.as_str(),
        user,
        channels: &channels.collect::<Vec<_>>(),
        publish: &[],
        methods: &[],
        subscribe: &[],
        expires_s: 86_400,
        id: None,
    };
    let secret = configured_secret(&config.auth).context("no --token, and none can be made")?;
    Ok(Secret::new(mint(&grant, &secret, &config.auth)?))
}

/// What we read of a frame; the rest is not for us.
#[derive(Deserialize)]
struct Received<'a> {
    op: Cow<'a, str>,
    topic: Option<Cow<'a, str>>,
    position: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    code: Option<serde_json::Value>,
    message: Option<Cow<'a, str>>,
    reason: Option<Cow<'a, str>>,
}

async fn from_node(url: &str, token: &Secret, topics: &[Topic], mut printer: Printer) -> anyhow::Result<()> {
    let mut socket = NodeSocket::connect(url, token.expose()).await?;
    let mut ending = None;
    loop {
        let json = match (socket.receive().await, ending) {
            (Ok(json), _) => json,
            // The node has said why before it closed.
            (Err(_), Some(reason)) => bail!("{reason}"),
            (Err(error), None) => return Err(error),
        };
        let frame: Received<'_> = serde_json::from_str(&json).context("the node sent a frame that is no JSON")?;
        let topic = frame.topic.as_deref().unwrap_or_default();
        let reason = frame.message.as_deref().or(frame.reason.as_deref()).unwrap_or_default();
        let code = frame.code.as_ref().map(|code| code.as_str().map_or(code.to_string(), str::to_owned));
        let code = code.unwrap_or_default();
        ending = None;
        match &*frame.op {
            "welcome" => {
                let items: Vec<_> = topics.iter().map(|topic| json!({"topic": topic.as_str()})).collect();
                socket.send(json!({"op": "subscribe", "id": 1, "topics": items}).to_string()).await?;
            }
            "subscribed" => eprintln!("subscribed to {topic}"),
            "event" => {
                let envelope = frame.event.context("the node sent an event without its envelope")?;
                let asked = topics.iter().any(|asked| asked.as_str() == topic);
                if asked && !printer.print(topic, frame.position.as_deref(), envelope)? {
                    socket.close().await;
                    return Ok(());
                }
            }
            "gap" => eprintln!("{topic}: events may be missing ({reason})"),
            "unsubscribed" => bail!("the node ended the subscription to {topic}: {code}"),
            "error" => bail!("the node refused {topic}: {reason} ({code})"),
            "disconnect" => ending = Some(format!("the node ends the connection: {code} {reason}")),
            "ping" => socket.send(r#"{"op":"pong"}"#.to_owned()).await?,
            _ => {}
        }
    }
}
