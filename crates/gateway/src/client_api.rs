//! `POST /client/v1/…`: commands for clients without a WebSocket. A command is a frame whose `op` stands in the path, judged
//! by the same rules and answered with the same fields. Deliberately no session: what needs a connection, such as a
//! subscription, comes over [`crate::sse`].

mod rate;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_core::admission::Place;
use fanfare_core::rate::FrameRate;
use fanfare_protocol::{ClientFrame, Codec, ErrorCode, FrameError, ServerFrame, Traceparent, reply_frame, request};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode};

use self::rate::UserRates;
use crate::auth::{AuthError, Principal};
use crate::body::{self, BodyError};
use crate::client::Refused;
use crate::client::history::{self, History};
use crate::client::presence::{self, PresenceList};
use crate::client::publish::{self, Publish};
use crate::node::Node;
use crate::origin::OriginPolicy;
use crate::problem;
use crate::refusal::{self, Refusal};
use crate::requests::Ask;
use crate::traces;
use crate::upgrade::{self, Offer};
use crate::visit::Visit;

/// What stands before the command in the path.
const PREFIX: &str = "/client/v1/";

/// The commands.
const COMMANDS: &[&str] = &["publish", "request", "presence", "history"];

/// Commands of one node's clients.
pub struct ClientApi {
    node: Arc<Node>,
    rates: UserRates,
    publish_rates: UserRates,
    /// Until a command's body is complete.
    body_timeout: Duration,
}

/// Why a command is not answered with a frame.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Refusal(#[from] Refusal),
    #[error("{}", .0.message)]
    Refused(Refused),
    #[error("{setting} = {limit} reached")]
    RateLimited { setting: &'static str, limit: u32, wait: Duration },
    #[error("send the command as application/json or application/msgpack")]
    MediaType,
    #[error("the body did not arrive in time")]
    BodyTimeout,
}

impl ClientApi {
    /// For the clients of `node`.
    pub fn new(node: &Arc<Node>, body_timeout: Duration) -> Self {
        let (rates, publish_rates) = (node.config.frame_rate, node.config.publish_rate);
        let (rates, publish_rates) = (UserRates::new(rates), UserRates::new(publish_rates));
        Self { node: Arc::clone(node), rates, publish_rates, body_timeout }
    }

    /// Whether a path leads here, be there such a command or not.
    pub fn has(path: &str) -> bool {
        path.starts_with(PREFIX)
    }

    /// The command that a path asks for.
    pub fn command(path: &str) -> Option<&'static str> {
        let name = path.strip_prefix(PREFIX)?;
        COMMANDS.iter().copied().find(|command| *command == name)
    }

    /// Answers a POST.
    pub async fn answer(
        &self,
        command: &str,
        origins: &OriginPolicy,
        request: Request<Incoming>,
        (address, visit): (IpAddr, &Visit),
    ) -> Response<Full<Bytes>> {
        let answer = match self.admit(origins, &request, address).await {
            Ok((principal, place)) => {
                // Bounded from here on by the node's connections, of which the command is one until it is answered.
                visit.keep(place);
                visit.settle();
                self.run(command, &principal, request).await
            }
            Err(failure) => Err(failure),
        };
        let mut response = match answer {
            Ok(frame) => json(frame),
            Err(failure) => failure.response(),
        };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.node.metrics.command_answered(response.status());
        response
    }

    /// Origin, then place, then token, then rate.
    async fn admit(
        &self,
        origins: &OriginPolicy,
        request: &Request<Incoming>,
        address: IpAddr,
    ) -> Result<(Principal, Place), Failure> {
        let place = upgrade::let_in(&self.node, origins, request.headers(), address)?;
        let token = upgrade::token(request, &Offer::default()).ok_or(Refusal::NoToken)?;
        let principal = self.node.verifier.verify(&token).await.map_err(Refusal::from)?;
        // Before Redis is asked about the token: who sends too much costs it nothing.
        self.check_rate(&self.rates, "frames_per_minute", self.node.config.frame_rate, &principal)?;
        if self.node.control.is_revoked(&principal).await {
            return Err(Refusal::from(AuthError::Revoked).into());
        }
        Ok((principal, place))
    }

    fn check_rate(
        &self,
        rates: &UserRates,
        setting: &'static str,
        rate: FrameRate,
        principal: &Principal,
    ) -> Result<(), Failure> {
        rates.check(&principal.tenant, &principal.user).map_err(|wait| {
            self.node.metrics.rate_limited();
            Failure::RateLimited { setting, limit: rate.per_minute.get(), wait }
        })
    }

    async fn run(&self, command: &str, principal: &Principal, request: Request<Incoming>) -> Result<Vec<u8>, Failure> {
        let (codec, caller) = (codec(request.headers())?, traces::header(request.headers()));
        let body = self.read(request.into_body()).await?;
        // The body may have taken its time.
        if self.node.control.was_just_revoked(principal) {
            return Err(Refusal::from(AuthError::Revoked).into());
        }
        let frame = ClientFrame::decode_fields(codec, command, body)?;
        self.handle(principal, codec, frame, caller).await
    }

    /// Does what the frame asks for; `caller` is the trace that the request's header names. Returns the frame that answers
    /// it, in JSON.
    async fn handle(
        &self,
        principal: &Principal,
        codec: Codec,
        frame: ClientFrame,
        caller: Option<Traceparent>,
    ) -> Result<Vec<u8>, Failure> {
        let node = &*self.node;
        match frame {
            ClientFrame::Publish { topic, event, durable, .. } => {
                let wanted = publish::Wanted { topic: &topic, event: (codec, event), durable, connection: None };
                let publish = Publish::check(node, principal, wanted)?;
                // As over a connection: only what would reach the backplane counts.
                let setting = "publishes_per_minute";
                self.check_rate(&self.publish_rates, setting, node.config.publish_rate, principal)
                    .inspect_err(|_| node.metrics.limit_reached(setting, 1))?;
                let position = publish.send(node, caller).await?;
                Ok(ServerFrame::Published { id: None, position }.encode(Codec::Json))
            }
            ClientFrame::History { topic, limit, before, .. } => {
                let wanted = history::Wanted { topic, limit, before };
                let history = History::check(node, principal, &wanted)?;
                let page = history.read(node).await?;
                Ok(history.answer(node, page, (None, Codec::Json), node.config.outbox_bytes_max / 2))
            }
            ClientFrame::Presence { topic, limit, cursor, .. } => {
                let list = PresenceList::check(node, principal, &presence::Wanted { topic, limit, cursor })?;
                let page = list.read(node, node.config.outbox_bytes_max / 4).await?;
                Ok(list.answer(Codec::Json, None, &page))
            }
            ClientFrame::Request { method, data, timeout_ms, traceparent, .. } => {
                let data = request::data_json(codec, data)
                    .map_err(|error| Refused::new(ErrorCode::BadFrame, error.to_string()))?;
                let traceparent = traceparent.or_else(|| caller.map(|caller| caller.to_string()));
                let traceparent = traceparent.as_deref();
                let ask = Ask { principal, connection: None, method: &method, data, timeout_ms, traceparent };
                // Should the client go away, hyper drops this, and the request is given up.
                let answer = match node.requests.ask(&ask) {
                    Ok(answer) => answer.await,
                    Err(error) => Err(error),
                };
                let data = answer.map_err(|error| Refused::new(error.code, error.message))?;
                // That may have been a minute. A connection of the token would have ended meanwhile.
                if node.control.is_revoked(principal).await {
                    return Err(Refusal::from(AuthError::Revoked).into());
                }
                Ok(reply_frame(Codec::Json, None, &data))
            }
            _ => Err(Refused::new(ErrorCode::BadFrame, "this is no command").into()),
        }
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, Failure> {
        let bytes_max = self.node.config.message_bytes_max;
        body::read(body, bytes_max, self.body_timeout).await.map_err(|error| match error {
            BodyError::TooLong => {
                let message = format!("the body is longer than {bytes_max} bytes (message_bytes_max)");
                Failure::Refused(Refused::new(ErrorCode::TooLarge, message))
            }
            BodyError::Late => Failure::BodyTimeout,
            BodyError::Broken => Failure::Refused(Refused::new(ErrorCode::BadFrame, "the body could not be read")),
        })
    }
}

impl Failure {
    fn response(&self) -> Response<Full<Bytes>> {
        let message = self.to_string();
        match self {
            Self::Refusal(refusal) => refusal.response(),
            Self::Refused(refused) => refusal::response(refused.code, &message),
            Self::RateLimited { wait, .. } => {
                let mut response = refusal::response(ErrorCode::RateLimited, &message);
                refusal::retry_after(&mut response, *wait);
                response
            }
            Self::MediaType => {
                let code = ErrorCode::BadFrame.as_str();
                problem::response(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, &message)
            }
            Self::BodyTimeout => problem::response(StatusCode::REQUEST_TIMEOUT, ErrorCode::Timeout.as_str(), &message),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        let message = match error {
            FrameError::Unparseable => "the body is not one JSON object or MessagePack map".to_owned(),
            FrameError::Invalid { message, .. } => message,
        };
        Self::Refused(Refused::new(ErrorCode::BadFrame, message))
    }
}

/// As for the HTTP API of backends, but what a plain form of any page could send is not taken.
fn codec(headers: &HeaderMap) -> Result<Codec, Failure> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Codec::Json) };
    let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Codec::Json),
        "application/msgpack" | "application/vnd.msgpack" | "application/x-msgpack" => Ok(Codec::Msgpack),
        _ => Err(Failure::MediaType),
    }
}

fn json(frame: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(frame));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
