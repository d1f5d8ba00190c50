//! `GET /sse`: what a WebSocket client is sent, as an event stream, for clients whose way to the node lets nothing else
//! through. A stream is an ordinary session; what differs is how its bytes are framed and that its client can't speak, so the node
//! does for it what it would ask for. Commands come over [`crate::client_api`].

mod body;
mod cursor;
mod messages;
mod opening;
mod stream;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_core::admission::{Place, PrincipalPlace};
use fanfare_core::{Deferred, Session};
use fanfare_protocol::{ClientFrame, Codec, ErrorCode, Position, Topic};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, Response};

pub use self::body::{Body, EventBody};
use self::messages::Messages;
use self::opening::{Opening, Unreadable};
use self::stream::Stream;
use crate::auth::Principal;
use crate::client::{Client, Credentials};
use crate::lifecycle::Phase;
use crate::node::Node;
use crate::origin::OriginPolicy;
use crate::refusal::Refusal;
use crate::upgrade::{self, Offer};
use crate::visit::Visit;

/// A comment of so many bytes opens a stream: some proxies pass nothing on until they have as much.
const OPENING_BYTES: usize = 2 * 1024;

/// nginx passes an answer with it on at once instead of buffering it.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A client that may have a stream.
struct Admitted {
    place: Place,
    principal: Arc<Principal>,
    principal_place: PrincipalPlace,
    opening: Opening,
}

/// Answers a request for a stream, and serves the client.
pub async fn handle(
    node: &Arc<Node>,
    origins: &OriginPolicy,
    request: &Request<Incoming>,
    address: IpAddr,
    visit: &Arc<Visit>,
) -> Response<Body> {
    let admitted = match admit(node, origins, request, address).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refuse(node, &refusal),
    };
    let session = node.session_over(Arc::new(Deferred), Codec::Json);
    let listed = node.sessions.list(&session);
    // Who was let in before the drain and is listed after its start would be sent away by nobody.
    if node.lifecycle.phase() >= Phase::Draining {
        return refuse(node, &Refusal::Draining);
    }
    visit.settle();
    node.metrics.stream_opened();
    let (chunks, body) = EventBody::new();
    // The channel is new and has room.
    let _ = chunks.try_send(opening_comment());
    let stream = open(node, &session, admitted, visit);
    tokio::spawn(stream::stay(stream, chunks, listed, address));
    let mut response = Response::new(Either::Right(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// As for a WebSocket, but the token has to come with the request.
async fn admit(
    node: &Node,
    origins: &OriginPolicy,
    request: &Request<Incoming>,
    address: IpAddr,
) -> Result<Admitted, Refusal> {
    let (place, credentials) = upgrade::admit(node, origins, request, &Offer::default(), address).await?;
    let Credentials::Principal(principal, principal_place) = credentials else { return Err(Refusal::NoToken) };
    let opening = Opening::read(request.uri().query().unwrap_or_default(), request.headers())?;
    Ok(Admitted { place, principal, principal_place, opening })
}

fn refuse(node: &Node, refusal: &Refusal) -> Response<Body> {
    node.metrics.upgrade_refused();
    refusal.response().map(Either::Left)
}

/// The client is welcomed to its own topics first, then it is subscribed to those it asked for.
fn open(node: &Arc<Node>, session: &Arc<Session>, admitted: Admitted, visit: &Arc<Visit>) -> Stream {
    let Admitted { place, principal, principal_place, opening } = admitted;
    let tenant = Topic::tenant();
    let own: Vec<_> =
        [&tenant, &principal.user_topic].into_iter().chain(&principal.subscribe).map(Topic::as_str).collect();
    let resumed: Vec<(String, Position)> =
        own.iter().filter_map(|topic| Some(((*topic).to_owned(), opening.cursor.position(topic)?))).collect();
    let topics = own.into_iter().chain(opening.topics.iter().map(String::as_str));
    let messages = Messages::new(opening.cursor.of(topics));
    let items = opening.items();
    let (client, busy) = Client::resume(node, session, (principal, principal_place), place, &resumed);
    let mut commands = VecDeque::new();
    if !items.is_empty() {
        commands.push_back(ClientFrame::Subscribe { id: None, topics: items, many: true });
    }
    Stream {
        node: Arc::clone(node),
        session: Arc::clone(session),
        client,
        busy: Some(busy),
        messages,
        commands,
        visit: Arc::clone(visit),
        is_draining: false,
    }
}

fn opening_comment() -> Bytes {
    let mut comment = vec![b' '; OPENING_BYTES];
    comment[0] = b':';
    comment[OPENING_BYTES - 2..].fill(b'\n');
    comment.into()
}

impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Self {
        let code = match unreadable {
            Unreadable::TooManyTopics => ErrorCode::TooManySubscriptions,
            Unreadable::Topics => ErrorCode::InvalidTopic,
            Unreadable::Cursor => ErrorCode::BadFrame,
        };
        Self::Request(code, unreadable.to_string())
    }
}
