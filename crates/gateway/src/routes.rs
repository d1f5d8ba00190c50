//! What the clients' port answers: `/ws`, for those who can't use it `/sse` and `/client/v1/…`, and with `--dev` the demo
//! page and tokens for it.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};

use crate::client_api::ClientApi;
use crate::dev::Dev;
use crate::node::Node;
use crate::origin::OriginPolicy;
use crate::refusal::Refusal;
use crate::sse::{self, Body};
use crate::visit::Visit;
use crate::{client_address, cors, problem, upgrade};
use ipnet::IpNet;

/// The clients' port.
pub struct Routes {
    /// Who serves them.
    pub node: Arc<Node>,
    /// Commands of clients without a WebSocket.
    pub client_api: ClientApi,
    /// Which pages may connect.
    pub origins: OriginPolicy,
    /// Whose word about a client's address is believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The demo, with `--dev`.
    pub dev: Option<Dev>,
}

/// What a path without WebSocket leads to.
enum Fallback {
    Stream,
    Command(Option<&'static str>),
}

impl Routes {
    /// Answers one request from `peer`, the next hop whose address is proven.
    ///
    /// Only a WebSocket stays: with any other answer the connection ends, or a few hundred clients that ask for nothing in
    /// particular again and again could hold all the places of those that have yet to connect.
    pub async fn answer(&self, request: Request<Incoming>, peer: IpAddr, visit: &Arc<Visit>) -> Response<Body> {
        let mut response = self.route(request, peer, visit).await;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn route(&self, request: Request<Incoming>, peer: IpAddr, visit: &Arc<Visit>) -> Response<Body> {
        if self.dev.is_some()
            && let Some(refusal) = Dev::refuse_stranger(&request)
        {
            return refusal.map(Either::Left);
        }
        let is_get = request.method() == Method::GET;
        let path = request.uri().path();
        let address = || client_address::client_address(peer, &self.trusted_proxies, request.headers());
        let fallback = match path {
            "/sse" => Some(Fallback::Stream),
            path if ClientApi::has(path) => Some(Fallback::Command(ClientApi::command(path))),
            _ => None,
        };
        if let Some(fallback) = fallback {
            let address = address();
            // Boxed: what only they need would take room in every connection's task.
            return self.fall_back(fallback, request, address, visit).boxed().await;
        }
        let response = match (path, &self.dev) {
            ("/ws", _) if is_get => {
                let address = address();
                upgrade::handle(&self.node, &self.origins, request, address).await
            }
            (_, Some(dev)) if is_get && dev.has(path) => dev.answer(&request),
            ("/ws", _) => not_allowed("bad_request", "use GET", "GET"),
            _ => problem::response(StatusCode::NOT_FOUND, "not_found", "clients connect at /ws"),
        };
        response.map(Either::Left)
    }

    /// Unlike a WebSocket, a request of another origin's page has to be allowed to the browser.
    async fn fall_back(
        &self,
        fallback: Fallback,
        request: Request<Incoming>,
        address: IpAddr,
        visit: &Arc<Visit>,
    ) -> Response<Body> {
        let origin = request.headers().get(ORIGIN).cloned();
        let (method, allowed) = match fallback {
            Fallback::Stream => (Method::GET, "GET, OPTIONS"),
            Fallback::Command(_) => (Method::POST, "POST, OPTIONS"),
        };
        let mut response = if cors::is_preflight(&request) {
            let is_allowed = self.origins.allows(cors::origin(request.headers()));
            let response = if is_allowed { cors::preflight(&method) } else { Refusal::Origin.response() };
            response.map(Either::Left)
        } else if let Fallback::Command(None) = fallback {
            let message = "this node has no such command";
            problem::response(StatusCode::NOT_FOUND, "not_found", message).map(Either::Left)
        } else if request.method() != method {
            not_allowed("method_not_allowed", &format!("use {method}"), allowed).map(Either::Left)
        } else {
            match fallback {
                Fallback::Command(Some(command)) => {
                    let visitor = (address, &**visit);
                    self.client_api.answer(command, &self.origins, request, visitor).await.map(Either::Left)
                }
                _ => sse::handle(&self.node, &self.origins, &request, address, visit).await,
            }
        };
        cors::open(&mut response, &self.origins, origin);
        response
    }
}

fn not_allowed(code: &str, message: &str, allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = problem::response(StatusCode::METHOD_NOT_ALLOWED, code, message);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
