//! A gateway client: what its frames do. Before a token is accepted only `auth` and `ping` do anything.

pub(crate) mod history;
pub(crate) mod presence;
pub(crate) mod publish;
mod refused;
mod request;
mod resume;
mod subscribe;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::admission::{LimitReached, PendingPlace, Place, PrincipalPlace};
use fanfare_core::rate::{FrameLimiter, RateLimiter, Verdict};
use fanfare_core::time::spread_ms;
use fanfare_core::{Farewell, Session, TopicId, frame};
use fanfare_protocol::{
    ChannelKind, ClientFrame, CloseCode, Codec, ErrorCode, FrameError, Limits, Position, ServerFrame, Topic, TopicKey,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

pub(crate) use self::refused::Refused;
use self::request::{Asked, OpenRequests};
use crate::access::{self, Access};
use crate::auth::{AuthError, Principal};
use crate::clock;
use crate::connection::Handler;
use crate::control::Control;
use crate::join::{Item, Join, Welcome};
use crate::node::Node;
use crate::refusal::Refusal;

/// The longest message before a token is accepted, in bytes.
const UNAUTHENTICATED_BYTES_MAX: usize = 8 * 1024;

/// How far the return of clients that reached a limit is spread, in milliseconds.
const LIMITED_AFTER_MS: u64 = 5_000;

/// A client and what it holds on the node.
pub struct Client {
    node: Arc<Node>,
    session: Arc<Session>,
    limiter: FrameLimiter,
    publishes: Option<Box<RateLimiter>>,
    standing: Standing,
    subscriptions: HashMap<TopicKey, TopicId>,
    requests: OpenRequests,
    /// The presence channels of those where the client is told who comes and goes.
    presences: HashMap<TopicKey, TopicId>,
    _place: Place,
}

/// Whether the client has said who it is.
enum Standing {
    Unknown { _place: Option<PendingPlace> },
    Known { principal: Arc<Principal>, _place: PrincipalPlace },
}

/// What a command that had to wait came to.
pub enum Done {
    /// The client is answered.
    Answered,
    /// Subscriptions stand, and the client is answered.
    Joined(Vec<(TopicKey, TopicId)>),
    /// A token was judged; what the client has of its topics came with it.
    Judged(Result<Arc<Principal>, AuthError>, Since),
}

/// What a client brings along from the upgrade.
pub enum Credentials {
    /// A token that was accepted, and a place among its owner's connections.
    Principal(Arc<Principal>, PrincipalPlace),
    /// Nothing yet: it comes with the first frame. Until then the connection has a place among those like it.
    Awaited(PendingPlace),
}

type Busy = BoxFuture<'static, Done>;

/// Topics, as they were written, and where a client stands in them.
type Since = Vec<(String, Position)>;

impl Client {
    /// A client that has its place on the node, and what it waits for first.
    pub fn new(
        node: &Arc<Node>,
        session: &Arc<Session>,
        credentials: Credentials,
        place: Place,
    ) -> (Self, Option<Busy>) {
        let mut client = Self::unknown(node, session, place);
        let busy = match credentials {
            Credentials::Principal(principal, place) => Some(client.settle(principal, place, &[])),
            Credentials::Awaited(pending) => {
                client.standing = Standing::Unknown { _place: Some(pending) };
                let end = node.clock.now() + node.config.auth_timeout_ms;
                session.await_token(end);
                node.heartbeat.watch(session, end);
                None
            }
        };
        (client, busy)
    }

    fn unknown(node: &Arc<Node>, session: &Arc<Session>, place: Place) -> Self {
        Self {
            node: Arc::clone(node),
            session: Arc::clone(session),
            limiter: FrameLimiter::new(node.config.frame_rate),
            publishes: None,
            standing: Standing::Unknown { _place: None },
            subscriptions: HashMap::new(),
            requests: OpenRequests::default(),
            presences: HashMap::new(),
            _place: place,
        }
    }

    /// Gives back all that it holds; `busy` is what it was waiting for when it ended.
    pub async fn leave(mut self, busy: Option<Busy>) {
        self.requests = OpenRequests::default();
        if let Some(busy) = busy
            && let Done::Joined(topics) = busy.await
        {
            self.joined(topics);
        }
        let topics = self.subscriptions.drain().chain(self.presences.drain()).map(|(_, id)| id).collect();
        self.end(topics, Bytes::new()).await;
    }

    /// Who it is, for the log.
    pub fn principal(&self) -> Option<&Principal> {
        self.owner().map(Arc::as_ref)
    }

    fn owner(&self) -> Option<&Arc<Principal>> {
        match &self.standing {
            Standing::Known { principal, .. } => Some(principal),
            Standing::Unknown { .. } => None,
        }
    }

    fn joined(&mut self, topics: Vec<(TopicKey, TopicId)>) {
        for (key, id) in topics {
            let is_presence = matches!(key.channel_kind(), ChannelKind::Presence(_));
            let of = if is_presence { &mut self.presences } else { &mut self.subscriptions };
            of.insert(key, id);
        }
    }

    /// Does what a frame asks for. What has to be waited for is returned, and handed to [`Handler::done`] when it is through.
    pub(crate) fn command(&mut self, command: ClientFrame) -> Result<Option<Busy>, Farewell> {
        let id = frame_id(&command);
        match (command, self.principal().map(|principal| principal.tenant.clone())) {
            (ClientFrame::Auth { token, since }, _) => self.auth(token, since),
            (ClientFrame::Ping, _) => self.answer(&ServerFrame::Pong),
            (ClientFrame::Pong, _) => Ok(None),
            (_, None) => self.refuse(id, None, ErrorCode::Unauthenticated, "send auth first"),
            (ClientFrame::Subscribe { id, topics, .. }, Some(tenant)) => Ok(self.subscribe(id, &topics, &tenant)),
            (ClientFrame::Unsubscribe { id, topic }, Some(tenant)) => self.unsubscribe(id, &topic, &tenant),
            (ClientFrame::Publish { id, topic, event, durable }, Some(_)) => self.publish(id, topic, event, durable),
            (ClientFrame::History { id, topic, limit, before }, Some(_)) => {
                self.history(id, history::Wanted { topic, limit, before })
            }
            (ClientFrame::Request { id, method, data, timeout_ms, traceparent }, Some(_)) => {
                self.request(Asked { id, method, data, timeout_ms, traceparent })
            }
            (ClientFrame::Presence { id, topic, limit, cursor }, Some(_)) => {
                self.presence(id, presence::Wanted { topic, limit, cursor })
            }
            (ClientFrame::Unknown { op, id }, Some(_)) => {
                self.refuse(id, None, ErrorCode::BadFrame, &format!("unknown op {op:?}"))
            }
        }
    }

    /// Judges a token, without a pause where its key is at hand.
    fn auth(&self, token: String, since: Vec<(String, String)>) -> Result<Option<Busy>, Farewell> {
        let mut resumed = Since::with_capacity(since.len());
        for (topic, position) in since {
            match position.parse() {
                Ok(position) => resumed.push((topic, position)),
                Err(_) => return self.refuse(None, Some(&topic), ErrorCode::BadFrame, "since is no position"),
            }
        }
        let node = Arc::clone(&self.node);
        Ok(Some(async move { Done::Judged(node.authenticate(&token).await.map(Arc::new), resumed) }.boxed()))
    }

    fn judged(&mut self, principal: Arc<Principal>, resumed: &[(String, Position)]) -> Result<Option<Busy>, Farewell> {
        match &self.standing {
            Standing::Unknown { .. } => self.admit(principal, resumed).map(Some),
            Standing::Known { .. } => self.renew(principal),
        }
    }

    /// The client is known and takes its place.
    fn admit(&mut self, principal: Arc<Principal>, resumed: &[(String, Position)]) -> Result<Busy, Farewell> {
        let place = self
            .node
            .admission
            .enter_principal(&principal.tenant, &principal.user)
            .map_err(|reached| limited(&self.session, self.node.metrics.refused_place(reached)))?;
        Ok(self.settle(principal, place, resumed))
    }

    /// The client is welcomed once its own topics stand.
    fn settle(&mut self, principal: Arc<Principal>, place: PrincipalPlace, resumed: &[(String, Position)]) -> Busy {
        self.accept(&principal);
        let config = &self.node.config;
        let topics = access::automatic_topics(&principal, &config.rules, config.own_user_topic);
        let mut items = Vec::with_capacity(topics.len());
        for topic in &topics {
            let since = resumed.iter().find(|(resumed, _)| resumed == topic.as_str()).map(|(_, position)| *position);
            let key = TopicKey::new(&principal.tenant, topic);
            let presence = self.presence_item(topic, &key, false);
            items.push(Item::wanted(topic, key, true, since));
            items.extend(presence.ok().flatten());
        }
        let welcome = self.welcome(&principal);
        let (join, joined) = Join::welcome(Arc::clone(&self.session), Arc::clone(&principal), welcome, items);
        self.standing = Standing::Known { principal, _place: place };
        self.join(join, joined)
    }

    fn accept(&self, principal: &Arc<Principal>) {
        self.node.sessions.own(self.session.id(), principal);
        // Listed from here on, it hears of what is revoked later.
        if self.node.control.was_just_revoked(principal) {
            self.session.close(&Control::farewell_to_revoked());
        }
        let end = self.node.clock.from_unix_ms(principal.expires_at_ms) + self.node.config.token_expiry_grace_ms;
        self.session.accept_token(end);
        let first_ping = self.node.clock.now() + self.node.config.ping_ms / 2;
        self.node.heartbeat.watch(&self.session, end.min(first_ping));
    }

    fn welcome(&self, principal: &Principal) -> Welcome {
        let config = &self.node.config;
        Welcome {
            connection: self.node.names.name(self.session.id()),
            node: Arc::clone(&self.node.id),
            tenant: principal.tenant.as_str().into(),
            user: principal.user.clone(),
            expires_at_ms: principal.expires_at_ms,
            server_time_ms: clock::unix_ms(),
            ping_ms: config.ping_ms,
            limits: Limits {
                message_bytes: config.message_bytes_max as u64,
                subscriptions: config.subscriptions_max as u64,
                frames_per_minute: u64::from(config.frame_rate.per_minute.get()),
                publishes_per_minute: u64::from(config.publish_rate.per_minute.get()),
                outbox_bytes: config.outbox_bytes_max as u64,
            },
        }
    }

    /// A new token of the same principal; what it no longer allows is unsubscribed.
    fn renew(&mut self, renewed: Arc<Principal>) -> Result<Option<Busy>, Farewell> {
        let Standing::Known { principal, .. } = &mut self.standing else { return Ok(None) };
        if principal.tenant != renewed.tenant || principal.user != renewed.user {
            let message = "the new token is another user's; the old one stays";
            return self.refuse(None, None, ErrorCode::Forbidden, message);
        }
        *principal = renewed;
        let Standing::Known { principal, .. } = &self.standing else { return Ok(None) };
        self.accept(principal);
        let codec = self.session.codec();
        let mut answer = Vec::new();
        let told = ServerFrame::Renewed { expires_at: principal.expires_at_ms };
        frame::put_message(&mut answer, codec, &told.encode(codec));
        let (mut ended, rules) = (Vec::new(), &self.node.config.rules);
        self.subscriptions.retain(|key, id| {
            let is_allowed = Topic::parse(key.topic())
                .is_ok_and(|topic| Access::new(principal, rules, &topic).subscribe().is_allowed());
            if !is_allowed {
                ended.extend(self.presences.remove(&key.presence()));
                let code = Some(ErrorCode::Forbidden);
                let told = ServerFrame::Unsubscribed { id: None, topic: key.topic(), code };
                frame::put_message(&mut answer, codec, &told.encode(codec));
                ended.push(*id);
            }
            is_allowed
        });
        Ok(Some(self.end(ended, answer.into()).map(|()| Done::Answered).boxed()))
    }

    fn answer(&self, frame: &ServerFrame<'_>) -> Result<Option<Busy>, Farewell> {
        self.node.metrics.answered(self.session.send(frame, self.node.clock.now()));
        Ok(None)
    }

    fn refuse(
        &self,
        id: Option<i64>,
        topic: Option<&str>,
        code: ErrorCode,
        message: &str,
    ) -> Result<Option<Busy>, Farewell> {
        self.answer(&ServerFrame::Error { id, topic, code, message })
    }

    fn check_rate(&self) -> Result<bool, Farewell> {
        match self.limiter.judge(self.node.clock.now()) {
            Verdict::Pass => Ok(true),
            Verdict::Refuse => {
                self.node.metrics.rate_limited();
                Ok(false)
            }
            Verdict::Close => {
                self.node.metrics.limit_reached("frames_per_minute", 1);
                Err(Farewell {
                    code: CloseCode::RateLimited,
                    reason: "frames_per_minute reached, and still sending".to_owned(),
                    after_ms: LIMITED_AFTER_MS + spread_ms(self.session.id().0, LIMITED_AFTER_MS),
                })
            }
        }
    }
}

impl Handler for Client {
    type Done = Done;

    fn message(&mut self, kind: Codec, payload: Bytes) -> Result<Option<Busy>, Farewell> {
        match (kind, self.session.codec()) {
            (Codec::Json, Codec::Msgpack) => {
                return Err(Farewell::new(CloseCode::Unsupported, "text message on fanfare.v1.msgpack"));
            }
            (Codec::Msgpack, Codec::Json) => {
                return Err(Farewell::new(CloseCode::Unsupported, "binary message on fanfare.v1.json"));
            }
            (Codec::Json, Codec::Json) | (Codec::Msgpack, Codec::Msgpack) => {}
        }
        self.node.metrics.frame_in();
        let passes = self.check_rate()?;
        let command = match ClientFrame::decode(self.session.codec(), payload) {
            Ok(command) => command,
            Err(error @ FrameError::Unparseable) => return Err(Farewell::new(CloseCode::BadFrame, error.to_string())),
            Err(FrameError::Invalid { id, topic, message }) => {
                return self.refuse(id, topic.as_deref(), ErrorCode::BadFrame, &message);
            }
        };
        if !passes {
            let limit = self.node.config.frame_rate.per_minute;
            let message = format!("frames_per_minute = {limit} reached");
            return self.refuse(frame_id(&command), None, ErrorCode::RateLimited, &message);
        }
        self.command(command)
    }

    fn done(&mut self, done: Done) -> Result<Option<Busy>, Farewell> {
        match done {
            Done::Answered => Ok(None),
            Done::Joined(topics) => {
                self.joined(topics);
                Ok(None)
            }
            Done::Judged(Ok(principal), resumed) => self.judged(principal, &resumed),
            Done::Judged(Err(error), _) if self.principal().is_some() => self.refuse(
                None,
                None,
                ErrorCode::Unauthenticated,
                &format!("{}; the old token stays", error.message()),
            ),
            Done::Judged(Err(error), _) => Err(Refusal::from(error).farewell(&self.session)),
        }
    }

    fn say_farewell(&self, farewell: &Farewell) {
        self.session.close(farewell);
    }

    fn message_bytes_max(&self) -> usize {
        match self.standing {
            Standing::Unknown { .. } => UNAUTHENTICATED_BYTES_MAX.min(self.node.config.message_bytes_max),
            Standing::Known { .. } => self.node.config.message_bytes_max,
        }
    }

    fn written(&self, bytes: usize) {
        self.node.metrics.delivered(0, bytes as u64);
    }

    fn heard(&self, bytes: usize) {
        self.session.heard(self.node.clock.now());
        self.node.metrics.heard(bytes as u64);
    }

    fn pinged(&mut self, payload: &[u8]) -> Result<(), Farewell> {
        if self.check_rate()? {
            self.session.send_bytes(frame::pong(payload), self.node.clock.now());
        }
        Ok(())
    }

    fn ponged(&mut self) -> Result<(), Farewell> {
        self.check_rate().map(drop)
    }
}

/// The farewell of a client for which there is no place.
pub fn limited(session: &Session, reached: LimitReached) -> Farewell {
    Farewell {
        code: CloseCode::Overloaded,
        reason: reached.to_string(),
        after_ms: LIMITED_AFTER_MS + spread_ms(session.id().0, LIMITED_AFTER_MS),
    }
}

fn frame_id(command: &ClientFrame) -> Option<i64> {
    match command {
        ClientFrame::Subscribe { id, .. }
        | ClientFrame::Unsubscribe { id, .. }
        | ClientFrame::Publish { id, .. }
        | ClientFrame::History { id, .. }
        | ClientFrame::Request { id, .. }
        | ClientFrame::Presence { id, .. }
        | ClientFrame::Unknown { id, .. } => *id,
        ClientFrame::Auth { .. } | ClientFrame::Ping | ClientFrame::Pong => None,
    }
}
